//! [`DataProvider`]: a FHIR server with its files, as a Data Consumer speaks to it.
//!
//! [`kick_off`](DataProvider::kick_off) begins an export, [`pages`](DataProvider::pages) follows it to its end, waiting as the server
//! asks, [`open`](DataProvider::open) begins to fetch a file, [`delete`](DataProvider::delete) ends it. Tokens go to who may see
//! them and to nobody else (CL-04). Nothing is written to disk here.

mod ask;
mod credentials;
mod file;
mod page;
mod pages;
mod patience;
mod start;
mod status;

use std::sync::Arc;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::{Origin, Url};

use crate::clock::{Clock, SystemClock};
use crate::http::{Http, name, parse};
use crate::quirks::Quirks;
use crate::smart::TokenSource;
use crate::{Error, ErrorKind, Result};

pub(crate) use ask::Question;
use credentials::Credentials;
pub use credentials::TokenGiver;
pub use file::{Begun, FileRequest, OpenedFile};
pub use page::ManifestPage;
pub(crate) use page::absolute;
pub use pages::{PageNews, Pages};
pub(crate) use patience::Backoff;
pub use patience::{Patience, Pause, Waiting};
pub use start::Accepted;
pub use status::Status;

/// A FHIR server, who asks it, and how it is to be taken. Clones share connections and token.
#[derive(Debug, Clone)]
pub struct DataProvider {
    http: Http,
    base: Url,
    credentials: Credentials,
    /// Where credentials may go besides the base's origin.
    trusted: Vec<Origin>,
    /// Headers that the user wants to go to origins that are trusted.
    headers: HeaderMap,
    is_compressed: bool,
    quirks: Arc<Quirks>,
    patience: Patience,
    clock: Arc<dyn Clock>,
}

impl DataProvider {
    /// A server by its FHIR base URL, without authorization.
    ///
    /// # Errors
    /// [`ErrorKind::Url`], also for one with a user or a password: the URL stands in logs, journals and states.
    pub fn new(http: &Http, base: &str) -> Result<Self> {
        let base = parse(base)?;
        if !base.username().is_empty() || base.password().is_some() {
            let problem = "the base URL has a user or a password in it, which is no place for secrets";
            return Err(Error::new(ErrorKind::Url, problem));
        }
        Ok(Self {
            http: http.clone(),
            base,
            credentials: Credentials::None,
            trusted: Vec::new(),
            headers: HeaderMap::new(),
            is_compressed: true,
            quirks: Arc::new(Quirks::default()),
            patience: Patience::default(),
            clock: Arc::new(SystemClock),
        })
    }

    /// Shows tokens with what is for this server (CL-04).
    #[must_use]
    pub fn with_tokens(mut self, tokens: TokenSource) -> Self {
        self.credentials = Credentials::Tokens(tokens);
        self
    }

    /// Shows this one token with what is for this server, as long as it is good.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a token that no header takes; the error does not show it.
    pub fn with_bearer(mut self, token: &str) -> Result<Self> {
        self.credentials = Credentials::bearer(token)?;
        Ok(self)
    }

    /// Shows tokens that somebody else gets: another one when the server has refused the last (CL-02).
    #[must_use]
    pub fn with_given_bearers(mut self, give: TokenGiver) -> Self {
        self.credentials = Credentials::given(give);
        self
    }

    /// Trusts other servers, by any URL of theirs, with the credentials for this one: those that files or statuses lie at.
    ///
    /// # Errors
    /// [`ErrorKind::Url`].
    pub fn with_trusted_file_origins(mut self, urls: &[String]) -> Result<Self> {
        for url in urls {
            self.trusted.push(parse(url)?.origin());
        }
        Ok(self)
    }

    /// Sends further headers to this server, and to others that are trusted; an `Authorization` is treated as a token is.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for what is no header; the error does not show the value.
    pub fn with_headers(mut self, headers: &[(String, String)]) -> Result<Self> {
        let refused =
            |name: &str| Error::new(ErrorKind::Refused, format!("`{name}` cannot be sent as a header"));
        for (name, value) in headers {
            let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_str(value).ok();
            let (parsed, mut value) = parsed.zip(value).ok_or_else(|| refused(name))?;
            value.set_sensitive(true);
            self.headers.append(parsed, value);
        }
        Ok(self)
    }

    /// Asks for files as they are, and not compressed.
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        self.is_compressed = false;
        self
    }

    /// Takes the server as it is known to be.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = Arc::new(quirks);
        self
    }

    /// Bears with the server so long.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Waits by another clock than the operating system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Whether a token goes along to this server.
    pub fn has_credentials(&self) -> bool {
        !matches!(self.credentials, Credentials::None)
    }

    /// The FHIR base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The connection.
    pub fn http(&self) -> &Http {
        &self.http
    }

    /// The clock by which it is waited for.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What is known of how this server differs.
    pub fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// How long the server is borne with.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Tells the server that nothing of an export is needed any more, or cancels it; one that is not known any more is done (CL-13).
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for a status at an origin that is not trusted: a server does not have us delete at another one.
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] with the server's own words. Else as [`Http::fetch`].
    pub async fn delete(&self, status_url: &Url) -> Result<()> {
        let place = name(status_url);
        if !self.trusts(status_url) {
            let problem = format!(
                "{place} is not at the server's origin, nor at one that is trusted: nothing is deleted there"
            );
            return Err(Error::new(ErrorKind::Forbidden, problem));
        }
        let question = Question::new(Method::DELETE, status_url, &place, "application/fhir+json");
        let reply = self.ask(question).await?;
        let is_gone = matches!(reply.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        if reply.status.is_success() || is_gone {
            return Ok(());
        }
        Err(self.refusal(&reply, &place))
    }
}
