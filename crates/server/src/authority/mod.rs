//! Who asks: [`Authority`] turns the credentials of a request into a [`Grant`].

mod settings;

use fhirhose_auth::Grant;
use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use hyper::http::request::Parts;

pub use settings::{
    AuthSettings, ExternalSettings, KeySettings, Secret, SmartSettings, TOKEN_SECS_MAX, TokenProof,
    UnregisteredClients,
};

use crate::listener::Peer;
use crate::problem::Problem;

/// Where grants come from.
pub(crate) enum Authority {
    /// Nobody is asked; everybody may do everything, each address being a client.
    Open,
    /// Tokens that this server issues.
    Smart,
    /// Tokens of another authorization server.
    External,
}

impl Authority {
    /// Makes the authority that settings ask for.
    pub(crate) fn open(settings: &AuthSettings) -> Self {
        match settings {
            AuthSettings::None => Self::Open,
            AuthSettings::Smart(_) => Self::Smart,
            AuthSettings::External(_) => Self::External,
        }
    }

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
            Self::Smart | Self::External => Err(unauthorized()),
        }
    }

    /// Whether files and statuses ask for a token.
    pub(crate) fn requires_access_token(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Smart | Self::External => true,
        }
    }
}

/// Makes the 401 of a request without a token that counts.
fn unauthorized() -> Problem {
    let text = "an access token is needed, as Authorization: Bearer";
    Problem::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text).with_header(WWW_AUTHENTICATE, "Bearer")
}
