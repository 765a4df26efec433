//! `_dryRun`: what an export would come to, without one.

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::Answer;

fn value<'a>(parameters: &'a Value, name: &str) -> &'a Value {
    let list = parameters["parameter"].as_array().expect("a list");
    let found = list.iter().find(|one| one["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no {name} in {parameters}"));
    let members = found.as_object().expect("an object");
    members
        .iter()
        .find(|(key, _)| key.starts_with("value"))
        .expect("a value")
        .1
}

async fn dry_run(server: &Server, target: &str) -> Value {
    let answer: Answer = server.kick_off(target).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/fhir+json");
    let parameters = answer.json();
    assert_eq!(parameters["resourceType"], "Parameters");
    parameters
}

#[tokio::test]
async fn a_dry_run_tells_types_rows_bytes_and_seconds_and_records_no_job() {
    let server = Server::populated().await;
    let before = server
        .store
        .catalog()
        .jobs(&Default::default())
        .await
        .unwrap()
        .len();
    let parameters = dry_run(&server, "$export?_dryRun=true").await;
    let types = parameters["parameter"].as_array().unwrap().iter();
    let types: Vec<&Value> = types.filter(|one| one["name"] == "type").collect();
    assert_eq!(types.len(), 7, "{parameters}");
    let patients = types
        .iter()
        .find(|one| value(&json!({"parameter": one["part"]}), "type") == "Patient");
    let part = json!({"parameter": patients.unwrap()["part"]});
    assert_eq!(value(&part, "resources"), 2);
    assert!(value(&part, "bytes").as_u64().unwrap() > 100);
    assert_eq!(value(&parameters, "resources"), 9);
    assert!(value(&parameters, "seconds").as_f64().unwrap() >= 0.0);
    assert!(["assumed", "measured"].contains(&value(&parameters, "rate").as_str().unwrap()));
    let after = server
        .store
        .catalog()
        .jobs(&Default::default())
        .await
        .unwrap()
        .len();
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_dry_run_heeds_level_and_type_and_refuses_what_an_export_would() {
    let server = Server::populated().await;
    let of_group = dry_run(&server, "Group/g1/$export?_dryRun=true&_type=Patient").await;
    assert!(value(&of_group, "resources").as_u64().unwrap() >= 1);
    let filtered = dry_run(
        &server,
        "$export?_dryRun=true&_typeFilter=Patient%3Fgender%3Dmale",
    )
    .await;
    assert_eq!(value(&filtered, "filtered"), true, "filters only make it less");
    server
        .kick_off("Group/unknown/$export?_dryRun=true")
        .await
        .refusal(404);
    server
        .kick_off("$export?_dryRun=true&_type=MadeUp")
        .await
        .refusal(400);
    server.kick_off("$export?_dryRun=perhaps").await.refusal(400);
    assert_eq!(server.kick_off("$export?_dryRun=false").await.status, 202);
}

#[tokio::test]
async fn a_lenient_dry_run_tells_what_was_left_out_k_22() {
    let server = Server::populated().await;
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_dryRun", "valueBoolean": true}, {"name": "unheard", "valueString": "of"}]});
    let ask = server
        .ask(Method::POST, "/fhir/Patient/$export-v4")
        .header("accept", "application/fhir+json")
        .header("prefer", "respond-async, handling=lenient");
    let answer = ask.json(&body).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let parameters = answer.json();
    let list = parameters["parameter"].as_array().unwrap();
    let outcome = list.iter().find(|one| one["name"] == "outcome").unwrap();
    assert_eq!(outcome["resource"]["resourceType"], "OperationOutcome");
}
