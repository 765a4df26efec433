//! Who asks: [`Authority`] turns the credentials of a request into a [`Grant`].
//!
//! `smart.rs` is the authorization server inside this one. All that it has to remember lies in the store: the key that signs tokens, the
//! clients, and the assertions that were used. `external.rs` takes tokens of another authorization server.

mod assertion_limits;
mod bearer;
mod discovery;
mod documents;
mod endpoints;
mod external;
pub(crate) mod form;
pub(crate) mod oauth;
mod settings;
mod signing;
pub(crate) mod smart;
mod used_assertions;

use std::sync::Arc;

use fhirhose_auth::{Client, ClientId, Grant, NamedScope, Scope, Scopes};
use fhirhose_client::Http;
use fhirhose_jobs::{Entropy, StopSignal};
use fhirhose_store::Store;
use fhirhose_store::catalog::RecordKind;
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;
use hyper::http::request::Parts;
use serde_json::Value;

pub use settings::{
    AuthSettings, ExternalSettings, KeySettings, Secret, SmartSettings, TOKEN_SECS_MAX, TokenProof,
    UnregisteredClients,
};

use self::bearer::{Challenge, bearer};
use self::endpoints::Endpoints;
use self::external::External;
use self::smart::Smart;
use crate::Result;
use crate::listener::Peer;
use crate::operator_socket::operators_grant;
use crate::problem::Problem;

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
    /// Tokens of another authorization server.
    External(Box<External>),
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
        http: Option<Http>,
        base_url: &str,
    ) -> Result<Self> {
        let endpoints = Endpoints::of(base_url);
        let challenge = Challenge {
            metadata_url: endpoints.resource_metadata(),
        };
        let source = match settings {
            AuthSettings::None => Source::Open,
            AuthSettings::Smart(smart) => {
                let smart = Smart::open(smart, store, entropy, http, endpoints).await?;
                Source::Smart(Box::new(smart))
            }
            AuthSettings::External(external) => {
                Source::External(Box::new(External::open(external, store, http, endpoints)))
            }
        };
        Ok(Self { source, challenge })
    }

    /// Finds out who asks and what they may do.
    ///
    /// # Errors
    /// 401 with `WWW-Authenticate` for a token that is missing or worth nothing (K-44).
    pub(crate) async fn grant(&self, head: &Parts) -> Result<Grant, Problem> {
        if let Some(grant) = operators_grant(head) {
            return Ok(grant);
        }
        match &self.source {
            Source::Open => {
                let peer = head.extensions.get::<Peer>();
                Ok(Grant::everything(
                    peer.map_or_else(String::new, |peer| peer.0.to_string()),
                ))
            }
            Source::Smart(smart) => smart.grant(bearer(head, &self.challenge)?, &self.challenge).await,
            Source::External(external) => {
                external
                    .grant(bearer(head, &self.challenge)?, &self.challenge)
                    .await
            }
        }
    }

    /// Makes the 401 of a request without a token.
    pub(crate) fn no_token(&self) -> Problem {
        self.challenge.no_token()
    }

    /// Adds to a refusal what a client has to be told about tokens: that its own has too small a scope (RFC 6750 §3.1).
    pub(crate) fn explained(&self, problem: Problem) -> Problem {
        if problem.status() == StatusCode::FORBIDDEN && self.requires_access_token() {
            return problem.with_header(WWW_AUTHENTICATE, self.challenge.text(Some("insufficient_scope")));
        }
        problem
    }

    /// The `smart-configuration` of this server, where it is guarded.
    ///
    /// # Errors
    /// 503 when another authorization server does not say where its tokens are.
    pub(crate) async fn smart_configuration(&self) -> Result<Option<Value>, Problem> {
        match &self.source {
            Source::Open => Ok(None),
            Source::Smart(smart) => Ok(Some(discovery::smart_configuration(
                smart.endpoints(),
                &smart.settings().algorithms,
            ))),
            Source::External(external) => {
                let endpoint = external.token_endpoint().await.ok_or_else(|| {
                    Problem::transient(
                        "the authorization server does not say where its tokens are; try again",
                    )
                })?;
                Ok(Some(discovery::external_configuration(&endpoint)))
            }
        }
    }

    /// The metadata of the authorization server inside this one (RFC 8414).
    pub(crate) fn server_metadata(&self) -> Option<Value> {
        let smart = self.smart()?;
        let algorithms = &smart.settings().algorithms;
        Some(discovery::authorization_server(smart.endpoints(), algorithms))
    }

    /// The metadata of what is guarded (RFC 9728).
    pub(crate) fn resource_metadata(&self) -> Option<Value> {
        match &self.source {
            Source::Open => None,
            Source::Smart(smart) => {
                let endpoints = smart.endpoints();
                Some(discovery::protected_resource(
                    endpoints.base_url(),
                    endpoints.issuer(),
                ))
            }
            Source::External(external) => Some(discovery::protected_resource(
                external.endpoints().base_url(),
                external.issuer(),
            )),
        }
    }

    /// Where clients get tokens, as far as it is known without asking anybody.
    pub(crate) fn token_url(&self) -> Option<String> {
        match &self.source {
            Source::Open => None,
            Source::Smart(smart) => Some(smart.endpoints().token()),
            Source::External(external) => external.configured_token_url(),
        }
    }

    /// The authorization server inside this one, if there is one.
    pub(crate) fn smart(&self) -> Option<&Smart> {
        match &self.source {
            Source::Smart(smart) => Some(smart),
            Source::Open | Source::External(_) => None,
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

/// What is registered under an id.
enum Registration {
    Nobody,
    /// Somebody of whom nothing can be read; lets nobody in.
    Unreadable,
    Client(Box<Client>),
}

impl Registration {
    /// The client, if one can be read.
    fn client(self) -> Option<Client> {
        match self {
            Self::Client(client) => Some(*client),
            Self::Nobody | Self::Unreadable => None,
        }
    }
}

/// Reads the registration of a client.
async fn registered(store: &Store, id: &ClientId) -> fhirhose_store::Result<Registration> {
    let record = store
        .catalog()
        .record(RecordKind::Client, id.as_str().as_bytes())
        .await?;
    Ok(match record {
        None => Registration::Nobody,
        Some(text) => serde_json::from_slice(&text).map_or(Registration::Unreadable, |client| {
            Registration::Client(Box::new(client))
        }),
    })
}

/// The scopes that mean something here: all but those of operations that there are not.
fn served() -> Scopes {
    Scopes::everything()
        .iter()
        .filter(|scope| *scope != Scope::Named(NamedScope::BulkSubmit))
        .collect()
}
