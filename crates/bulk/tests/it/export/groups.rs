//! Who is in a Group, and resources in more than one compartment.

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::FileKind;
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::JobError;
use fhirhose_jobs::{Handler, StopReason, StopSignal};

use super::fixture::{World, group, patient, spec};

fn a_patient(id: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#)
}

fn an_observation(id: &str, subject: &str, performer: Option<&str>) -> String {
    let performer = performer.map_or(String::new(), |id| {
        format!(r#","performer":[{{"reference":"Patient/{id}"}}]"#)
    });
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{subject}"}}{performer},"valueDecimal":1.00}}"#
    )
}

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

async fn five_patients() -> World {
    let world = World::new();
    let patients = ["p1", "p2", "p3", "p4", "p5"];
    let lines = patients
        .iter()
        .flat_map(|id| [a_patient(id), an_observation(&format!("of-{id}"), id, None)]);
    world.load_lines(lines).await;
    world
}

async fn check(world: &World, level: ExportLevel, query: &str, expected: &[&str]) {
    let names = world.export(&spec(level, query)).await.names();
    assert_eq!(names, expected.iter().map(|&name| name.to_owned()).collect());
}

/// G-06.
#[tokio::test(flavor = "multi_thread")]
async fn nested_groups_count_and_circles_end() {
    let world = five_patients().await;
    world.put(&a_group("outer", &["Patient/p1", "Group/inner"])).await;
    world
        .put(&a_group("inner", &["Patient/p3", "Group/outer", "Group/inner"]))
        .await;
    let expected = [
        "Patient/p1",
        "Patient/p3",
        "Observation/of-p1",
        "Observation/of-p3",
    ];
    check(&world, group("outer"), "_type=Patient,Observation", &expected).await;
    check(&world, group("inner"), "_type=Patient,Observation", &expected).await;
}

/// G-06.
#[tokio::test(flavor = "multi_thread")]
async fn inactive_and_ended_members_do_not_count() {
    let world = five_patients().await;
    let member = |id: &str, more: &str| format!(r#"{{"entity":{{"reference":"Patient/{id}"}}{more}}}"#);
    let members = [
        member("p1", r#","inactive":true"#),
        member("p2", r#","inactive":false"#),
        member("p3", r#","period":{"end":"2001-01-01"}"#),
        member("p4", r#","period":{"end":"2999-01-01"}"#),
    ];
    let line = format!(
        r#"{{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{}]}}"#,
        members.join(",")
    );
    world.put(&line).await;
    check(&world, group("g"), "_type=Patient", &["Patient/p2", "Patient/p4"]).await;
}

/// G-07: what is not exported is said.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_cannot_be_followed_are_told() {
    let world = five_patients().await;
    let members = [
        "Patient/p1",
        "Practitioner/d1",
        "Group/nowhere",
        "urn:uuid:0b7a3a4e-9f8c-4b5e-8d7e-2f1a3c4b5d6e",
    ];
    world.put(&a_group("g", &members)).await;
    let exported = world
        .export(&spec(group("g"), "_type=Patient,Organization"))
        .await;
    assert_eq!(exported.names(), ["Patient/p1".to_owned()].into());
    let told: Vec<&str> = exported.texts.last().unwrap().lines().collect();
    assert_eq!(
        exported.result.files.last().unwrap().name,
        "1.OperationOutcome.error.ndjson"
    );
    assert_eq!(exported.result.files.last().unwrap().count, 4);
    for (line, word) in told
        .iter()
        .zip(["Organization", "not patients", "no reference", "do not exist"])
    {
        assert!(line.contains(word), "{line}");
    }
    assert_eq!(exported.lines(FileKind::Error).len(), 1, "outcomes have no id");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_refused_at_kick_off() {
    let world = five_patients().await;
    world.delete("Patient", "p5", &[]).await;
    for level in [group("p1"), patient("p6"), patient("p5")] {
        let refused = world.submit(&spec(level, "")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_in_two_compartments_is_in_both_exports_once() {
    let world = five_patients().await;
    world.put(&an_observation("shared", "p1", Some("p2"))).await;
    world
        .load_lines([an_observation("imported", "p1", Some("p2"))])
        .await;
    let both = ["Observation/shared", "Observation/imported"];
    check(
        &world,
        patient("p2"),
        "_type=Observation",
        &[&both[..], &["Observation/of-p2"]].concat(),
    )
    .await;
    check(
        &world,
        patient("p1"),
        "_type=Observation",
        &[&both[..], &["Observation/of-p1"]].concat(),
    )
    .await;
    world.put(&a_group("g", &["Patient/p1", "Patient/p2"])).await;
    let all = [&both[..], &["Observation/of-p1", "Observation/of-p2"]].concat();
    check(&world, group("g"), "_type=Observation", &all).await;
    world.compact("all").await;
    check(
        &world,
        patient("p2"),
        "_type=Observation",
        &[&both[..], &["Observation/of-p2"]].concat(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_version_that_is_shown_decides_about_the_compartment() {
    let world = five_patients().await;
    world.put(&an_observation("o", "p1", Some("p2"))).await;
    world.put(&an_observation("o", "p1", None)).await;
    check(&world, patient("p2"), "_type=Observation", &["Observation/of-p2"]).await;
    // The owner changes: the old key ends, the new one begins.
    world.put(&an_observation("o", "p3", Some("p2"))).await;
    check(&world, patient("p1"), "_type=Observation", &["Observation/of-p1"]).await;
    check(
        &world,
        patient("p2"),
        "_type=Observation",
        &["Observation/of-p2", "Observation/o"],
    )
    .await;
    check(
        &world,
        patient("p3"),
        "_type=Observation",
        &["Observation/of-p3", "Observation/o"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_changes_later_is_exported_as_it_was_at_the_snapshot() {
    let world = five_patients().await;
    world.put(&a_group("g", &["Patient/p1"])).await;
    let spec = spec(group("g"), "_type=Patient");
    let job = world.submit(&spec).await.unwrap();
    let stop = StopSignal::new();
    let context = world.claim("export", &world.jobs(), &stop).await;
    // A shutdown lets the first checkpoint through, the snapshot, and no more.
    stop.stop(StopReason::Shutdown);
    let stopped = world.handler().run(&context).await;
    assert_eq!(stopped, Err(JobError::Stop(StopReason::Shutdown)));
    let release = fhirhose_jobs::Release::Shutdown;
    world.jobs().release(context.lease(), release).await.unwrap();
    world.put(&a_group("g", &["Patient/p2", "Patient/p3"])).await;
    world
        .put(&a_patient("p1").replace('}', r#","active":true}"#))
        .await;
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let result = world.handler().run(&context).await.unwrap();
    let exported = world.read(job, &result, &spec.target).await;
    assert_eq!(exported.names(), ["Patient/p1".to_owned()].into());
    assert!(
        !exported.texts[0].contains("active"),
        "the version of the snapshot"
    );
}
