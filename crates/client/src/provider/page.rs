//! A manifest as it arrived: [`ManifestPage`].

use fhirhose_fhir::manifest::{Manifest, Received};
use url::Url;

use crate::http::name;
use crate::{Error, ErrorKind, Result};

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

impl ManifestPage {
    /// Reads a manifest that came from `url`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`].
    pub fn read(body: &[u8], url: &Url) -> Result<Self> {
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| {
            let problem = format!("reading the manifest of {}", name(url));
            Error::new(ErrorKind::Protocol, problem).caused_by(source)
        };
        let received = Manifest::receive(body).map_err(|source| wrong(source.into()))?;
        let Received {
            mut manifest,
            transaction_time,
            ..
        } = received;
        let json = String::from_utf8(body.to_vec()).map_err(|source| wrong(source.into()))?;
        let lists = [&mut manifest.output, &mut manifest.deleted, &mut manifest.error];
        for file in lists.into_iter().flatten() {
            file.url = absolute(url, &file.url)
                .map_err(|source| wrong(source.into()))?
                .into();
        }
        if let Some(next) = &mut manifest.next {
            *next = absolute(url, next).map_err(|source| wrong(source.into()))?.into();
        }
        Ok(Self {
            manifest,
            transaction_time,
            json,
        })
    }

    /// How many files it lists.
    pub fn files(&self) -> usize {
        self.manifest.output.len() + self.manifest.deleted.len() + self.manifest.error.len()
    }
}

/// Makes a URL of a server's answer absolute. One of the same host by plain http, in an answer that came by https, is the mistake of a
/// server behind a proxy, and taken as https.
pub(crate) fn absolute(answered: &Url, text: &str) -> Result<Url, url::ParseError> {
    let mut url = answered.join(text)?;
    let is_mistake = answered.scheme() == "https"
        && url.scheme() == "http"
        && url.host() == answered.host()
        && url.port().is_none();
    if is_mistake {
        // Both schemes have a host and a default port, so this cannot fail.
        let _ = url.set_scheme("https");
    }
    Ok(url)
}
