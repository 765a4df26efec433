//! Provenance by default, and chosen by `includeAssociatedData` (spec §1.3).

use fhirhose_bulk::export::ExportSpec;
use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};

use super::fixture::{World, group, patient, spec};

fn provenance(id: &str, recorded: &str, targets: &[&str]) -> String {
    let targets: Vec<String> = targets
        .iter()
        .map(|target| format!(r#"{{"reference":"{target}"}}"#))
        .collect();
    format!(
        r#"{{"resourceType":"Provenance","id":"{id}","target":[{}],"recorded":"{recorded}","agent":[{{"who":{{"reference":"Practitioner/x"}}}}]}}"#,
        targets.join(",")
    )
}

async fn filled() -> World {
    let world = World::new();
    let mut lines = vec![r#"{"resourceType":"Organization","id":"org"}"#.to_owned()];
    for id in ["p1", "p2"] {
        lines.push(format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#));
        lines.push(format!(
            r#"{{"resourceType":"Observation","id":"o-{id}","status":"final","subject":{{"reference":"Patient/{id}"}}}}"#
        ));
    }
    lines.push(provenance(
        "old",
        "2020-01-01T00:00:00Z",
        &["Patient/p1", "Observation/o-p1"],
    ));
    lines.push(provenance("new", "2021-01-01T00:00:00Z", &["Observation/o-p1"]));
    lines.push(provenance(
        "of-p2",
        "2019-01-01T00:00:00Z",
        &["Observation/o-p2", "Observation/nowhere"],
    ));
    lines.push(provenance(
        "of-org",
        "2022-01-01T00:00:00Z",
        &["Organization/org"],
    ));
    world.load_lines(lines).await;
    let member = r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}}]}"#;
    world.put(member).await;
    world
}

async fn check(world: &World, spec: &ExportSpec, expected: &[&str]) {
    let names = world.export(spec).await.names();
    let given: Vec<_> = names
        .iter()
        .filter_map(|name| name.strip_prefix("Provenance/"))
        .collect();
    assert_eq!(
        given, expected,
        "{:?} {:?}",
        spec.request.level, spec.request.associated_data
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_provenance_comes_whose_target_is_in_an_exported_compartment() {
    let world = filled().await;
    check(
        &world,
        &spec(ExportLevel::System, ""),
        &["new", "of-org", "of-p2", "old"],
    )
    .await;
    check(
        &world,
        &spec(ExportLevel::AllPatients, ""),
        &["new", "of-p2", "old"],
    )
    .await;
    check(&world, &spec(group("g"), ""), &["new", "old"]).await;
    check(
        &world,
        &spec(patient("p2"), "_type=Provenance,Patient"),
        &["of-p2"],
    )
    .await;
    check(&world, &spec(ExportLevel::System, "_type=Patient"), &[]).await;
    check(&world, &spec(patient("p2"), "_type=Patient"), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_compartment_of_a_target_is_that_at_the_snapshot() {
    let world = filled().await;
    let spec = spec(patient("p2"), "");
    let job = world.submit(&spec).await.unwrap();
    let stop = fhirhose_jobs::StopSignal::new();
    let context = world.claim("export", &world.jobs(), &stop).await;
    stop.stop(fhirhose_jobs::StopReason::Shutdown);
    assert!(
        fhirhose_jobs::Handler::run(&world.handler(), &context)
            .await
            .is_err()
    );
    let release = fhirhose_jobs::Release::Shutdown;
    world.jobs().release(context.lease(), release).await.unwrap();
    // After the snapshot the target goes over to somebody else, and another comes in its place.
    world
        .put(r#"{"resourceType":"Observation","id":"o-p2","status":"final","subject":{"reference":"Patient/p1"}}"#)
        .await;
    world
        .put(r#"{"resourceType":"Observation","id":"o-p1","status":"final","subject":{"reference":"Patient/p2"}}"#)
        .await;
    let context = world
        .claim("export", &world.jobs(), &fhirhose_jobs::StopSignal::new())
        .await;
    let result = fhirhose_jobs::Handler::run(&world.handler(), &context)
        .await
        .unwrap();
    let names = world.read(job, &result, &spec.target).await.names();
    assert!(
        names.contains("Provenance/of-p2") && !names.contains("Provenance/new"),
        "{names:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn associated_provenance_comes_for_what_is_exported_and_no_other() {
    let world = filled().await;
    let with = |level: ExportLevel, query: &str, associated: AssociatedData| {
        let mut spec = spec(level, query);
        spec.request.associated_data = associated;
        spec
    };
    let (latest, relevant) = (
        AssociatedData::LatestProvenance,
        AssociatedData::RelevantProvenance,
    );
    check(
        &world,
        &with(ExportLevel::System, "", relevant),
        &["new", "of-org", "of-p2", "old"],
    )
    .await;
    check(
        &world,
        &with(ExportLevel::System, "_type=Observation", latest),
        &["new", "of-p2"],
    )
    .await;
    check(
        &world,
        &with(ExportLevel::System, "_type=Observation", relevant),
        &["new", "of-p2", "old"],
    )
    .await;
    check(&world, &with(group("g"), "", latest), &["new", "old"]).await;
    check(&world, &with(group("g"), "_type=Patient", relevant), &["old"]).await;
    check(
        &world,
        &with(ExportLevel::System, "_type=Provenance", relevant),
        &[],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_of_another_form_than_fhirs_counts_as_far_as_it_can_be_read() {
    let world = filled().await;
    for odd in [
        r#"{"resourceType":"Provenance","id":"odd","target":{"reference":"Observation/o-p1"},"recorded":2020}"#,
        r#"{"resourceType":"Provenance","id":"worse","target":[7,{"reference":8},{"reference":"Observation/o-p2"}]}"#,
    ] {
        world.put(odd).await;
    }
    let all = ["new", "odd", "of-p2", "old", "worse"];
    check(&world, &spec(ExportLevel::AllPatients, ""), &all).await;
    check(&world, &spec(group("g"), ""), &["new", "odd", "old"]).await;
    let mut relevant = spec(ExportLevel::System, "_type=Observation");
    relevant.request.associated_data = AssociatedData::RelevantProvenance;
    check(&world, &relevant, &all).await;
}

/// M-33: a deleted Provenance belongs to the compartments of what it was about, though that was deleted before.
#[tokio::test(flavor = "multi_thread")]
async fn m_33_provenance_that_is_deleted_after_its_target_is_among_the_deleted() {
    let world = filled().await;
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    for (resource_type, id) in [
        ("Observation", "o-p1"),
        ("Provenance", "new"),
        ("Observation", "o-p2"),
        ("Provenance", "of-p2"),
        ("Provenance", "of-org"),
    ] {
        world.delete(resource_type, id, &[]).await;
    }
    let deleted = async |level: ExportLevel| {
        let exported = world.export(&spec(level, &format!("_since={start}"))).await;
        exported.deleted().into_iter().collect::<Vec<_>>()
    };
    let of_p1 = ["Observation/o-p1", "Provenance/new"];
    assert_eq!(deleted(group("g")).await, of_p1);
    let of_all = [
        "Observation/o-p1",
        "Observation/o-p2",
        "Provenance/new",
        "Provenance/of-p2",
    ];
    assert_eq!(deleted(ExportLevel::AllPatients).await, of_all);
}
