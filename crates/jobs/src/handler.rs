//! What does the work of one kind of job: [`Handler`].

use std::time::Duration;

use async_trait::async_trait;

use crate::{Error, ErrorKind, Failure, JobContext, JobRecord, StopReason};

/// Does the work of one kind of job.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Names the kind; one handler per kind.
    fn kind(&self) -> &'static str;

    /// Runs a job, from its checkpoint when it has one, and returns its result.
    ///
    /// It may be stopped at any point by a crash, and be called again with the last checkpoint that took effect. It must
    /// look at [`JobContext::stopping`] at least every few seconds; [`JobContext::checkpoint`] does so by itself. Blocking
    /// work belongs on threads of its own, and those must have ended when this returns.
    ///
    /// # Errors
    /// See [`JobError`].
    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError>;

    /// Learns that a job fails without being run once more, because it was tried too often.
    ///
    /// # Errors
    /// Any but a stop; the job is then treated as if [`run`](Self::run) had returned it.
    async fn give_up(&self, _job: &JobRecord, _failure: &Failure) -> Result<(), JobError> {
        Ok(())
    }

    /// Deletes what a job left outside the job store, its files. Called for cancelled and expired jobs that no worker
    /// holds, possibly more than once and by two nodes at a time: it must be idempotent.
    ///
    /// # Errors
    /// Any; the job is kept and cleaning is tried again at the next round.
    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError>;
}

/// Says how cleaning a job went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing is left; the job may be removed.
    Done,
    /// Something is in use, such as a file that is being downloaded: ask again at the next round.
    Later,
}

/// Says why a handler returned without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It was told to stop; not a failure of the job.
    #[error("stopped: {0:?}")]
    Stop(StopReason),
    /// The job failed for good.
    #[error("{}: {}", .0.code, .0.message)]
    Failed(Failure),
    /// Something passing stood in the way; run it again from its checkpoint. Bounded: after too many attempts without
    /// moving forward the cause becomes the job's failure.
    #[error("to be retried: {}: {}", cause.code, cause.message)]
    Retry {
        /// How long to wait at least.
        after: Duration,
        /// What stood in the way.
        cause: Failure,
    },
}

impl JobError {
    /// Makes a final failure from an error and all its causes.
    pub fn failed(code: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(Failure::from_error(code, error))
    }

    /// Makes a retry from an error and all its causes.
    pub fn retry(after: Duration, code: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Retry {
            after,
            cause: Failure::from_error(code, error),
        }
    }
}

/// How long a job waits when its store could not be reached.
const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(2);

impl From<Error> for JobError {
    /// Turns a refused lease into a stop, an unavailable store into a retry, and anything else into a failure.
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::LeaseLost => Self::Stop(StopReason::LeaseLost),
            ErrorKind::Cancelled => Self::Stop(StopReason::Cancelled),
            ErrorKind::Unavailable => Self::retry(UNAVAILABLE_PAUSE, "store-unavailable", &error),
            ErrorKind::StorageFull => Self::failed("storage-full", &error),
            ErrorKind::Invalid | ErrorKind::Exists | ErrorKind::Store => Self::failed("store", &error),
        }
    }
}
