//! What can go wrong between a worker and its job store.

use std::error::Error as StdError;

use crate::JobId;

/// Says what a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is not what it must be; asking again gives the same answer.
    Invalid,
    /// A job with this id is recorded already.
    Exists,
    /// The lease is stale: somebody else claimed the job, or it is finished, released or removed. Stop, touch nothing.
    LeaseLost,
    /// The job was cancelled. Stop, then release the lease so that cleaning can begin.
    Cancelled,
    /// The store cannot be reached or is busy; the call may or may not have taken effect. Try again later.
    Unavailable,
    /// The store has no room left. What was acknowledged is safe.
    StorageFull,
    /// Anything else the store reports; a bug, or damage.
    Store,
}

/// Is the one error of this crate.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error. `context` says what was being done and to what: lower case, no full stop, no content.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Says that a lease is stale; stores need it when the job itself is gone.
    pub fn lease_lost(job: &JobId) -> Self {
        Self::new(ErrorKind::LeaseLost, format!("the lease on job {job} is lost"))
    }

    /// Adds what caused it.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Returns what a caller branches on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
