//! Exports of clients that may not read everything. What comes of the parts of an export under grants, `oracle.rs` asks.

use std::collections::BTreeSet;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::{ExportReach, ExportSpec, FileKind, estimate};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::resource_type::ResourceType;

use super::fixture::{Exported, World, group, spec};

const LINES: [&str; 8] = [
    r#"{"resourceType":"Patient","id":"a","managingOrganization":{"reference":"Organization/ward"}}"#,
    r#"{"resourceType":"Patient","id":"b"}"#,
    r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/a"},"performer":[{"reference":"Organization/ward"}]}"#,
    r#"{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/a"},"asserter":{"reference":"Practitioner/dr"}}"#,
    r#"{"resourceType":"Organization","id":"ward"}"#,
    r#"{"resourceType":"Practitioner","id":"dr"}"#,
    r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/a"}}]}"#,
    r#"{"resourceType":"AuditEvent","id":"seen","agent":[{"who":{"reference":"Patient/a"}}]}"#,
];

async fn filled() -> World {
    let world = World::new();
    world.load_lines(LINES).await;
    world
}

fn types(names: &[&str]) -> Vec<ResourceType> {
    names
        .iter()
        .map(|name| ResourceType::parse(name).unwrap())
        .collect()
}

fn granted(spec: ExportSpec, names: &[&str]) -> ExportSpec {
    ExportSpec {
        granted_types: Some(types(names)),
        ..spec
    }
}

fn told(exported: &Exported) -> String {
    let errors = exported.result.files.iter().zip(&exported.texts);
    errors
        .filter(|(file, _)| file.kind == FileKind::Error)
        .map(|(_, text)| text.as_str())
        .collect()
}

/// The types of all lines of the output, headers of blocks apart.
fn types_of(exported: &Exported) -> BTreeSet<String> {
    let outputs = exported.result.files.iter().zip(&exported.texts);
    let lines = outputs
        .filter(|(file, _)| file.kind == FileKind::Output)
        .flat_map(|(_, text)| text.lines());
    let values = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    values
        .map(|value| value["resourceType"].as_str().unwrap().to_owned())
        .filter(|name| name != "Parameters")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_48_an_export_without_types_has_what_is_granted_and_says_so() {
    let world = filled().await;
    let whole = world.export(&spec(ExportLevel::System, "")).await;
    assert!(!told(&whole).contains("may read"), "{}", told(&whole));
    let narrowed = granted(spec(ExportLevel::System, ""), &["Observation", "Organization"]);
    let exported = world.export(&narrowed).await;
    assert_eq!(
        types_of(&exported),
        BTreeSet::from(["Observation".to_owned(), "Organization".to_owned()])
    );
    assert!(
        told(&exported).contains("the client may read: Observation, Organization"),
        "{}",
        told(&exported)
    );
    let estimated = estimate(&world.store, &narrowed).await.unwrap();
    let names: Vec<_> = estimated
        .types
        .iter()
        .map(|each| each.resource_type.name())
        .collect();
    assert_eq!(names, ["Observation", "Organization"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn k_09_no_form_of_output_has_a_type_that_is_not_granted() {
    let world = filled().await;
    for level in [ExportLevel::System, ExportLevel::AllPatients, group("g")] {
        for by in [None, Some("Patient"), Some("Group"), Some("Organization")] {
            for names in [
                &["Patient", "Observation"][..],
                &["Group", "Condition", "Practitioner"],
                &["Organization", "Patient"],
            ] {
                let mut spec = granted(spec(level.clone(), ""), names);
                spec.helper_resources = true;
                spec.request.organize_output_by = by.and_then(ResourceType::parse);
                if by.is_some_and(|by| !names.contains(&by)) {
                    // Headers name the instances.
                    assert_eq!(world.submit(&spec).await.unwrap_err().kind(), ErrorKind::Invalid);
                    continue;
                }
                let exported = world.export(&spec).await;
                let allowed: BTreeSet<String> = names.iter().map(|&name| name.to_owned()).collect();
                let found = types_of(&exported);
                assert!(found.is_subset(&allowed), "{level:?} {by:?} {names:?}: {found:?}");
                assert!(!found.is_empty(), "{level:?} {by:?} {names:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k_09_audit_events_come_only_where_they_are_named() {
    let world = filled().await;
    for level in [ExportLevel::System, ExportLevel::AllPatients, group("g")] {
        let ordinary = world.export(&spec(level.clone(), "")).await;
        assert!(!types_of(&ordinary).contains("AuditEvent"), "{level:?}");
        let named = world.export(&spec(level, "_type=AuditEvent")).await;
        assert_eq!(types_of(&named), BTreeSet::from(["AuditEvent".to_owned()]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f_11_a_grant_without_binary_says_so_where_there_may_be_attachments() {
    let world = filled().await;
    for (names, is_told) in [
        (&["DocumentReference", "Patient"][..], true),
        (&["DocumentReference", "Binary"], false),
        (&["Patient"], false),
    ] {
        let exported = world.export(&granted(spec(ExportLevel::System, ""), names)).await;
        assert_eq!(told(&exported).contains("kept as Binary"), is_told, "{names:?}");
    }
}

/// A-54: what a job may hold is told by its specification, old ones included.
#[test]
fn a_54_a_job_says_which_types_it_may_hold() {
    let of = |spec: &ExportSpec| {
        let reach = ExportReach::parse(&serde_json::to_vec(spec).unwrap()).unwrap();
        assert_eq!(reach.level, spec.request.level);
        reach.types
    };
    let asked = spec(ExportLevel::System, "_type=Patient,Condition");
    assert_eq!(of(&asked), types(&["Condition", "Patient"]));
    assert_eq!(of(&granted(asked, &["Patient", "Device"])), types(&["Patient"]));
    let with_provenance = "_type=Patient&includeAssociatedData=RelevantProvenanceResources";
    let with_provenance = spec(ExportLevel::System, with_provenance);
    assert_eq!(of(&with_provenance), types(&["Patient", "Provenance"]));
    let everything = of(&spec(ExportLevel::System, ""));
    assert_eq!(everything.len(), ResourceType::all().count() - 1);
    assert!(!everything.contains(&ResourceType::AUDIT_EVENT));
    assert!(ExportReach::parse(b"[]").is_err());
}
