//! `Patient/{id}/$everything`.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Server, names};

const RECORD: [&str; 12] = [
    r#"{"resourceType":"Patient","id":"p1","managingOrganization":{"reference":"Organization/org1"}}"#,
    r#"{"resourceType":"Patient","id":"p2"}"#,
    r#"{"resourceType":"Patient","id":"p10"}"#,
    r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"a"},"subject":{"reference":"Patient/p1"},"performer":[{"reference":"Practitioner/dr1"}]}"#,
    r#"{"resourceType":"Observation","id":"o2","status":"final","code":{"text":"a"},"subject":{"reference":"Patient/p2"},"performer":[{"reference":"Patient/p1"}]}"#,
    r#"{"resourceType":"Observation","id":"o3","status":"final","code":{"text":"a"},"subject":{"reference":"Patient/p2"}}"#,
    r#"{"resourceType":"Observation","id":"o4","status":"final","code":{"text":"a"},"subject":{"reference":"Patient/p10"}}"#,
    r#"{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/p1"}}"#,
    r#"{"resourceType":"Device","id":"d1","patient":{"reference":"Patient/p1"}}"#,
    r#"{"resourceType":"Practitioner","id":"dr1"}"#,
    r#"{"resourceType":"Practitioner","id":"dr2"}"#,
    r#"{"resourceType":"Organization","id":"org1"}"#,
];

async fn record() -> Server {
    let server = Server::start().await;
    server.import_lines(&RECORD).await;
    server
}

/// Follows the pages of a record: the matches of each page, and all that is included.
async fn pages(server: &Server, query: &str) -> (Vec<Vec<String>>, BTreeSet<String>) {
    let mut target = format!("/fhir/Patient/p1/$everything{query}");
    let (mut pages, mut included) = (Vec::new(), BTreeSet::new());
    loop {
        let answer = server.get(&target).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bundle = answer.json();
        let mut matches = Vec::new();
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let name = format!(
                "{}/{}",
                entry["resource"]["resourceType"].as_str().unwrap(),
                entry["resource"]["id"].as_str().unwrap()
            );
            match entry["search"]["mode"].as_str().unwrap() {
                "match" => matches.push(name),
                "include" => _ = included.insert(name),
                mode => panic!("{mode}"),
            }
        }
        pages.push(matches);
        let links = bundle["link"].as_array().expect("links");
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else {
            break;
        };
        target = next["url"].as_str().expect("a URL").to_owned();
        assert!(pages.len() < 50);
    }
    (pages, included)
}

fn flat(pages: Vec<Vec<String>>) -> BTreeSet<String> {
    let all: Vec<String> = pages.into_iter().flatten().collect();
    let count = all.len();
    let set: BTreeSet<String> = all.into_iter().collect();
    assert_eq!(set.len(), count, "each once");
    set
}

#[tokio::test]
async fn a_record_has_the_compartment_what_is_shared_and_what_it_refers_to() {
    let server = record().await;
    for count in ["", "?_count=1", "?_count=2", "?_count=5"] {
        let (found, included) = pages(&server, count).await;
        assert_eq!(found[0][0], "Patient/p1", "the patient comes first");
        assert_eq!(
            flat(found),
            names(&[
                "Patient/p1",
                "Observation/o1",
                "Observation/o2",
                "Encounter/e1",
                "Device/d1"
            ])
        );
        assert_eq!(included, names(&["Practitioner/dr1", "Organization/org1"]));
    }
}

#[tokio::test]
async fn a_record_is_narrowed_by_type_and_change() {
    let server = record().await;
    let (found, included) = pages(&server, "?_type=Observation,Encounter").await;
    assert_eq!(
        flat(found),
        names(&["Observation/o1", "Observation/o2", "Encounter/e1"])
    );
    assert!(included.is_empty());
    let before = server.get("/fhir/Patient/p1").await.json();
    let since = before["meta"]["lastUpdated"]
        .as_str()
        .expect("an instant")
        .to_owned();
    let changed: Value = serde_json::from_str(RECORD[3]).expect("JSON");
    let mut changed = changed;
    changed["status"] = json!("amended");
    assert_eq!(server.put(&changed).await.status, 200);
    let later = server.get("/fhir/Observation/o1").await.json();
    let later = later["meta"]["lastUpdated"]
        .as_str()
        .expect("an instant")
        .to_owned();
    assert_eq!(
        flat(pages(&server, &format!("?_since={later}")).await.0),
        names(&["Observation/o1"])
    );
    assert_eq!(flat(pages(&server, &format!("?_since={since}")).await.0).len(), 5);
}

#[tokio::test]
async fn a_version_that_names_the_patient_no_more_is_not_in_the_record() {
    let server = record().await;
    let mut changed: Value = serde_json::from_str(RECORD[4]).expect("JSON");
    changed["performer"] = json!([{"reference": "Practitioner/dr2"}]);
    assert_eq!(server.put(&changed).await.status, 200);
    let (found, included) = pages(&server, "").await;
    assert!(!flat(found).contains("Observation/o2"));
    assert!(!included.contains("Practitioner/dr2"));
}

#[tokio::test]
async fn a_post_takes_parameters_and_what_is_not_built_is_refused() {
    let server = record().await;
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 1}]});
    let ask = server
        .ask(Method::POST, "/fhir/Patient/p1/$everything")
        .json(&body);
    let bundle = ask.send().await.json();
    assert_eq!(bundle["entry"].as_array().map(Vec::len), Some(1), "{bundle}");
    for query in [
        "start=2020",
        "end=2020",
        "_type=Nothing",
        "_count=0",
        "colour=red",
        "_cursor=x",
        "_since=2020",
    ] {
        server
            .get(&format!("/fhir/Patient/p1/$everything?{query}"))
            .await
            .refusal(400);
    }
    server.get("/fhir/Patient/nobody/$everything").await.refusal(404);
    assert_eq!(server.delete("/fhir/Patient/p1").await.status, 204);
    server.get("/fhir/Patient/p1/$everything").await.refusal(404);
}
