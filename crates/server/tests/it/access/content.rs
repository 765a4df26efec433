//! Reading and writing: what the content of a request asks for beside its path.

use hyper::Method;
use serde_json::{Value, json};

use super::{become_client, populated};
use crate::fixture::Server;
use crate::http::Answer;

/// A server with a client of these scopes signed in.
async fn signed_in(scopes: &str) -> Server {
    let mut server = populated().await;
    become_client(&mut server, ("client", scopes), |_| ()).await;
    server
}

async fn post(server: &Server, kind: &str, entries: Value) -> Answer {
    let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    server.ask(Method::POST, "/fhir").json(&bundle).send().await
}

fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().expect("entries").iter();
    entries
        .map(|entry| entry["response"]["status"].as_str().expect("a status")[..3].to_owned())
        .collect()
}

fn group(filter: &str) -> Value {
    json!({"resourceType": "Group", "type": "person", "actual": false, "name": "Filtered", "modifierExtension": [{
        "url": "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter",
        "valueExpression": {"language": "application/x-fhir-query", "expression": filter}}]})
}

/// K-09: inclusions of a search show nothing that a read would not.
#[tokio::test]
async fn inclusions_stay_within_the_scopes_k_09() {
    let server = signed_in("system/Observation.rs system/Encounter.r").await;
    let found = server
        .get("/fhir/Observation?_id=o1&_include=Observation:subject")
        .await;
    assert_eq!(found.status, 200, "{}", found.text());
    let entries = found.json()["entry"].as_array().unwrap().clone();
    let modes: Vec<&str> = entries
        .iter()
        .map(|entry| entry["search"]["mode"].as_str().unwrap())
        .collect();
    assert_eq!(modes, ["match", "outcome"]);
    assert!(entries[1].to_string().contains("Patient"));
    for query in [
        "Observation?_include=Observation:subject:Patient",
        "Observation?_revinclude=Encounter:reason-reference",
        "Observation?_revinclude=Provenance:target",
    ] {
        server.get(&format!("/fhir/{query}")).await.refusal(403);
    }
    let batch = post(
        &server,
        "batch",
        json!([
            {"request": {"method": "GET", "url": "Observation?_revinclude=Provenance:target"}},
            {"request": {"method": "GET", "url": "Observation?_id=o1"}},
        ]),
    )
    .await;
    assert_eq!(statuses(&batch), ["403", "200"]);
}

/// K-09: a record is narrowed to what may be read, and says so.
#[tokio::test]
async fn the_record_of_a_patient_is_narrowed_k_09() {
    let server = signed_in("system/Patient.r system/Encounter.r").await;
    let record = server.get("/fhir/Patient/p1/$everything").await;
    let text = record.text();
    assert!(
        text.contains("\"e1\"") && !text.contains("\"o1\"") && !text.contains("\"a1\""),
        "{text}"
    );
    assert!(text.contains("are left out"), "{text}");
    let refusal = server
        .get("/fhir/Patient/p1/$everything?_type=Patient,Observation")
        .await
        .refusal(403);
    assert!(refusal.contains("read Observation"), "{refusal}");
    let named = server.get("/fhir/Patient/p1/$everything?_type=Encounter").await;
    assert!(!named.text().contains("are left out"), "{}", named.text());
}

/// Conditions tell whether something matches: without searching they are refused, and nothing is written.
#[tokio::test]
async fn conditions_need_searching_k_09() {
    let server = signed_in("system/Patient.crud system/Observation.cud").await;
    let patient = json!({"resourceType": "Patient", "active": false});
    let create = server.ask(Method::POST, "/fhir/Patient").json(&patient);
    create
        .header("if-none-exist", "active=true")
        .send()
        .await
        .refusal(403);
    let update = server.ask(Method::PUT, "/fhir/Patient?_id=p1").json(&patient);
    update.send().await.refusal(403);
    server.delete("/fhir/Patient?_id=p1").await.refusal(403);
    let batch = post(
        &server,
        "batch",
        json!([
            {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "_id=p1"}, "resource": patient},
            {"request": {"method": "PUT", "url": "Patient?_id=p1"}, "resource": patient},
            {"request": {"method": "DELETE", "url": "Patient?_id=p1"}},
            {"request": {"method": "GET", "url": "Patient?_id=p1"}},
            {"request": {"method": "GET", "url": "Observation/o1"}},
            {"request": {"method": "GET", "url": "Patient/p1"}},
            {"request": {"method": "GET", "url": "Patient/p1/_history"}},
        ]),
    )
    .await;
    assert_eq!(
        statuses(&batch),
        ["403", "403", "403", "403", "403", "200", "200"]
    );
    // A conditional reference is a search of another type.
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient?active=true"}});
    let referring = json!([{"request": {"method": "POST", "url": "Observation"}, "resource": observation}]);
    post(&server, "transaction", referring).await.refusal(403);
    assert_eq!(server.get("/fhir/Patient/p1").await.json()["active"], json!(true));
}

