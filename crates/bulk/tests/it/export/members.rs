//! Who is in a Group: changes since an earlier export (G-03 to G-06), cohorts by characteristics (C-03), the `patient` parameter.

use std::collections::BTreeSet;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::{
    ExportSpec, FileKind, GroupJoiners, PatientFault, drop_patient_faults, patient_faults,
};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::id::Id;

use super::fixture::{Exported, World, group, patient, spec};

fn a_group(id: &str, members: &[&str]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|member| format!(r#"{{"entity":{{"reference":"{member}"}}}}"#))
        .collect();
    format!(
        r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":true,"member":[{}]}}"#,
        members.join(",")
    )
}

/// A Group with member filters; without members all patients are candidates.
fn a_cohort(id: &str, members: &[&str], filters: &[&str]) -> String {
    let filters: Vec<String> = filters
        .iter()
        .map(|filter| {
            format!(
                r#"{{"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{{"language":"application/x-fhir-query","expression":"{filter}"}}}}"#
            )
        })
        .collect();
    let plain = match members.is_empty() {
        true => format!(r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":false}}"#),
        false => a_group(id, members),
    };
    plain.replacen(
        r#""type":"#,
        &format!(r#""modifierExtension":[{}],"type":"#, filters.join(",")),
        1,
    )
}

async fn filled() -> World {
    let world = World::new();
    let mut lines = Vec::new();
    for (number, id) in ["p1", "p2", "p3", "p4"].iter().enumerate() {
        let gender = if number % 2 == 0 { "female" } else { "male" };
        lines.push(format!(
            r#"{{"resourceType":"Patient","id":"{id}","gender":"{gender}"}}"#
        ));
        lines.push(format!(
            r#"{{"resourceType":"Observation","id":"o-{id}","status":"final","subject":{{"reference":"Patient/{id}"}}}}"#
        ));
    }
    lines.push(r#"{"resourceType":"Observation","id":"shared","status":"amended","subject":{"reference":"Patient/p1"},"performer":[{"reference":"Patient/p3"}]}"#.to_owned());
    lines.push(r#"{"resourceType":"Observation","id":"other","status":"amended","subject":{"reference":"Patient/p4"}}"#.to_owned());
    world.load_lines(lines).await;
    world
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn told(exported: &Exported) -> String {
    let errors = exported.result.files.iter().zip(&exported.texts);
    errors
        .filter(|(file, _)| file.kind == FileKind::Error)
        .map(|(_, text)| text.as_str())
        .collect()
}

fn since(world: &World, level: ExportLevel, joiners: GroupJoiners) -> impl Future<Output = ExportSpec> {
    let catalog = world.store.catalog().clone();
    async move {
        let before = catalog.snapshot().await.unwrap().instant;
        ExportSpec {
            group_joiners: joiners,
            ..spec(level, &format!("_since={before}&_type=Patient,Observation"))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g_04_members_who_joined_come_with_their_whole_history_and_g_05_those_who_left_are_named() {
    let world = filled().await;
    world.put(&a_group("g", &["Patient/p1", "Patient/p2"])).await;
    let whole = since(&world, group("g"), GroupJoiners::WholeHistory).await;
    let changes = ExportSpec {
        group_joiners: GroupJoiners::ChangesOnly,
        ..whole.clone()
    };
    world.put(&a_group("g", &["Patient/p1", "Patient/p3"])).await;
    world
        .put(r#"{"resourceType":"Observation","id":"o-p1","status":"amended","subject":{"reference":"Patient/p1"}}"#)
        .await;
    world
        .put(r#"{"resourceType":"Observation","id":"o-p3","status":"amended","subject":{"reference":"Patient/p3"}}"#)
        .await;
    let exported = world.export(&whole).await;
    let expected = [
        "Observation/o-p1",
        "Patient/p3",
        "Observation/o-p3",
        "Observation/shared",
    ];
    assert_eq!(exported.names(), set(&expected));
    assert!(
        told(&exported).contains("Patient/p2 is no longer a member"),
        "{}",
        told(&exported)
    );
    assert!(told(&exported).contains("1 members joined"));
    let exported = world.export(&changes).await;
    assert_eq!(exported.names(), set(&["Observation/o-p1", "Observation/o-p3"]));
    assert!(
        told(&exported).contains("Patient/p2 is no longer a member"),
        "G-05"
    );
    // The Group's own versions outlive a compaction that drops others.
    world
        .clock
        .advance(std::time::Duration::from_secs(100 * 24 * 3600));
    world.compact("later").await;
    let exported = world.export(&whole).await;
    assert_eq!(exported.names(), set(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn g_04_of_a_group_that_is_new_all_members_joined_and_what_is_forgotten_is_said() {
    let world = filled().await;
    let whole = since(&world, group("g"), GroupJoiners::WholeHistory).await;
    world.put(&a_group("g", &["Patient/p2"])).await;
    let expected = set(&["Patient/p2", "Observation/o-p2"]);
    assert_eq!(world.export(&whole).await.names(), expected);
    world.put(&a_group("g", &["Patient/p2", "Patient/p4"])).await;
    // After more than a year nobody knows any more who was a member.
    world
        .clock
        .advance(std::time::Duration::from_secs(500 * 24 * 3600));
    world.put(&a_group("later", &[])).await;
    world
        .clock
        .advance(std::time::Duration::from_secs(500 * 24 * 3600));
    world.put(&a_group("later", &["Patient/p1"])).await;
    world.compact("later").await;
    let exported = world.export(&whole).await;
    assert!(
        told(&exported).contains("not known any more"),
        "{}",
        told(&exported)
    );
    assert!(exported.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn c_03_a_cohort_has_the_patients_for_whom_all_filters_hold() {
    /// Id, members, filters, and the patients that are exported.
    type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str]);
    let world = filled().await;
    let cases: [Case<'_>; 6] = [
        (
            "all",
            &[],
            &["Patient?gender=female"],
            &["Patient/p1", "Patient/p3"],
        ),
        (
            "both",
            &[],
            &["Patient?gender=female", "Observation?status=amended"],
            &["Patient/p1", "Patient/p3"],
        ),
        (
            "in-any-compartment",
            &[],
            &["Observation?status=amended"],
            &["Patient/p1", "Patient/p3", "Patient/p4"],
        ),
        (
            "some",
            &["Patient/p3", "Patient/p4"],
            &["Observation?status=amended"],
            &["Patient/p3", "Patient/p4"],
        ),
        (
            "nested",
            &["Group/all", "Patient/p2"],
            &["Observation?status=amended"],
            &["Patient/p1", "Patient/p3"],
        ),
        ("none", &["Patient/p2"], &["Patient?gender=female"], &[]),
    ];
    for (id, members, filters, expected) in cases {
        world.put(&a_cohort(id, members, filters)).await;
        let exported = world.export(&spec(group(id), "_type=Patient")).await;
        assert_eq!(exported.names(), set(expected), "{id}");
    }
    world.put(&a_group("plain", &["Group/all", "Patient/p4"])).await;
    let exported = world.export(&spec(group("plain"), "_type=Patient")).await;
    assert_eq!(exported.names(), set(&["Patient/p1", "Patient/p3", "Patient/p4"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_patient_parameter_takes_existing_members_only() {
    let world = filled().await;
    world
        .put(&a_group("g", &["Patient/p1", "Patient/p2", "Patient/gone"]))
        .await;
    let mut asked = spec(group("g"), "_type=Patient,Observation");
    let ids = ["p1", "p3", "gone"].iter().filter_map(|id| Id::parse(id));
    asked.request.patients = Some(ids.collect());
    let faults = patient_faults(&world.store, &asked.request).await.unwrap();
    let id = |text| Id::parse(text).unwrap();
    assert_eq!(
        faults,
        [
            PatientFault::NotMember(id("p3")),
            PatientFault::Unknown(id("gone"))
        ]
    );
    assert!(faults[0].issue().details.contains("Patient/p3"));
    let refused = world.submit(&asked).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    // K-22: leniently they are left aside, and told.
    drop_patient_faults(&mut asked.request, &faults);
    let exported = world.export(&asked).await;
    assert_eq!(
        exported.names(),
        set(&["Patient/p1", "Observation/o-p1", "Observation/shared"])
    );
    assert!(told(&exported).contains("Patient/p3") && told(&exported).contains("Patient/gone"));
    let mut all = spec(ExportLevel::System, "");
    all.request.patients = Some(vec![id("p1")]);
    assert_eq!(world.submit(&all).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut one = spec(patient("p2"), "_type=Patient");
    one.request.patients = Some(vec![id("p2")]);
    assert_eq!(world.export(&one).await.names(), set(&["Patient/p2"]));
}
