//! Tokens: how clients come by them, what they open and when they end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_auth::AssertionClaims;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::testing::ManualClock;
use fhirhose_jobs::{Clock, SystemClock, Timestamp};
use fhirhose_server::{AuthSettings, SmartSettings};
use fhirhose_store::catalog::RecordKind;
use fhirhose_store::{DataFolder, Holder, OpenMode, Store, StoreSettings};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{POPULATION, Server, eventually};
use crate::http::{Answer, Ask};
use crate::registered::{JWT_BEARER, Registered, client, put_client};

/// What all that is wrong with a token comes to.
fn assert_not_let_in(answer: &Answer) {
    answer.refusal(401);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm="), "{challenge}");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(challenge.contains("resource_metadata=\"http"), "{challenge}");
}

async fn send(server: &Server, assertion: &str, scope: &str) -> Answer {
    let pairs = [
        ("grant_type", "client_credentials"),
        ("scope", scope),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    server.ask_token(&pairs).send().await
}

#[tokio::test]
async fn a_registered_client_gets_a_token_and_is_let_in_a_21_a_29_a_30_a_50() {
    let mut server = Server::smart().await;
    let client = server
        .register("exporter", "system/*.rs system/bulk-import")
        .await;
    let answer = server
        .request_token(&client, "system/*.rs system/bulk-import")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let token = answer.json();
    assert_eq!(token["token_type"], "bearer");
    assert_eq!(token["expires_in"], 300);
    assert_eq!(token["scope"], "system/*.rs system/bulk-import");
    assert_eq!(token.get("refresh_token"), None);
    server.token = Some(token["access_token"].as_str().unwrap().to_owned());
    server.import_lines(&POPULATION).await;
    assert_eq!(server.get("/fhir/Patient/p1").await.json()["id"], json!("p1"));
}

/// K-44, A-51: who brings no token is told that one is needed, and where to learn more.
#[tokio::test]
async fn without_a_token_nobody_is_let_in() {
    let server = Server::smart().await;
    for (header, value) in [
        ("accept", "*/*"),
        ("authorization", "Basic cmVhZGVyOnNlY3JldA=="),
        ("authorization", "Bearer"),
        ("authorization", "Bearer "),
    ] {
        let ask = server.ask(Method::GET, "/fhir/Patient/p1").header(header, value);
        let answer = ask.send().await;
        answer.refusal(401);
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        assert!(!challenge.contains("error="), "{challenge}");
    }
    for value in ["Bearer x", "Bearer a.b.c", "bearer x y"] {
        let ask = server
            .ask(Method::GET, "/fhir/Patient/p1")
            .header("authorization", value);
        assert_not_let_in(&ask.send().await);
    }
    let twice = server.ask(Method::GET, "/fhir/Patient/p1").bearer("x");
    twice
        .header("authorization", "Bearer y")
        .send()
        .await
        .refusal(401);
}

/// URLs are written to logs, so a token in one is refused even if it is good.
#[tokio::test]
async fn a_token_counts_in_its_header_alone() {
    let server = Server::smart().await;
    let client = server.register("reader", "system/*.rs").await;
    let token = server.token_of(&client, "system/*.rs").await;
    let target = format!("/fhir/Patient?access_token={token}");
    let answer = server.get(&target).await;
    let told = answer.refusal(400);
    assert!(
        told.contains("never into a URL") && !told.contains(&token),
        "{told}"
    );
    let form = server.ask(Method::POST, "/fhir/Patient/_search").text(
        "application/x-www-form-urlencoded",
        format!("access_token={token}"),
    );
    form.send().await.refusal(401);
}

#[tokio::test]
async fn a_token_is_narrowed_to_what_its_client_may_have_now_a_31() {
    let mut server = Server::smart().await;
    let reader = server
        .sign_in("reader", "system/Patient.rs system/Observation.rs")
        .await;
    assert_eq!(server.get("/fhir/Observation/o1").await.status, 404);
    let narrowed = client("reader", "system/Patient.rs", &reader.key);
    put_client(&server.store, &narrowed).await;
    let answer = server.get("/fhir/Observation/o1").await;
    answer.refusal(403);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert_eq!(server.get("/fhir/Patient/p1").await.status, 404);
}

/// revoking, an end of the registration, and keys that are rotated away in haste count from the next request on.
#[tokio::test]
async fn a_token_ends_with_its_client() {
    let mut server = Server::smart().await;
    let reader = server.sign_in("reader", "system/Patient.rs").await;
    let good = client("reader", "system/Patient.rs", &reader.key);
    let now = Instant::from_micros(server.store.clock().now().as_micros());
    for change in [
        (|client, now| client.revoked = Some(now)) as fn(&mut fhirhose_auth::Client, Instant),
        |client, now| client.expires = Some(now),
        |client, now| client.tokens_from = Some(now),
    ] {
        assert_eq!(server.get("/fhir/Patient/p1").await.status, 404);
        let mut changed = good.clone();
        change(&mut changed, now);
        put_client(&server.store, &changed).await;
        assert_not_let_in(&server.get("/fhir/Patient/p1").await);
        put_client(&server.store, &good).await;
    }
    let mut rotated = good;
    rotated.tokens_from = Some(now);
    put_client(&server.store, &rotated).await;
    server.token = Some(server.token_of(&reader, "system/Patient.rs").await);
    assert_eq!(server.get("/fhir/Patient/p1").await.status, 404);
}

/// all times at their boundaries, by a clock that the test turns.
#[tokio::test]
async fn assertions_and_tokens_end_to_the_second() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
    let shared: Arc<dyn Clock> = clock.clone();
    let store = Store::in_memory(shared, StoreSettings::default()).expect("a store");
    let mut server = Server::smart_over(store, |_| ()).await;
    let reader = server.register("reader", "system/Patient.rs").await;
    let signed = |ahead_secs: i64, jti: &str| {
        let now = server.store.clock().now().as_micros() + ahead_secs * 1_000_000;
        let claims = AssertionClaims {
            client_id: "reader",
            audience: &server.token_url(),
            jku: None,
            jti,
            now: Instant::from_micros(now),
            lifetime_secs: 300,
        };
        reader.key.assertion(&claims).expect("it signs")
    };
    for (ahead_secs, jti, status) in [(60, "a", 200), (61, "b", 400), (-359, "c", 200), (-360, "d", 400)] {
        let answer = send(&server, &signed(ahead_secs, jti), "system/Patient.rs").await;
        assert_eq!(answer.status, status, "{ahead_secs}: {}", answer.text());
    }
    // An assertion that was used is remembered for as long as it would be taken.
    let last = signed(60, "e");
    assert_eq!(send(&server, &last, "system/Patient.rs").await.status, 200);
    clock.advance(Duration::from_secs(419));
    let again = send(&server, &last, "system/Patient.rs").await.text().to_owned();
    assert!(again.contains("used before"), "{again}");
    server.token = Some(server.token_of(&reader, "system/Patient.rs").await);
    clock.advance(Duration::from_secs(299));
    assert_eq!(server.get("/fhir/Patient/p1").await.status, 404);
    clock.advance(Duration::from_secs(1));
    assert_not_let_in(&server.get("/fhir/Patient/p1").await);
}

