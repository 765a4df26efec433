//! Who asks: [`Authority`] turns the credentials of a request into a [`Grant`].

use fhirhose_auth::Grant;
use hyper::http::request::Parts;

use crate::listener::Peer;
use crate::problem::Problem;

/// Where grants come from.
pub(crate) enum Authority {
    /// Nobody is asked; everybody may do everything, each address being a client.
    Open,
}

impl Authority {
    /// Finds out who asks and what they may do.
    ///
    /// # Errors
    /// 401 with `WWW-Authenticate` for a token that is missing or worth nothing (K-44).
    pub(crate) async fn grant(&self, head: &Parts) -> Result<Grant, Problem> {
        match self {
            Self::Open => {
                let peer = head.extensions.get::<Peer>();
                Ok(Grant::everything(
                    peer.map_or_else(String::new, |peer| peer.0.to_string()),
                ))
            }
        }
    }

    /// Whether files and statuses ask for a token.
    pub(crate) fn requires_access_token(&self) -> bool {
        match self {
            Self::Open => false,
        }
    }
}
