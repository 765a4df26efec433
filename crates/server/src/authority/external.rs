//! Tokens of another authorization server: [`External`] knows what they allow here.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhirhose_auth::{
    AccessToken, Algorithm, CLIENT_ID_CHARS_MAX, ClientId, ClientLimits, Grant, GroupAccess, Jwks, Jws,
    Scopes, Standing, TokenProfile, TokenRules,
};
use fhirhose_client::Http;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::Timestamp;
use fhirhose_store::Store;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tracing::warn;
use url::form_urlencoded::Serializer;

use super::bearer::Challenge;
use super::documents::Documents;
use super::endpoints::Endpoints;
use super::settings::{ExternalSettings, TokenProof, UnregisteredClients};
use super::{Registration, registered};
use crate::clients::is_reserved;
use crate::problem::Problem;

/// The longest answer to an introspection, in bytes.
const INTROSPECTION_BYTES_MAX: usize = 64 << 10;

/// Characters of an issuer's name of a client at most; longer ones are nobody's.
const CLIENT_CHARS_MAX: usize = CLIENT_ID_CHARS_MAX;

/// What a token says, whoever said that it is good.
#[derive(Clone)]
struct Proved {
    client: String,
    scopes: Scopes,
    issued: Option<Instant>,
    expires: Instant,
}

/// What the issuer tells of itself.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IssuerMetadata {
    issuer: String,
    #[serde(default)]
    jwks_uri: Option<String>,
    #[serde(default)]
    token_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
}

/// The answer to an introspection (RFC 7662 §2.2).
#[derive(Deserialize)]
struct Introspected {
    active: bool,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    #[serde(default)]
    exp: Option<i64>,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    iss: Option<String>,
    #[serde(default)]
    aud: Option<Audience>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::One(own) => own == name,
            Self::Several(all) => all.iter().any(|own| own == name),
        }
    }
}

/// Knows tokens of another authorization server.
pub(crate) struct External {
    settings: ExternalSettings,
    store: Store,
    http: Option<Http>,
    rules: TokenRules,
    endpoints: Endpoints,
    keys: Documents<Jwks>,
    metadata: Documents<IssuerMetadata>,
    /// What introspection said, by the token's hash, until when it is believed; at most `introspections_max`.
    introspected: Mutex<HashMap<[u8; 32], (Proved, Timestamp)>>,
}

