//! `$export-status/{job}`: how far an export is, its manifest, and its deletion (S-01 to S-14, D-01 to D-06).

use fhirhose_bulk::export::{EXPORT, ExportResult};
use fhirhose_fhir::export_request::Wire;

use super::status;
use crate::app::REQUIRES_ACCESS_TOKEN;
use crate::call::{Answer, Call};

/// Answers 202 while the export goes on, its manifest when it is done, or why it failed.
pub(super) async fn status(call: Call) -> Answer {
    let job = status::job(&call, EXPORT).await?;
    let files_url = call.app.job_url("$export-file", &job.id);
    status::poll(&call.app, &job, |result| {
        let result = ExportResult::parse(result)?;
        let manifest = result.manifest(REQUIRES_ACCESS_TOKEN, |file| format!("{files_url}/{}", file.name));
        Ok(manifest.to_json(Wire::Stu3))
    })
}

/// Stops an export, or lets the files of a finished one go; 202, and 404 to everything from then on.
pub(super) async fn delete(call: Call) -> Answer {
    status::delete(&call, EXPORT).await
}
