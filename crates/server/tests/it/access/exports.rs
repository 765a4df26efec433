//! Exports: levels, types and what is told of what is left out.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::{Value, json};

use super::{become_client, populated};
use crate::fixture::{Server, names};

/// What a manifest tells beside its resources.
async fn told(server: &Server, manifest: &Value) -> String {
    let mut told = String::new();
    for file in manifest["error"].as_array().expect("a list of files") {
        told.push_str(server.get(file["url"].as_str().expect("a url")).await.text());
    }
    told
}

/// K-45, A-43: what is asked for by name and not granted fails the kick-off, and is named.
#[tokio::test]
async fn a_kick_off_fails_for_each_name_that_the_token_does_not_cover_k_45_a_43() {
    let mut server = populated().await;
    become_client(
        &mut server,
        ("reader", "system/Patient.rs system/Group.r"),
        |_| (),
    )
    .await;
    for (target, named) in [
        (
            "$export?_type=Patient,Observation,Condition",
            "read Condition, Observation",
        ),
        ("Patient/$export?_type=Observation", "read Observation"),
        ("Group/g1/$export?_type=Device", "read Device"),
        ("Patient/p1/$export?_type=Patient,Encounter", "read Encounter"),
        ("$export?_typeFilter=Observation%3Fcode=1", "read Observation"),
        ("$export?organizeOutputBy=Organization", "read Organization"),
        (
            "$export?_type=Patient&includeAssociatedData=LatestProvenanceResources",
            "read Provenance",
        ),
        ("$export?_type=AuditEvent", "read AuditEvent"),
        ("$export?_type=Observation&_dryRun=true", "read Observation"),
    ] {
        let refusal = server.kick_off(target).await.refusal(403);
        assert!(refusal.contains(named), "{target}: {refusal}");
    }
    assert_eq!(
        server.exported("$export?_type=Patient,Group").await,
        names(&["Patient/p1", "Patient/p2", "Group/g1"])
    );
    server.token = None;
    become_client(&mut server, ("writer", "system/*.cud system/bulk-import"), |_| ()).await;
    server.kick_off("$export").await.refusal(403);
    server.kick_off("$export?_type=Patient").await.refusal(403);
}

/// A-48, K-09: without names the export has what is granted, and says so.
#[tokio::test]
async fn an_export_without_types_is_narrowed_and_says_so_a_48_k_09() {
    let mut server = populated().await;
    become_client(
        &mut server,
        ("reader", "system/Observation.r system/Organization.read"),
        |_| (),
    )
    .await;
    let (_, manifest) = server.export("$export").await;
    assert_eq!(manifest["requiresAccessToken"], json!(true));
    let found = server.names(&manifest["output"]).await;
    assert_eq!(
        found,
        names(&["Observation/o1", "Observation/o2", "Organization/org1"])
    );
    let text = told(&server, &manifest).await;
    assert!(text.contains("may read: Observation, Organization"), "{text}");
    let estimate = server.kick_off("$export?_dryRun=true").await;
    assert_eq!(estimate.status, 200, "{}", estimate.text());
    assert!(estimate.text().contains("may read: Observation, Organization"));
    assert!(!estimate.text().contains("Patient"), "{}", estimate.text());
}

