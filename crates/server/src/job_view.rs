//! What an operator sees of a job, as JSON: no specification, so no parameter of a request and no patient's id.

use std::collections::BTreeMap;
use std::time::Duration;

use fhirhose_bulk::export::{EXPORT, ExportResult};
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{JobRecord, JobState, Timestamp};
use serde::Serialize;

use crate::polling::progress_text;

/// A job in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobLine {
    id: String,
    kind: String,
    state: &'static str,
    /// Who asked for it; absent for a job of this machine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_since: Option<String>,
    /// Claims since it last moved forward.
    attempts: u32,
    /// How often it let others go first.
    yields: u64,
    progress: Progress,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    text: String,
    /// Bytes of work done, and in all; 0 in all while that is unknown.
    done: u64,
    total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<u64>,
}

/// A job by itself: all of a line, and how much of what is done how fast.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobPage {
    #[serde(flatten)]
    line: JobLine,
    /// What is done of each type, as far as the job tells.
    types: Vec<TypeLine>,
    rows: u64,
    bytes: u64,
    files: u64,
    /// Of a running job since it was last claimed, of an ended one from its first claim to its end; absent for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Rate>,
    /// At that rate; absent when it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_seconds_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeLine {
    #[serde(rename = "type")]
    name: String,
    rows: u64,
    bytes: u64,
    files: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    rows_per_second: f64,
    bytes_per_second: f64,
    /// Of what `progress.done` counts.
    done_per_second: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    code: String,
    message: String,
}

/// The states that an operator sees; `pausing` is a job whose worker has not stopped yet.
pub(crate) const STATES: [&str; 7] = [
    "queued",
    "running",
    "pausing",
    "paused",
    "succeeded",
    "failed",
    "cancelled",
];

/// Names the state of a job.
pub(crate) fn state(job: &JobRecord, now: Timestamp) -> &'static str {
    match (job.state, job.paused.is_some()) {
        (JobState::Running, true) if job.is_held(now) => "pausing",
        (JobState::Queued | JobState::Running, true) => "paused",
        (JobState::Queued, false) => "queued",
        (JobState::Running, false) => "running",
        (JobState::Succeeded, _) => "succeeded",
        (JobState::Failed, _) => "failed",
        (JobState::Cancelled, _) => "cancelled",
    }
}

impl JobLine {
    pub(crate) fn of(job: &JobRecord, now: Timestamp) -> Self {
        let text = |at: Timestamp| Instant::from_micros(at.as_micros()).to_string();
        Self {
            id: job.id.to_string(),
            kind: job.kind.clone(),
            state: state(job, now),
            client: Some(job.owner.clone()).filter(|owner| !owner.is_empty()),
            created: text(job.created),
            started: job.started.map(text),
            finished: job.finished.map(text),
            expires: job.expires.map(text),
            paused_since: job.paused.map(text),
            attempts: job.attempts,
            yields: job.yields,
            progress: progress(job),
        }
    }
}

fn progress(job: &JobRecord) -> Progress {
    let total = job.progress.total;
    let done = match job.state {
        // Its last checkpoint came before its end.
        JobState::Succeeded => total,
        _ => job.progress.done,
    };
    let text = match job.state {
        JobState::Succeeded => "done".to_owned(),
        JobState::Failed => "failed".to_owned(),
        JobState::Cancelled => "cancelled".to_owned(),
        JobState::Queued | JobState::Running => progress_text(job),
    };
    Progress {
        text,
        done,
        total,
        percent: job.percent(),
    }
}

impl JobPage {
    pub(crate) fn of(job: &JobRecord, now: Timestamp) -> Self {
        let types = types(job);
        let sum = |of: fn(&TypeLine) -> u64| types.iter().map(of).fold(0, u64::saturating_add);
        let (rows, bytes, files) = (
            sum(|line| line.rows),
            sum(|line| line.bytes),
            sum(|line| line.files),
        );
        let rate = rate(job, (rows, bytes), now);
        let left = job.progress.total.saturating_sub(job.progress.done);
        let estimate = rate.as_ref().filter(|rate| {
            let is_known = job.progress.total > 0 && rate.done_per_second > 0.0;
            is_known && !job.state.is_ended()
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an estimate, and the cast saturates"
        )]
        let estimated_seconds_left = estimate.map(|rate| (left as f64 / rate.done_per_second).ceil() as u64);
        Self {
            line: JobLine::of(job, now),
            rows,
            bytes,
            files,
            types,
            rate,
            estimated_seconds_left,
            failure: job.failure.as_ref().map(|failure| Failure {
                code: failure.code.clone(),
                message: failure.message.clone(),
            }),
        }
    }
}

/// What files of several types are listed as.
const MIXED: &str = "mixed";

/// What is done of each type: by the result of a finished export, else as the job told by its last checkpoint.
fn types(job: &JobRecord) -> Vec<TypeLine> {
    let result = job.result.as_deref().filter(|_| job.kind == EXPORT);
    let Some(result) = result.and_then(|result| ExportResult::parse(result).ok()) else {
        let tallies = job.tallies.iter();
        let line = |tally: &fhirhose_jobs::Tally| TypeLine {
            name: tally.name.clone(),
            rows: tally.rows,
            bytes: tally.bytes,
            files: tally.files,
        };
        return tallies.map(line).collect();
    };
    let mut types: BTreeMap<&str, TypeLine> = BTreeMap::new();
    for file in &result.files {
        let line = types
            .entry(file.resource_type.as_deref().unwrap_or(MIXED))
            .or_default();
        line.rows += file.count;
        line.bytes += file.bytes;
        line.files += 1;
    }
    let named = |(name, line): (&str, TypeLine)| TypeLine {
        name: name.to_owned(),
        ..line
    };
    types.into_iter().map(named).collect()
}

fn rate(job: &JobRecord, (rows, bytes): (u64, u64), now: Timestamp) -> Option<Rate> {
    let (took, before): (Duration, (u64, u64, u64)) = match (job.state, job.turn) {
        (JobState::Running, Some(turn)) if job.is_held(now) => {
            (now.since(turn.began), (turn.rows, turn.bytes, turn.done))
        }
        (JobState::Succeeded, _) => (job.finished?.since(job.started?), (0, 0, 0)),
        _ => return None,
    };
    let secs = took.as_secs_f64();
    if secs <= 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_second = |now: u64, before: u64| {
        let rate = now.saturating_sub(before) as f64 / secs;
        (rate * 10.0).round() / 10.0
    };
    Some(Rate {
        rows_per_second: per_second(rows, before.0),
        bytes_per_second: per_second(bytes, before.1),
        done_per_second: per_second(job.progress.done, before.2),
    })
}