/// A transaction with one entry that is not allowed does nothing; a batch does the others.
#[tokio::test]
async fn a_forbidden_entry_stops_a_transaction_before_it_writes_k_09() {
    let server = signed_in("system/Patient.cruds").await;
    let entries = json!([
        {"request": {"method": "PUT", "url": "Patient/new"}, "resource": {"resourceType": "Patient", "id": "new"}},
        {"request": {"method": "PUT", "url": "Basic/new"}, "resource": {"resourceType": "Basic", "id": "new", "code": {}}},
    ]);
    let refusal = post(&server, "transaction", entries.clone()).await.refusal(403);
    assert!(refusal.contains("Bundle.entry[1]"), "{refusal}");
    server.get("/fhir/Patient/new").await.refusal(404);
    assert_eq!(statuses(&post(&server, "batch", entries).await), ["201", "403"]);
    let looking = json!([
        {"request": {"method": "PUT", "url": "Patient/newer"}, "resource": {"resourceType": "Patient", "id": "newer"}},
        {"request": {"method": "GET", "url": "Patient?_revinclude=Observation:subject"}},
    ]);
    post(&server, "transaction", looking).await.refusal(403);
    server.get("/fhir/Patient/newer").await.refusal(404);
    assert_eq!(server.get("/fhir/Patient/new").await.status, 200);
}

/// The trail is the server's: no client writes it, whatever it may.
#[tokio::test]
async fn no_client_writes_audit_events_k_09() {
    let server = signed_in("system/*.cruds system/AuditEvent.cruds").await;
    let event = json!({"resourceType": "AuditEvent", "id": "a1"});
    server.put(&event).await.refusal(403);
    server.delete("/fhir/AuditEvent/a1").await.refusal(403);
    server.delete("/fhir/AuditEvent?_id=a1").await.refusal(403);
    server
        .ask(Method::POST, "/fhir/AuditEvent")
        .json(&event)
        .send()
        .await
        .refusal(403);
    let entries = json!([{"request": {"method": "PUT", "url": "AuditEvent/a1"}, "resource": event}]);
    assert_eq!(statuses(&post(&server, "batch", entries.clone()).await), ["403"]);
    post(&server, "transaction", entries).await.refusal(403);
    assert_eq!(server.get("/fhir/AuditEvent/a1").await.status, 200);
    assert_eq!(
        server.get("/fhir/AuditEvent?_id=a1").await.json()["total"],
        json!(1)
    );
}

/// Whoever chooses the filters of a cohort learns what the filtered resources hold.
#[tokio::test]
async fn a_cohort_is_filtered_by_readable_types_only_k_09() {
    let server = signed_in("system/Group.crus system/Patient.rs system/Condition.r").await;
    let create = |value: &Value| server.ask(Method::POST, "/fhir/Group").json(value);
    for filter in ["Observation?code:text=weight", "Condition?code=1"] {
        let group = group(filter);
        let refusal = create(&group).send().await.refusal(403);
        assert!(refusal.contains("member-filter"), "{refusal}");
        create(&group).asynchronous().send().await.refusal(403);
        let mut named = group.clone();
        named["id"] = json!("g9");
        server.put(&named).await.refusal(403);
        let update = server.ask(Method::PUT, "/fhir/Group?name=Filtered").json(&group);
        update.send().await.refusal(403);
        let entries = json!([{"request": {"method": "POST", "url": "Group"}, "resource": group}]);
        assert_eq!(statuses(&post(&server, "batch", entries.clone()).await), ["403"]);
        post(&server, "transaction", entries).await.refusal(403);
    }
    let created = create(&group("Patient?gender=female")).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
}