/// A wildcard is everything but AuditEvent, which its own scope and its name bring.
#[tokio::test]
async fn a_wildcard_exports_everything_but_audit_events_k_09() {
    let mut server = populated().await;
    become_client(&mut server, ("reader", "system/*.read"), |_| ()).await;
    let (_, manifest) = server.export("$export").await;
    assert_eq!(manifest["error"], json!([]));
    let types: BTreeSet<&str> = manifest["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["type"].as_str().unwrap())
        .collect();
    assert!(
        types.contains("Practitioner") && !types.contains("AuditEvent"),
        "{types:?}"
    );
    server.kick_off("$export?_type=AuditEvent").await.refusal(403);
    server.token = None;
    become_client(
        &mut server,
        ("auditor", "system/AuditEvent.rs system/Patient.rs"),
        |_| (),
    )
    .await;
    assert_eq!(
        server.exported("$export").await,
        names(&["Patient/p1", "Patient/p2"])
    );
    assert_eq!(
        server.exported("$export?_type=AuditEvent").await,
        names(&["AuditEvent/a1"])
    );
    assert_eq!(server.get("/fhir/AuditEvent/a1").await.status, 200);
}

/// K-10: a Group is exported by who may read Groups.
#[tokio::test]
async fn the_export_of_a_group_needs_a_scope_for_groups_k_10() {
    let mut server = populated().await;
    become_client(&mut server, ("reader", "system/Patient.rs"), |_| ()).await;
    for group in ["g1", "nobody"] {
        let refusal = server
            .kick_off(&format!("Group/{group}/$export?_type=Patient"))
            .await
            .refusal(403);
        assert!(refusal.contains("system/Group.r"), "{refusal}");
    }
    server.token = None;
    become_client(
        &mut server,
        ("wider", "system/Patient.rs system/Group.rs"),
        |_| (),
    )
    .await;
    assert_eq!(
        server.exported("Group/g1/$export?_type=Patient").await,
        names(&["Patient/p1"])
    );
    server.kick_off("Group/nobody/$export").await.refusal(404);
}

/// Whether a patient exists is told to who may read patients.
#[tokio::test]
async fn naming_patients_needs_a_scope_for_patients_k_09() {
    let mut server = populated().await;
    let scopes = "system/Observation.rs system/Group.rs";
    become_client(&mut server, ("reader", scopes), |_| ()).await;
    for id in ["p1", "nobody"] {
        let target = format!("Patient/{id}/$export?_type=Observation");
        let refusal = server.kick_off(&target).await.refusal(403);
        assert!(refusal.contains("system/Patient.r"), "{refusal}");
        let named = json!({"name": "patient", "valueReference": {"reference": format!("Patient/{id}")}});
        let body = json!({"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": "Observation"}, named]});
        for target in ["/fhir/Patient/$export", "/fhir/Group/g1/$export"] {
            let ask = server.ask(Method::POST, target).asynchronous().json(&body);
            let refusal = ask.send().await.refusal(403);
            assert!(refusal.contains("patient: "), "{refusal}");
        }
    }
    let found = server.exported("Patient/$export?_type=Observation").await;
    assert_eq!(found, names(&["Observation/o1", "Observation/o2"]));
}

/// F-11: attachments are read with a scope for Binary.
#[tokio::test]
async fn attachments_need_a_scope_for_binary_f_11() {
    let mut server = populated().await;
    server.token = None;
    let loader = "system/bulk-import";
    become_client(&mut server, ("second", loader), |_| ()).await;
    server
        .import_lines(&[
            r#"{"resourceType":"Binary","id":"b1","contentType":"text/plain","data":"TWFu"}"#,
            r#"{"resourceType":"DocumentReference","id":"doc","status":"current","subject":{"reference":"Patient/p1"},"content":[{"attachment":{"contentType":"text/plain","url":"Binary/b1"}}]}"#,
        ])
        .await;
    for (id, scopes, status) in [
        ("plain", "system/DocumentReference.rs", 403),
        ("whole", "system/DocumentReference.rs system/Binary.r", 200),
    ] {
        server.token = None;
        become_client(&mut server, (id, scopes), |_| ()).await;
        let (_, manifest) = server.export("$export?_type=DocumentReference").await;
        let line = server
            .get(manifest["output"][0]["url"].as_str().unwrap())
            .await
            .lines()
            .remove(0);
        let url = line["content"][0]["attachment"]["url"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(server.get(&url).await.status, status, "{id}");
        assert_eq!(
            told(&server, &manifest).await.contains("Binary"),
            status == 403,
            "{id}"
        );
    }
}
