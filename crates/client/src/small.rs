//! Small answers, read whole: documents that servers publish ([`Http::fetch_small`]), and what a form is answered with
//! ([`Http::post_form`]).

use std::time::Duration;

use futures::TryStreamExt;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use url::Url;

use crate::http::{accepted, header, name, parse};
use crate::{Error, ErrorKind, Http, Result};

/// A whole document, with what its server says about keeping it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallBody {
    /// The text as it was sent.
    pub bytes: Vec<u8>,
    /// `Content-Type`, as it was sent.
    pub content_type: Option<String>,
    /// How long it may be kept.
    pub freshness: Freshness,
}

/// What `Cache-Control` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It may not be kept: `no-store`, `no-cache`, or a `max-age` that is used up.
    NotKept,
    /// It may be kept so long.
    For(Duration),
    /// The server does not say.
    Unstated,
}

impl Http {
    /// Fetches a document of at most `bytes_max` bytes, whole, within [`crate::HttpSettings::small_timeout_secs`], redirects included.
    ///
    /// # Errors
    /// [`ErrorKind::Url`], [`ErrorKind::Forbidden`], [`ErrorKind::Unreachable`], [`ErrorKind::Refused`] (which a document that is too
    /// long is too), [`ErrorKind::Busy`].
    pub async fn fetch_small(&self, url: &str, accept: &str, bytes_max: usize) -> Result<SmallBody> {
        let url = parse(url)?;
        let request = self.request(Method::GET, &url)?.header(ACCEPT, accept);
        self.read_small(request, &name(&url), bytes_max).await
    }

    /// Posts a form, already encoded, which says itself who the client is, and reads the answer whole whatever its status.
    ///
    /// # Errors
    /// As [`fetch_small`](Self::fetch_small).
    pub(crate) async fn ask_by_form(
        &self,
        url: &Url,
        form: String,
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let place = name(url);
        let request = self.form_request(url, form)?.header(ACCEPT_ENCODING, "identity");
        self.in_time(&place, async {
            let sent = request.send().await;
            let response = sent.map_err(|source| Error::transport(format!("asking {place}"), source))?;
            Ok((response.status(), whole(response, &place, bytes_max).await?))
        })
        .await
    }

    /// Posts a form, already encoded, as the client with this id and secret (HTTP Basic), and reads the answer whole, within the
    /// limits of [`fetch_small`](Self::fetch_small).
    ///
    /// # Errors
    /// As [`fetch_small`](Self::fetch_small).
    pub async fn post_form(
        &self,
        url: &str,
        (id, secret): (&str, &str),
        form: String,
        bytes_max: usize,
    ) -> Result<SmallBody> {
        let url = parse(url)?;
        let request = self.form_request(&url, form)?.basic_auth(id, Some(secret));
        self.read_small(request, &name(&url), bytes_max).await
    }

    /// A form holds secrets, which are for this server only.
    fn form_request(&self, url: &Url, form: String) -> Result<RequestBuilder> {
        Ok(self
            .strict_request(Method::POST, url)?
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form))
    }

    async fn read_small(&self, request: RequestBuilder, place: &str, bytes_max: usize) -> Result<SmallBody> {
        let request = request.header(ACCEPT_ENCODING, "identity");
        self.in_time(place, async {
            let sent = request.send().await;
            let response = sent.map_err(|source| Error::transport(format!("fetching {place}"), source))?;
            let response = accepted(response, place)?;
            let content_type = header(response.headers(), CONTENT_TYPE.as_str());
            let freshness = freshness(response.headers());
            let bytes = whole(response, place, bytes_max).await?;
            Ok(SmallBody {
                bytes,
                content_type,
                freshness,
            })
        })
        .await
    }

    /// Waits for something small, and not for long.
    async fn in_time<T>(&self, place: &str, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.small_timeout();
        let asked = tokio::time::timeout(limit, asking).await;
        asked.unwrap_or_else(|_| {
            let problem = format!("fetching {place} takes longer than {} s", limit.as_secs());
            Err(Error::new(ErrorKind::Unreachable, problem))
        })
    }
}

/// Reads a body that is not to be long.
pub(crate) async fn whole(response: Response, place: &str, bytes_max: usize) -> Result<Vec<u8>> {
    let mut chunks = response.bytes_stream();
    let mut bytes = Vec::new();
    let broken = |source| Error::transport(format!("reading {place}"), source);
    while let Some(chunk) = chunks.try_next().await.map_err(broken)? {
        if chunk.len() > bytes_max - bytes.len() {
            let problem = format!("{place} is longer than {bytes_max} bytes");
            return Err(Error::new(ErrorKind::Refused, problem));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads `Cache-Control` for a cache that serves one server only; what cannot be read does not count.
fn freshness(headers: &HeaderMap) -> Freshness {
    let mut said = Freshness::Unstated;
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.to_str().unwrap_or_default().split(',') {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let name = name.trim().to_ascii_lowercase();
            if matches!(name.as_str(), "no-store" | "no-cache") {
                return Freshness::NotKept;
            }
            if name == "max-age" {
                // A number that cannot be read is taken as used up.
                let secs = value.trim().trim_matches('"').parse().unwrap_or(0);
                said = Freshness::For(Duration::from_secs(secs));
            }
        }
    }
    let age = header(headers, AGE.as_str()).and_then(|age| age.trim().parse().ok());
    match said {
        Freshness::For(whole) => match whole.saturating_sub(Duration::from_secs(age.unwrap_or(0))) {
            Duration::ZERO => Freshness::NotKept,
            left => Freshness::For(left),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn cache_control_says_how_long_a_document_is_kept_a_15() {
        let check = |lines: &[&'static str], age: Option<&'static str>, expected: Freshness| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(line));
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_static(age));
            }
            assert_eq!(freshness(&headers), expected, "{lines:?} {age:?}");
        };
        let kept = |secs| Freshness::For(Duration::from_secs(secs));
        check(&[], None, Freshness::Unstated);
        check(&["public"], None, Freshness::Unstated);
        check(&["public, Max-Age=600"], None, kept(600));
        check(&["max-age=600"], Some("590"), kept(10));
        check(&["max-age=600"], Some("600"), Freshness::NotKept);
        check(&["max-age=0"], None, Freshness::NotKept);
        check(&["max-age=soon"], None, Freshness::NotKept);
        check(&["max-age=600", "no-store"], None, Freshness::NotKept);
        check(&["no-cache"], None, Freshness::NotKept);
    }
}
