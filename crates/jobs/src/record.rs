//! What is kept of a job: [`JobRecord`] and its parts.
//!
//! How a record changes is in the module `transition`.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

use crate::{JobId, Timestamp, bytes_text};

/// Says where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Waits to be claimed, for the first time or again after a release.
    Queued,
    /// Was claimed. Whether its worker still lives, the lease tells.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended with a failure.
    Failed,
    /// Was cancelled, running or finished. What it left behind goes as soon as no worker holds it.
    Cancelled,
}

impl Progress {
    /// Tells the share that is done, in whole percent; `None` while the total is unknown.
    pub fn percent(&self) -> Option<u64> {
        let done = self.done.min(self.total);
        // In 128 bits: a hundred times the bytes of a store may not fit into 64.
        let percent = (u128::from(done) * 100).checked_div(u128::from(self.total))?;
        u64::try_from(percent).ok()
    }
}

impl JobState {
    /// Tells whether the job has ended: it will never run again.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Is a worker's right to change a job: every claim raises `fence`, and a store refuses a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job that is held.
    pub job: JobId,
    /// The number of the claim, from 1. Unique within the job, so it may name files.
    pub fence: u64,
}

/// Describes a job that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its name, drawn by the caller, so that a kick-off that is retried does not make two.
    pub id: JobId,
    /// Which [`Handler`](crate::Handler) runs it.
    pub kind: String,
    /// What is to be done, in the handler's own encoding.
    pub spec: Vec<u8>,
    /// Who asked for it; compared, never interpreted.
    pub owner: String,
    /// When it was asked for.
    pub created: Timestamp,
}

/// Says how far a job is. `done` and `total` never go back: a store keeps the greater.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Units done so far, in whatever unit the job counts.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
    /// What a person reads; no content of resources.
    pub note: String,
}

/// Says how much of one sort a job has done, such as of one type of resource. For people; nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What it is of; no content of resources.
    pub name: String,
    /// Rows written or taken so far.
    pub rows: u64,
    /// Their text, in bytes.
    pub bytes: u64,
    /// Files finished so far.
    #[serde(default)]
    pub files: u64,
}

/// Is where a job stood when it was last claimed, so that what this turn came to can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// When it was claimed.
    pub began: Timestamp,
    /// The progress then.
    pub done: u64,
    /// The sum of the tallies' rows then.
    pub rows: u64,
    /// The sum of the tallies' bytes then.
    pub bytes: u64,
    /// The steps then.
    pub steps: u64,
}

/// Says why a job failed, or why it must be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word that programs branch on, such as `storage-full`.
    pub code: String,
    /// What a person reads: lower case, no full stop, no content of resources, no credentials.
    pub message: String,
}

impl Failure {
    /// Makes a failure from its code and message.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// Makes a failure from an error and all its causes, joined by `: `.
    pub fn from_error(code: impl Into<String>, error: &(dyn StdError + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(code, message)
    }
}

/// Is all that is kept of a job, but its entries. Serialises with serde; meant for JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub id: JobId,
    /// Which handler runs it.
    pub kind: String,
    /// What is to be done, in the handler's own encoding; never changes.
    #[serde(with = "bytes_text")]
    pub spec: Vec<u8>,
    /// Who asked for it.
    pub owner: String,
    /// Where it is in its life.
    pub state: JobState,
    /// The highest fence given out; 0 before the first claim.
    pub fence: u64,
    /// When the lease ends; `None` when no worker holds the job.
    pub lease_until: Option<Timestamp>,
    /// Who holds the job, or held it last.
    pub worker: Option<String>,
    /// Not to be claimed before this instant; `created` at first, later when a retry asked for a pause.
    pub ready: Timestamp,
    /// The state that the last checkpoint wrote.
    #[serde(with = "bytes_text::option")]
    pub checkpoint: Option<Vec<u8>>,
    /// A number, opaque here, of something that the store must keep while the job needs it: a snapshot.
    pub holds: Option<u64>,
    /// How far the job is.
    pub progress: Progress,
    /// What the handler returned, once succeeded.
    #[serde(with = "bytes_text::option")]
    pub result: Option<Vec<u8>>,
    /// Why the job failed; while it is not ended, why its last attempt was given up, if it said so.
    pub failure: Option<Failure>,
    /// Claims since the job last moved forward; a graceful release takes its own back.
    pub attempts: u32,
    /// When it was asked for.
    pub created: Timestamp,
    /// When it was first claimed.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// From when on it may be cleaned and removed; `None` until it ends.
    pub expires: Option<Timestamp>,
    /// Since when the operator has it paused: it is not claimed, and a worker stops at its next checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Timestamp>,
    /// Since when it waits in its client's queue, when that is not `created`: it has given its place to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Timestamp>,
    /// When it last got or gave back a place; of all jobs of a client the latest says when the client was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Timestamp>,
    /// Checkpoints that brought a new state or entries: what a crash does not take.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps: u64,
    /// How often it gave its place to others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub yields: u64,
    /// The last claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// The greatest share that was ever done, in percent: what clients are told does not go back when a total turns out greater.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub percent_reached: u64,
    /// How much of each sort is done, as the last checkpoint that told it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tallies: Vec<Tally>,
}

impl JobRecord {
    /// Tells the share that is done, in whole percent, which never falls; `None` while nothing is known.
    pub fn percent(&self) -> Option<u64> {
        let now = self.progress.percent();
        let known = now.or((self.percent_reached > 0).then_some(0))?;
        Some(known.max(self.percent_reached))
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
