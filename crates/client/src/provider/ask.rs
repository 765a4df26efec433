//! One request and its answer: who sees the credentials, and where redirects lead (CL-02, CL-04).

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use super::DataProvider;
use super::credentials::Shown;
use crate::answer::Reply;
use crate::http::{header, name};
use crate::{Error, ErrorKind, Result};

/// A request, before it is known what goes along with it.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    method: Method,
    url: &'a Url,
    /// How the URL is named in messages.
    place: &'a str,
    headers: HeaderMap,
    body: Option<Bytes>,
    shows_credentials: bool,
}

impl<'a> Question<'a> {
    pub(crate) fn new(method: Method, url: &'a Url, place: &'a str, accept: &str) -> Self {
        let question = Self {
            method,
            url,
            place,
            headers: HeaderMap::new(),
            body: None,
            shows_credentials: true,
        };
        question.with(ACCEPT, accept)
    }

    /// Adds a header, unless its value is none.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Shows no credentials, wherever it leads (F-05).
    pub(crate) fn bare(mut self) -> Self {
        self.shows_credentials = false;
        self
    }
}

impl DataProvider {
    /// Asks and reads the whole answer, whatever its status.
    pub(crate) async fn ask(&self, question: Question<'_>) -> Result<Reply> {
        let response = self.send(&question).await?;
        Reply::read(&self.http, response, question.place).await
    }

    /// Sends a request with the credentials, if the URL's origin is trusted with them; where they are refused and there are others,
    /// once more with those.
    pub(crate) async fn send(&self, question: &Question<'_>) -> Result<Response> {
        let clock = &*self.clock;
        let may_sign = question.shows_credentials && self.trusts(question.url);
        let shown = match may_sign {
            true => self.credentials.shown(clock).await?,
            false => None,
        };
        let response = self.follow(question, shown.as_ref()).await?;
        let is_refused = response.status() == StatusCode::UNAUTHORIZED && response.url() == question.url;
        let Some(shown) = shown.filter(|_| is_refused) else {
            return Ok(response);
        };
        match self.credentials.renewed(&shown, clock).await? {
            Some(fresh) => self.follow(question, Some(&fresh)).await,
            None => Ok(response),
        }
    }

    /// Begins a request that follows no redirect, with what goes along with it where its origin is trusted.
    pub(crate) async fn signed_request(&self, method: Method, url: &Url) -> Result<RequestBuilder> {
        let request = self.http.strict_request(method, url)?;
        if !self.trusts(url) {
            return Ok(request);
        }
        let mut own = self.headers.clone();
        if let Some(shown) = self.credentials.shown(&*self.clock).await? {
            own.insert(AUTHORIZATION, shown.header);
        }
        Ok(request.headers(own))
    }

    /// Whether credentials may go there.
    pub(crate) fn trusts(&self, url: &Url) -> bool {
        let origin = url.origin();
        origin == self.base.origin() || self.trusted.contains(&origin)
    }

    /// Sends a request and follows the redirects of a GET by hand: nothing secret goes further than the first server.
    async fn follow(&self, question: &Question<'_>, shown: Option<&Shown>) -> Result<Response> {
        let mut url = question.url.clone();
        let mut own = self.own_headers(question, shown);
        for _ in 0..=self.http.redirects_max() {
            let mut request = self.http.strict_request(question.method.clone(), &url)?;
            request = request
                .headers(question.headers.clone())
                .headers(std::mem::take(&mut own));
            if let Some(body) = &question.body {
                request = request.body(body.clone());
            }
            let sent = request.send().await;
            let failed = |source| Error::transport(format!("asking {}", question.place), source);
            let response = sent.map_err(failed)?;
            let target = header(response.headers(), LOCATION.as_str());
            let target = target.filter(|_| question.method == Method::GET && is_redirect(response.status()));
            let Some(target) = target else {
                return Ok(response);
            };
            url = redirected(&url, &target, question.place)?;
        }
        let problem = format!(
            "{} redirects more than {} times",
            question.place,
            self.http.redirects_max()
        );
        Err(Error::new(ErrorKind::Forbidden, problem))
    }

    /// What only the first server gets: the user's headers and the credentials.
    fn own_headers(&self, question: &Question<'_>, shown: Option<&Shown>) -> HeaderMap {
        if !self.trusts(question.url) {
            return HeaderMap::new();
        }
        let mut own = self.headers.clone();
        if let Some(shown) = shown {
            own.insert(AUTHORIZATION, shown.header.clone());
        }
        if !question.shows_credentials {
            own.remove(AUTHORIZATION);
        }
        own
    }

    /// Turns an answer into an error.
    pub(crate) fn refusal(&self, reply: &Reply, place: &str) -> Error {
        reply.refusal(place, self.clock.now(), self.retry_after_max())
    }

    pub(crate) fn retry_after_max(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.quirks.retry_after_secs_max)
    }
}

/// Where a redirect leads. The guard looks at it when it is asked.
fn redirected(from: &Url, target: &str, place: &str) -> Result<Url> {
    let wrong = |why: &str| {
        Err(Error::new(
            ErrorKind::Forbidden,
            format!("{place} redirects {why}"),
        ))
    };
    let Ok(to) = from.join(target) else {
        return wrong("to what is no URL");
    };
    if !matches!(to.scheme(), "http" | "https") {
        return wrong("to what is neither http nor https");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return wrong(&format!("from https to http: {}", name(&to)));
    }
    Ok(to)
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
