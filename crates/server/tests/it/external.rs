//! Tokens of another authorization server.

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_fhir::instant::Instant;
use fhirhose_server::{
    AuthSettings, ExternalSettings, Secret, ServerSettings, TokenProof, UnregisteredClients,
};
use fhirhose_store::catalog::{RecordExpect, RecordKind};
use hyper::Method;
use serde_json::{Value, json};

use crate::elsewhere::Elsewhere;
use crate::fixture::Server;
use crate::http::Answer;
use crate::registered::{client, put_client};

/// A server that accepts the tokens of an issuer elsewhere.
struct Accepting {
    server: Server,
    issuer: Elsewhere,
    key: SigningKey,
}

impl Accepting {
    async fn new(change: impl FnOnce(&mut ExternalSettings, &Elsewhere)) -> Self {
        let issuer = Elsewhere::start().await;
        let key = SigningKey::generate(Algorithm::Es384).expect("a key");
        issuer.put("/keys", key.to_jwks().to_json().to_string(), &[]);
        let metadata = json!({"issuer": issuer.url(""), "jwks_uri": issuer.url("/keys"),
            "token_endpoint": issuer.url("/token"), "token_endpoint_auth_methods_supported": ["client_secret_basic"]});
        issuer.put("/.well-known/openid-configuration", metadata.to_string(), &[]);
        let mut external = ExternalSettings::new(issuer.url(""));
        change(&mut external, &issuer);
        let set = |settings: &mut ServerSettings| settings.auth = AuthSettings::External(Box::new(external));
        Self {
            server: Server::start_with(set).await,
            issuer,
            key,
        }
    }

    fn now(&self) -> i64 {
        self.server.store.clock().now().as_micros() / 1_000_000
    }

    /// The claims of a good token.
    fn claims(&self) -> Value {
        json!({"iss": self.issuer.url(""), "sub": "x", "client_id": "reader", "aud": self.server.base,
            "scope": "openid system/Patient.rs system/Observation.rs", "iat": self.now(), "exp": self.now() + 300})
    }

    async fn ask(&self, target: &str, claims: &Value) -> Answer {
        let token = self.key.sign("JWT", &[], claims).expect("it signs");
        self.server.ask(Method::GET, target).bearer(&token).send().await
    }

    async fn register(&self, scopes: &str) {
        put_client(&self.server.store, &client("reader", scopes, &self.key)).await;
    }
}

/// The keys are found by the issuer's metadata; the registration here narrows what the token says.
#[tokio::test]
async fn tokens_of_an_issuer_open_what_their_client_is_registered_for() {
    let accepting = Accepting::new(|_, _| ()).await;
    let claims = accepting.claims();
    accepting.ask("/fhir/Patient/p1", &claims).await.refusal(401);
    accepting.register("system/Patient.rs").await;
    assert_eq!(accepting.ask("/fhir/Patient/p1", &claims).await.status, 404);
    accepting.ask("/fhir/Observation/o1", &claims).await.refusal(403);
    let mut revoked = client("reader", "system/Patient.rs", &accepting.key);
    revoked.revoked = Some(Instant::from_micros(1));
    put_client(&accepting.server.store, &revoked).await;
    accepting.ask("/fhir/Patient/p1", &claims).await.refusal(401);
}

