//! One export on a server, from kick-off to clean-up.

use crate::clock::{Clock, SystemClock};
use crate::http::{Http, accepted, header, name, parse};
use crate::{Error, ErrorKind, Result, retry_after};
use fhirhose_fhir::manifest::{Manifest, ManifestFile};
use futures::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_LOCATION, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use url::Url;

/// Bytes of a manifest or an OperationOutcome that are read at most.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// An export that a server has accepted.
#[derive(Debug, Clone)]
pub struct Export {
    status_url: Url,
}

/// The answer to a poll.
#[derive(Debug, Clone)]
pub enum Poll {
    /// Still at work.
    Running {
        /// `X-Progress`, if given.
        progress: Option<String>,
        /// When to ask again, if the server says so; at most five minutes.
        retry_after: Option<Duration>,
    },
    /// Done; the URLs in it are absolute.
    Done(Manifest),
}

/// A file that has arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its lines.
    pub lines: u64,
    /// Its bytes, as text.
    pub bytes: u64,
    /// The SHA-256 of its text in lower-case hex.
    pub sha256: String,
}

impl Export {
    /// Kicks an export off by GET and gives its status URL.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] with the server's own words; [`ErrorKind::Protocol`] without `Content-Location`. Else as
    /// [`Http::fetch`].
    pub async fn kick_off(http: &Http, url: &str) -> Result<Self> {
        let url = parse(url)?;
        let place = name(&url);
        let request = http
            .request(Method::GET, &url)?
            .header(ACCEPT, "application/fhir+json");
        let response = send(request.header("Prefer", "respond-async"), &place).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refusal(response, &place).await);
        }
        let location = header(response.headers(), CONTENT_LOCATION.as_str());
        let status_url = location.and_then(|location| url.join(&location).ok());
        let status_url = status_url
            .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("{place} gives no Content-Location")))?;
        Ok(Self { status_url })
    }

    /// Where the export is polled.
    pub fn status_url(&self) -> &Url {
        &self.status_url
    }

    /// Asks once how far the export is.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] or [`ErrorKind::Busy`] when the server says so; [`ErrorKind::Protocol`] for a manifest that cannot be
    /// read, or that has several pages. Else as [`Http::fetch`].
    pub async fn poll(&self, http: &Http) -> Result<Poll> {
        let place = name(&self.status_url);
        let request = http
            .request(Method::GET, &self.status_url)?
            .header(ACCEPT, "application/json");
        let response = send(request, &place).await?;
        match response.status() {
            StatusCode::ACCEPTED => Ok(Poll::Running {
                progress: header(response.headers(), "x-progress"),
                retry_after: retry_after::parse(
                    header(response.headers(), RETRY_AFTER.as_str()).as_deref(),
                    SystemClock.now(),
                    retry_after::WAIT_MAX,
                ),
            }),
            StatusCode::OK => {
                let body = read_all(response, &place).await?;
                let manifest = Manifest::parse(&body).map_err(|source| {
                    Error::new(ErrorKind::Protocol, format!("reading {place}")).caused_by(source)
                })?;
                if manifest.next.is_some() {
                    // Pages come only to clients that ask for them, which this one does not: to stop here would lose the rest.
                    let problem = format!("{place}: the manifest goes on on another page");
                    return Err(Error::new(ErrorKind::Protocol, problem));
                }
                Ok(Poll::Done(self.absolute(manifest)?))
            }
            _ => Err(refusal(response, &place).await),
        }
    }

    /// Downloads a file to `path`; nothing appears there before it is whole. `progress` hears of bytes as they come.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the number of lines is not `count`; [`ErrorKind::Disk`]. Else as [`Http::fetch`].
    pub async fn download(
        &self,
        http: &Http,
        file: &ManifestFile,
        path: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Downloaded> {
        let mut fetched = http.fetch(&file.url, 0, None).await?;
        let partial = path.with_extension("partial");
        let disk =
            |source| Error::new(ErrorKind::Disk, format!("writing {}", path.display())).caused_by(source);
        let mut out = File::create(&partial).await.map_err(disk)?;
        let (mut hash, mut lines, mut bytes, mut last) = (Sha256::new(), 0, 0, b'\n');
        while let Some(chunk) = fetched.stream.next().await {
            let chunk = chunk?;
            hash.update(&chunk);
            lines += chunk.iter().filter(|byte| **byte == b'\n').count() as u64;
            bytes += chunk.len() as u64;
            last = chunk.last().copied().unwrap_or(last);
            out.write_all(&chunk).await.map_err(disk)?;
            progress(chunk.len() as u64);
        }
        lines += u64::from(last != b'\n');
        if file.count.is_some_and(|count| count != lines) {
            let wrong = format!(
                "{}: {lines} lines arrived, {} were announced",
                path.display(),
                file.count.unwrap_or(0)
            );
            return Err(Error::new(ErrorKind::Corrupt, wrong));
        }
        out.sync_all().await.map_err(disk)?;
        tokio::fs::rename(&partial, path).await.map_err(disk)?;
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Downloaded { lines, bytes, sha256 })
    }

    /// Tells the server that nothing of the export is needed any more, or cancels it.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn delete(&self, http: &Http) -> Result<()> {
        let place = name(&self.status_url);
        let response = send(http.request(Method::DELETE, &self.status_url)?, &place).await?;
        accepted(response, &place).map(|_| ())
    }

    fn absolute(&self, mut manifest: Manifest) -> Result<Manifest> {
        let files = manifest
            .output
            .iter_mut()
            .chain(&mut manifest.deleted)
            .chain(&mut manifest.error);
        for file in files {
            let url = self.status_url.join(&file.url);
            let url =
                url.map_err(|source| Error::new(ErrorKind::Protocol, "a file's URL").caused_by(source))?;
            file.url = url.into();
        }
        Ok(manifest)
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder, place: &str) -> Result<reqwest::Response> {
    request
        .send()
        .await
        .map_err(|source| Error::transport(format!("asking {place}"), source))
}

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
