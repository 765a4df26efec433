//! The crate's error for whole documents: a coarse kind that callers branch on, and what was wrong.
//!
//! Narrow parsers have narrower results of their own: a bad request is an [`OperationOutcome`](crate::outcome::OperationOutcome)
//! that lists every problem, a bad line is a refusal. An error never quotes the document, for it may be a resource.

use std::fmt;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The bytes are not one JSON document of the expected shape.
    Json,
    /// The document is JSON but breaks a rule of the standard.
    Invalid,
    /// The document uses a part of the standard that is not built here; going on would lose data.
    Unsupported,
}

/// A document that cannot be used: kind and context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    context: String,
}

impl Error {
    /// Makes an error of this kind; `context` says what was read and what is wrong with it, without its content.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
        }
    }

    /// Tells what a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Makes a JSON error that keeps the place of serde's error but not its text, which may quote the document.
    pub(crate) fn json(what: &str, source: &serde_json::Error) -> Self {
        Self::new(ErrorKind::Json, format!("{what} {}", json_problem(source)))
    }
}

/// Says what is wrong with a JSON text, and where, without quoting it.
pub(crate) fn json_problem(source: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let problem = match source.classify() {
        Category::Eof => "ends too early",
        Category::Data => "has a member that is missing, given twice or of the wrong JSON type",
        Category::Syntax | Category::Io => "is not valid JSON",
    };
    format!("{problem} (line {}, column {})", source.line(), source.column())
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.context)
    }
}

impl std::error::Error for Error {}
