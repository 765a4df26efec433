//! The operator's routes of a fhirhose server: [`Operator`]. They are no part of the Bulk Data standard.

use reqwest::Method;
use url::Url;

use crate::export::{read_all, refusal, send};
use crate::http::{Http, name, parse};
use crate::{Error, ErrorKind, Result};

/// Looks at the jobs of a server, and acts on them. Answers are the server's JSON as it came.
#[derive(Debug, Clone)]
pub struct Operator {
    http: Http,
    server: Url,
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
        let server = parse(server)?;
        Ok(Self { http, server })
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
        self.ask(Method::GET, url).await
    }

    /// Gives the page behind a page's `next`.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn next(&self, next: &str) -> Result<Vec<u8>> {
        let url = self.url(next)?;
        self.ask(Method::GET, url).await
    }

    /// Gives one job.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn job(&self, id: &str) -> Result<Vec<u8>> {
        let url = self.job_url(id, None)?;
        self.ask(Method::GET, url).await
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
        let url = self.job_url(id, Some(verb))?;
        self.ask(Method::POST, url).await
    }

    /// An id is one part of the path, whatever is in it.
    fn job_url(&self, id: &str, verb: Option<&str>) -> Result<Url> {
        let mut url = self.url("jobs")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(id).extend(verb);
        }
        Ok(url)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let url = self.server.join(path);
        url.map_err(|source| Error::new(ErrorKind::Url, "making a URL of the server").caused_by(source))
    }

    async fn ask(&self, method: Method, url: Url) -> Result<Vec<u8>> {
        let place = name(&url);
        let response = send(self.http.request(method, &url)?, &place).await?;
        if !response.status().is_success() {
            return Err(refusal(response, &place).await);
        }
        read_all(response, &place).await
    }
}
