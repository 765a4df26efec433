//! SMART Backend Services from the client's side: where tokens are, how they are asked for, and how long they are kept.

use std::sync::atomic::{AtomicUsize, Ordering};

use fhirhose_auth::{Actions, Algorithm, Assertion, SigningKey};
use fhirhose_client::{ErrorKind, Http, HttpSettings, SmartConfiguration, SmartSettings, TokenSource};
use fhirhose_fhir::resource_type::ResourceType;
use serde_json::{Value, json};

use crate::server::{Server, ok, redirect};

const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const TOKEN_URL: &str = "https://auth.example.org:443/Token?tenant=a";

fn http() -> Http {
    Http::new(&HttpSettings::default()).unwrap()
}

fn settings() -> SmartSettings {
    SmartSettings {
        client_id: "warehouse".to_owned(),
        key: SigningKey::generate(Algorithm::Es384).unwrap(),
        jku: None,
        scopes: "system/Patient.rs system/Observation.rs".to_owned(),
    }
}

fn smart_configuration(token_url: &str) -> String {
    ok(&json!({"token_endpoint": token_url, "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384", "PS999"]})
        .to_string())
}

fn capabilities(token_url: &str) -> String {
    let uris = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
    let uris = json!({"url": uris, "extension": [
        {"url": "authorize", "valueUri": "https://auth.example.org/authorize"},
        {"url": "token", "valueUri": token_url},
    ]});
    ok(&json!({"resourceType": "CapabilityStatement", "rest": [
        {"mode": "client"},
        {"mode": "server", "security": {"extension": [{"url": "other"}, uris]}},
    ]})
    .to_string())
}

/// Asks a server that answers by path.
async fn discover(
    answers: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Result<SmartConfiguration, fhirhose_client::Error> {
    let server = Server::plain(answers).await;
    let base = format!("http://127.0.0.1:{}/fhir/", server.port);
    SmartConfiguration::discover(&http(), &base).await
}

/// A token endpoint that answers with the number of the token, and this life.
async fn token_server(life: Value) -> (Server, String) {
    let given = AtomicUsize::new(0);
    let server =
        Server::plain(move |_| {
            let number = given.fetch_add(1, Ordering::Relaxed);
            ok(&json!({"access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": life,
            "scope": "system/Patient.rs launch/none"})
        .to_string())
        })
        .await;
    let url = format!("http://127.0.0.1:{}/auth/token", server.port);
    (server, url)
}

/// What a token endpoint that answers so is told to be.
async fn refused_by(answer: String) -> fhirhose_client::Error {
    let server = Server::plain(move |_| answer.clone()).await;
    let url = format!("http://127.0.0.1:{}/auth/token", server.port);
    let source = TokenSource::at(&http(), &url, settings()).unwrap();
    source.token().await.expect_err("refused")
}

fn answer(status: &str, body: &str) -> String {
    ok(body).replacen("200 OK", status, 1)
}

#[tokio::test]
async fn cl_01_the_token_endpoint_is_found_in_the_smart_configuration() {
    let found = discover(|path| match path {
        "/fhir/.well-known/smart-configuration" => smart_configuration(TOKEN_URL),
        _ => ABSENT.to_owned(),
    })
    .await
    .unwrap();
    // Character by character, for it is compared so.
    assert_eq!(found.token_url, TOKEN_URL);
    assert_eq!(found.algorithms, [Algorithm::Rs384, Algorithm::Es384]);
}

#[tokio::test]
async fn cl_01_the_capability_statement_tells_where_there_is_no_smart_configuration() {
    for first in [ABSENT.to_owned(), ok("{}"), ok("<html>")] {
        let found = discover(move |path| match path {
            "/fhir/metadata" => capabilities(TOKEN_URL),
            _ => first.clone(),
        })
        .await
        .unwrap();
        assert_eq!((found.token_url.as_str(), found.algorithms.len()), (TOKEN_URL, 0));
    }
}

#[tokio::test]
async fn cl_01_a_server_that_tells_nothing_or_nonsense_is_an_error() {
    let kind = |error: fhirhose_client::Error| error.kind();
    let nowhere = discover(|_| ok("{}")).await.map_err(kind);
    assert_eq!(nowhere, Err(ErrorKind::Protocol));
    // A server in trouble is asked again later, and not elsewhere.
    let busy = discover(|path| match path {
        "/fhir/metadata" => capabilities(TOKEN_URL),
        _ => BUSY.to_owned(),
    });
    assert_eq!(busy.await.map_err(kind), Err(ErrorKind::Busy));
    for url in ["auth/token", "ftp://auth.example.org/token", ""] {
        let odd = discover(move |_| smart_configuration(url)).await.map_err(kind);
        assert_eq!(odd, Err(ErrorKind::Url), "{url}");
    }
}

#[tokio::test]
async fn a_key_that_the_server_cannot_verify_is_told_before_anything_is_signed() {
    let server = Server::plain(|_| smart_configuration(TOKEN_URL)).await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let refused = TokenSource::discover(&http(), &base, SmartSettings { key, ..settings() }).await;
    let refused = refused.expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("RS384, ES384"), "{refused}");
}

