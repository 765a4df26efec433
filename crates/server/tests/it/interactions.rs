//! `GET`, `PUT` and `DELETE [base]/{Type}/{id}`: versions, entity tags, conditions.

use hyper::Method;
use serde_json::json;

use crate::fixture::Server;
use crate::http::Ask;

const P1: &str = "/fhir/Patient/p1";

fn put(server: &Server, active: bool) -> Ask {
    let body = json!({"resourceType": "Patient", "id": "p1", "active": active});
    server.ask(Method::PUT, P1).json(&body)
}

#[tokio::test]
async fn a_put_creates_then_updates_then_leaves_alone() {
    let server = Server::start().await;
    let created = put(&server, true).send().await;
    assert_eq!(created.status, 201);
    let updated = put(&server, false).send().await;
    assert_eq!(updated.status, 200);
    assert_ne!(created.header("etag"), updated.header("etag"));
    let same = put(&server, false).send().await;
    assert_eq!((same.status, same.header("etag")), (200, updated.header("etag")));
    assert_eq!(same.text(), updated.text());
    let read = server.get(P1).await;
    assert_eq!((read.status, read.text()), (200, updated.text()));
    assert_eq!(read.header("etag"), updated.header("etag"));
    assert_eq!(read.header("last-modified"), updated.header("last-modified"));
}

