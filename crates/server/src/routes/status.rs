//! What the status endpoints of exports and imports have in common: finding the job, telling how far it is, deleting it.

use std::time::Duration;

use fhirhose_auth::{Actions, Grant};
use fhirhose_bulk::export::{EXPORT, ExportReach};
use fhirhose_bulk::import::IMPORT;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Failure, JobFilter, JobId, JobRecord, JobState};
use fhirhose_store::MAINTENANCE;
use hyper::header::{EXPIRES, HeaderName, RETRY_AFTER};
use hyper::{Response, StatusCode};

use crate::answer::{self, Body, FHIR_JSON, JSON};
use crate::app::App;
use crate::audit::{Act, note};
use crate::call::{Answer, Call};
use crate::create_job::CREATE;
use crate::floods::throttled;
use crate::polling::{progress_text, retry_after_secs};
use crate::problem::Problem;

/// How long a client whose kick-off was refused for want of room waits, in seconds.
const FULL_RETRY_AFTER: &str = "30";

/// Refuses a kick-off while too many jobs wait, live or are kept, or too much with them (K-43).
pub(super) async fn check_room(app: &App, grant: &Grant, kind: &str) -> Result<(), Problem> {
    let (settings, client) = (&app.settings, &grant.client);
    let own_max = grant.limits.jobs_live_max;
    let jobs = app.store.catalog().jobs(&JobFilter::default()).await?;
    let asked: Vec<&JobRecord> = jobs.iter().filter(|job| job.kind != MAINTENANCE).collect();
    let count = |counts: &dyn Fn(&JobRecord) -> bool| asked.iter().filter(|job| counts(job)).count();
    let request_bytes = |counts: &dyn Fn(&JobRecord) -> bool| {
        let counted = asked.iter().filter(|job| counts(job));
        counted.map(|job| job.spec.len()).sum::<usize>()
    };
    let is_own = |job: &JobRecord| job.owner == *client;
    let is_live = |job: &JobRecord| !job.state.is_ended();
    let waits = |job: &JobRecord| job.state == JobState::Queued && job.kind == kind;
    let limits = [
        (
            count(&|job| is_live(job) && is_own(job)),
            own_max.unwrap_or(settings.jobs_live_per_client_max),
            "jobs of this client are waiting or running already",
        ),
        (
            count(&is_own),
            settings.jobs_kept_per_client_max,
            "jobs of this client are kept already; delete those that are no longer needed",
        ),
        (
            request_bytes(&is_own),
            settings.jobs_request_bytes_per_client_max,
            "bytes of this client's requests are kept with jobs already; delete those that are no longer needed",
        ),
        (
            count(&waits),
            settings.jobs_queued_max,
            "jobs of this kind are waiting already",
        ),
        (
            count(&is_live),
            settings.jobs_live_max,
            "jobs are waiting or running already",
        ),
        (
            count(&|_| true),
            settings.jobs_kept_max,
            "jobs are kept already; delete those that are no longer needed",
        ),
        (
            request_bytes(&|_| true),
            settings.jobs_request_bytes_max,
            "bytes of requests are kept with jobs already; delete those that are no longer needed",
        ),
    ];
    match limits.into_iter().find(|(jobs, jobs_max, _)| jobs >= jobs_max) {
        None => Ok(()),
        Some((_, jobs_max, text)) => {
            let text = format!("{jobs_max} {text}; try again later");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, IssueCode::Throttled, text);
            Err(problem.with_header(RETRY_AFTER, FULL_RETRY_AFTER))
        }
    }
}

/// Counts a poll, and refuses it when the client asks far more often than it was told to (S-04). The job does not notice.
pub(super) fn check_pace(call: &Call, job: &JobRecord) -> Result<(), Problem> {
    let (app, client) = (&call.app, call.client());
    if job.state.is_ended() {
        app.floods.forget_polls(&client, job.id);
        return Ok(());
    }
    let now = app.clock().now();
    let told = retry_after_secs(job, now, app.settings.retry_after_secs_max);
    let counted = app.floods.poll(&client, job.id, now, Duration::from_secs(told));
    counted.map_err(|wait| throttled("the status is asked too often; the job goes on", wait))
}

