//! The crate's one error: a coarse kind that callers branch on, what was being done, and why it failed.
//!
//! An error becomes what the job runner understands by [`From<Error> for JobError`](fhirhose_jobs::JobError): a stop, a
//! retry, or a failure whose code is the kind's ([`ErrorKind::code`]).

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use fhirhose_jobs::{JobError, StopReason};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The specification of the operation cannot be carried out as it is.
    Invalid,
    /// Something that the specification names is not there: a file, a Group, a Patient.
    NotFound,
    /// An input or a service cannot be reached just now; trying again may help.
    Unreachable,
    /// An input is not the one that the job began with.
    InputChanged,
    /// No space is left on the device.
    DiskFull,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// The work must stop: a shutdown, a cancelled job, a lost lease.
    Stopped(StopReason),
    /// Another process works there.
    InUse,
    /// A sync would delete more at its target than it is allowed to.
    TooManyDeletions,
    /// The storage below failed, or refused what should have been right.
    Storage,
}

impl ErrorKind {
    /// The stable word for the kind, which becomes the code of a job's failure.
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid-spec",
            Self::NotFound => "not-found",
            Self::Unreachable => "input-unreachable",
            Self::InputChanged => "input-changed",
            Self::DiskFull => "disk-full",
            Self::Corrupt => "corrupt",
            Self::Stopped(_) => "stopped",
            Self::InUse => "in-use",
            Self::TooManyDeletions => "too-many-deletions",
            Self::Storage => "storage",
        }
    }
}

/// A failure of a bulk operation: kind, context, source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of this kind; `context` says what was being done, and to what. Never resource content.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Makes the error of work that was told to stop.
    pub fn stopped(reason: StopReason) -> Self {
        Self::new(ErrorKind::Stopped(reason), "stopped before the end")
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Makes an error out of an input/output error, with the kind that fits it.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, context).with_source(source)
    }

    /// What a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn StdError + 'static))
    }
}

impl From<fhirhose_store::Error> for Error {
    fn from(source: fhirhose_store::Error) -> Self {
        use fhirhose_store::ErrorKind as Below;
        let kind = match source.kind() {
            Below::LeaseLost => ErrorKind::Stopped(StopReason::LeaseLost),
            Below::Cancelled => ErrorKind::Stopped(StopReason::Cancelled),
            Below::DiskFull => ErrorKind::DiskFull,
            Below::Corrupt => ErrorKind::Corrupt,
            Below::NotFound => ErrorKind::NotFound,
            Below::InUse
            | Below::NewerFormat
            | Below::NoKey
            | Below::Conflict
            | Below::Storage
            | Below::Invalid => ErrorKind::Storage,
        };
        Self::new(kind, "working on the store").with_source(source)
    }
}

impl From<fhirhose_jobs::Error> for Error {
    fn from(source: fhirhose_jobs::Error) -> Self {
        use fhirhose_jobs::ErrorKind as Below;
        let kind = match source.kind() {
            Below::LeaseLost => ErrorKind::Stopped(StopReason::LeaseLost),
            Below::Cancelled => ErrorKind::Stopped(StopReason::Cancelled),
            Below::Unavailable => ErrorKind::Unreachable,
            Below::StorageFull => ErrorKind::DiskFull,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, "working on the job store").with_source(source)
    }
}

impl Error {
    /// Makes an error out of one of the client; `doing` says what was being done, and with which server.
    pub fn of_client(doing: impl Into<String>, source: fhirhose_client::Error) -> Self {
        use fhirhose_client::ErrorKind as Below;
        let kind = match source.kind() {
            Below::Unreachable | Below::Busy | Below::LinkExpired => ErrorKind::Unreachable,
            Below::Changed => ErrorKind::InputChanged,
            Below::Corrupt => ErrorKind::Corrupt,
            Below::DiskFull => ErrorKind::DiskFull,
            Below::Disk => ErrorKind::Storage,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, doing).with_source(source)
    }
}

impl From<fhirhose_client::Error> for Error {
    fn from(source: fhirhose_client::Error) -> Self {
        Self::of_client("working with a server or a folder", source)
    }
}

/// How long a job waits at least before it tries again to reach something.
const UNREACHABLE_PAUSE: Duration = Duration::from_secs(2);

impl From<Error> for JobError {
    /// Turns a stop into a stop, what cannot be reached into a retry, and anything else into a failure.
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Stopped(reason) => Self::Stop(reason),
            ErrorKind::Unreachable => Self::retry(UNREACHABLE_PAUSE, error.kind.code(), &error),
            kind => Self::failed(kind.code(), &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_fails_the_job_with_its_code_and_the_whole_chain() {
        let below = fhirhose_store::Error::new(fhirhose_store::ErrorKind::DiskFull, "write run a");
        let JobError::Failed(failure) = JobError::from(Error::from(below)) else {
            panic!("not a failure")
        };
        assert_eq!(
            (failure.code.as_str(), failure.message.as_str()),
            ("disk-full", "working on the store: write run a")
        );
    }

    #[test]
    fn a_lost_lease_is_a_stop_and_an_unreachable_input_a_retry() {
        let below = fhirhose_store::Error::new(fhirhose_store::ErrorKind::LeaseLost, "commit");
        assert_eq!(
            JobError::from(Error::from(below)),
            JobError::Stop(StopReason::LeaseLost)
        );
        let unreachable = Error::new(ErrorKind::Unreachable, "fetching an input");
        assert!(matches!(JobError::from(unreachable), JobError::Retry { .. }));
    }
}
