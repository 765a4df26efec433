//! The crate's one error: why the server could not start, or had to stop. What goes wrong with a request is a `Problem` instead.

use std::error::Error as StdError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting cannot be used.
    Settings,
    /// The address cannot be listened on: in use, or not this machine's.
    Listen,
    /// The keys or records of the authorization server cannot be used.
    Authority,
    /// The job runner failed.
    Jobs,
    /// The audit trail cannot be read or written.
    Audit,
}

/// Is the one error of this crate: kind, context, source.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
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
    pub fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// Tells what a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
