//! What a server says of itself: [`Metadata`].

use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap};
use serde_json::Value;
use url::Url;

use crate::http::{Http, accepted, below, name};
use crate::provider::DataProvider;
use crate::quirks::Quirks;
use crate::small::whole;
use crate::{Error, ErrorKind, Result};

/// Bytes of a CapabilityStatement at most; those of large servers have some megabytes.
const CAPABILITY_BYTES_MAX: usize = 16 << 20;

/// A CapabilityStatement with the headers that it came with.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The CapabilityStatement.
    pub statement: Value,
    /// The headers.
    pub headers: HeaderMap,
}

impl Metadata {
    /// Asks a server for its CapabilityStatement, without a token, as the standard has it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for what is no CapabilityStatement; else as [`Http::fetch_small`].
    pub async fn fetch(http: &Http, base: &Url) -> Result<Self> {
        let url = below(base, ["metadata"]);
        let place = name(&url);
        let request = http
            .request(Method::GET, &url)?
            .header(ACCEPT, "application/fhir+json")
            .header(ACCEPT_ENCODING, "identity")
            .timeout(http.small_timeout());
        let sent = request.send().await;
        let response = sent.map_err(|source| Error::transport(format!("fetching {place}"), source))?;
        let response = accepted(response, &place)?;
        let headers = response.headers().clone();
        let body = whole(response, &place, CAPABILITY_BYTES_MAX).await?;
        let statement: Value = serde_json::from_slice(&body).unwrap_or_default();
        if statement["resourceType"] != "CapabilityStatement" {
            let problem = format!("{place} is no CapabilityStatement in JSON");
            return Err(Error::new(ErrorKind::Protocol, problem));
        }
        Ok(Self { statement, headers })
    }
}

impl DataProvider {
    /// Looks what kind of server it is, with one request for its CapabilityStatement, and takes it as such. One that gives none is known by
    /// its address, or taken as the standard says.
    pub async fn discover_quirks(self) -> Self {
        let metadata = Metadata::fetch(self.http(), self.base()).await;
        if let Err(why) = &metadata {
            tracing::info!(%why, "no CapabilityStatement to know the server by");
        }
        let (statement, headers) = metadata
            .map(|metadata| (metadata.statement, metadata.headers))
            .unwrap_or_default();
        let quirks = Quirks::recognise(self.base(), &statement, &headers);
        self.with_quirks(quirks)
    }
}
