//! Requirements that belong to no one route: what holds of whole exports.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Server, names};

/// Downloads all files of an export's `output` and gives each one's type with its lines.
async fn files(server: &Server, manifest: &Value) -> Vec<(String, Vec<Value>)> {
    let mut files = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        let answer = server.get(file["url"].as_str().unwrap()).await;
        files.push((file["type"].as_str().unwrap().to_owned(), answer.lines()));
    }
    files
}

#[tokio::test]
async fn each_file_has_one_type_and_contained_resources_stay_inside_f_14() {
    let server = Server::populated().await;
    let with_contained = json!({"resourceType": "MedicationRequest", "id": "m1", "status": "active", "intent": "order",
        "contained": [{"resourceType": "Medication", "id": "drug"}],
        "medicationReference": {"reference": "#drug"}, "subject": {"reference": "Patient/p1"}});
    assert_eq!(server.put(&with_contained).await.status, 201);
    let (_, manifest) = server.export("$export").await;
    let files = files(&server, &manifest).await;
    for (name, lines) in &files {
        assert!(lines.iter().all(|line| line["resourceType"] == *name), "{name}");
    }
    let types: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        types.contains("MedicationRequest") && !types.contains("Medication"),
        "{types:?}"
    );
}

#[tokio::test]
async fn files_work_bare_where_no_token_is_required_f_05() {
    let server = Server::populated().await;
    let (_, manifest) = server.export("Patient/$export").await;
    assert_eq!(manifest["requiresAccessToken"], json!(false));
    for file in manifest["output"].as_array().unwrap() {
        assert_eq!(server.get(file["url"].as_str().unwrap()).await.status, 200);
    }
}

#[tokio::test]
async fn references_leave_as_they_came_relative_or_absolute_k_13() {
    let server = Server::start().await;
    let absolute = format!("{}/Patient/p1", server.base);
    for (id, reference) in [("o1", "Patient/p1"), ("o2", absolute.as_str())] {
        let observation = json!({"resourceType": "Observation", "id": id, "status": "final",
            "code": {"text": "weight"}, "subject": {"reference": reference}});
        assert_eq!(server.put(&observation).await.status, 201);
    }
    let patient = json!({"resourceType": "Patient", "id": "p1"});
    assert_eq!(server.put(&patient).await.status, 201);
    let (_, manifest) = server.export("Patient/p1/$export?_type=Observation").await;
    let files = files(&server, &manifest).await;
    let references: Vec<&str> = files[0]
        .1
        .iter()
        .map(|line| line["subject"]["reference"].as_str().unwrap())
        .collect();
    assert_eq!(references, ["Patient/p1", &absolute]);
}

#[tokio::test]
async fn a_group_may_be_changed_by_its_client_and_the_next_export_follows_g_01() {
    let server = Server::populated().await;
    let patients = |members: &[&str]| {
        let member: Vec<Value> = members
            .iter()
            .map(|id| json!({"entity": {"reference": format!("Patient/{id}")}}))
            .collect();
        json!({"resourceType": "Group", "id": "g1", "type": "person", "actual": true, "member": member})
    };
    for members in [&["p1", "p2"][..], &["p2"], &["p1"]] {
        assert_eq!(server.put(&patients(members)).await.status, 200);
        let expected: Vec<String> = members.iter().map(|id| format!("Patient/{id}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let found = server.exported("Group/g1/$export?_type=Patient").await;
        assert_eq!(found, names(&expected));
    }
}

/// The recipe of the guide: list the members by an export of ids, and fetch the whole history of those who are new.
#[tokio::test]
async fn a_client_finds_new_members_and_their_history_by_itself_g_03() {
    let server = Server::populated().await;
    let (_, first) = server.export("Group/g1/$export").await;
    let known = server.names(&first["output"]).await;
    let member = json!([{"entity": {"reference": "Patient/p1"}}, {"entity": {"reference": "Patient/p2"}}]);
    let group =
        json!({"resourceType": "Group", "id": "g1", "type": "person", "actual": true, "member": member});
    assert_eq!(server.put(&group).await.status, 200);
    let members = server
        .exported("Group/g1/$export?_type=Patient&_elements=id")
        .await;
    let new: Vec<&String> = members.difference(&known).collect();
    assert_eq!(new, ["Patient/p2"]);
    let body = json!({"resourceType": "Parameters",
        "parameter": [{"name": "patient", "valueReference": {"reference": new[0]}}]});
    let ask = server.ask(Method::POST, "/fhir/Group/g1/$export").asynchronous();
    let accepted = ask.json(&body).send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let manifest = server.finished(accepted.header("content-location")).await.json();
    let history = server.names(&manifest["output"]).await;
    assert!(
        history.contains("Patient/p2") && history.contains("Observation/o2"),
        "{history:?}"
    );
    assert!(
        !history.contains("Patient/p1") && !history.contains("Observation/o1"),
        "{history:?}"
    );
}

#[tokio::test]
async fn groups_are_read_and_found_by_identifier_before_they_are_exported_k_11() {
    let server = Server::populated().await;
    let group = json!({"resourceType": "Group", "id": "ward", "type": "person", "actual": true,
        "identifier": [{"system": "urn:wards", "value": "7"}],
        "member": [{"entity": {"reference": "Patient/p2"}}]});
    assert_eq!(server.put(&group).await.status, 201);
    let found = server.get("/fhir/Group?identifier=urn:wards|7").await;
    assert_eq!(found.status, 200, "{}", found.text());
    let mut entries = found.json()["entry"].as_array().unwrap().clone();
    entries.retain(|entry| entry["search"]["mode"] == "match");
    assert_eq!(entries.len(), 1, "{entries:?}");
    let id = entries[0]["resource"]["id"].as_str().unwrap();
    let read = server.get(&format!("/fhir/Group/{id}")).await.json();
    assert_eq!(read["member"], group["member"]);
    let exported = server
        .exported(&format!("Group/{id}/$export?_type=Patient"))
        .await;
    assert_eq!(exported, names(&["Patient/p2"]));
}

#[tokio::test]
async fn members_of_a_cohort_are_found_at_each_export_so_no_refresh_is_told_c_05() {
    let server = Server::populated().await;
    let filter = json!({"url": "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter",
        "valueExpression": {"language": "application/x-fhir-query", "expression": "Patient?gender=female"}});
    let group = json!({"resourceType": "Group", "type": "person", "actual": false, "name": "Women",
        "modifierExtension": [filter]});
    let created = server.ask(Method::POST, "/fhir/Group").json(&group).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let target = format!("Group/{id}/$export?_type=Patient");
    assert_eq!(server.exported(&target).await, names(&["Patient/p1"]));
    let joined = json!({"resourceType": "Patient", "id": "p2", "gender": "female"});
    assert_eq!(server.put(&joined).await.status, 200);
    assert_eq!(
        server.exported(&target).await,
        names(&["Patient/p1", "Patient/p2"])
    );
    let read = server.get(&format!("/fhir/Group/{id}")).await;
    assert!(!read.text().contains("members-refreshed"), "{}", read.text());
}