#[tokio::test]
async fn numbers_and_unknown_elements_survive_byte_for_byte() {
    let server = Server::start().await;
    let text =
        r#"{"resourceType":"Observation","id":"o","valueQuantity":{"value":1.00},"unheard":[1e3,"\u00e4"]}"#;
    let ask = server
        .ask(Method::PUT, "/fhir/Observation/o")
        .text("application/json", text);
    assert_eq!(ask.send().await.status, 201);
    let read = server.get("/fhir/Observation/o").await;
    let (head, tail) = text.split_once(r#""id":"o""#).unwrap();
    assert!(
        read.text().starts_with(&format!(r#"{head}"id":"o","meta":{{"#)),
        "{}",
        read.text()
    );
    assert!(read.text().ends_with(tail), "{}", read.text());
}

#[tokio::test]
async fn a_body_over_many_lines_becomes_one_line() {
    let server = Server::start().await;
    let text =
        "{\n  \"resourceType\": \"Patient\",\n  \"id\": \"p1\",\n  \"name\": [ { \"text\": \"A  B\" } ]\n}\n";
    let ask = server.ask(Method::PUT, P1).text("application/fhir+json", text);
    assert_eq!(ask.send().await.status, 201);
    assert!(
        server
            .get(P1)
            .await
            .text()
            .ends_with(r#","name":[{"text":"A  B"}]}"#)
    );
}

#[tokio::test]
async fn a_bad_put_is_refused_by_the_rules_of_an_import() {
    let server = Server::start().await;
    for body in [
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Patient","id":"p2"}"#,
        r#"{"resourceType":"Group","id":"p1"}"#,
        r#"{"resourceType":"Patient","id":"p1","a":01}"#,
        r#"{"resourceType":"Patient","id":"p1"} {}"#,
        "{\"resourceType\":\"Patient\",\"id\":\"p1\",\"a\":\"\n\"}",
        "",
    ] {
        let ask = server.ask(Method::PUT, P1).text("application/fhir+json", body);
        ask.send().await.refusal(400);
    }
    server.get(P1).await.refusal(404);
}

#[tokio::test]
async fn if_match_and_if_none_match_guard_a_put() {
    let server = Server::start().await;
    put(&server, true)
        .header("if-match", "W/\"1\"")
        .send()
        .await
        .refusal(412);
    put(&server, true)
        .header("if-match", "*")
        .send()
        .await
        .refusal(412);
    let created = put(&server, true).header("if-none-match", "*").send().await;
    assert_eq!(created.status, 201);
    put(&server, false)
        .header("if-none-match", "*")
        .send()
        .await
        .refusal(412);
    let updated = put(&server, false)
        .header("if-match", created.header("etag"))
        .send()
        .await;
    assert_eq!(updated.status, 200);
    put(&server, true)
        .header("if-match", created.header("etag"))
        .send()
        .await
        .refusal(412);
    put(&server, true)
        .header("if-match", "no tag")
        .send()
        .await
        .refusal(400);
    assert_eq!(server.get(P1).await.text(), updated.text());
}

#[tokio::test]
async fn of_two_writers_with_the_same_version_one_loses() {
    let server = Server::start().await;
    let version = put(&server, true).send().await.header("etag").to_owned();
    let body = |text: &str| json!({"resourceType": "Patient", "id": "p1", "name": [{"text": text}]});
    let writer = |text: &str| {
        server
            .ask(Method::PUT, P1)
            .json(&body(text))
            .header("if-match", &version)
            .send()
    };
    let (first, second) = tokio::join!(writer("a"), writer("b"));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn a_known_version_gets_304() {
    let server = Server::start().await;
    let etag = put(&server, true).send().await.header("etag").to_owned();
    let read = server
        .ask(Method::GET, P1)
        .header("if-none-match", &etag)
        .send()
        .await;
    assert_eq!(
        (read.status, read.body.len(), read.header("etag")),
        (304, 0, etag.as_str())
    );
    let other = server
        .ask(Method::GET, P1)
        .header("if-none-match", "W/\"0\"")
        .send()
        .await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_deleted_resource_is_410_and_an_unknown_one_404() {
    let server = Server::start().await;
    server.get(P1).await.refusal(404);
    assert_eq!(
        server.delete(P1).await.status,
        204,
        "there is nothing to delete, which is what was wanted"
    );
    server.get(P1).await.refusal(404);
    put(&server, true).send().await;
    let deleted = server.delete(P1).await;
    assert_eq!(deleted.status, 204);
    let gone = server.get(P1).await;
    gone.refusal(410);
    assert_eq!(gone.header("etag"), deleted.header("etag"));
    assert_eq!(server.delete(P1).await.header("etag"), deleted.header("etag"));
    assert_eq!(put(&server, true).send().await.status, 201, "it may come back");
    assert_eq!(server.get(P1).await.status, 200);
}

#[tokio::test]
async fn if_match_guards_a_delete() {
    let server = Server::start().await;
    let old = put(&server, true).send().await.header("etag").to_owned();
    let new = put(&server, false).send().await.header("etag").to_owned();
    let delete = |tag: &str| server.ask(Method::DELETE, P1).header("if-match", tag).send();
    delete(&old).await.refusal(412);
    assert_eq!(delete(&new).await.status, 204);
    delete(&new).await.refusal(412);
}

#[tokio::test]
async fn each_version_can_be_read_by_its_number() {
    let server = Server::start().await;
    let old = put(&server, true).send().await.header("location").to_owned();
    let new = put(&server, false).send().await.header("location").to_owned();
    assert_eq!(server.get(&new).await.status, 200);
    assert_eq!(server.get(&old).await.json()["active"], true);
}

#[tokio::test]
async fn parameters_that_would_be_ignored_are_refused() {
    let server = Server::start().await;
    put(&server, true).send().await;
    server.get(&format!("{P1}?_summary=true")).await.refusal(400);
    server.get(&format!("{P1}?_format=xml")).await.refusal(400);
    assert_eq!(server.get(&format!("{P1}?_format=json")).await.status, 200);
    let xml = server
        .ask(Method::GET, P1)
        .header("accept", "application/fhir+xml");
    xml.send().await.refusal(406);
}

#[tokio::test]
async fn imported_resources_can_be_read_too() {
    let server = Server::populated().await;
    let read = server.get("/fhir/Observation/o1").await;
    assert_eq!(read.status, 200);
    assert!(read.text().contains(r#""value":1.00"#), "{}", read.text());
}
