//! `POST [base]/{Type}`: the server chooses the id.

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::Answer;

async fn create(server: &Server, path: &str, body: &Value) -> Answer {
    server
        .ask(Method::POST, &format!("/fhir/{path}"))
        .json(body)
        .send()
        .await
}

#[tokio::test]
async fn a_created_resource_gets_an_id_a_version_and_a_location() {
    let server = Server::start().await;
    let answer = create(
        &server,
        "Patient",
        &json!({"resourceType": "Patient", "active": true}),
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (201, "application/fhir+json")
    );
    let patient = answer.json();
    let id = patient["id"].as_str().unwrap();
    assert_eq!(id.len(), 36);
    let version = patient["meta"]["versionId"].as_str().unwrap();
    assert_eq!(answer.header("etag"), format!("W/\"{version}\""));
    let location = answer.header("location");
    assert_eq!(
        location,
        format!("{}/Patient/{id}/_history/{version}", server.base)
    );
    assert!(answer.has("last-modified"));
    assert_eq!(server.get(location).await.json(), patient);
    assert_eq!(
        server.get(&format!("/fhir/Patient/{id}")).await.text(),
        answer.text()
    );
}

#[tokio::test]
async fn an_id_in_the_body_is_replaced_wherever_it_stands() {
    let server = Server::start().await;
    for body in [
        json!({"resourceType": "Patient", "id": "mine"}).to_string(),
        "{\n  \"id\" : \"mine\",\n  \"resourceType\" : \"Patient\"\n}".to_owned(),
        r#"{"resourceType":"Patient","contained":[{"resourceType":"Goal","id":"mine"}],"id":"mine"}"#
            .to_owned(),
    ] {
        let ask = server
            .ask(Method::POST, "/fhir/Patient")
            .text("application/fhir+json", body);
        let answer = ask.send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let patient = answer.json();
        assert_ne!(patient["id"], "mine");
        if patient.get("contained").is_some() {
            assert_eq!(patient["contained"][0]["id"], "mine");
        }
    }
    server.get("/fhir/Patient/mine").await.refusal(404);
}

#[tokio::test]
async fn every_create_makes_another_resource() {
    let server = Server::start().await;
    let body = json!({"resourceType": "Basic", "code": {"text": "x"}});
    let first = create(&server, "Basic", &body).await.json();
    let second = create(&server, "Basic", &body).await.json();
    assert_ne!(first["id"], second["id"]);
}

#[tokio::test]
async fn what_cannot_be_created_is_refused() {
    let server = Server::start().await;
    let patient = json!({"resourceType": "Patient"});
    create(&server, "Unknown", &patient).await.refusal(404);
    create(&server, "Observation", &patient).await.refusal(400);
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"resourceType":"Patient","resourceType":"Patient"}"#,
        "{\"a\": 1 2}",
    ] {
        let ask = server
            .ask(Method::POST, "/fhir/Patient")
            .text("application/fhir+json", body);
        ask.send().await.refusal(400);
    }
}
