//! One question and its whole answer: [`Seen`].

use std::time::Duration;

use fhirhose_fhir::outcome::OperationOutcome;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::Examination;
use crate::http::{header, name};
use crate::small::whole;
use crate::{Error, Result};

/// Bytes of an answer that are read at most.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Characters of a server's own words in a check.
const WORDS_CHARS_MAX: usize = 200;
/// How long one answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// An answer.
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The certificate of the server, DER.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Examination {
    /// Asks for a document that is there for everybody; no redirect is followed.
    pub(super) async fn ask_openly(&self, url: &Url, accept: &str) -> Result<Seen> {
        let request = self.provider.http().strict_request(Method::GET, url)?;
        Seen::of(request.header("Accept", accept), url).await
    }

    /// Asks for a file, of which nothing but the head is read; no redirect is followed. The token goes along only where it is wanted (F-05).
    pub(super) async fn ask_for_file(
        &self,
        url: &Url,
        wants_token: bool,
        headers: &[(&str, &str)],
    ) -> Result<Seen> {
        let mut request = match wants_token {
            true => self.provider.signed_request(Method::GET, url).await?,
            false => self.provider.http().strict_request(Method::GET, url)?,
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (seen, _body) = Seen::head(request, url).await?;
        Ok(seen)
    }

    /// Asks with what goes along to this server: the token, if there is one.
    pub(super) async fn ask(&self, method: Method, url: &Url, headers: &[(&str, &str)]) -> Result<Seen> {
        let mut request = self.provider.signed_request(method, url).await?;
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Seen::of(request, url).await
    }
}

impl Seen {
    async fn of(request: RequestBuilder, url: &Url) -> Result<Self> {
        let (seen, response) = Self::head(request, url).await?;
        let body = whole(response, &name(url), ANSWER_BYTES_MAX).await?;
        Ok(Self { body, ..seen })
    }

    async fn head(request: RequestBuilder, url: &Url) -> Result<(Self, Response)> {
        let place = name(url);
        let sent = request.timeout(ANSWER_TIME_MAX).send().await;
        let response = sent.map_err(|source| Error::transport(format!("asking {place}"), source))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let tls = response.extensions().get::<reqwest::tls::TlsInfo>();
        let certificate = tls.and_then(|tls| tls.peer_certificate()).map(<[u8]>::to_vec);
        let seen = Self {
            status,
            headers,
            body: Vec::new(),
            certificate,
        };
        Ok((seen, response))
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name)
    }

    pub(super) fn content_type(&self) -> String {
        self.header(CONTENT_TYPE.as_str()).unwrap_or_default()
    }

    pub(super) fn has_outcome(&self) -> bool {
        OperationOutcome::parse(&self.body).is_ok()
    }

    /// The status and what the server says of it.
    pub(super) fn words(&self) -> String {
        let outcome = OperationOutcome::parse(&self.body).ok();
        let issue = outcome.and_then(|outcome| outcome.issues.into_iter().next());
        match issue {
            Some(issue) => format!("{}: {}", self.status, shown(&issue.details)),
            None if self.body.is_empty() => format!("{}, without a body", self.status),
            None => format!("{}, without an OperationOutcome", self.status),
        }
    }
}

/// Text of a server on one line, and not too much of it.
pub(super) fn shown(text: &str) -> String {
    let letters = text.chars().take(WORDS_CHARS_MAX);
    letters
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// An error with its causes, on one line.
pub(super) fn told(error: &Error) -> String {
    shown(&error.chain())
}