/// What is wrong, and how a good token's claims are changed for it.
type Row = (&'static str, fn(&mut Value));

#[tokio::test]
async fn tokens_that_are_not_quite_of_the_issuer_or_for_this_server_are_refused() {
    let accepting = Accepting::new(|_, _| ()).await;
    accepting.register("system/Patient.rs").await;
    let rows: &[Row] = &[
        ("another issuer", |claims| {
            claims["iss"] = json!("https://other.example")
        }),
        ("no audience", |claims| {
            claims.as_object_mut().unwrap().remove("aud");
        }),
        ("another audience", |claims| {
            claims["aud"] = json!("https://other.example/fhir")
        }),
        ("its end", |claims| {
            claims["exp"] = json!(claims["iat"].as_i64().unwrap() - 61)
        }),
        ("no end", |claims| {
            claims.as_object_mut().unwrap().remove("exp");
        }),
        ("no client", |claims| {
            let claims = claims.as_object_mut().unwrap();
            claims.remove("client_id");
            claims.remove("sub");
        }),
        ("a client that is not registered", |claims| {
            claims["client_id"] = json!("other")
        }),
    ];
    for (name, change) in rows {
        let mut claims = accepting.claims();
        change(&mut claims);
        let answer = accepting.ask("/fhir/Patient/p1", &claims).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text());
    }
    let thief = SigningKey::generate(Algorithm::Es384)
        .expect("a key")
        .with_kid(accepting.key.kid());
    let forged = thief.sign("JWT", &[], &accepting.claims()).expect("it signs");
    let ask = accepting
        .server
        .ask(Method::GET, "/fhir/Patient/p1")
        .bearer(&forged);
    ask.send().await.refusal(401);
    assert_eq!(
        accepting
            .ask("/fhir/Patient/p1", &accepting.claims())
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn clients_that_are_not_registered_come_in_where_settings_say_so() {
    let accepting = Accepting::new(|settings, issuer| {
        settings.unregistered = UnregisteredClients::Any;
        settings.proof = TokenProof::Jwks(issuer.url("/keys").parse().unwrap());
        settings.audience = Some("bulk".to_owned());
    })
    .await;
    let mut claims = accepting.claims();
    claims["aud"] = json!(["other", "bulk"]);
    assert_eq!(accepting.ask("/fhir/Patient/p1", &claims).await.status, 404);
    accepting.ask("/fhir/Encounter/e1", &claims).await.refusal(403);
    claims["client_id"] = json!("x".repeat(1_000));
    accepting.ask("/fhir/Patient/p1", &claims).await.refusal(401);
    // Jobs of the operator, and those from before there was authorization, are for no client.
    for name in ["operator", "127.0.0.1", "::1"] {
        claims["client_id"] = json!(name);
        accepting.ask("/fhir/Patient/p1", &claims).await.refusal(401);
    }
    assert_eq!(accepting.issuer.asked("/keys").len(), 1);
}

/// A registration that cannot be read may say less than the token, or that its client is revoked.
#[tokio::test]
async fn a_registration_that_cannot_be_read_lets_nobody_in() {
    let accepting = Accepting::new(|settings, _| settings.unregistered = UnregisteredClients::Any).await;
    assert_eq!(
        accepting
            .ask("/fhir/Patient/p1", &accepting.claims())
            .await
            .status,
        404
    );
    let catalog = accepting.server.store.catalog();
    let record = br#"{"id":"reader","scopes":"system/NewerType.rs","revoked":"2026-01-01T00:00:00Z"}"#;
    let put = catalog.put_record(RecordKind::Client, b"reader", record, RecordExpect::Any);
    put.await.expect("the store answers");
    let answer = accepting.ask("/fhir/Patient/p1", &accepting.claims()).await;
    answer.refusal(401);
}

/// Metadata that names another issuer is somebody else's, and its keys count for nothing.
#[tokio::test]
async fn metadata_of_another_issuer_counts_for_nothing() {
    let accepting = Accepting::new(|_, issuer| {
        let metadata = json!({"issuer": "https://other.example", "jwks_uri": issuer.url("/keys")});
        issuer.put("/.well-known/openid-configuration", metadata.to_string(), &[]);
    })
    .await;
    accepting.register("system/Patient.rs").await;
    let claims = accepting.claims();
    accepting.ask("/fhir/Patient/p1", &claims).await.refusal(503);
    let document = accepting
        .server
        .get("/fhir/.well-known/smart-configuration")
        .await;
    document.refusal(503);
}

#[tokio::test]
async fn clients_are_told_where_the_issuer_gives_tokens_a_01() {
    let accepting = Accepting::new(|_, _| ()).await;
    let document = accepting
        .server
        .get("/fhir/.well-known/smart-configuration")
        .await
        .json();
    assert_eq!(document["token_endpoint"], accepting.issuer.url("/token"));
    assert_eq!(
        document["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic"])
    );
    assert_eq!(
        document["capabilities"],
        json!(["permission-v1", "permission-v2"])
    );
    let resource = accepting
        .server
        .get("/.well-known/oauth-protected-resource/fhir")
        .await
        .json();
    assert_eq!(
        resource["authorization_servers"],
        json!([accepting.issuer.url("")])
    );
    assert_eq!(accepting.server.ask_token(&[]).send().await.status, 404);
}

/// By introspection: the issuer is asked once in a while, with the credentials of this server.
#[tokio::test]
async fn an_issuer_may_be_asked_about_each_token() {
    let accepting = Accepting::new(|settings, issuer| {
        settings.proof = TokenProof::Introspection {
            url: issuer.url("/introspect").parse().unwrap(),
            client_id: "fhirhose".to_owned(),
            secret: Secret("secret".to_owned()),
        };
    })
    .await;
    accepting.register("system/Patient.rs").await;
    let mut said = accepting.claims();
    said["active"] = json!(true);
    accepting.issuer.put("/introspect", said.to_string(), &[]);
    let ask = async |token: &str| {
        let ask = accepting
            .server
            .ask(Method::GET, "/fhir/Patient/p1")
            .bearer(token);
        ask.send().await
    };
    assert_eq!(ask("opaque").await.status, 404);
    assert_eq!(ask("opaque").await.status, 404);
    let asked = accepting.issuer.asked("/introspect");
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].head.contains("Basic Zmhpcmhvc2U6c2VjcmV0"),
        "{}",
        asked[0].head
    );
    assert!(asked[0].body.contains("token=opaque"), "{}", asked[0].body);
    for change in [
        (|said| said["active"] = json!(false)) as fn(&mut Value),
        |said| said["aud"] = json!("https://other.example"),
        |said| said["iss"] = json!("https://other.example"),
        |said| said["exp"] = json!(1),
        |said| said["client_id"] = Value::Null,
        |said| said["client_id"] = json!("other"),
    ] {
        let mut changed = said.clone();
        change(&mut changed);
        accepting.issuer.put("/introspect", changed.to_string(), &[]);
        let token = crate::registered::fresh_jti();
        assert_eq!(ask(&token).await.status, 401, "{changed}");
    }
    accepting.issuer.put("/introspect", "no json", &[]);
    ask("another").await.refusal(503);
}