/// of sixteen that present one assertion at the same time, one gets a token.
#[tokio::test]
async fn one_assertion_gives_one_token_however_many_ask() {
    let server = Server::smart().await;
    let reader = server.register("reader", "system/Patient.rs").await;
    let assertion = server.assertion(&reader);
    let asking = (0..16).map(|_| send(&server, &assertion, "system/Patient.rs"));
    let answers = futures::future::join_all(asking).await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(refused.json()["error"], "invalid_client");
    }
}

async fn open(folder: &Path) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let since = Instant::from_micros(clock.now().as_micros());
    let holder = Holder::this_process("test", since);
    let folder = DataFolder::open(folder, OpenMode::Create, &holder).expect("a data folder");
    Store::open(folder, clock, StoreSettings::default())
        .await
        .expect("a store")
}

/// what was used stays used, and tokens stay good, when the server is started again over its folder.
#[tokio::test]
async fn a_restart_forgets_neither_used_assertions_nor_tokens() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let base = "http://localhost/fhir".parse::<url::Url>().expect("a URL");
    let set = |settings: &mut fhirhose_server::ServerSettings| settings.base_url = Some(base.clone());
    let signed = |reader: &Registered, jti: &str| {
        let claims = AssertionClaims {
            client_id: "reader",
            audience: "http://localhost/auth/token",
            jku: None,
            jti,
            now: Instant::from_micros(SystemClock.now().as_micros()),
            lifetime_secs: 300,
        };
        reader.key.assertion(&claims).expect("it signs")
    };
    let server = Server::smart_over(open(&data).await, set).await;
    let reader = server.register("reader", "system/Patient.rs").await;
    let assertion = signed(&reader, "once");
    let first = send(&server, &assertion, "system/Patient.rs").await;
    assert_eq!(first.status, 200, "{}", first.text());
    let token = first.json()["access_token"].as_str().unwrap().to_owned();
    server.stop().await.expect("a clean end");
    let server = Server::smart_over(open(&data).await, set).await;
    let again = send(&server, &assertion, "system/Patient.rs").await;
    assert_eq!(again.json()["error"], "invalid_client");
    let ask = server.ask(Method::GET, "/fhir/Patient/p1").bearer(&token);
    assert_eq!(ask.send().await.status, 404);
    let other = send(&server, &signed(&reader, "twice"), "system/Patient.rs").await;
    assert_eq!(other.status, 200, "{}", other.text());
}

