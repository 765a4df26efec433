//! `$export-status/{job}`: how far an export is, its manifest, and its deletion (S-01 to S-14, D-01 to D-06).

use std::time::Duration;

use fhirhose_bulk::export::{EXPORT, ExportPage, ExportPages, StatusTerms};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_jobs::{JobRecord, JobState};
use hyper::header::HeaderName;
use hyper::{Response, StatusCode};

use super::status;
use crate::answer::{self, Body, JSON};
use crate::app::App;
use crate::audit::note;
use crate::call::{Answer, Call};
use crate::problem::Problem;

/// Answers 202 while the export goes on, its manifest when it is done, or why it failed.
///
/// Where the client allows partial manifests, a 202 has one as soon as there is one, and `?page=N` asks for page N (M-20 to M-27).
pub(super) async fn status(call: Call) -> Answer {
    let mut job = status::job(&call, EXPORT).await?;
    let page = page_number(&call)?;
    let held = Duration::from_millis(call.app.settings.status_hold_millis);
    if call.app.clock().now() < job.created.plus(held) {
        // Told as it was a moment ago, for those who want to see an export at work.
        job.state = JobState::Running;
    }
    let terms = StatusTerms::parse(&job.spec)?;
    let answered = poll(&call, &job, terms, page).await;
    if !terms.separate_status {
        return answered;
    }
    match answered {
        Err(problem) if job.state == JobState::Failed => Ok(separate(problem.into_response())),
        answered => answered.map(separate),
    }
}

fn page_number(call: &Call) -> Result<usize, Problem> {
    let given = call
        .query()
        .split('&')
        .find_map(|pair| pair.strip_prefix("page="));
    let number = given.map_or(Some(1), |text| text.parse().ok());
    number.filter(|number| *number > 0).ok_or_else(|| {
        let text = "page: the number of a page is needed, from 1";
        Problem::bad_request(IssueCode::Value, text)
    })
}

async fn poll(call: &Call, job: &JobRecord, terms: StatusTerms, number: usize) -> Answer {
    let app: &App = &call.app;
    let is_running = matches!(job.state, JobState::Queued | JobState::Running);
    let pages = if job.state == JobState::Succeeded || is_running && terms.allow_partial_manifests {
        ExportPages::load(&app.store, job).await?
    } else {
        None
    };
    let page = pages.as_ref().and_then(|pages| pages.page(number));
    let mut manifest = page.map(|page| manifest(app, job, terms, page));
    // Whoever goes from page to page finds something new each time; that is no polling.
    if manifest.is_none() || number == 1 {
        status::check_pace(call, job)?;
    }
    let mut response = status::poll(app, job, |_| {
        let no_page = || Problem::not_found("the manifest has no page of this number");
        manifest.take().ok_or_else(no_page)
    })?;
    // Taken above by an export that is done.
    if let Some(early) = manifest {
        note(|told| told.delivered = Some(job.id));
        answer::fill(&mut response, JSON, early);
    }
    Ok(response)
}

fn manifest(app: &App, job: &JobRecord, terms: StatusTerms, page: ExportPage<'_>) -> String {
    let files_url = app.job_url("$export-file", &job.id);
    let mut manifest = page.manifest(app.authority.requires_access_token(), |file| {
        format!("{files_url}/{}", file.name)
    });
    if page.has_next {
        let status_url = app.job_url("$export-status", &job.id);
        manifest.next = Some(format!("{status_url}?page={}", page.number + 1));
    }
    manifest.to_json(terms.wire)
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
