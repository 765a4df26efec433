//! Tokens: how clients come by them, and what they open.

use hyper::Method;
use serde_json::json;

use crate::fixture::{POPULATION, Server};
use crate::http::Ask;

#[tokio::test]
async fn a_registered_client_gets_a_token_and_is_let_in_a_21_a_29_a_50() {
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
    let bare = Ask::new(server.address, Method::GET, "/fhir/Patient/p1")
        .send()
        .await;
    bare.refusal(401);
    assert!(bare.header("www-authenticate").starts_with("Bearer "));
}

#[tokio::test]
async fn a_token_is_narrowed_to_what_its_client_may_have_a_31() {
    let mut server = Server::smart().await;
    let client = server.sign_in("reader", "system/Patient.rs").await;
    server.get("/fhir/Observation/o1").await.refusal(403);
    assert_eq!(server.get("/fhir/Patient/p1").await.status, 404);
    server.token = Some(
        server
            .token_of(&client, "system/Patient.read system/Observation.read")
            .await,
    );
    server.get("/fhir/Observation/o1").await.refusal(403);
}
