//! What a server answered, read whole: [`Answer`], and what it means where it is not what was hoped for.

use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
use futures::StreamExt;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER, SET_COOKIE};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::decode::{Coding, DecodeLimits, Decoder, RestartPoint};
use crate::http::{Http, header};
use crate::{Error, ErrorKind, Result, retry_after};

/// Bytes of a manifest or an OperationOutcome that are read at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of a body that an error keeps.
const KEPT_BODY_BYTES_MAX: usize = 8 << 10;
/// Characters of the server's own words that go into an error.
const WORDS_CHARS_MAX: usize = 500;

/// What a server answered, for logs: cookies and redirects, which can hold secrets, are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The beginning of the body of an answer that was not hoped for; else empty.
    pub body: String,
}

impl Answer {
    pub(crate) fn with_headers(mut self, headers: &HeaderMap) -> Self {
        self.headers = loggable(headers);
        self
    }
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Where it came from in the end.
    pub(crate) url: Url,
}

impl Reply {
    /// Reads an answer to its end, at the pace that the policy wants, and undoes a coding that was not asked for.
    pub(crate) async fn read(http: &Http, response: Response, place: &str) -> Result<Self> {
        let (status, headers, url) = (
            response.status(),
            response.headers().clone(),
            response.url().clone(),
        );
        let coding = Coding::parse(&header(&headers, CONTENT_ENCODING.as_str()).unwrap_or_default())?;
        let mut decoder = Decoder::new(coding, RestartPoint::default(), DecodeLimits::default())?;
        let (mut chunks, mut body) = (http.body(response, place.to_owned()), Vec::new());
        while let Some(chunk) = chunks.next().await {
            decoder.push(&chunk?, &mut |piece| {
                if piece.len() > ANSWER_BYTES_MAX - body.len() {
                    let problem = format!("{place}: the answer is longer than {ANSWER_BYTES_MAX} bytes");
                    return Err(Error::new(ErrorKind::Protocol, problem));
                }
                body.extend_from_slice(piece);
                Ok(())
            })?;
        }
        decoder.finish()?;
        Ok(Self {
            status,
            headers,
            body,
            url,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name)
    }

    /// What logs may have of it, without the body.
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            status: self.status.as_u16(),
            ..Answer::default()
        }
        .with_headers(&self.headers)
    }

    /// Whether this is a page for people, such as proxies answer with.
    pub(crate) fn is_html(&self) -> bool {
        let html_type = self.header(CONTENT_TYPE.as_str());
        html_type.is_some_and(|text| is_html_type(&text)) || self.body.trim_ascii_start().starts_with(b"<")
    }

    pub(crate) fn outcome(&self) -> Option<OperationOutcome> {
        OperationOutcome::parse(&self.body).ok()
    }

    /// Turns an answer that is not the one hoped for into an error with the server's first issue, if it gives one.
    ///
    /// Passing are 408, 425, 429, 502 to 504, what says so of itself (S-08), and a 5xx that no FHIR server speaks in.
    pub(crate) fn refusal(&self, place: &str, now: Instant, wait_max: Duration) -> Error {
        let outcome = self.outcome();
        let passes = match &outcome {
            _ if matches!(self.status.as_u16(), 408 | 425 | 429 | 502..=504) => true,
            Some(outcome) => outcome.issues.iter().any(|issue| is_passing(issue.code)),
            None => self.status.is_server_error(),
        };
        let kind = if passes {
            ErrorKind::Busy
        } else {
            ErrorKind::Refused
        };
        let said = outcome.and_then(|outcome| outcome.issues.into_iter().next());
        let said = said.map(|issue| format!(": {}", clipped(&issue.details)));
        self.error(
            kind,
            &format!("{place} answers {}{}", self.status, said.unwrap_or_default()),
        )
        .not_before(self.retry_after(now, wait_max))
    }

    /// Makes an error that has the answer with it.
    pub(crate) fn error(&self, kind: ErrorKind, context: &str) -> Error {
        let kept = &self.body[..self.body.len().min(KEPT_BODY_BYTES_MAX)];
        Error::new(kind, context).answered(Answer {
            body: String::from_utf8_lossy(kept).into_owned(),
            ..self.answer()
        })
    }

    pub(crate) fn retry_after(&self, now: Instant, wait_max: Duration) -> Option<Duration> {
        retry_after::parse(self.header(RETRY_AFTER.as_str()).as_deref(), now, wait_max)
    }
}

pub(crate) fn is_html_type(content_type: &str) -> bool {
    content_type.trim().to_ascii_lowercase().starts_with("text/html")
}

/// Text of a server on one line, and not too much of it.
pub(crate) fn clipped(text: &str) -> String {
    let letters = text.chars().take(WORDS_CHARS_MAX);
    letters
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

fn is_passing(code: IssueCode) -> bool {
    matches!(
        code,
        IssueCode::Transient | IssueCode::Throttled | IssueCode::Timeout | IssueCode::LockError
    )
}

fn loggable(headers: &HeaderMap) -> Vec<(String, String)> {
    let kept = headers
        .iter()
        .filter(|(name, _)| **name != SET_COOKIE && **name != LOCATION);
    kept.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    })
    .collect()
}

/// Sends a request, once.
pub(crate) async fn send(request: reqwest::RequestBuilder, place: &str) -> Result<reqwest::Response> {
    request
        .send()
        .await
        .map_err(|source| Error::transport(format!("asking {place}"), source))
}

/// Reads an answer whole.
pub(crate) async fn read_all(response: reqwest::Response, place: &str) -> Result<Vec<u8>> {
    let (mut stream, mut body) = (response.bytes_stream(), Vec::new());
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(
            &chunk.map_err(|source| Error::transport(format!("reading {place}"), source))?,
        );
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{place}: the answer is longer than {ANSWER_BYTES_MAX} bytes"),
            ));
        }
    }
    Ok(body)
}

/// Turns an answer that is not the one hoped for into an error with the server's first issue, if it gives one.
pub(crate) async fn refusal(response: reqwest::Response, place: &str) -> Error {
    let status = response.status();
    let body = read_all(response, place).await.unwrap_or_default();
    let said = fhirhose_fhir::outcome::OperationOutcome::parse(&body).ok();
    let said = said
        .and_then(|outcome| outcome.issues.into_iter().next())
        .map(|issue| format!(": {}", issue.details));
    let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let kind = if busy { ErrorKind::Busy } else { ErrorKind::Refused };
    Error::new(
        kind,
        format!("{place} answers {status}{}", said.unwrap_or_default()),
    )
}
