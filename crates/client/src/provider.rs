//! [`DataProvider`]: a FHIR server with its files, as a Data Consumer speaks to it.

use std::sync::Arc;

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::Manifest;
use std::time::Duration;
use url::Url;

use crate::clock::{Clock, SystemClock};
pub(crate) use crate::export::{read_all, refusal, send};
use crate::http::{Fetched, Http, accepted, header, name, parse};
use crate::kick_off::ExportParameters;
use crate::quirks::Quirks;
use crate::smart::TokenSource;
use crate::{Error, ErrorKind, Result, retry_after};
use reqwest::header::{ACCEPT, CONTENT_LOCATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, StatusCode};

/// A FHIR server, who asks it, and how it is to be taken. Clones share connections and token.
#[derive(Debug, Clone)]
pub struct DataProvider {
    http: Http,
    base: Url,
    tokens: Option<TokenSource>,
    quirks: Arc<Quirks>,
    clock: Arc<dyn Clock>,
}

/// An export that the server has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Where it is polled: `Content-Location`, made absolute.
    pub status_url: Url,
}

/// What the status of an export says.
#[derive(Debug, Clone)]
pub enum Status {
    /// Still at work.
    Running {
        /// `X-Progress`, free text (CL-07).
        progress: Option<String>,
        /// When to ask again, if the server says so.
        retry_after: Option<Duration>,
        /// A partial manifest: its files are there already (S-06).
        partial: Option<ManifestPage>,
    },
    /// Done.
    Complete(ManifestPage),
}

/// A manifest, or a page of one, as it arrived.
#[derive(Debug, Clone)]
pub struct ManifestPage {
    /// What it says; URLs are absolute.
    pub manifest: Manifest,
    /// `transactionTime` as the server wrote it (CL-12).
    pub transaction_time: String,
    /// The text as it arrived.
    pub json: String,
}

impl DataProvider {
    /// A server by its FHIR base URL, without authorization.
    ///
    /// # Errors
    /// [`ErrorKind::Url`].
    pub fn new(http: &Http, base: &str) -> Result<Self> {
        Ok(Self {
            http: http.clone(),
            base: parse(base)?,
            tokens: None,
            quirks: Arc::new(Quirks::default()),
            clock: Arc::new(SystemClock),
        })
    }

    /// Shows tokens with what is for this server (CL-04).
    #[must_use]
    pub fn with_tokens(mut self, tokens: TokenSource) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Takes the server as it is known to be.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = Arc::new(quirks);
        self
    }

    /// Waits by another clock than the operating system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The connection.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// The FHIR base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// The clock by which it is waited for.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What is known of how this server differs.
    pub fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// Kicks an export off, once.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] with the server's own words; [`ErrorKind::Protocol`] without `Content-Location`. Else
    /// as [`Http::fetch`].
    pub async fn kick_off(&self, parameters: &ExportParameters) -> Result<Accepted> {
        let parameters = &*self.quirks.adapt(parameters)?;
        let mut url = parameters.endpoint(&self.base)?;
        let place = name(&url);
        let request = if parameters.wants_post() {
            let request = self.http.strict_request(Method::POST, &url)?;
            request
                .header(CONTENT_TYPE, "application/fhir+json")
                .body(parameters.body().to_string())
        } else {
            let query = parameters.query(&self.quirks);
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            self.http.strict_request(Method::GET, &url)?
        };
        let prefer = if parameters.lenient {
            "respond-async, handling=lenient"
        } else {
            "respond-async"
        };
        let request = request
            .header(ACCEPT, "application/fhir+json")
            .header("Prefer", prefer);
        let response = send(self.signed(request, &url).await?, &place).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refusal(response, &place).await);
        }
        let location = header(response.headers(), CONTENT_LOCATION.as_str());
        let status_url = location.and_then(|location| url.join(&location).ok());
        let status_url = status_url
            .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{place} gives no Content-Location")))?;
        Ok(Accepted { status_url })
    }

    /// Asks once how far an export is; also for the next page of a manifest.
    ///
    /// # Errors
    /// As [`kick_off`](Self::kick_off); [`ErrorKind::Protocol`] for a manifest that cannot be read.
    pub async fn status(&self, url: &Url) -> Result<Status> {
        let place = name(url);
        let request = self
            .http
            .strict_request(Method::GET, url)?
            .header(ACCEPT, "application/json");
        let response = send(self.signed(request, url).await?, &place).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(Status::Running {
                progress: header(response.headers(), "x-progress"),
                retry_after: retry_after::parse(
                    header(response.headers(), RETRY_AFTER.as_str()).as_deref(),
                    self.clock.now(),
                ),
                partial: None,
            }),
            StatusCode::OK => {
                let body = read_all(response, &place).await?;
                Ok(Status::Complete(ManifestPage::read(&body, url)?))
            }
            _ => Err(refusal(response, &place).await),
        }
    }

    /// Begins to fetch a file from byte `from` on; a token goes along only where `requires_access_token` says so and the file lies at
    /// this server's origin (CL-04, F-05).
    ///
    /// # Errors
    /// As [`Http::fetch`].
    pub async fn open(
        &self,
        url: &str,
        _requires_access_token: bool,
        from: u64,
        etag: Option<&str>,
    ) -> Result<Fetched> {
        let from = if self.quirks.no_ranges { 0 } else { from };
        self.http.fetch(url, from, etag).await
    }

    /// Tells the server that nothing of an export is needed any more, or cancels it; one that is not known any more is done (CL-13).
    ///
    /// # Errors
    /// As [`kick_off`](Self::kick_off).
    pub async fn delete(&self, status_url: &Url) -> Result<()> {
        let place = name(status_url);
        let request = self.http.strict_request(Method::DELETE, status_url)?;
        let response = send(self.signed(request, status_url).await?, &place).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        accepted(response, &place).map(|_| ())
    }

    /// Begins a request that follows no redirect, with the token where it goes to this server.
    pub(crate) async fn signed_request(&self, method: Method, url: &Url) -> Result<RequestBuilder> {
        self.signed(self.http.strict_request(method, url)?, url).await
    }

    /// Adds the token to a request that stays at this server's origin.
    async fn signed(&self, request: RequestBuilder, url: &Url) -> Result<RequestBuilder> {
        match &self.tokens {
            Some(tokens) if url.origin() == self.base.origin() => {
                Ok(request.bearer_auth(tokens.token().await?.as_str()))
            }
            _ => Ok(request),
        }
    }
}

impl ManifestPage {
    /// Reads a manifest that came from `url`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`].
    pub fn read(body: &[u8], url: &Url) -> Result<Self> {
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(
                ErrorKind::Protocol,
                format!("reading the manifest of {}", name(url)),
            )
            .caused_by(source)
        };
        let mut manifest = Manifest::parse(body).map_err(|source| wrong(source.into()))?;
        let json = String::from_utf8(body.to_vec()).map_err(|source| wrong(source.into()))?;
        let value: serde_json::Value = serde_json::from_str(&json).map_err(|source| wrong(source.into()))?;
        let lists = [&mut manifest.output, &mut manifest.deleted, &mut manifest.error];
        for file in lists.into_iter().flatten() {
            file.url = url.join(&file.url).map_err(|source| wrong(source.into()))?.into();
        }
        if let Some(next) = &mut manifest.next {
            *next = url.join(next).map_err(|source| wrong(source.into()))?.into();
        }
        let transaction_time = value["transactionTime"].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            manifest,
            transaction_time,
            json,
        })
    }

    /// When its time is as an instant.
    pub fn instant(&self) -> Instant {
        self.manifest.transaction_time
    }
}
