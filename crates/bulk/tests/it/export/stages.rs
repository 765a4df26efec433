//! What is made after other resources, helper resources and chosen Provenance, ends as it should whatever crashes in between.

use std::sync::Arc;

use fhirhose_bulk::export::{ExportSpec, GroupJoiners, Target};
use fhirhose_fhir::export_request::AssociatedData;
use fhirhose_jobs::testing::{Fault, Faults};
use fhirhose_jobs::{JobId, StopSignal};

use super::fixture::{LATER, World, group, spec};
use super::resume::live_through;

/// A Group of patients with encounters, practitioners, organizations and Provenance, and how it was before half of them joined.
async fn ward() -> (World, ExportSpec) {
    let world = World::new();
    let mut lines = Vec::new();
    for number in 0..24 {
        let (role, place) = (number % 5, number % 7);
        lines.push(format!(
            r#"{{"resourceType":"Patient","id":"p{number}","managingOrganization":{{"reference":"Organization/o{place}"}}}}"#
        ));
        lines.push(format!(
            r#"{{"resourceType":"Encounter","id":"e{number}","subject":{{"reference":"Patient/p{number}"}},"participant":[{{"individual":{{"reference":"PractitionerRole/r{role}"}}}}],"location":[{{"location":{{"reference":"Location/l{place}"}}}}]}}"#
        ));
        lines.push(format!(
            r#"{{"resourceType":"Provenance","id":"v{number}","recorded":"2020-01-01T00:00:00Z","target":[{{"reference":"Encounter/e{number}"}}],"agent":[{{"who":{{"reference":"Practitioner/a{number}"}}}}]}}"#
        ));
        lines.push(format!(r#"{{"resourceType":"Practitioner","id":"a{number}"}}"#));
    }
    for number in 0..7 {
        lines.push(format!(
            r#"{{"resourceType":"PractitionerRole","id":"r{number}","practitioner":{{"reference":"Practitioner/a{number}"}}}}"#
        ));
        lines.push(format!(
            r#"{{"resourceType":"Location","id":"l{number}","managingOrganization":{{"reference":"Organization/m{number}"}}}}"#
        ));
        for kind in ["o", "m"] {
            lines.push(format!(
                r#"{{"resourceType":"Organization","id":"{kind}{number}"}}"#
            ));
        }
    }
    world.load_lines(lines).await;
    world.put(&a_group(0..10)).await;
    let since = world.store.catalog().snapshot().await.unwrap().instant;
    world.put(&a_group(4..20)).await;
    for number in 2..8 {
        world
            .put(&format!(
                r#"{{"resourceType":"Encounter","id":"e{number}","status":"finished","subject":{{"reference":"Patient/p{number}"}}}}"#
            ))
            .await;
    }
    world.delete("Encounter", "e9", &[]).await;
    let mut spec = ExportSpec {
        helper_resources: true,
        group_joiners: GroupJoiners::WholeHistory,
        file_bytes_max: 900,
        ..spec(group("g"), &format!("_since={since}"))
    };
    spec.request.associated_data = AssociatedData::RelevantProvenance;
    (world, spec)
}

fn a_group(members: std::ops::Range<usize>) -> String {
    let members: Vec<String> = members
        .map(|number| format!(r#"{{"entity":{{"reference":"Patient/p{number}"}}}}"#))
        .collect();
    format!(
        r#"{{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{}]}}"#,
        members.join(",")
    )
}

async fn run(world: &World, spec: &ExportSpec, fault: Option<(u64, Fault)>) -> (JobId, Vec<u8>, u64) {
    let job = world.submit(spec).await.unwrap();
    let faults = Arc::new(Faults::new(fault));
    let result = live_through(world, job, &faults).await;
    (job, result, faults.calls())
}

async fn check(fault: fn() -> Fault, target: impl Fn() -> (Target, Option<tempfile::TempDir>)) {
    let (world, spec) = ward().await;
    let to_target = |target: Target| ExportSpec {
        target,
        ..spec.clone()
    };
    let (place, _folder) = target();
    let (job, result, _) = run(&world, &to_target(place.clone()), None).await;
    let expected = world.read(job, &result, &place).await;
    let names = expected.names();
    for wanted in [
        "Encounter/e5",
        "Encounter/e15",
        "Patient/p12",
        "Provenance/v15",
        "PractitionerRole/r0",
    ] {
        assert!(names.contains(wanted), "{wanted}: {names:?}");
    }
    for wanted in [
        "Practitioner/a15",
        "Practitioner/a0",
        "Location/l6",
        "Organization/o6",
        "Organization/m6",
    ] {
        assert!(names.contains(wanted), "{wanted}: {names:?}");
    }
    assert!(
        !names.contains("Provenance/v9") && !names.contains("Encounter/e2") && !names.contains("Patient/p4")
    );
    let mut call = 0;
    loop {
        let (place, _folder) = target();
        let (job, result, calls) = run(&world, &to_target(place.clone()), Some((call, fault()))).await;
        let given = world.read(job, &result, &place).await;
        assert_eq!(given.files(), expected.files(), "{:?} at call {call}", fault());
        let left = world.store.outputs().jobs().await.unwrap();
        assert!(
            !left.contains(&format!("{job}-parts")),
            "side files go at the end"
        );
        if calls <= call {
            break;
        }
        call += 1;
    }
    assert!(call > 3, "the job writes checkpoints");
}

fn outputs() -> (Target, Option<tempfile::TempDir>) {
    (Target::Outputs, None)
}

fn folder() -> (Target, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    (Target::Folder(folder.path().join("out")), Some(folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn later_stages_that_crash_at_any_call_end_with_the_same_files() {
    check(|| Fault::CrashBefore, outputs).await;
    check(|| Fault::CrashAfter, folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_stages_that_are_shut_down_at_any_call_end_with_the_same_files() {
    check(|| Fault::Shutdown, outputs).await;
}

/// M-22, M-23: pages that were shown stay as they are, and nothing comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn later_stages_come_to_the_pages_of_an_export_once_whatever_crashes() {
    let (world, mut spec) = ward().await;
    let expected = world.export(&spec).await.names();
    spec.request.allow_partial_manifests = true;
    for fault in [Fault::CrashBefore, Fault::CrashAfter] {
        let mut call = 0;
        loop {
            let (job, result, calls) = run(&world, &spec, Some((call, fault))).await;
            let given = world.read(job, &result, &Target::Outputs).await;
            assert_eq!(given.names(), expected, "{fault:?} at call {call}");
            if calls <= call {
                break;
            }
            call += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn side_files_that_are_gone_are_made_again() {
    let (world, spec) = ward().await;
    let expected = world.export(&spec).await.files();
    let mut call = 2;
    loop {
        let job = world.submit(&spec).await.unwrap();
        let faults = Arc::new(Faults::new([(call, Fault::CrashAfter)]));
        // The first life, up to the crash.
        let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
        let faulty = fhirhose_jobs::testing::FaultyStore::new(
            world.jobs(),
            Arc::clone(&faults),
            world.clock.clone(),
            fhirhose_jobs::testing::Ledger::default(),
        );
        let claimed = (context.record().clone(), *context.lease());
        let context =
            fhirhose_jobs::JobContext::new(claimed, Arc::new(faulty), world.clock.clone(), StopSignal::new());
        let handler = world.handler_with(super::resume::settings());
        let ended = tokio::select! {
            biased;
            ended = fhirhose_jobs::Handler::run(&handler, &context) => Some(ended),
            _ = faults.doom() => None,
        };
        if let Some(ended) = ended {
            world.finish(&context, ended.unwrap()).await;
            break;
        }
        world.clock.advance(LATER * 2);
        let parts = format!("{job}-parts");
        world.store.outputs().delete_job(&parts).await.unwrap();
        let result = live_through(&world, job, &Arc::new(Faults::new([]))).await;
        let given = world.read(job, &result, &Target::Outputs).await;
        assert_eq!(given.files(), expected, "after call {call}");
        call += 1;
    }
    assert!(call > 3);
}
