//! `$export-file/{job}/{file}`: the files of a finished export (F-01 to F-03, F-08, F-09).

use fhirhose_bulk::export::{EXPORT, ExportResult};
use fhirhose_store::OutputName;

use super::status;
use crate::call::{Answer, Call};
use crate::download::{FHIR_NDJSON, gone, serve};

/// Answers with a file that the manifest names; 404 once its job is deleted or has expired (D-05).
pub(super) async fn file(call: Call) -> Answer {
    let job = status::job(&call, EXPORT).await?;
    let result = job.result.as_deref().ok_or_else(gone)?;
    let result = ExportResult::parse(result)?;
    let file = result.file(call.argument("file")).ok_or_else(gone)?;
    let name = OutputName::new(&job.id.to_string(), &file.stored_name)?;
    serve(&call, &name, FHIR_NDJSON).await
}
