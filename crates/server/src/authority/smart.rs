//! The authorization server inside this one: [`Smart`] gives tokens to registered clients and knows them again.

use std::sync::Arc;
use std::time::Duration;

use fhirhose_auth::{
    AccessToken, Algorithm, Assertion, AssertionRules, Client, ClientId, ClientKeys, Grant, Jwks, Scopes,
    SigningKey, Standing, TokenProfile, TokenRules,
};
use fhirhose_client::Http;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Entropy, StopSignal};
use fhirhose_store::Store;
use serde_json::{Value, json};
use tracing::warn;

use super::assertion_limits::AssertionLimits;
use super::bearer::Challenge;
use super::documents::Documents;
use super::endpoints::Endpoints;
use super::form::Form;
use super::oauth::{OauthCode, fault, invalid_client, invalid_request, invalid_scope};
use super::settings::SmartSettings;
use super::used_assertions::{Use, UsedAssertions};
use super::{registered, signing};
use crate::Result;
use crate::audit::note_client;
use crate::problem::Problem;

/// The one way in which clients prove who they are.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How tokens of our own are signed.
pub(super) const TOKEN_ALGORITHM: Algorithm = Algorithm::Es256;

/// How often ended assertions are forgotten.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// What everybody is told who does not prove to be a client that may come in: not whether there is such a client, whether it
/// was revoked, or which of its keys there are.
const UNKNOWN: &str = "the assertion is not from a client that is registered here, or not signed with the one key that its kid names among the keys \
     which that client registered; a jku has to be the URL that it registered";

/// Who asks about a token.
pub(crate) enum Asking {
    /// Somebody with the operator's scope.
    Operator,
    /// A client that has proved who it is.
    Client(ClientId),
}

/// Gives tokens and knows them again. Fixed once the server runs; what changes lies in the store.
pub(crate) struct Smart {
    settings: SmartSettings,
    store: Store,
    entropy: Arc<dyn Entropy>,
    used: UsedAssertions,
    /// The keys of clients that registered a URL.
    keys: Documents<Jwks>,
    limits: AssertionLimits,
    signing: SigningKey,
    public: Jwks,
    endpoints: Endpoints,
    rules: AssertionRules,
    token_rules: TokenRules,
}