/// Answers a kick-off: 202 with the absolute status URL (K-40), and a body that says so too (K-41).
pub(super) fn accepted(app: &App, status_operation: &str, job: &JobId) -> Response<Body> {
    app.wake.signal();
    let location = app.job_url(status_operation, job);
    let outcome = OperationOutcome::information(format!("accepted; the status is at {location}"));
    let mut response = answer::text(StatusCode::ACCEPTED, FHIR_JSON, outcome.to_json());
    answer::set(response.headers_mut(), hyper::header::CONTENT_LOCATION, &location);
    answer::not_stored(response.headers_mut());
    response
}

/// Finds the path's job.
///
/// # Errors
/// 404 for a job that is not there, of another kind or client, deleted or expired, even if its files are still being cleaned (S-14,
/// D-04, A-53); 403 when the token does not cover what the job may hold.
pub(super) async fn job(call: &Call, kind: &str) -> Result<JobRecord, Problem> {
    let unknown = || Problem::not_found("there is no such job; it may have been deleted or have expired");
    let id: JobId = call.argument("job").parse().map_err(|_| unknown())?;
    let job = call.app.store.catalog().job(&id).await?;
    let now = call.app.clock().now();
    let job = job
        .filter(|job| job.kind == kind && job.state != JobState::Cancelled)
        .filter(|job| job.expires.is_none_or(|expires| now < expires))
        .filter(|job| call.rights().owns(&job.owner))
        .ok_or_else(unknown)?;
    check_reach(call, &job)?;
    Ok(job)
}

/// Checks that the token covers what the job is about, as a kick-off would (S-02, D-07, F-04): scopes may have become less since.
fn check_reach(call: &Call, job: &JobRecord) -> Result<(), Problem> {
    let rights = call.rights();
    match job.kind.as_str() {
        // Nobody was asked for a token, and none is needed.
        EXPORT if call.app.authority.requires_access_token() => {
            let reach = ExportReach::parse(&job.spec)?;
            rights.check_level(&reach.level)?;
            rights.check_types_of_job(&reach.types)
        }
        IMPORT => rights.check_import(),
        CREATE => rights.check(Actions::CREATE, ResourceType::GROUP),
        _ => Ok(()),
    }
}

/// Answers a poll: 202 while the job goes on, what `finished` makes of its result, or why it failed.
pub(super) fn poll(
    app: &App,
    job: &JobRecord,
    finished: impl FnOnce(&[u8]) -> Result<String, Problem>,
) -> Answer {
    match job.state {
        JobState::Succeeded => {
            let manifest = finished(job.result.as_deref().unwrap_or_default())?;
            note(|told| told.delivered = Some(job.id));
            let mut response = answer::text(StatusCode::OK, JSON, manifest);
            describe_ended(response.headers_mut(), job);
            Ok(response)
        }
        JobState::Failed => {
            let unexplained = Failure::new("unknown", "the job failed");
            Err(Problem::of_failure(job.failure.as_ref().unwrap_or(&unexplained)))
        }
        JobState::Queued | JobState::Running | JobState::Cancelled => {
            let mut response = answer::empty(StatusCode::ACCEPTED);
            let secs = retry_after_secs(job, app.clock().now(), app.settings.retry_after_secs_max);
            let headers = response.headers_mut();
            answer::set(headers, RETRY_AFTER, &secs.to_string());
            answer::set(
                headers,
                HeaderName::from_static("x-progress"),
                &progress_text(job),
            );
            answer::not_stored(headers);
            Ok(response)
        }
    }
}

/// `Expires` is when the files go (S-11); `no-store` keeps caches from taking it for their own.
fn describe_ended(headers: &mut hyper::HeaderMap, job: &JobRecord) {
    if let Some(expires) = job.expires {
        let date = Instant::from_micros(expires.as_micros()).http_date();
        answer::set(headers, EXPIRES, &date);
    }
    answer::not_stored(headers);
}

/// Deletes the path's job, running or ended (D-01, D-02). Its files go when nobody downloads them any more (D-06).
pub(super) async fn delete(call: &Call, kind: &str) -> Answer {
    let job = job(call, kind).await?;
    let app = &call.app;
    note(|told| told.add_detail("kind", kind));
    let open = app.audit.open(Act::JobDelete).await?;
    if !app.store.catalog().cancel(&job.id, app.clock().now()).await? {
        return Err(Problem::not_found("the job was deleted a moment ago"));
    }
    open.close(StatusCode::ACCEPTED);
    app.wake.signal();
    let outcome = OperationOutcome::information("the job is deleted; its files go");
    Ok(answer::text(StatusCode::ACCEPTED, FHIR_JSON, outcome.to_json()))
}
