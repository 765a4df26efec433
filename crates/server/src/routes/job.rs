//! `/jobs/{job}`: what the operator sees of one job, and pausing, resuming and cancelling it.

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_jobs::{JobId, JobRecord, JobState};
use hyper::StatusCode;
use tracing::info;

use super::jobs::json;
use crate::audit::{Act, note};
use crate::call::{Answer, Call};
use crate::job_view::JobPage;
use crate::problem::Problem;

/// Answers 200 with the job.
pub(super) async fn show(call: Call) -> Answer {
    let job = find(&call).await?;
    Ok(json(&JobPage::of(&job, call.app.clock().now())))
}

/// Pauses a job: it stops at its next checkpoint and keeps all that it has. Pausing a paused one changes nothing.
pub(super) async fn pause(call: Call) -> Answer {
    let (job, now) = (live(&call).await?, call.app.clock().now());
    note(|told| told.add_detail("change", "pause"));
    let open = call.app.audit.open(Act::JobControl).await?;
    call.app.store.catalog().pause(&job.id, now).await?;
    open.close(StatusCode::OK);
    changed(call, job.id, "paused").await
}

/// Lets a paused job go on. Resuming one that is not paused changes nothing.
pub(super) async fn resume(call: Call) -> Answer {
    let job = live(&call).await?;
    note(|told| told.add_detail("change", "resume"));
    let open = call.app.audit.open(Act::JobControl).await?;
    call.app.store.catalog().resume(&job.id).await?;
    open.close(StatusCode::OK);
    changed(call, job.id, "resumed").await
}

/// Cancels a job that has not ended; what it wrote goes.
pub(super) async fn cancel(call: Call) -> Answer {
    let (job, now) = (live(&call).await?, call.app.clock().now());
    note(|told| told.add_detail("change", "cancel"));
    let open = call.app.audit.open(Act::JobControl).await?;
    call.app.store.catalog().cancel(&job.id, now).await?;
    open.close(StatusCode::OK);
    changed(call, job.id, "cancelled").await
}

async fn changed(call: Call, id: JobId, what: &str) -> Answer {
    info!(job.id = %id, operator = call.client(), "job {what} by the operator");
    call.app.wake.signal();
    show(call).await
}

async fn find(call: &Call) -> Result<JobRecord, Problem> {
    let unknown = || Problem::not_found("there is no such job; it may have been deleted or have expired");
    let id: JobId = call.argument("job").parse().map_err(|_| unknown())?;
    call.app.store.catalog().job(&id).await?.ok_or_else(unknown)
}

/// Finds the path's job, which must not have ended.
async fn live(call: &Call) -> Result<JobRecord, Problem> {
    let job = find(call).await?;
    let ended = match job.state {
        JobState::Queued | JobState::Running => return Ok(job),
        JobState::Succeeded => "has succeeded; DELETE at its status URL lets its files go",
        JobState::Failed => "has failed",
        JobState::Cancelled => "was cancelled",
    };
    let text = format!("the job {ended}");
    Err(Problem::new(StatusCode::CONFLICT, IssueCode::Conflict, text))
}
