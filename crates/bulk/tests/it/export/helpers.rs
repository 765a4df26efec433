//! Helper resources and attachments: what makes the exported resources of use elsewhere.

use std::collections::BTreeSet;

use fhirhose_bulk::export::{ExportSpec, FileKind};
use fhirhose_fhir::export_request::ExportLevel;

use super::fixture::{World, group, patient, spec};

async fn filled() -> World {
    let world = World::new();
    let lines = [
        r#"{"resourceType":"Patient","id":"p1","managingOrganization":{"reference":"Organization/o1"}}"#,
        r#"{"resourceType":"Patient","id":"p2"}"#,
        r#"{"resourceType":"Encounter","id":"e1","subject":{"reference":"Patient/p1"},"participant":[{"individual":{"reference":"PractitionerRole/r1"}}],"location":[{"location":{"reference":"Location/l1"}}]}"#,
        r#"{"resourceType":"Encounter","id":"e2","subject":{"reference":"Patient/p2"},"participant":[{"individual":{"reference":"Practitioner/d2"}}]}"#,
        r#"{"resourceType":"MedicationRequest","id":"m1","subject":{"reference":"Patient/p1"},"medicationReference":{"reference":"Medication/m1"},"requester":{"reference":"Practitioner/missing"},"device":{"reference":"Device/of-p2"}}"#,
        r#"{"resourceType":"PractitionerRole","id":"r1","practitioner":{"reference":"Practitioner/d1"},"organization":{"reference":"Organization/o2"}}"#,
        r#"{"resourceType":"Practitioner","id":"d1"}"#,
        r#"{"resourceType":"Practitioner","id":"d2"}"#,
        r#"{"resourceType":"Practitioner","id":"d3"}"#,
        r#"{"resourceType":"Location","id":"l1","managingOrganization":{"reference":"Organization/o3"}}"#,
        r#"{"resourceType":"Medication","id":"m1"}"#,
        r#"{"resourceType":"Device","id":"of-p2","patient":{"reference":"Patient/p2"}}"#,
        r#"{"resourceType":"Organization","id":"o1","partOf":{"reference":"Organization/o4"}}"#,
        r#"{"resourceType":"Organization","id":"o2"}"#,
        r#"{"resourceType":"Organization","id":"o3"}"#,
        r#"{"resourceType":"Organization","id":"o4"}"#,
        r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}}]}"#,
        r#"{"resourceType":"DocumentReference","id":"doc","subject":{"reference":"Patient/p1"},"content":[{"attachment":{"contentType":"text/plain","url":"Binary/b1"}}]}"#,
        r#"{"resourceType":"Binary","id":"b1","contentType":"text/plain","data":"eA=="}"#,
    ];
    world.load_lines(lines).await;
    world
}

fn with_helpers(level: ExportLevel, query: &str) -> ExportSpec {
    ExportSpec {
        helper_resources: true,
        ..spec(level, query)
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn g_09_helper_resources_come_each_once_and_one_step_further() {
    let world = filled().await;
    let own = [
        "Patient/p1",
        "Encounter/e1",
        "MedicationRequest/m1",
        "Group/g",
        "DocumentReference/doc",
    ];
    let helpers = [
        "PractitionerRole/r1",
        "Practitioner/d1",
        "Location/l1",
        "Medication/m1",
        "Organization/o1",
        "Organization/o2",
        "Organization/o3",
    ];
    let both = set(&[&own[..], &helpers].concat());
    assert_eq!(world.export(&with_helpers(group("g"), "")).await.names(), both);
    assert_eq!(world.export(&with_helpers(patient("p1"), "")).await.names(), both);
    assert_eq!(
        world.export(&spec(group("g"), "")).await.names(),
        set(&own),
        "switched off"
    );
    let all = world
        .export(&with_helpers(ExportLevel::AllPatients, ""))
        .await
        .names();
    assert!(
        all.contains("Practitioner/d2")
            && !all.contains("Practitioner/d3")
            && !all.contains("Organization/o4")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn k_08_of_helper_types_only_those_come_that_type_lists() {
    let world = filled().await;
    let exported = world
        .export(&with_helpers(
            group("g"),
            "_type=Patient,Organization,Schedule,Endpoint",
        ))
        .await;
    assert_eq!(exported.names(), set(&["Patient/p1", "Organization/o1"]));
    let told = exported.lines(FileKind::Error);
    assert_eq!(
        told.len(),
        1,
        "Endpoint is in no compartment and no helper: {told:?}"
    );
    let none = world.export(&with_helpers(group("g"), "_type=Encounter")).await;
    assert_eq!(none.names(), set(&["Encounter/e1"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn k_08_helper_resources_come_whatever_their_age() {
    let world = filled().await;
    let before = world.store.catalog().snapshot().await.unwrap().instant;
    world
        .put(r#"{"resourceType":"Encounter","id":"e1","status":"finished","subject":{"reference":"Patient/p1"},"location":[{"location":{"reference":"Location/l1"}}]}"#)
        .await;
    let exported = world
        .export(&with_helpers(group("g"), &format!("_since={before}")))
        .await;
    assert_eq!(
        exported.names(),
        set(&["Encounter/e1", "Location/l1", "Organization/o3"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn k_12_content_of_patients_comes_as_an_attachment_with_an_absolute_url() {
    let world = filled().await;
    let served = ExportSpec {
        base_url: Some("https://fhir.example/r4".to_owned()),
        ..spec(group("g"), "_type=DocumentReference,Binary")
    };
    let exported = world.export(&served).await;
    assert_eq!(exported.names(), set(&["DocumentReference/doc"]));
    assert!(
        exported.texts[0].contains(r#""url":"https://fhir.example/r4/Binary/b1""#),
        "F-11: {}",
        exported.texts[0]
    );
    let to_nowhere = world
        .export(&spec(ExportLevel::System, "_type=DocumentReference,Binary"))
        .await;
    assert_eq!(to_nowhere.names(), set(&["DocumentReference/doc", "Binary/b1"]));
    assert!(
        to_nowhere.texts[1].contains(r#""url":"Binary/b1""#),
        "without a base it stays as it is"
    );
}
