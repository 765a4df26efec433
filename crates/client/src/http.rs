//! The connection: TLS, limits, the guard, and [`Http::fetch`], which gives bytes as they were sent.

use crate::body::{BodyLimits, limited};
use crate::guard::{CheckedResolver, FetchPolicy, Resolver, SystemResolver, redirects};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Bytes as they arrive. An error ends the stream; a body that is shorter than announced is an error.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// How connections are made, and what may be fetched over them.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long a connection may take to be made, in seconds.
    pub connect_timeout_secs: u64,
    /// How long a server may send nothing, in seconds.
    pub read_timeout_secs: u64,
    /// How long a document may take that is fetched whole, in seconds.
    pub small_timeout_secs: u64,
    /// What may be fetched, from where, and how much.
    pub policy: FetchPolicy,
    /// Certificates of authorities that are trusted besides those of the operating system.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What the client calls itself.
    pub user_agent: String,
}

impl HttpSettings {
    /// Suits a FHIR server whose URL the user has typed, and who takes minutes to answer a kick-off: any address and plain HTTP where the
    /// URL has it, five minutes for an answer to begin, weeks for a file that keeps coming.
    pub fn for_provider() -> Self {
        Self {
            connect_timeout_secs: 30,
            read_timeout_secs: 5 * 60,
            small_timeout_secs: 60,
            policy: FetchPolicy {
                fetch_secs_max: 30 * 24 * 60 * 60,
                ..FetchPolicy::for_own_urls()
            },
            ..Self::default()
        }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        let user_agent = concat!("fhirhose/", env!("CARGO_PKG_VERSION")).to_owned();
        Self {
            connect_timeout_secs: 10,
            read_timeout_secs: 60,
            small_timeout_secs: 10,
            policy: FetchPolicy::default(),
            extra_roots: Vec::new(),
            user_agent,
        }
    }
}

/// A client for any number of servers; clones share their connections.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// Follows no redirect.
    strict: Client,
    policy: Arc<FetchPolicy>,
    small_timeout: Duration,
}

/// The beginning of an answer to [`Http::fetch`].
pub struct Fetched {
    /// The offset of the first byte of `stream`: what was asked for, or 0 when the server sent everything.
    pub from: u64,
    /// The strong ETag of the whole, if the server gave one: good for `if_range`.
    pub etag: Option<String>,
    /// The length of the whole, if it is known.
    pub length: Option<u64>,
    /// The bytes.
    pub stream: ByteStream,
}

impl Http {
    /// Makes a client: TLS by rustls with the operating system's roots. Proxies of the environment are not used, for they
    /// would see names that the guard is to check.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] when the TLS roots of this machine, or the extra ones, cannot be read.
    pub fn new(settings: &HttpSettings) -> Result<Self> {
        Self::with_resolver(settings, Arc::new(SystemResolver))
    }