impl Smart {
    /// Opens it over a store: the signing key is made when there is none.
    pub(crate) async fn open(
        settings: &SmartSettings,
        store: &Store,
        entropy: Arc<dyn Entropy>,
        http: Option<Http>,
        endpoints: Endpoints,
    ) -> Result<Self> {
        let signing = signing::key(store).await?;
        let now = Instant::from_micros(store.clock().now().as_micros());
        let used = UsedAssertions::open(store.clone(), settings.used_assertions_max, now)
            .await
            .map_err(|source| signing::failed("reading the used assertions", source))?;
        Ok(Self {
            used,
            keys: Documents::new(http, Arc::clone(store.clock()), settings.keys.clone(), |text| {
                Jwks::parse(text).ok()
            }),
            limits: AssertionLimits::new(settings),
            store: store.clone(),
            entropy,
            public: signing.to_jwks(),
            signing,
            rules: AssertionRules {
                audiences: vec![endpoints.token()],
                algorithms: settings.algorithms.clone(),
                lifetime_secs_max: settings.assertion_secs_max,
                skew_secs: settings.skew_secs,
            },
            token_rules: TokenRules {
                issuer: endpoints.issuer().to_owned(),
                audience: endpoints.base_url().to_owned(),
                algorithms: vec![TOKEN_ALGORITHM],
                skew_secs: 0,
                profile: TokenProfile::Own,
            },
            endpoints,
            settings: settings.clone(),
        })
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(crate) fn settings(&self) -> &SmartSettings {
        &self.settings
    }

    /// The public half of the key that signs tokens.
    pub(crate) fn jwks(&self) -> Value {
        self.public.to_json()
    }

    /// Forgets ended assertions again and again until `stop`.
    pub(crate) async fn sweep(&self, stop: StopSignal) {
        let clock = self.store.clock();
        loop {
            let next = clock.now().plus(SWEEP_PERIOD);
            tokio::select! {
                _ = stop.stopped() => return,
                () = clock.sleep_until(next) => {}
            }
            if let Err(error) = self.used.sweep(self.now()).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "forgetting ended assertions failed"
                );
            }
        }
    }

    /// Answers a token request.
    pub(crate) async fn token(&self, form: &Form) -> Result<Value, Problem> {
        if form.needed("grant_type")? != "client_credentials" {
            let text = "the grant_type here is client_credentials";
            return Err(fault(OauthCode::UnsupportedGrantType, text));
        }
        // An empty list of scopes is a list of scopes, so it is not missing.
        let Some(asked) = form.sent("scope") else {
            return Err(invalid_request("the parameter scope is missing"));
        };
        // Whoever shuts out the keys of a client shuts out what is being issued by them: fetching keys takes its time.
        let began = self.now();
        let client = self.authenticate(form, &[]).await?;
        note_client(client.id.as_str());
        let scopes = granted(asked, &client)?;
        self.issue(&client, scopes, began)
    }

    /// Finds out which client a form is from, by its assertion.
    ///
    /// What costs nothing comes first: nothing is read for an assertion that is not for this server or not for this time,
    /// nothing is fetched for a client that there is not, and nothing is written before the signature holds. An assertion is for the token endpoint, or for one of `audiences`.
    pub(crate) async fn authenticate(&self, form: &Form, audiences: &[String]) -> Result<Client, Problem> {
        if form.needed("client_assertion_type")? != ASSERTION_TYPE {
            return Err(invalid_request(format!(
                "the client_assertion_type here is {ASSERTION_TYPE}"
            )));
        }
        if form.sent("client_secret").is_some() {
            return Err(invalid_request(
                "a client proves who it is in one way only: by its assertion",
            ));
        }
        let mut rules = self.rules.clone();
        rules.audiences.extend_from_slice(audiences);
        let assertion = Assertion::parse(form.needed("client_assertion")?)
            .map_err(|fault| invalid_client(fault.to_string()))?;
        assertion
            .check(&rules, self.now())
            .map_err(|fault| invalid_client(fault.to_string()))?;
        if form
            .sent("client_id")
            .is_some_and(|id| !id.is_empty() && id != assertion.client_id())
        {
            return Err(invalid_client("client_id is not the client of the assertion"));
        }
        let client = self.client(assertion.client_id()).await?;
        let keys = self.keys(&client, &assertion).await?;
        let key = keys
            .choose(assertion.kid(), assertion.algorithm())
            .map_err(|_| unknown())?;
        let turn = self.limits.turn().await;
        assertion.verify(key).map_err(|_| unknown())?;
        drop(turn);
        self.limits
            .count(assertion.client_id(), self.store.clock().now())?;
        self.spend(&assertion).await?;
        Ok(client)
    }

    /// Answers what is known of a token (A-52, RFC 7662): to the operator of every token, to a client of its own alone.
    pub(crate) async fn introspection(&self, token: &str, asking: &Asking) -> Result<Value, Problem> {
        let known = self.known(token).await?.filter(|(token, _)| match asking {
            Asking::Operator => true,
            Asking::Client(id) => token.client == id.as_str(),
        });
        let Some((token, client)) = known else {
            return Ok(json!({ "active": false }));
        };
        let secs = |instant: Instant| instant.micros().div_euclid(1_000_000);
        Ok(json!({
            "active": true,
            "scope": token.scopes.narrowed(&client.scopes),
            "client_id": token.client,
            "sub": token.client,
            "exp": secs(token.expires),
            "iat": secs(token.issued),
            "iss": token.issuer,
            "aud": token.audience,
            "jti": token.id,
            "token_type": "Bearer",
        }))
    }

    /// Gives a client that may come in.
    async fn client(&self, id: &str) -> Result<Client, Problem> {
        let id = ClientId::parse(id).ok_or_else(unknown)?;
        let client = registered(&self.store, &id).await?.client().ok_or_else(unknown)?;
        match client.standing(self.now()) {
            Standing::Active => Ok(client),
            Standing::Expired | Standing::Revoked => Err(unknown()),
        }
    }

    /// Gives the keys of a client, from where it registered them and from nowhere else.
    async fn keys(&self, client: &Client, assertion: &Assertion<'_>) -> Result<Arc<Jwks>, Problem> {
        let keys = match (&client.keys, assertion.jku()) {
            (ClientKeys::Jwks(text), None) => Jwks::parse(text.as_bytes()).ok().map(Arc::new),
            (ClientKeys::Url(url), jku) if jku.is_none_or(|jku| jku == url) => {
                let has = |keys: &Jwks| keys.choose(assertion.kid(), assertion.algorithm()).is_ok();
                self.keys.get(url, has).await
            }
            _ => None,
        };
        keys.ok_or_else(unknown)
    }

    /// Uses an assertion up.
    async fn spend(&self, assertion: &Assertion<'_>) -> Result<(), Problem> {
        // It is refused by its end only after the difference between the clocks, and a second more is no harm.
        let margin = i64::try_from(self.rules.skew_secs.saturating_add(1)).unwrap_or(i64::MAX);
        let until = assertion
            .expires()
            .micros()
            .saturating_add(margin.saturating_mul(1_000_000));
        let until = Instant::from_micros(until);
        match self
            .used
            .spend(assertion.client_id(), assertion.jti(), until)
            .await?
        {
            Use::First => Ok(()),
            Use::Again => Err(invalid_client(
                "the assertion was used before; each token request needs a new one with a new jti",
            )),
            Use::Full => {
                let text = "too many tokens were asked for in the last minutes; try again";
                Err(Problem::transient(text))
            }
        }
    }

    /// Makes a token, as of the instant at which it was asked for.
    fn issue(&self, client: &Client, scopes: Scopes, issued: Instant) -> Result<Value, Problem> {
        let secs = client
            .limits
            .token_secs
            .map_or(self.settings.token_secs, |own| own.min(self.settings.token_secs));
        let life = i64::try_from(secs).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        let token = AccessToken {
            issuer: self.token_rules.issuer.clone(),
            client: client.id.to_string(),
            audience: self.token_rules.audience.clone(),
            issued,
            expires: Instant::from_micros(self.now().micros().saturating_add(life)),
            id: u128::from_be_bytes(id).to_string(),
            scopes,
        };
        let text = token
            .issue(&self.signing)
            .map_err(|fault| Problem::internal().because(&fault))?;
        Ok(json!({
            "access_token": text,
            "token_type": "bearer",
            "expires_in": secs,
            "scope": token.scopes,
        }))
    }

    /// Finds out what a token allows now: what it was given, narrowed by what its client is registered for at this moment. So
    /// revoking a client takes effect at once.
    pub(crate) async fn grant(&self, token: &str, challenge: &Challenge) -> Result<Grant, Problem> {
        let known = self
            .known(token)
            .await?
            .ok_or_else(|| challenge.invalid_token())?;
        Ok(grant_of(known))
    }

    /// Gives a token with its client, if both count.
    pub(crate) async fn known(&self, token: &str) -> fhirhose_store::Result<Option<(AccessToken, Client)>> {
        let now = self.now();
        let Ok(token) = AccessToken::verify(token, &self.public, &self.token_rules, now) else {
            return Ok(None);
        };
        let Some(id) = ClientId::parse(&token.client) else {
            return Ok(None);
        };
        let Some(client) = registered(&self.store, &id).await?.client() else {
            return Ok(None);
        };
        let is_from_before = client.tokens_from.is_some_and(|from| token.issued < from);
        let counts = client.standing(now) == Standing::Active && !is_from_before;
        Ok(counts.then_some((token, client)))
    }

    fn now(&self) -> Instant {
        Instant::from_micros(self.store.clock().now().as_micros())
    }
}

fn grant_of((token, client): (AccessToken, Client)) -> Grant {
    Grant {
        scopes: token.scopes.narrowed(&client.scopes),
        client: token.client,
        groups: client.groups,
        limits: client.limits,
    }
}

fn unknown() -> Problem {
    invalid_client(UNKNOWN)
}

/// What of the scopes that a client asks for it gets.
fn granted(asked: &str, client: &Client) -> Result<Scopes, Problem> {
    let asked = Scopes::parse_asked(asked).map_err(|fault| invalid_scope(fault.to_string()))?;
    // Narrowing would do, but whoever asks for nothing but to write has mistaken what it is.
    if !client.scopes.has_writing() && asked.iter().any(|scope| scope.is_write_only()) {
        return Err(invalid_scope("this client may only read, and asks to write"));
    }
    let served = super::served();
    let scopes = asked.narrowed(&client.scopes).narrowed(&served);
    if scopes.is_empty() {
        let text = "none of the scopes is one that this server has and this client may have";
        return Err(invalid_scope(text));
    }
    Ok(scopes)
}
