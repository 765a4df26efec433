//! The operator's routes of a fhirhose server: [`Operator`]. They are no part of the Bulk Data standard.

use std::path::Path;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use url::Url;

use crate::answer::{read_all, refusal, send};
use crate::http::{Http, name, parse};
use crate::{Error, ErrorKind, Result};

/// The URL of a server behind a Unix socket; no name is looked up.
const LOCAL: &str = "http://localhost";

/// Looks at the jobs and clients of a server, and acts on them. Answers are the server's JSON as it came.
#[derive(Clone)]
pub struct Operator {
    way: Way,
    server: Url,
    token: Option<String>,
}

/// How the server is reached.
#[derive(Clone)]
enum Way {
    Network(Http),
    Socket(Client),
}

/// What an operator does to a registered client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAction {
    /// Shuts it out.
    Revoke,
    /// Gives it other keys: the JSON that says which.
    Rotate(Vec<u8>),
}

/// What an operator does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// Stops it at its next checkpoint; it keeps all that it has.
    Pause,
    /// Lets a paused one go on.
    Resume,
    /// Ends it; what it wrote goes.
    Cancel,
}

impl Operator {
    /// Talks to the server at this URL, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// [`ErrorKind::Url`].
    pub fn new(http: Http, server: &str) -> Result<Self> {
        Ok(Self {
            way: Way::Network(http),
            server: parse(server)?,
            token: None,
        })
    }

    /// Talks to the server whose operator's socket this is. Who can open it needs no token.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] when the HTTP library cannot be set up.
    pub fn over_socket(socket: &Path) -> Result<Self> {
        // No TLS is spoken here, but the library does not start without a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .unix_socket(socket)
            .no_proxy()
            .redirect(Policy::none())
            .build();
        let failed = |source| Error::transport("setting up the HTTP client".to_owned(), source);
        Ok(Self {
            way: Way::Socket(client.map_err(failed)?),
            server: parse(LOCAL)?,
            token: None,
        })
    }

    /// Shows an access token with each request. It is the caller's to see that nobody can read it on the way.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// Gives a page of jobs, newest first; `query` has the filters and the limit.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] with the server's own words; else as [`Http::fetch`].
    pub async fn jobs(&self, query: &[(&str, &str)]) -> Result<Vec<u8>> {
        let mut url = self.url("jobs")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(Method::GET, url, None).await
    }

    /// Gives the page behind a page's `next`.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn next(&self, next: &str) -> Result<Vec<u8>> {
        let url = self.url(next)?;
        self.ask(Method::GET, url, None).await
    }

    /// Gives one job.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn job(&self, id: &str) -> Result<Vec<u8>> {
        let url = self.part_url("jobs", id, None)?;
        self.ask(Method::GET, url, None).await
    }

    /// Acts on a job and gives what it is then.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn act(&self, id: &str, action: JobAction) -> Result<Vec<u8>> {
        let verb = match action {
            JobAction::Pause => "pause",
            JobAction::Resume => "resume",
            JobAction::Cancel => "cancel",
        };
        let url = self.part_url("jobs", id, Some(verb))?;
        self.ask(Method::POST, url, None).await
    }

    /// Gives all registered clients.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn clients(&self) -> Result<Vec<u8>> {
        let url = self.url("clients")?;
        self.ask(Method::GET, url, None).await
    }

    /// Gives one registered client.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn client(&self, id: &str) -> Result<Vec<u8>> {
        let url = self.part_url("clients", id, None)?;
        self.ask(Method::GET, url, None).await
    }

    /// Registers a client, by the JSON that describes it, and gives what is registered then.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn add_client(&self, json: Vec<u8>) -> Result<Vec<u8>> {
        let url = self.url("clients")?;
        self.ask(Method::POST, url, Some(json)).await
    }

    /// Acts on a registered client and gives what it is then.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn change_client(&self, id: &str, action: ClientAction) -> Result<Vec<u8>> {
        let (verb, json) = match action {
            ClientAction::Revoke => ("revoke", None),
            ClientAction::Rotate(json) => ("rotate", Some(json)),
        };
        let url = self.part_url("clients", id, Some(verb))?;
        self.ask(Method::POST, url, json).await
    }

    /// An id is one part of the path, whatever is in it.
    fn part_url(&self, list: &str, id: &str, verb: Option<&str>) -> Result<Url> {
        let mut url = self.url(list)?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(id).extend(verb);
        }
        Ok(url)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let url = self.server.join(path);
        url.map_err(|source| Error::new(ErrorKind::Url, "making a URL of the server").caused_by(source))
    }

    async fn ask(&self, method: Method, url: Url, json: Option<Vec<u8>>) -> Result<Vec<u8>> {
        let place = name(&url);
        let mut request = self.request(method, url)?;
        if let Some(json) = json {
            request = request.header(CONTENT_TYPE, "application/json").body(json);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = send(request, &place).await?;
        if !response.status().is_success() {
            return Err(refusal(response, &place).await);
        }
        read_all(response, &place).await
    }
    fn request(&self, method: Method, url: Url) -> Result<RequestBuilder> {
        match &self.way {
            Way::Network(http) => http.request(method, &url),
            Way::Socket(client) => Ok(client.request(method, url)),
        }
    }
}
