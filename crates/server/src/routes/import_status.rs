//! `$import-status/{job}`: how far an import is, its report, and its deletion.

use fhirhose_bulk::import::{IMPORT, ImportResult, ReportLinks};

use super::status;
use crate::call::{Answer, Call};

/// Answers 202 while the import goes on, its report when it is done, or why it failed.
pub(super) async fn status(call: Call) -> Answer {
    let job = status::job(&call, IMPORT).await?;
    status::check_pace(&call, &job)?;
    let links = ReportLinks {
        files_url: call.app.job_url("$import-file", &job.id) + "/",
        requires_access_token: call.app.authority.requires_access_token(),
    };
    status::poll(&call.app, &job, |result| {
        Ok(ImportResult::parse(result)?.report(&links).to_json())
    })
}

/// Stops an import, or lets the files of its report go. What it has committed stays.
pub(super) async fn delete(call: Call) -> Answer {
    status::delete(&call, IMPORT).await
}