/// what has ended is forgotten, and while there is no room no token is given: one that is used twice would do harm, one that is
/// asked for again does none.
#[tokio::test]
async fn used_assertions_are_forgotten_after_their_end_and_bounded() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
    let shared: Arc<dyn Clock> = clock.clone();
    let store = Store::in_memory(shared, StoreSettings::default()).expect("a store");
    let server = Server::smart_over(store, |settings| {
        settings.auth = AuthSettings::Smart(SmartSettings {
            used_assertions_max: 2,
            ..SmartSettings::default()
        });
    })
    .await;
    let reader = server.register("reader", "system/Patient.rs").await;
    for _ in 0..2 {
        server.token_of(&reader, "system/Patient.rs").await;
    }
    let full = server.request_token(&reader, "system/Patient.rs").await;
    assert_eq!(full.status, 503);
    assert_eq!(full.json()["error"], "temporarily_unavailable");
    assert!(full.has("retry-after"));
    clock.advance(Duration::from_secs(362));
    let catalog = server.store.catalog();
    eventually("used assertions are forgotten", async || {
        let used = catalog.records(RecordKind::UsedAssertion, None, 10).await;
        used.unwrap().is_empty().then_some(())
    })
    .await;
    eventually("a token", async || {
        let answer = server.request_token(&reader, "system/Patient.rs").await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// A client's own limit shortens its tokens and never lengthens them.
#[tokio::test]
async fn a_clients_tokens_live_no_longer_than_it_and_the_server_say() {
    let server = Server::smart().await;
    for (own, expected) in [(60, 60), (3_600, 300)] {
        let id = format!("client-{own}");
        let set = |client: &mut fhirhose_auth::Client| client.limits.token_secs = Some(own);
        let registered = server.register_with(&id, "system/*.rs", set).await;
        let answer = server.request_token(&registered, "system/*.rs").await;
        assert_eq!(answer.json()["expires_in"], expected);
    }
}

fn introspect(server: &Server, pairs: &[(&str, &str)]) -> Ask {
    let body = crate::registered::form(pairs);
    Ask::new(server.address, Method::POST, "/auth/introspect").text("application/x-www-form-urlencoded", body)
}

#[tokio::test]
async fn tokens_are_told_about_to_the_operator_and_to_their_own_client_a_52() {
    let server = Server::smart().await;
    let operator = server.register("operator-tool", "system/operator").await;
    let operator = server.token_of(&operator, "system/operator").await;
    let (reader, other) = (
        server.register("reader", "system/Patient.rs").await,
        server.register("other", "system/*.rs").await,
    );
    let token = server.token_of(&reader, "system/Patient.read").await;
    let told = introspect(&server, &[("token", &token)])
        .bearer(&operator)
        .send()
        .await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(told.header("cache-control"), "no-store");
    let told = told.json();
    assert_eq!(told["active"], true);
    assert_eq!(told["client_id"], "reader");
    assert_eq!(told["scope"], "system/Patient.read");
    assert!(told["exp"].is_i64(), "{told}");
    let as_client = |registered: &Registered| {
        let assertion = server.assertion(registered);
        let pairs = [
            ("token", token.as_str()),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion.as_str()),
        ];
        introspect(&server, &pairs)
    };
    assert_eq!(as_client(&reader).send().await.json()["active"], true);
    let inactive = json!({"active": false});
    assert_eq!(as_client(&other).send().await.json(), inactive);
    let garbage = introspect(&server, &[("token", "x")])
        .bearer(&operator)
        .send()
        .await;
    assert_eq!(garbage.json(), inactive);
    // Nobody else is told anything.
    assert_eq!(introspect(&server, &[("token", &token)]).send().await.status, 401);
    let with_itself = introspect(&server, &[("token", &token)])
        .bearer(&token)
        .send()
        .await;
    assert_eq!(with_itself.status, 403);
    let nothing = introspect(&server, &[]).bearer(&operator).send().await;
    assert_eq!(nothing.json()["error"], "invalid_request");
}

/// for everybody, as JSON, whatever Accept says; and all that is listed works.
#[tokio::test]
async fn the_server_says_how_to_get_a_token_a_01_a_02_a_03_a_04() {
    let server = Server::smart().await;
    let ask = server.ask(Method::GET, "/fhir/.well-known/smart-configuration");
    let answer = ask.header("accept", "text/html").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    assert_eq!(document["token_endpoint"], server.token_url());
    let has = |member: &str, value: &str| {
        let list = document[member]
            .as_array()
            .unwrap_or_else(|| panic!("{member}: {document}"));
        assert!(list.contains(&json!(value)), "{member}: {document}");
    };
    has("grant_types_supported", "client_credentials");
    has("capabilities", "client-confidential-asymmetric");
    has("capabilities", "permission-v1");
    has("capabilities", "permission-v2");
    has("code_challenge_methods_supported", "S256");
    has("token_endpoint_auth_methods_supported", "private_key_jwt");
    has("token_endpoint_auth_signing_alg_values_supported", "RS384");
    has("token_endpoint_auth_signing_alg_values_supported", "ES384");
    let everything = document["scopes_supported"].as_array().unwrap();
    let everything: Vec<&str> = everything.iter().filter_map(Value::as_str).collect();
    let all = server.register("all", &everything.join(" ")).await;
    for scope in everything {
        let answer = server.request_token(&all, scope).await;
        assert_eq!(answer.json()["scope"], scope, "{}", answer.text());
    }
    for member in ["jwks_uri", "introspection_endpoint"] {
        let url = document[member].as_str().unwrap();
        assert!(
            ![404, 405].contains(&server.ask(method_of(member), url).send().await.status),
            "{url}"
        );
    }
}

fn method_of(member: &str) -> Method {
    if member == "jwks_uri" {
        Method::GET
    } else {
        Method::POST
    }
}

/// RFC 9728 and RFC 8414: from the challenge to the server that gives tokens.
#[tokio::test]
async fn a_client_finds_its_way_from_a_refusal_to_the_token_endpoint() {
    let server = Server::smart().await;
    let refused = server.get("/fhir/Patient/p1").await;
    let challenge = refused.header("www-authenticate").to_owned();
    let url = challenge
        .split("resource_metadata=\"")
        .nth(1)
        .unwrap()
        .trim_end_matches('"');
    let resource = server.get(url).await.json();
    assert_eq!(resource["resource"], server.base);
    let issuer = resource["authorization_servers"][0].as_str().unwrap();
    let metadata = server
        .get(&format!("{issuer}/.well-known/oauth-authorization-server"))
        .await
        .json();
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["token_endpoint"], server.token_url());
    let keys = server.get(metadata["jwks_uri"].as_str().unwrap()).await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(keys["keys"][0].get("d"), None);
}