#[tokio::test]
async fn a_21_cl_02_each_request_has_a_new_assertion_that_verifies() {
    let (server, url) = token_server(json!(0)).await;
    let settings = SmartSettings {
        jku: Some("https://client.example.org/jwks".to_owned()),
        ..settings()
    };
    let key = settings.key.verifying_key();
    let source = TokenSource::at(&http(), &url, settings).unwrap();
    for number in 0..2 {
        assert_eq!(source.token().await.unwrap().as_str(), format!("token-{number}"));
    }
    let mut ids = Vec::new();
    for request in server.asked() {
        let (head, form) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /auth/token HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("content-type: application/x-www-form-urlencoded"),
            "{head}"
        );
        let members: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .collect();
        let names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["grant_type", "scope", "client_assertion_type", "client_assertion"]
        );
        assert_eq!(members[0].1, "client_credentials");
        assert_eq!(members[1].1, "system/Patient.rs system/Observation.rs");
        assert_eq!(
            members[2].1,
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        );
        let assertion = Assertion::parse(&members[3].1).unwrap();
        assertion.verify(&key).unwrap();
        assert_eq!(assertion.client_id(), "warehouse");
        assert_eq!(assertion.jku(), Some("https://client.example.org/jwks"));
        ids.push(assertion.jti().to_owned());
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn cl_02_a_token_is_asked_for_once_and_kept_while_it_is_good() {
    let (server, url) = token_server(json!(300)).await;
    let source = TokenSource::at(&http(), &url, settings()).unwrap();
    let many = futures::future::join_all((0..20).map(|_| source.token())).await;
    assert!(many.into_iter().all(|token| token.unwrap().as_str() == "token-0"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn cl_02_the_life_of_a_token_may_be_written_as_a_text() {
    let (server, url) = token_server(json!("1200")).await;
    let tokens = TokenSource::at(&http(), &url, settings()).unwrap();
    for _ in 0..2 {
        assert_eq!(tokens.token().await.unwrap().as_str(), "token-0");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn cl_02_a_token_that_was_refused_is_asked_for_anew_and_once() {
    let (server, url) = token_server(json!(300)).await;
    let source = TokenSource::at(&http(), &url, settings()).unwrap();
    let first = source.token().await.unwrap();
    source.forget(&first).await;
    let second = source.clone().token().await.unwrap();
    assert_eq!(second.as_str(), "token-1");
    // Another task that used the first one hears of it later.
    source.forget(&first).await;
    assert_eq!(source.token().await.unwrap(), second);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn cl_03_what_was_granted_is_kept_beside_the_token() {
    let (_server, url) = token_server(json!(300)).await;
    let token = TokenSource::at(&http(), &url, settings())
        .unwrap()
        .token()
        .await
        .unwrap();
    assert_eq!(token.scope_text(), "system/Patient.rs launch/none");
    assert!(token.scopes().allows(Actions::READING, ResourceType::PATIENT));
    assert!(!token.scopes().allows(Actions::READ, ResourceType::OBSERVATION));
    assert!(!format!("{token:?}").contains("token-0"));
    let server = Server::plain(|_| ok(r#"{"access_token":"a","token_type":"bearer"}"#)).await;
    let url = format!("http://127.0.0.1:{}/", server.port);
    let silent = TokenSource::at(&http(), &url, settings())
        .unwrap()
        .token()
        .await
        .unwrap();
    assert_eq!(silent.scope_text(), settings().scopes);
}

#[tokio::test]
async fn refusals_are_told_in_the_servers_words_without_what_was_sent() {
    let error = r#"{"error":"invalid_client","error_description":"the assertion has expired"}"#;
    let refused = refused_by(answer("400 Bad Request", error)).await;
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(
        refused
            .to_string()
            .ends_with("invalid_client: the assertion has expired"),
        "{refused}"
    );
    let busy = refused_by(answer("503 Service Unavailable", "<html>")).await;
    assert_eq!(busy.kind(), ErrorKind::Busy);
    let echo = json!({"error": "invalid_client", "error_description": "a".repeat(300)}).to_string();
    let refused = refused_by(answer("401 Unauthorized", &echo)).await;
    assert!(refused.to_string().ends_with("invalid_client"), "{refused}");
}

#[tokio::test]
async fn answers_that_are_no_token_are_an_error_that_shows_none() {
    for body in [
        "",
        "[]",
        r#"{"access_token":"secret"}"#,
        r#"{"access_token":"secret","token_type":"mac"}"#,
        r#"{"access_token":"sec\nret","token_type":"bearer"}"#,
        r#"{"access_token":"","token_type":"bearer"}"#,
        r#"{"access_token":"secret","token_type":"bearer","expires_in":"soon"}"#,
    ] {
        let error = refused_by(ok(body)).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let long = format!(
        r#"{{"access_token":"{}","token_type":"bearer"}}"#,
        "a".repeat(70_000)
    );
    assert_eq!(refused_by(ok(&long)).await.kind(), ErrorKind::Refused);
}

#[tokio::test]
async fn cl_04_an_assertion_does_not_follow_a_redirect() {
    let (elsewhere, url) = token_server(json!(300)).await;
    for status in ["307 Temporary Redirect", "308 Permanent Redirect", "302 Found"] {
        let answer = redirect(&url).replacen("307 Temporary Redirect", status, 1);
        assert_eq!(refused_by(answer).await.kind(), ErrorKind::Refused, "{status}");
    }
    // Nor does a form with the client's secret.
    let server = Server::plain(move |_| redirect(&url)).await;
    let place = format!("http://127.0.0.1:{}/introspect", server.port);
    let http = http();
    let posted = http.post_form(&place, ("a", "secret"), "token=b".to_owned(), 100);
    assert_eq!(posted.await.expect_err("refused").kind(), ErrorKind::Refused);
    assert_eq!(elsewhere.asked().len(), 0);
}
