//! `$export-file/{job}/{file}`: the files of an export that a manifest names (F-01 to F-03, F-08, F-09).

use fhirhose_bulk::export::{EXPORT, ExportPages, StatusTerms};
use fhirhose_store::OutputName;

use super::status;
use crate::audit::note;
use crate::call::{Answer, Call};
use crate::download::{FHIR_NDJSON, gone, serve};

/// Answers with a file that a manifest names, also an early one (M-21); 404 once its job is deleted or has expired (D-05).
pub(super) async fn file(call: Call) -> Answer {
    let job = status::job(&call, EXPORT).await?;
    if job.result.is_none() && !StatusTerms::parse(&job.spec)?.allow_partial_manifests {
        return Err(gone());
    }
    let pages = ExportPages::load(&call.app.store, &job).await?.ok_or_else(gone)?;
    let file = pages.file(call.argument("file")).ok_or_else(gone)?;
    let name = OutputName::new(&job.id.to_string(), &file.stored_name)?;
    note(|told| {
        told.add_detail("resources", file.count);
        if let Some(resource_type) = &file.resource_type {
            told.add_detail("types", resource_type);
        }
    });
    serve(&call, &name, FHIR_NDJSON).await
}
