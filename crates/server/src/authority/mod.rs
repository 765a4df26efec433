//! Who asks: [`Authority`] turns the credentials of a request into a [`Grant`].
//!
//! `smart.rs` is the authorization server inside this one. All that it has to remember lies in the store: the key that signs tokens, the
//! clients, and the assertions that were used.

mod bearer;
mod endpoints;
pub(crate) mod form;
pub(crate) mod oauth;
mod settings;
mod signing;
pub(crate) mod smart;
mod used_assertions;

use std::sync::Arc;

use fhirhose_auth::{Client, ClientId, Grant, NamedScope, Scope, Scopes};
use fhirhose_jobs::{Entropy, StopSignal};
use fhirhose_store::Store;
use fhirhose_store::catalog::RecordKind;
use hyper::http::request::Parts;

pub use settings::{
    AuthSettings, ExternalSettings, KeySettings, Secret, SmartSettings, TOKEN_SECS_MAX, TokenProof,
    UnregisteredClients,
};

use self::bearer::{Challenge, bearer};
use self::endpoints::Endpoints;
use self::smart::Smart;
use crate::listener::Peer;
use crate::problem::Problem;
use crate::{Error, ErrorKind, Result};

/// Where grants come from.
pub(crate) struct Authority {
    source: Source,
    challenge: Challenge,
}

enum Source {
    /// Nobody is asked; everybody may do everything, each address being a client.
    Open,
    /// Tokens that this server issues.
    Smart(Box<Smart>),
}

impl Authority {
    /// Makes the authority that settings ask for.
    ///
    /// # Errors
    /// [`ErrorKind::Authority`] when the store's keys and records cannot be used.
    pub(crate) async fn open(
        settings: &AuthSettings,
        store: &Store,
        entropy: Arc<dyn Entropy>,
        base_url: &str,
    ) -> Result<Self> {
        let endpoints = Endpoints::of(base_url);
        let challenge = Challenge {
            metadata_url: endpoints.resource_metadata(),
        };
        let source = match settings {
            AuthSettings::None => Source::Open,
            AuthSettings::Smart(smart) => {
                Source::Smart(Box::new(Smart::open(smart, store, entropy, endpoints).await?))
            }
            AuthSettings::External(_) => {
                let problem = "tokens of another authorization server are not accepted yet";
                return Err(Error::new(ErrorKind::Settings, problem));
            }
        };
        Ok(Self { source, challenge })
    }

    /// Finds out who asks and what they may do.
    ///
    /// # Errors
    /// 401 with `WWW-Authenticate` for a token that is missing or worth nothing (K-44).
    pub(crate) async fn grant(&self, head: &Parts) -> Result<Grant, Problem> {
        match &self.source {
            Source::Open => {
                let peer = head.extensions.get::<Peer>();
                Ok(Grant::everything(
                    peer.map_or_else(String::new, |peer| peer.0.to_string()),
                ))
            }
            Source::Smart(smart) => smart.grant(bearer(head, &self.challenge)?, &self.challenge).await,
        }
    }

    /// The authorization server inside this one, if there is one.
    pub(crate) fn smart(&self) -> Option<&Smart> {
        match &self.source {
            Source::Smart(smart) => Some(smart),
            Source::Open => None,
        }
    }

    /// Does what has to be done from time to time, until `stop`.
    pub(crate) async fn upkeep(&self, stop: StopSignal) {
        if let Some(smart) = self.smart() {
            smart.sweep(stop).await;
        }
    }

    /// Whether files and statuses ask for a token.
    pub(crate) fn requires_access_token(&self) -> bool {
        !matches!(self.source, Source::Open)
    }
}

/// Reads the registration of a client.
async fn registered(store: &Store, id: &ClientId) -> fhirhose_store::Result<Option<Client>> {
    let record = store
        .catalog()
        .record(RecordKind::Client, id.as_str().as_bytes())
        .await?;
    // A record that cannot be read lets nobody in.
    Ok(record.and_then(|text| serde_json::from_slice(&text).ok()))
}

/// The scopes that mean something here: all but those of operations that there are not.
fn served() -> Scopes {
    Scopes::everything()
        .iter()
        .filter(|scope| *scope != Scope::Named(NamedScope::BulkSubmit))
        .collect()
}
