//! The crate's one error: a coarse kind that callers branch on, what was being done, and why it failed.

use std::error::Error as StdError;
use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The data folder, a run or an output is not there.
    NotFound,
    /// Bytes on disk are not what was written: a checksum, a length or a structure is wrong.
    Corrupt,
    /// A file is encrypted with a key that was not given.
    NoKey,
    /// The folder is held by another process.
    InUse,
    /// The folder was written by a newer fhirhose.
    NewerFormat,
    /// No space is left on the device.
    DiskFull,
    /// The lease under which the write was made is no longer held: the work is somebody else's now.
    LeaseLost,
    /// The job was cancelled: stop and clean up.
    Cancelled,
    /// A condition of the request does not hold (a version that was expected, a resource that is deleted).
    Conflict,
    /// The storage below failed: input/output, the key-value store, the object store.
    Storage,
    /// The caller broke the contract (rows out of order, a name that is not allowed).
    Invalid,
}

/// A failure of the store: kind, context, source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error of this kind; `context` says what was being done, and to what.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Makes a storage error out of an input/output error, or [`ErrorKind::DiskFull`] or [`ErrorKind::NotFound`] where it is one.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::DiskFull,
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, context).with_source(source)
    }

    /// Makes an error of the fitting kind out of an object store's.
    pub fn object(context: impl Into<String>, source: object_store::Error) -> Self {
        let kind = match &source {
            object_store::Error::NotFound { .. } => ErrorKind::NotFound,
            other if is_disk_full(other) => ErrorKind::DiskFull,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, context).with_source(source)
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

/// Looks through a chain of causes for the operating system's "no space left".
pub(crate) fn is_disk_full(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        cause = current.source();
    }
    false
}
