//! Where jobs are kept: the trait [`JobStore`] and what is passed to it.
//!
//! A store that also keeps the job's data applies a [`Checkpoint`] in the same transaction as the write that it records;
//! it does so by [`JobRecord::accept_checkpoint`], like [`JobStore::checkpoint`] itself.

use async_trait::async_trait;

use crate::{Error, Failure, JobId, JobRecord, JobState, Lease, NewJob, Progress, Tally, Timestamp};

/// Asks for work.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who asks.
    pub worker: &'a str,
    /// The kinds of job that are wanted.
    pub kinds: &'a [&'a str],
    /// The present instant: leases that end at or before it are over.
    pub now: Timestamp,
    /// When the new lease ends.
    pub until: Timestamp,
}

/// Is what a worker writes to be able to go on after a crash. All of it takes effect, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Replaces the job's checkpoint; `None` leaves it.
    pub state: Option<Vec<u8>>,
    /// Rows of the job by key, put over what is there: writing the same row twice is writing it once.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Raises the job's progress; `None` leaves it.
    pub progress: Option<Progress>,
    /// Replaces the number that the store must keep for this job until it ends; `None` leaves it.
    pub holds: Option<u64>,
    /// Replaces how much of each sort is done; `None` leaves it.
    pub tallies: Option<Vec<Tally>>,
}

impl Checkpoint {
    /// Makes a checkpoint that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the job's checkpoint state.
    #[must_use]
    pub fn state(self, state: Vec<u8>) -> Self {
        Self {
            state: Some(state),
            ..self
        }
    }

    /// Adds a row.
    #[must_use]
    pub fn entry(mut self, key: u64, value: Vec<u8>) -> Self {
        self.entries.push((key, value));
        self
    }

    /// Raises the progress.
    #[must_use]
    pub fn progress(self, progress: Progress) -> Self {
        Self {
            progress: Some(progress),
            ..self
        }
    }

    /// Tells how much of each sort is done.
    #[must_use]
    pub fn tallies(self, tallies: Vec<Tally>) -> Self {
        Self {
            tallies: Some(tallies),
            ..self
        }
    }

    /// Asks the store to keep what `number` stands for until the job ends.
    #[must_use]
    pub fn holds(self, number: u64) -> Self {
        Self {
            holds: Some(number),
            ..self
        }
    }
}

/// Says how a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this result, in the handler's own encoding.
    Succeeded(Vec<u8>),
    /// For good, with this failure.
    Failed(Failure),
}

/// Ends a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended.
    pub now: Timestamp,
    /// From when on it may be cleaned and removed.
    pub expires: Timestamp,
}

/// Says why a lease is given back before the job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// The worker shuts down: the job goes on elsewhere at once, and this claim does not count as an attempt.
    Shutdown,
    /// The worker lets others go first: the job goes on later, and this claim does not count as an attempt.
    Yield {
        /// When it did.
        now: Timestamp,
        /// Whom it lets go first.
        queue: Queue,
    },
    /// The attempt came to nothing and is to be made again; it counts.
    Retry {
        /// Not before this instant.
        ready: Timestamp,
        /// What stood in the way.
        cause: Failure,
    },
}

/// Says whom a job that gives its place back lets go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Other clients' jobs: it keeps its place among those of its own client, whose order counts.
    KeepsPlace,
    /// Everybody's: it goes behind all jobs of its own client that wait.
    Behind,
}

/// Is what a worker learns by renewing its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether the operator has paused the job: write a checkpoint and release it.
    pub paused: bool,
}

/// Chooses jobs. All conditions that are set must hold; the default chooses all jobs, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this owner.
    pub owner: Option<String>,
    /// To be cleaned at this instant: ended, expired at or before it, and held by no worker any more.
    pub expired_at: Option<Timestamp>,
    /// The page after the job with this creation instant and id.
    pub after: Option<(Timestamp, JobId)>,
    /// At most this many; `None` for all.
    pub limit: Option<usize>,
}

/// Keeps jobs. Every change that returned is durable, and no call does half of what it says.
///
/// An implementation is the smallest part: it finds the record, applies the method of [`JobRecord`] that has the call's
/// name in one transaction, and saves. All must pass `testing::conformance`.
///
/// # Errors
/// Calls with a lease fail with [`ErrorKind::LeaseLost`](crate::ErrorKind::LeaseLost) when it is stale or the job is gone,
/// and with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when the job was cancelled under this very lease. All
/// calls may fail with the kinds `Unavailable`, `StorageFull` and `Store`.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Records a new job, queued.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`](crate::ErrorKind::Exists) when the id is taken; the job that has it stays as it is.
    async fn create(&self, job: NewJob) -> Result<(), Error>;

    /// Reads one job; `None` when there is none of that id.
    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Error>;

    /// Lists jobs, newest first (by `created`, then id, both descending).
    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Error>;

    /// Takes the job whose turn it is by [`next_job`](crate::next_job), or `None` when none is claimable.
    async fn claim(&self, claim: Claim<'_>) -> Result<Option<(JobRecord, Lease)>, Error>;

    /// Moves the end of a lease to `until`.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Standing, Error>;

    /// Writes a checkpoint.
    async fn checkpoint(&self, lease: &Lease, write: Checkpoint) -> Result<(), Error>;

    /// Reads a job's entries with keys at or above `from`, ascending, at most `limit`; none for an unknown job.
    async fn entries(&self, id: &JobId, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error>;

    /// Ends a job. Repeated under the same lease it changes nothing and succeeds.
    async fn finish(&self, lease: &Lease, end: Finish) -> Result<(), Error>;

    /// Gives a lease back: the job is queued again with its checkpoint kept, or, when it was cancelled, free to be
    /// cleaned. Repeated under the same lease it changes nothing and succeeds.
    async fn release(&self, lease: &Lease, why: Release) -> Result<(), Error>;

    /// Ends at once all leases that `worker` holds, and returns how many. A process calls it when it starts and knows that
    /// nobody else lives under its name (the folder lock of an embedded store proves it), so that the jobs of its
    /// crashed predecessor go on without waiting for their leases. The claims that are ended count as attempts.
    async fn abandon(&self, worker: &str) -> Result<u64, Error>;

    /// Cancels a job, ended ones too, and returns whether this call did: `false` for an unknown or already cancelled job.
    /// A worker that holds it hears of it at its next call under the lease.
    async fn cancel(&self, id: &JobId, now: Timestamp) -> Result<bool, Error>;

    /// Pauses a job that has not ended, and returns whether this call did. It is not claimed until it is resumed; a worker
    /// that holds it hears of it at its next renewal. Everything else of it stays, what it holds too.
    async fn pause(&self, id: &JobId, now: Timestamp) -> Result<bool, Error>;

    /// Lets a paused job go on, and returns whether this call did.
    async fn resume(&self, id: &JobId) -> Result<bool, Error>;

    /// Removes a job with its checkpoint and entries; succeeds when there is none.
    async fn remove(&self, id: &JobId) -> Result<(), Error>;
}
