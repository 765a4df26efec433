//! `$export-status/{job}`: how far an export is, its manifest, and its deletion (S-01 to S-14, D-01 to D-06).

use fhirhose_bulk::export::{EXPORT, ExportResult, StatusTerms};
use fhirhose_jobs::{JobRecord, JobState};
use hyper::header::HeaderName;
use hyper::{Response, StatusCode};

use super::status;
use crate::answer::{self, Body};
use crate::app::REQUIRES_ACCESS_TOKEN;
use crate::call::{Answer, Call};
use crate::problem::Problem;

/// Answers 202 while the export goes on, its manifest when it is done, or why it failed.
pub(super) async fn status(call: Call) -> Answer {
    let job = status::job(&call, EXPORT).await?;
    let terms = StatusTerms::parse(&job.spec)?;
    let answered = poll(&call, &job, terms);
    if !terms.separate_status {
        return answered;
    }
    match answered {
        Err(problem) if job.state == JobState::Failed => Ok(separate(problem.into_response())),
        answered => answered.map(separate),
    }
}

fn poll(call: &Call, job: &JobRecord, terms: StatusTerms) -> Answer {
    let files_url = call.app.job_url("$export-file", &job.id);
    status::poll(&call.app, job, |result| {
        let result = ExportResult::parse(result)?;
        let manifest = result.manifest(REQUIRES_ACCESS_TOKEN, |file| format!("{files_url}/{}", file.name));
        Ok::<_, Problem>(manifest.to_json(terms.wire))
    })
}

/// Tells the status of the export in a header of its own: the answer itself went well (K-23, S-05, S-07, S-10).
fn separate(mut response: Response<Body>) -> Response<Body> {
    let status = response.status().to_string();
    *response.status_mut() = StatusCode::OK;
    let name = HeaderName::from_static("x-export-status");
    answer::set(response.headers_mut(), name, &status);
    response
}

/// Stops an export, or lets the files of a finished one go; 202, and 404 to everything from then on.
pub(super) async fn delete(call: Call) -> Answer {
    status::delete(&call, EXPORT).await
}
