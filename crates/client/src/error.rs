//! What can go wrong between this client and a server.

use std::error::Error as StdError;

use crate::guard::{NOT_REACHED, Refusal, causes};

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The URL is not one, or of a scheme that is not http or https.
    Url,
    /// The [policy](crate::FetchPolicy) forbids to fetch it; trying again does not help.
    Forbidden,
    /// No connection, a time-out, or a body that ended short: trying again may help.
    Unreachable,
    /// The server refuses: a 4xx other than 408 and 429.
    Refused,
    /// The server has trouble or asks to come back later: 408, 429, 5xx.
    Busy,
    /// The answer is not what the standard says.
    Protocol,
    /// What lay behind the URL is another thing than before.
    Changed,
    /// What arrived is not what was announced: lines, type, JSON.
    Corrupt,
    /// The local disk failed.
    Disk,
}

/// Is the one error of this crate. Its text names the server and the path, never a query, for queries can hold secrets.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error; `context` says what was being done and to what.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// What a caller can act on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Makes an error out of the HTTP library's, without the URL that it would print.
    ///
    /// A server that cannot be reached and one that may not be are told alike.
    pub(crate) fn transport(context: String, source: reqwest::Error) -> Self {
        if let Some(refusal) = Refusal::within(&source) {
            return Self::new(ErrorKind::Forbidden, format!("{context}: {refusal}"));
        }
        if source.is_builder() {
            return Self::new(ErrorKind::Url, context).caused_by(source.without_url());
        }
        if source.is_connect() {
            let tls = causes(&source).find_map(|cause| cause.downcast_ref::<rustls::Error>());
            if let Some(tls) = tls {
                return Self::new(ErrorKind::Unreachable, context).caused_by(tls.clone());
            }
            let source = source.without_url();
            let why = causes(&source).last().map(ToString::to_string);
            tracing::info!(what = context, why, "no connection");
            return Self::new(ErrorKind::Unreachable, format!("{context}: {NOT_REACHED}"));
        }
        Self::new(ErrorKind::Unreachable, context).caused_by(source.without_url())
    }
}
