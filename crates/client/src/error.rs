//! What can go wrong between this client and a server.

use std::error::Error as StdError;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::answer::Answer;
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
    /// The server refuses, and will again: what is no trouble that passes, such as most of 4xx, and a 5xx whose OperationOutcome says that
    /// something is wrong; or a job has failed.
    Refused,
    /// The server has trouble that passes or asks to come back later: 408, 425, 429, 502 to 504, a 5xx without an OperationOutcome or with one
    /// that calls itself passing, a page of HTML in place of an answer; [`Error::retry_after`] says when, if it does.
    Busy,
    /// The link to a file is not good any more, or never was: 401, 403, 404, 410, or what object stores say instead. The manifest, fetched
    /// again, may have another one.
    LinkExpired,
    /// The answer is not what the standard says.
    Protocol,
    /// What lay behind the URL is another thing than before, or cannot be gone on with: it is to be fetched from its first byte.
    Changed,
    /// What arrived is not what was announced: lines, type, JSON.
    Corrupt,
    /// The local disk failed.
    Disk,
    /// The local disk is full.
    DiskFull,
    /// Another process is at work in the folder.
    InUse,
    /// The folder holds something else.
    OtherFolder,
}

/// Is the one error of this crate. Its text names the server and the path, never a query, for queries can hold secrets.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    kind: ErrorKind,
    context: String,
    retry_after: Option<Duration>,
    answer: Option<Box<Answer>>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error; `context` says what was being done and to what.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            retry_after: None,
            answer: None,
            source: None,
        }
    }

    /// Makes an error of the local disk: what was being done, to which file.
    pub(crate) fn disk(doing: &str, path: &Path, source: io::Error) -> Self {
        let is_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let kind = if is_full {
            ErrorKind::DiskFull
        } else {
            ErrorKind::Disk
        };
        Self::new(kind, format!("{doing} {}", path.display())).caused_by(source)
    }

    /// Adds what the server answered.
    pub(crate) fn answered(self, answer: Answer) -> Self {
        Self {
            answer: Some(Box::new(answer)),
            ..self
        }
    }

    /// Adds when the server wants to be asked again.
    pub(crate) fn not_before(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Has callers act on it as on another kind.
    pub(crate) fn taken_as(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Takes words out of what the server said.
    pub(crate) fn without_words(mut self, words: &[&str]) -> Self {
        for word in words {
            self.context = without_word(&self.context, word);
            if let Some(answer) = &mut self.answer {
                answer.body = without_word(&answer.body, word);
            }
        }
        self
    }

    /// How long the server asks to wait, not longer than its [`Quirks`](crate::Quirks) let it.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// What the server answered, if it did.
    pub fn answer(&self) -> Option<&Answer> {
        self.answer.as_deref()
    }

    /// Adds what caused it.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// The error and its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        text
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

/// Puts `…` for a word, where it stands between characters that ids do not have.
fn without_word(text: &str, word: &str) -> String {
    let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = &found[word.len()..];
        let is_word =
            !before.ends_with(is_of_id) && !after.starts_with(|letter| is_of_id(letter) && letter != '.');
        kept.push_str(before);
        kept.push_str(if is_word { "…" } else { word });
        rest = after;
    }
    kept.push_str(rest);
    kept
}