    /// Makes a client that asks `resolver` for the addresses of names.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_resolver(settings: &HttpSettings, resolver: Arc<dyn Resolver>) -> Result<Self> {
        // Another part of the process may have chosen a provider already; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |source| Error::transport("setting up the HTTP client".to_owned(), source);
        let roots = settings
            .extra_roots
            .iter()
            .map(|root| Certificate::from_der(root));
        let roots = roots.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let policy = Arc::new(settings.policy.clone());
        let with_redirects = |redirects: Policy| {
            Client::builder()
                .connect_timeout(Duration::from_secs(settings.connect_timeout_secs))
                .read_timeout(Duration::from_secs(settings.read_timeout_secs))
                .redirect(redirects)
                // A query can hold a secret that is not the next server's business.
                .referer(false)
                .no_proxy()
                .tls_info(true)
                .dns_resolver(CheckedResolver {
                    policy: Arc::clone(&policy),
                    resolver: Arc::clone(&resolver),
                })
                .tls_certs_merge(roots.clone())
                .user_agent(&settings.user_agent)
                .build()
                .map_err(failed)
        };
        Ok(Self {
            client: with_redirects(redirects(&policy))?,
            strict: with_redirects(Policy::none())?,
            policy,
            small_timeout: Duration::from_secs(settings.small_timeout_secs),
        })
    }

    /// Fetches what lies behind a URL as it was sent, from byte `from` on where the server can do so.
    ///
    /// `if_range` is the strong ETag of an earlier answer: when it no longer matches, the server sends everything.
    ///
    /// # Errors
    /// [`ErrorKind::Url`], [`ErrorKind::Forbidden`], [`ErrorKind::Unreachable`], [`ErrorKind::Refused`], [`ErrorKind::Busy`].
    pub async fn fetch(&self, url: &str, from: u64, if_range: Option<&str>) -> Result<Fetched> {
        let url = parse(url)?;
        let place = name(&url);
        let limits = BodyLimits::of(&self.policy);
        let mut request = self
            .request(Method::GET, &url)?
            .header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(etag) = if_range {
                request = request.header(IF_RANGE, etag);
            }
        }
        let sent = request.send().await;
        let response = sent.map_err(|source| Error::transport(format!("fetching {place}"), source))?;
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let response = accepted(response, &place)?;
        let sent_from = if partial {
            content_range_start(response.headers(), &place)?
        } else {
            0
        };
        if sent_from != 0 && sent_from != from {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("fetching {place}: another range than asked for"),
            ));
        }
        let length = response
            .content_length()
            .map(|length| length.saturating_add(sent_from));
        let etag = header(response.headers(), ETAG.as_str()).filter(|etag| !etag.starts_with("W/"));
        Ok(Fetched {
            from: sent_from,
            etag,
            length,
            stream: body(response, limits, place),
        })
    }

    /// Begins a request, if the policy allows the URL.
    pub(crate) fn request(&self, method: Method, url: &Url) -> Result<RequestBuilder> {
        self.check(url)?;
        Ok(self.client.request(method, url.clone()))
    }

    /// Begins a request that follows no redirect: what goes with it is for this server only (CL-04).
    pub(crate) fn strict_request(&self, method: Method, url: &Url) -> Result<RequestBuilder> {
        self.check(url)?;
        Ok(self.strict.request(method, url.clone()))
    }

    fn check(&self, url: &Url) -> Result<()> {
        self.policy
            .check(url)
            .map_err(|why| Error::new(ErrorKind::Forbidden, format!("{}: {why}", name(url))))
    }

    /// How many redirects are followed.
    pub(crate) fn redirects_max(&self) -> usize {
        self.policy.redirects_max
    }

    /// Reads a body within the limits of the policy.
    pub(crate) fn body(&self, response: Response, place: String) -> ByteStream {
        body(response, BodyLimits::of(&self.policy), place)
    }

    pub(crate) fn small_timeout(&self) -> Duration {
        self.small_timeout
    }
}

/// Reads certificates of authorities from PEM text, for [`HttpSettings::extra_roots`].
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the text holds none, or one that cannot be read.
pub fn roots_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let broken = |text: &str| Error::new(ErrorKind::Corrupt, text);
    let roots = read.map_err(|source| broken("reading certificates").caused_by(source))?;
    if roots.is_empty() {
        return Err(broken("there is no certificate in PEM form"));
    }
    Ok(roots)
}

/// Parses an absolute http or https URL.
pub(crate) fn parse(url: &str) -> Result<Url> {
    let parsed =
        Url::parse(url).map_err(|source| Error::new(ErrorKind::Url, "reading a URL").caused_by(source))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(Error::new(
            ErrorKind::Url,
            format!("a URL of scheme `{}` cannot be fetched", parsed.scheme()),
        ));
    }
    Ok(parsed)
}

/// A URL below the base; it stays there whatever the parts are.
pub(crate) fn below<'p>(base: &Url, parts: impl IntoIterator<Item = &'p str>) -> Url {
    let mut url = base.clone();
    // One of http or https has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}

/// Names a URL in messages: without query, user and password.
pub(crate) fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Gives the answer if it is a success, else an error with the status.
pub(crate) fn accepted(response: Response, place: &str) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let busy = status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
        );
    let kind = if busy { ErrorKind::Busy } else { ErrorKind::Refused };
    Err(Error::new(kind, format!("{place} answers {status}")))
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned)
}

pub(crate) fn content_range_start(headers: &HeaderMap, place: &str) -> Result<u64> {
    let range = header(headers, CONTENT_RANGE.as_str());
    let start = range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
    start.ok_or_else(|| {
        Error::new(
            ErrorKind::Protocol,
            format!("fetching {place}: a part without its range"),
        )
    })
}

fn body(response: Response, limits: BodyLimits, place: String) -> ByteStream {
    let named = place.clone();
    let chunks = response
        .bytes_stream()
        .map(move |chunk| chunk.map_err(|source| Error::transport(format!("reading {named}"), source)));
    Box::pin(limited(Box::pin(chunks), limits, place))
}