#[tokio::test]
async fn the_statement_names_the_token_endpoint_where_there_is_one_a_05() {
    let server = Server::smart().await;
    let security = server.get("/fhir/metadata").await.json()["rest"][0]["security"].clone();
    assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
    assert_eq!(
        security["extension"][0]["extension"][0],
        json!({"url": "token", "valueUri": server.token_url()})
    );
    let open = Server::start().await;
    let security = open.get("/fhir/metadata").await.json()["rest"][0]["security"].clone();
    assert_eq!(security.get("extension"), None);
    for path in ["/fhir/.well-known/smart-configuration", "/auth/jwks"] {
        assert_eq!(open.get(path).await.status, 404);
    }
    assert_eq!(open.ask_token(&[]).send().await.status, 404);
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    use fhirhose_server::{ErrorKind, ServerSettings, bind};
    for change in [
        (|smart| smart.token_secs = 3_601) as fn(&mut SmartSettings),
        |smart| smart.token_secs = 0,
        |smart| smart.algorithms.clear(),
        |smart| smart.used_assertions_max = 0,
        |smart| smart.keys.urls_max = 0,
    ] {
        let mut smart = SmartSettings::default();
        change(&mut smart);
        let settings = ServerSettings {
            auth: AuthSettings::Smart(smart),
            ..ServerSettings::for_testing()
        };
        let error = bind(settings).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Settings);
    }
}
