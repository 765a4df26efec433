//! `_since` and `deleted`: an export tells what changed and what went.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::fixture::{Server, names};

/// What a manifest's `deleted` files ask to be deleted.
async fn deletions(server: &Server, manifest: &Value) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for file in manifest["deleted"].as_array().into_iter().flatten() {
        assert_eq!(file["type"], "Bundle");
        let answer = server.get(file["url"].as_str().unwrap()).await;
        assert_eq!(answer.header("content-type"), "application/fhir+ndjson");
        let lines = answer.lines();
        assert_eq!(file["count"], lines.len());
        for bundle in lines {
            assert_eq!(
                (&bundle["resourceType"], &bundle["type"]),
                (&json!("Bundle"), &json!("transaction"))
            );
            for entry in bundle["entry"].as_array().unwrap() {
                assert_eq!(entry["request"]["method"], "DELETE");
                urls.insert(entry["request"]["url"].as_str().unwrap().to_owned());
            }
        }
    }
    urls
}

/// A server with the small population, and the time of an export of all of it.
async fn exported() -> (Server, String) {
    let server = Server::populated().await;
    let (_, manifest) = server.export("$export").await;
    let since = manifest["transactionTime"].as_str().unwrap().to_owned();
    (server, since)
}

async fn since(server: &Server, target: &str, since: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let join = if target.contains('?') { '&' } else { '?' };
    let (_, manifest) = server.export(&format!("{target}{join}_since={since}")).await;
    (
        server.names(&manifest["output"]).await,
        deletions(server, &manifest).await,
    )
}

#[tokio::test]
async fn nothing_is_repeated_and_nothing_lost_between_two_exports() {
    let (server, time) = exported().await;
    assert_eq!(since(&server, "$export", &time).await, (names(&[]), names(&[])));
    server
        .put(&json!({"resourceType": "Patient", "id": "p1", "active": false}))
        .await;
    server.put(&json!({"resourceType": "Patient", "id": "p3"})).await;
    let expected = names(&["Patient/p1", "Patient/p3"]);
    assert_eq!(since(&server, "$export", &time).await, (expected, names(&[])));
}

#[tokio::test]
async fn deletions_are_listed_as_transaction_bundles_m_30_m_31() {
    let (server, time) = exported().await;
    for path in ["Observation/o1", "Practitioner/dr1"] {
        assert_eq!(server.delete(&format!("/fhir/{path}")).await.status, 204);
    }
    let expected = names(&["Observation/o1", "Practitioner/dr1"]);
    assert_eq!(since(&server, "$export", &time).await, (names(&[]), expected));
    let (_, whole) = server.export("$export").await;
    assert!(
        deletions(&server, &whole).await.is_empty(),
        "without _since nothing is deleted"
    );
}

#[tokio::test]
async fn what_came_back_is_in_output_only_m_32() {
    let (server, time) = exported().await;
    server.delete("/fhir/Device/d1").await;
    let device = json!({"resourceType": "Device", "id": "d1", "patient": {"reference": "Patient/p1"}});
    assert_eq!(server.put(&device).await.status, 201);
    assert_eq!(
        since(&server, "$export", &time).await,
        (names(&["Device/d1"]), names(&[]))
    );
}

#[tokio::test]
async fn deletions_are_chosen_by_type_and_compartment_m_33() {
    let (server, time) = exported().await;
    for path in [
        "Observation/o1",
        "Observation/o2",
        "Encounter/e1",
        "Organization/org1",
    ] {
        server.delete(&format!("/fhir/{path}")).await;
    }
    let deleted = async |target: &str| since(&server, target, &time).await.1;
    assert_eq!(deleted("Patient/p2/$export").await, names(&["Observation/o2"]));
    assert_eq!(
        deleted("Group/g1/$export").await,
        names(&["Observation/o1", "Encounter/e1"])
    );
    let of_patients = names(&["Observation/o1", "Observation/o2", "Encounter/e1"]);
    assert_eq!(deleted("Patient/$export").await, of_patients);
    assert_eq!(deleted("$export?_type=Encounter").await, names(&["Encounter/e1"]));
}

#[tokio::test]
async fn a_second_patients_compartment_hears_of_the_deletion_m_33() {
    let server = Server::start().await;
    server.put(&json!({"resourceType": "Patient", "id": "p1"})).await;
    server.put(&json!({"resourceType": "Patient", "id": "p2"})).await;
    let shared = json!({"resourceType": "Appointment", "id": "a1", "status": "booked", "participant": [
        {"status": "accepted", "actor": {"reference": "Patient/p1"}},
        {"status": "accepted", "actor": {"reference": "Patient/p2"}},
    ]});
    server.put(&shared).await;
    let (_, manifest) = server.export("Patient/p2/$export").await;
    assert_eq!(
        server.names(&manifest["output"]).await,
        names(&["Patient/p2", "Appointment/a1"])
    );
    let time = manifest["transactionTime"].as_str().unwrap();
    server.delete("/fhir/Appointment/a1").await;
    for patient in ["p1", "p2"] {
        let (_, deleted) = since(&server, &format!("Patient/{patient}/$export"), time).await;
        assert_eq!(deleted, names(&["Appointment/a1"]), "{patient}");
    }
}

#[tokio::test]
async fn deletions_are_kept_as_long_as_anybody_may_ask_m_34() {
    let (server, _) = exported().await;
    server.delete("/fhir/Device/d1").await;
    let (_, deleted) = since(&server, "$export", "2001-01-01T00:00:00%2B01:00").await;
    assert_eq!(deleted, names(&["Device/d1"]));
}
