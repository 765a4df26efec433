//! Groups that define a cohort by filters (spec §4.3): created at once or as a job, read, searched and deleted.

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::Ask;

const FILTER: &str = "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter";

fn filter(expression: &str) -> Value {
    json!({"url": FILTER, "valueExpression": {"language": "application/x-fhir-query", "expression": expression}})
}

fn cohort(filters: &[Value]) -> Value {
    json!({"resourceType": "Group", "type": "person", "actual": false, "name": "Weighed",
        "identifier": [{"system": "urn:cohorts", "value": "w"}], "modifierExtension": filters})
}

fn create(server: &Server, group: &Value) -> Ask {
    server.ask(Method::POST, "/fhir/Group").json(group)
}

#[tokio::test]
async fn c_01_c_06_a_cohort_is_created_read_found_and_deleted() {
    let server = Server::populated().await;
    let group = cohort(&[
        filter("Observation?code:text=weight"),
        filter("Patient?gender=female"),
    ]);
    let created = create(&server, &group).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        server.get(&format!("/fhir/Group/{id}")).await.json()["modifierExtension"],
        group["modifierExtension"]
    );
    for query in ["name=Weighed", "name=weig", "identifier=urn:cohorts|w"] {
        let found = server.get(&format!("/fhir/Group?{query}")).await;
        assert_eq!(found.status, 200, "{query}: {}", found.text());
        assert_eq!(found.json()["entry"][0]["resource"]["id"], id.as_str(), "{query}");
    }
    assert_eq!(server.delete(&format!("/fhir/Group/{id}")).await.status, 204);
    server.get(&format!("/fhir/Group/{id}")).await.refusal(410);
}

#[tokio::test]
async fn c_01_a_cohort_is_created_as_a_job_where_the_client_prefers_it() {
    let server = Server::populated().await;
    let group = cohort(&[filter("Patient?gender=female")]);
    let accepted = create(&server, &group).asynchronous().send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let status_url = accepted.header("content-location").to_owned();
    let finished = server.finished(&status_url).await;
    assert_eq!(finished.status, 200, "{}", finished.text());
    assert_eq!(finished.header("content-type"), "application/fhir+json");
    let bundle = finished.json();
    assert_eq!(bundle["type"], "batch-response");
    let response = &bundle["entry"][0]["response"];
    assert!(response["status"].as_str().unwrap().starts_with("201"));
    let version = server.get(response["location"].as_str().unwrap()).await;
    assert_eq!(
        (version.status, &version.json()["name"]),
        (200, &json!("Weighed"))
    );
    assert_eq!(response["etag"], version.header("etag"));
    assert_eq!(server.delete(&status_url).await.status, 202);
    assert_eq!(
        server.get(response["location"].as_str().unwrap()).await.status,
        200,
        "the Group stays"
    );
    // What is wrong is told at once, not by the job.
    let wrong = cohort(&[filter("Patient?colour=red")]);
    create(&server, &wrong).asynchronous().send().await.refusal(400);
}

#[tokio::test]
async fn c_02_a_cohort_is_held_to_the_profile() {
    let server = Server::populated().await;
    let good = cohort(&[filter("Patient?gender=female")]);
    let change = |member: &str, value: Value| {
        let mut group = good.clone();
        group[member] = value;
        group
    };
    let mut nameless = good.clone();
    nameless.as_object_mut().expect("an object").remove("name");
    let member = |reference: &str| json!([{"entity": {"reference": reference}}]);
    let mut with_member = change("member", member("Patient/p1"));
    with_member["actual"] = json!(true);
    let mut with_location = change("member", member("Location/l1"));
    with_location["actual"] = json!(true);
    let refreshed = json!([{"url": "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/members-refreshed", "valueDateTime": "2020"}]);
    let cases = [
        ("Group.type", change("type", json!("animal"))),
        ("Group.name", nameless),
        (
            "Group.characteristic",
            change("characteristic", json!([{"exclude": false}])),
        ),
        ("Group.actual", change("actual", json!(true))),
        ("Group.actual", change("member", member("Patient/p1"))),
        ("Group.member", with_location),
        ("Group.extension", change("extension", refreshed)),
    ];
    for (element, group) in cases {
        let told = create(&server, &group).send().await.refusal(400);
        assert!(told.contains(element), "{element}: {told}");
    }
    assert_eq!(create(&server, &with_member).send().await.status, 201);
    assert_eq!(create(&server, &good).send().await.status, 201);
}

#[tokio::test]
async fn c_04_c_08_filters_that_cannot_be_evaluated_are_refused_at_creation() {
    let server = Server::populated().await;
    let cql = json!({"url": FILTER, "valueExpression": {"language": "text/cql", "expression": "x"}});
    let empty = json!({"url": FILTER});
    let cases = [
        filter("Patient?colour=red"),
        filter("Patient?gender=female&_count=10"),
        filter("Patient?organization.name=x"),
        filter("Practitioner?name=x"),
        filter("gender=female"),
        cql,
        empty,
    ];
    for wrong in cases {
        let group = cohort(&[filter("Patient?gender=female"), wrong]);
        create(&server, &group).send().await.refusal(400);
        let mut named = group.clone();
        named["id"] = json!("g1");
        server.put(&named).await.refusal(400);
    }
    let found = server.get("/fhir/Group?_summary=count").await.json();
    assert_eq!(found["total"], 1, "the one that was there");
}
