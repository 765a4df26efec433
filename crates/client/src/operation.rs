//! Operations that answer at once: [`DataProvider::operation`].

use reqwest::{Method, StatusCode};
use url::Url;

use crate::http::{below, name};
use crate::provider::{DataProvider, Question};
use crate::{Error, ErrorKind, Result};

impl DataProvider {
    /// Asks `GET [base]/[path]` with these parameters; `None` where the server knows no such path (404, 405, 501) or refuses the request
    /// as one that it does not understand (400).
    ///
    /// # Errors
    /// [`ErrorKind::Refused`], [`ErrorKind::Busy`], [`ErrorKind::Unreachable`].
    pub async fn operation(&self, path: &str, query: &[(&str, String)]) -> Result<Option<Vec<u8>>> {
        let mut url = below(self.base(), path.split('/'));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.get_small(&url).await
    }

    /// Follows a link that an answer of [`operation`](Self::operation) gave, if it stays below the base.
    ///
    /// # Errors
    /// As [`operation`](Self::operation); [`ErrorKind::Protocol`] for a link to elsewhere.
    pub async fn operation_link(&self, link: &str) -> Result<Option<Vec<u8>>> {
        let url = Url::parse(link)
            .map_err(|source| Error::new(ErrorKind::Url, "reading a link").caused_by(source))?;
        if url.origin() != self.base().origin() {
            return Err(Error::new(
                ErrorKind::Protocol,
                "a link of an answer leads to another server",
            ));
        }
        self.get_small(&url).await
    }

    async fn get_small(&self, url: &Url) -> Result<Option<Vec<u8>>> {
        let place = name(url);
        let question = Question::new(Method::GET, url, &place, "application/fhir+json");
        let reply = self.ask(question).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(reply.body)),
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_IMPLEMENTED => Ok(None),
            _ => Err(self.refusal(&reply, &place)),
        }
    }
}
