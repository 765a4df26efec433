//! Servers with authorization, clients that are registered there, and how they come by tokens.
//!
//! ```ignore
//! let mut server = Server::smart().await;
//! server.sign_in("exporter", "system/*.rs").await;      // registers the client; all requests bring its token from now on
//! let other = server.register("other", "system/Patient.rs").await;
//! let token = server.token_of(&other, "system/Patient.rs").await;
//! let answer = server.ask(Method::GET, "/fhir/Patient/p1").bearer(&token).send().await;
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use fhirhose_auth::{
    Algorithm, AssertionClaims, Client, ClientId, ClientKeys, ClientLimits, GroupAccess, Scopes, SigningKey,
};
use fhirhose_fhir::instant::Instant;
use fhirhose_server::{AuthSettings, ServerSettings, SmartSettings};
use fhirhose_store::Store;
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use hyper::Method;
use url::form_urlencoded::Serializer;

use crate::fixture::{Server, memory_store};
use crate::http::{Answer, Ask};

/// `client_assertion_type`, always the same.
pub(crate) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client with its key.
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) key: SigningKey,
}

/// Makes the record of a client with one key.
pub(crate) fn client(id: &str, scopes: &str, key: &SigningKey) -> Client {
    Client {
        id: ClientId::parse(id).expect("a client's id"),
        name: id.to_owned(),
        keys: ClientKeys::Jwks(key.to_jwks().to_json().to_string()),
        scopes: Scopes::parse(scopes).expect("scopes"),
        groups: GroupAccess::Every,
        limits: ClientLimits::default(),
        contact: None,
        created: Instant::from_micros(0),
        expires: None,
        revoked: None,
        tokens_from: None,
    }
}

/// Writes a client into a store, over what is there.
pub(crate) async fn put_client(store: &Store, client: &Client) {
    let text = serde_json::to_vec(client).expect("a client is JSON");
    let name = client.id.as_str().as_bytes();
    let catalog = store.catalog();
    let put = catalog.put_record(RecordKind::Client, name, &text, RecordExpect::Any);
    put.await.expect("the store answers");
}

/// Makes an id that no other assertion of this run has.
pub(crate) fn fresh_jti() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("jti-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Writes a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Server {
    /// Starts with an authorization server and an empty store.
    pub(crate) async fn smart() -> Self {
        Self::smart_with(|_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn smart_with(change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::smart_over(memory_store(), change).await
    }

    /// The same over a store.
    pub(crate) async fn smart_over(store: Store, change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::over(store, |settings| {
            settings.auth = AuthSettings::Smart(SmartSettings::default());
            change(settings);
        })
        .await
    }

    /// Where tokens are asked for.
    pub(crate) fn token_url(&self) -> String {
        format!("http://{}/auth/token", self.address)
    }

    /// Registers a client that may have these scopes.
    pub(crate) async fn register(&self, id: &str, scopes: &str) -> Registered {
        self.register_with(id, scopes, |_| ()).await
    }

    /// The same with another record, such as one that is held to Groups.
    pub(crate) async fn register_with(
        &self,
        id: &str,
        scopes: &str,
        change: impl FnOnce(&mut Client),
    ) -> Registered {
        let key = SigningKey::generate(Algorithm::Es384).expect("a key");
        let mut record = client(id, scopes, &key);
        change(&mut record);
        put_client(&self.store, &record).await;
        Registered {
            id: id.to_owned(),
            key,
        }
    }

    /// Signs a new assertion of a client.
    pub(crate) fn assertion(&self, client: &Registered) -> String {
        let claims = AssertionClaims {
            client_id: &client.id,
            audience: &self.token_url(),
            jku: None,
            jti: &fresh_jti(),
            now: Instant::from_micros(self.store.clock().now().as_micros()),
            lifetime_secs: 300,
        };
        client.key.assertion(&claims).expect("the key signs")
    }

    /// Makes a token request with these parameters.
    pub(crate) fn ask_token(&self, pairs: &[(&str, &str)]) -> Ask {
        Ask::new(self.address, Method::POST, "/auth/token")
            .text("application/x-www-form-urlencoded", form(pairs))
    }

    /// Asks for a token as one should.
    pub(crate) async fn request_token(&self, client: &Registered, scope: &str) -> Answer {
        let assertion = self.assertion(client);
        let pairs = [
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        self.ask_token(&pairs).send().await
    }

    /// Gives an access token of a client.
    pub(crate) async fn token_of(&self, client: &Registered, scope: &str) -> String {
        let answer = self.request_token(client, scope).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Registers a client and lets all further requests bring its token.
    pub(crate) async fn sign_in(&mut self, id: &str, scopes: &str) -> Registered {
        let client = self.register(id, scopes).await;
        self.token = Some(self.token_of(&client, scopes).await);
        client
    }
}