impl External {
    pub(crate) fn open(
        settings: &ExternalSettings,
        store: &Store,
        http: Option<Http>,
        endpoints: Endpoints,
    ) -> Self {
        let clock = store.clock();
        let audience = settings.audience.clone();
        Self {
            rules: TokenRules {
                issuer: settings.issuer.clone(),
                audience: audience.unwrap_or_else(|| endpoints.base_url().to_owned()),
                algorithms: Algorithm::ALL.to_vec(),
                skew_secs: settings.skew_secs,
                profile: TokenProfile::External,
            },
            keys: Documents::new(http.clone(), Arc::clone(clock), settings.keys.clone(), |text| {
                Jwks::parse(text).ok()
            }),
            metadata: Documents::new(http.clone(), Arc::clone(clock), settings.keys.clone(), |text| {
                serde_json::from_slice(text).ok()
            }),
            introspected: Mutex::default(),
            settings: settings.clone(),
            store: store.clone(),
            http,
            endpoints,
        }
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Who issues the tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// What clients are told of where they get tokens, and how: as the issuer says it; where it was set, the issuer need not say it.
    pub(crate) async fn token_endpoint(&self) -> Option<TokenEndpoint> {
        let metadata = self.metadata().await;
        let said = metadata
            .as_ref()
            .and_then(|metadata| metadata.token_endpoint.clone());
        Some(TokenEndpoint {
            url: self.configured_token_url().or(said)?,
            methods: metadata
                .as_ref()
                .and_then(|said| said.token_endpoint_auth_methods_supported.clone()),
            algorithms: metadata
                .as_ref()
                .and_then(|said| said.token_endpoint_auth_signing_alg_values_supported.clone()),
        })
    }

    /// Where clients get tokens, as far as it was said.
    pub(crate) fn configured_token_url(&self) -> Option<String> {
        self.settings.token_url.as_ref().map(ToString::to_string)
    }

    /// Finds out what a token allows now: what its issuer gave it, narrowed by what its client is registered for here.
    pub(crate) async fn grant(&self, token: &str, challenge: &Challenge) -> Result<Grant, Problem> {
        let proved = match &self.settings.proof {
            TokenProof::Introspection { .. } => self.introspect(token).await?,
            TokenProof::Discovered | TokenProof::Jwks(_) => self.verify(token).await?,
        };
        let proved = proved.ok_or_else(|| challenge.invalid_token())?;
        let id = ClientId::parse(&proved.client);
        let registration = match &id {
            Some(id) => registered(&self.store, id).await?,
            None => Registration::Nobody,
        };
        let client = match registration {
            Registration::Client(client) => *client,
            Registration::Nobody => {
                return self.unregistered(proved).ok_or_else(|| challenge.invalid_token());
            }
            // It may be narrowed, or revoked.
            Registration::Unreadable => return Err(challenge.invalid_token()),
        };
        let is_from_before = match (client.tokens_from, proved.issued) {
            (Some(from), Some(issued)) => issued < from,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if client.standing(self.now()) != Standing::Active || is_from_before {
            return Err(challenge.invalid_token());
        }
        Ok(Grant {
            scopes: proved.scopes.narrowed(&client.scopes),
            client: proved.client,
            groups: client.groups,
            limits: client.limits,
        })
    }

    fn unregistered(&self, proved: Proved) -> Option<Grant> {
        let is_name = proved.client.chars().count() <= CLIENT_CHARS_MAX
            && !proved.client.is_empty()
            && !is_reserved(&proved.client)
            && !proved.client.chars().any(char::is_control);
        let is_let_in = self.settings.unregistered == UnregisteredClients::Any && is_name;
        is_let_in.then(|| Grant {
            scopes: proved.scopes.narrowed(&super::served()),
            client: proved.client,
            groups: GroupAccess::Every,
            limits: ClientLimits::default(),
        })
    }

    /// Proves a token by its signature.
    ///
    /// # Errors
    /// 503 when the issuer's keys cannot be had: the token may be good.
    async fn verify(&self, token: &str) -> Result<Option<Proved>, Problem> {
        let Ok(jws) = Jws::parse(token) else {
            return Ok(None);
        };
        let Some(kid) = jws.kid() else {
            return Ok(None);
        };
        let has = |keys: &Jwks| keys.choose(kid, jws.algorithm()).is_ok();
        let keys = match self.keys_url().await {
            Some(url) => self.keys.get(&url, has).await,
            None => None,
        };
        let keys = keys.ok_or_else(away)?;
        let verified = AccessToken::verify(token, &keys, &self.rules, self.now());
        Ok(verified.ok().map(|token| Proved {
            client: token.client,
            scopes: token.scopes,
            issued: Some(token.issued),
            expires: token.expires,
        }))
    }

    async fn keys_url(&self) -> Option<String> {
        match &self.settings.proof {
            TokenProof::Jwks(url) => Some(url.to_string()),
            _ => self.metadata().await?.jwks_uri.clone(),
        }
    }

    /// Gives what the issuer tells of itself, if that is of this issuer indeed (RFC 8414 §3.3).
    async fn metadata(&self) -> Option<Arc<IssuerMetadata>> {
        let issuer = self.settings.issuer.trim_end_matches('/');
        let path_between = Endpoints::well_known(issuer, "oauth-authorization-server");
        let urls = [
            Some(format!("{issuer}/.well-known/openid-configuration")),
            path_between,
        ];
        for url in urls.into_iter().flatten() {
            if let Some(found) = self.metadata.get(&url, |_| true).await
                && found.issuer == self.settings.issuer
            {
                return Some(found);
            }
        }
        None
    }

    /// Proves a token by asking its issuer, or by what it said some moments ago.
    async fn introspect(&self, token: &str) -> Result<Option<Proved>, Problem> {
        let name: [u8; 32] = digest(&SHA256, token.as_bytes())
            .as_ref()
            .try_into()
            .expect("SHA-256 has 32 bytes");
        let now = self.store.clock().now();
        if let Some(proved) = self.remembered(&name, now) {
            return Ok(Some(proved));
        }
        let Some(proved) = self.ask(token).await? else {
            return Ok(None);
        };
        let believed = now.plus(Duration::from_secs(self.settings.introspection_secs));
        let ends = Timestamp::from_micros(proved.expires.micros());
        self.remember(name, proved.clone(), believed.min(ends), now);
        Ok(Some(proved))
    }

    async fn ask(&self, token: &str) -> Result<Option<Proved>, Problem> {
        let TokenProof::Introspection {
            url,
            client_id,
            secret,
        } = &self.settings.proof
        else {
            return Ok(None);
        };
        let http = self.http.as_ref().ok_or_else(away)?;
        let form = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let credentials = (client_id.as_str(), secret.0.as_str());
        let answer = http
            .post_form(url.as_str(), credentials, form, INTROSPECTION_BYTES_MAX)
            .await;
        let body = answer.map_err(|error| {
            warn!(
                error = &error as &dyn StdError,
                "asking the issuer about a token failed"
            );
            away()
        })?;
        let said: Introspected = serde_json::from_slice(&body.bytes).map_err(|_| {
            warn!("the issuer's answer about a token cannot be read");
            away()
        })?;
        Ok(self.proved(said))
    }

    /// Holds the answer to an introspection to the rules that tokens are held to.
    fn proved(&self, said: Introspected) -> Option<Proved> {
        let micros = |secs: i64| Instant::from_micros(secs.saturating_mul(1_000_000));
        let expires = micros(said.exp?);
        let is_for_us = said.aud.is_some_and(|aud| aud.has(&self.rules.audience));
        let is_theirs = said.iss.is_none_or(|issuer| issuer == self.rules.issuer);
        let counts = said.active && is_for_us && is_theirs && self.now() < expires;
        counts.then_some(Proved {
            client: said.client_id?,
            scopes: Scopes::parse_known(said.scope.as_deref().unwrap_or_default()),
            issued: said.iat.map(micros),
            expires,
        })
    }

    fn remembered(&self, name: &[u8; 32], now: Timestamp) -> Option<Proved> {
        let known = self.introspected.lock().unwrap_or_else(PoisonError::into_inner);
        let (proved, until) = known.get(name)?;
        (now < *until).then(|| proved.clone())
    }

    fn remember(&self, name: [u8; 32], proved: Proved, until: Timestamp, now: Timestamp) {
        let mut known = self.introspected.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.settings.introspections_max {
            known.retain(|_, (_, until)| now < *until);
        }
        if known.len() < self.settings.introspections_max {
            known.insert(name, (proved, until));
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.store.clock().now().as_micros())
    }
}

/// What clients are told of the issuer's token endpoint; what the issuer does not say is not said.
pub(crate) struct TokenEndpoint {
    pub(crate) url: String,
    /// How clients prove who they are there.
    pub(crate) methods: Option<Vec<String>>,
    /// How they may sign for it.
    pub(crate) algorithms: Option<Vec<String>>,
}

fn away() -> Problem {
    Problem::transient("the authorization server that gives the tokens does not answer; try again")
}
