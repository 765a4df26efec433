//! Inputs behind URLs, fetched by the crate `client`.

use async_trait::async_trait;
use fhirhose_client::{ErrorKind as ClientKind, Http};
use futures::StreamExt;

use super::source::{Fetch, Fetched};
use crate::{Error, ErrorKind, Result};

/// Fetches inputs with a [`Http`] client.
#[derive(Debug, Clone)]
pub struct HttpFetch {
    http: Http,
}

impl HttpFetch {
    /// Fetches with this client.
    pub fn new(http: Http) -> Self {
        Self { http }
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn fetch(&self, url: &str, from: u64, if_range: Option<&str>) -> Result<Fetched> {
        let fetched = self.http.fetch(url, from, if_range).await.map_err(error)?;
        Ok(Fetched {
            from: fetched.from,
            etag: fetched.etag,
            length: fetched.length,
            stream: fetched.stream.map(|bytes| bytes.map_err(error)).boxed(),
        })
    }
}

/// What may pass is tried again; an answer that refuses is final.
fn error(source: fhirhose_client::Error) -> Error {
    let kind = match source.kind() {
        ClientKind::Unreachable | ClientKind::Busy | ClientKind::Protocol => ErrorKind::Unreachable,
        ClientKind::Changed => ErrorKind::InputChanged,
        ClientKind::Url => ErrorKind::Invalid,
        _ => ErrorKind::NotFound,
    };
    Error::new(kind, "fetching an input").with_source(source)
}
