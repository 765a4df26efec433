//! Conditional create, update, delete and read, and what `Prefer: return` makes of answers.

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::{Answer, Ask};

fn patient(family: &str, active: bool) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": family}], "active": active})
}

fn create(server: &Server, family: &str, condition: &str) -> Ask {
    let ask = server
        .ask(Method::POST, "/fhir/Patient")
        .json(&patient(family, true));
    ask.header("if-none-exist", condition)
}

async fn count(server: &Server, query: &str) -> u64 {
    let found = server
        .get(&format!("/fhir/Patient?{query}&_summary=count"))
        .await
        .json();
    found["total"].as_u64().expect("a total")
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_on_condition_creates_once_however_many_ask() {
    let server = Server::start().await;
    let asked = (0..8).map(|_| create(&server, "Ada", "family=Ada").send());
    let answers = futures::future::join_all(asked).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 201)));
    assert!(answers.iter().all(|answer| id(answer) == id(&answers[0])));
    assert_eq!(count(&server, "family=Ada").await, 1);
    assert_eq!(
        create(&server, "Bo", "family=Bo&active=true").send().await.status,
        201
    );
    // Without a condition there may be two, and then a condition is not selective enough.
    let plain = server
        .ask(Method::POST, "/fhir/Patient")
        .json(&patient("Ada", true));
    assert_eq!(plain.send().await.status, 201);
    create(&server, "Ada", "family=Ada").send().await.refusal(412);
}

#[tokio::test]
async fn conditions_that_are_none_are_refused() {
    let server = Server::start().await;
    for condition in [
        "",
        "family",
        "_count=1",
        "family=Ada&_sort=_id",
        "colour=red",
        "family=Ada&_include=Patient:organization",
    ] {
        let told = create(&server, "Ada", condition).send().await.refusal(400);
        assert!(!told.contains("Ada"), "{told}");
    }
    assert_eq!(count(&server, "family=Ada").await, 0);
    server
        .ask(Method::DELETE, "/fhir/Patient")
        .send()
        .await
        .refusal(400);
}

#[tokio::test]
async fn an_update_on_condition_replaces_the_one_match_or_creates() {
    let server = Server::start().await;
    let update = |body: Value, query: &str| {
        server
            .ask(Method::PUT, &format!("/fhir/Patient?{query}"))
            .json(&body)
    };
    let created = update(patient("Ada", true), "family=Ada").send().await;
    assert_eq!(created.status, 201);
    let updated = update(patient("Ada", false), "family=Ada").send().await;
    assert_eq!((updated.status, id(&updated)), (200, id(&created)));
    assert_eq!(updated.json()["active"], false);
    let mut other = patient("Ada", true);
    other["id"] = json!("another");
    update(other.clone(), "family=Ada").send().await.refusal(400);
    let named = update(other, "family=Nobody").send().await;
    assert_eq!((named.status, id(&named)), (201, "another".to_owned()));
    update(patient("Ada", false), "family=Ada")
        .send()
        .await
        .refusal(412);
    let stale = update(patient("Ada", false), "_id=another").header("if-match", "W/\"1\"");
    stale.send().await.refusal(412);
    let current = named.header("etag").to_owned();
    let fresh = update(patient("Ada", false), "_id=another").header("if-match", &current);
    assert_eq!(fresh.send().await.status, 200);
}

#[tokio::test]
async fn a_deletion_on_condition_takes_one_match_only() {
    let server = Server::start().await;
    for family in ["Ada", "Bo", "Bo"] {
        let ask = server
            .ask(Method::POST, "/fhir/Patient")
            .json(&patient(family, true));
        assert_eq!(ask.send().await.status, 201);
    }
    assert_eq!(server.delete("/fhir/Patient?family=Ada").await.status, 204);
    assert_eq!(
        server.delete("/fhir/Patient?family=Ada").await.status,
        204,
        "nothing to delete is fine"
    );
    server.delete("/fhir/Patient?family=Bo").await.refusal(412);
    assert_eq!(count(&server, "active=true").await, 2);
}

#[tokio::test]
async fn if_match_guards_deletions() {
    let server = Server::populated().await;
    let stale = server
        .ask(Method::DELETE, "/fhir/Patient/p1")
        .header("if-match", "W/\"999\"");
    stale.send().await.refusal(412);
    let current = server.get("/fhir/Patient/p1").await.header("etag").to_owned();
    let fresh = server
        .ask(Method::DELETE, "/fhir/Patient/p1")
        .header("if-match", &current);
    assert_eq!(fresh.send().await.status, 204);
}

#[tokio::test]
async fn what_the_client_has_by_date_is_not_sent_again() {
    let server = Server::populated().await;
    let date = server
        .get("/fhir/Patient/p1")
        .await
        .header("last-modified")
        .to_owned();
    let ask = |date: &str| {
        server
            .ask(Method::GET, "/fhir/Patient/p1")
            .header("if-modified-since", date)
    };
    let same = ask(&date).send().await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(ask("Thu, 01 Jan 2015 00:00:00 GMT").send().await.status, 200);
    assert_eq!(ask("yesterday").send().await.status, 200);
    let both = ask(&date).header("if-none-match", "W/\"999\"").send().await;
    assert_eq!(both.status, 200, "a tag counts more than a date");
}

#[tokio::test]
async fn prefer_return_says_what_comes_back() {
    let server = Server::start().await;
    let ask = |prefer: &str| {
        let ask = server
            .ask(Method::POST, "/fhir/Patient")
            .json(&patient("Ada", true));
        ask.header("prefer", prefer)
    };
    let minimal = ask("return=minimal").send().await;
    assert_eq!((minimal.status, minimal.body.len()), (201, 0));
    assert!(minimal.header("location").contains("/Patient/") && minimal.has("etag"));
    assert_eq!(
        ask("return=OperationOutcome").send().await.json()["resourceType"],
        "OperationOutcome"
    );
    assert_eq!(
        ask("return=representation").send().await.json()["resourceType"],
        "Patient"
    );
}
