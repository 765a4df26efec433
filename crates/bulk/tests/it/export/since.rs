//! `_since`: what changed after an instant, and what was deleted (M-30 to M-33).

use std::collections::BTreeSet;

use fhirhose_bulk::export::FileKind;
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::instant::Instant;

use super::fixture::{Exported, World, group, patient, spec};

fn observation(id: &str, subject: &str, value: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{subject}"}},"valueString":"{value}"}}"#
    )
}

fn since(instant: Instant) -> String {
    format!("_since={instant}")
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

async fn filled() -> World {
    let world = World::new();
    let patients = ["p1", "p2", "p3"].map(|id| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#));
    let observations =
        (0..60).map(|number| observation(&format!("o{number}"), &format!("p{}", number % 3 + 1), "old"));
    world.load_lines(patients.into_iter().chain(observations)).await;
    world
        .put(r#"{"resourceType":"Organization","id":"org1","name":"One"}"#)
        .await;
    world
}

async fn export(world: &World, level: ExportLevel, query: &str) -> Exported {
    world.export(&spec(level, query)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_deletions_after_the_instant_are_exported_and_nothing_else() {
    let world = filled().await;
    let first = export(&world, ExportLevel::System, "").await;
    assert_eq!(first.names().len(), 64);
    assert!(first.deleted().is_empty(), "M-30: only with _since");
    world.put(&observation("o0", "p1", "new")).await;
    world.put(&observation("o1", "p2", "old")).await; // the same content: no change
    world
        .load_lines([observation("o2", "p3", "new"), observation("o3", "p1", "old")])
        .await;
    world.put(&observation("fresh", "p1", "new")).await;
    world.delete("Observation", "o4", &[]).await;
    world.delete("Observation", "o5", &[]).await;
    world.put(&observation("o5", "p3", "again")).await; // M-32: only in the output
    world.put(&observation("brief", "p2", "new")).await;
    world.delete("Observation", "brief", &[]).await;
    world.delete("Organization", "org1", &[]).await;
    let second = export(&world, ExportLevel::System, &since(first.result.transaction_time)).await;
    assert_eq!(
        second.names(),
        set(&[
            "Observation/o0",
            "Observation/o2",
            "Observation/fresh",
            "Observation/o5"
        ])
    );
    let deleted = set(&["Observation/o4", "Observation/brief", "Organization/org1"]);
    assert_eq!(second.deleted(), deleted);
    assert_eq!(
        second.result.files.last().unwrap().name,
        "1.Bundle.deleted.ndjson"
    );
    world.compact("later").await;
    let again = export(&world, ExportLevel::System, &since(first.result.transaction_time)).await;
    assert_eq!(again.files(), second.files(), "a compaction changes nothing");
    let third = export(
        &world,
        ExportLevel::System,
        &since(second.result.transaction_time),
    )
    .await;
    assert_eq!(
        third.result.files,
        [],
        "chained without gap or repeat, and no empty file"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instant_itself_is_not_after_it() {
    let world = filled().await;
    let written = world.put(&observation("o7", "p2", "new")).await.instant;
    let before = Instant::from_micros(written.micros() - 1);
    assert_eq!(
        export(&world, ExportLevel::System, &since(written)).await.names(),
        set(&[])
    );
    let found = export(&world, ExportLevel::System, &since(before)).await;
    assert_eq!(found.names(), set(&["Observation/o7"]));
    assert!(found.texts[0].contains(&format!(r#""lastUpdated":"{written}""#)));
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_match_type_and_compartment_of_their_last_version() {
    let world = filled().await;
    world.put(r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}},{"entity":{"reference":"Patient/p2"}}]}"#).await;
    let shared = r#"{"resourceType":"Observation","id":"shared","subject":{"reference":"Patient/p3"},"performer":[{"reference":"Patient/p2"}]}"#;
    world.put(shared).await;
    let start = export(&world, ExportLevel::System, "")
        .await
        .result
        .transaction_time;
    world.delete("Observation", "o0", &[]).await; // of p1
    world.delete("Observation", "o2", &[]).await; // of p3
    world.delete("Observation", "shared", &["p2"]).await;
    world.delete("Organization", "org1", &[]).await;
    world.delete("Patient", "p2", &[]).await;
    let of = async |level: ExportLevel, query: &str| {
        export(&world, level, &format!("{}{query}", since(start)))
            .await
            .deleted()
    };
    assert_eq!(
        of(group("g"), "").await,
        set(&["Observation/o0", "Observation/shared", "Patient/p2"])
    );
    assert_eq!(
        of(group("g"), "&_type=Observation").await,
        set(&["Observation/o0", "Observation/shared"])
    );
    assert_eq!(
        of(patient("p3"), "").await,
        set(&["Observation/o2", "Observation/shared"])
    );
    let of_patients = set(&[
        "Observation/o0",
        "Observation/o2",
        "Observation/shared",
        "Patient/p2",
    ]);
    assert_eq!(of(ExportLevel::AllPatients, "").await, of_patients);
    assert_eq!(
        of(ExportLevel::System, "&_type=Organization").await,
        set(&["Organization/org1"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_deletions_come_in_bundles_of_a_hundred_and_files_of_bounded_size() {
    let world = World::new();
    let lines = (0..250).map(|number| format!(r#"{{"resourceType":"Basic","id":"b{number}"}}"#));
    world.load_lines(lines).await;
    let start = export(&world, ExportLevel::System, "")
        .await
        .result
        .transaction_time;
    for number in 0..250 {
        world.delete("Basic", &format!("b{number}"), &[]).await;
    }
    let whole = export(&world, ExportLevel::System, &since(start)).await;
    assert_eq!((whole.deleted().len(), whole.result.files[0].count), (250, 3));
    let mut small = spec(ExportLevel::System, &since(start));
    small.file_bytes_max = 100;
    let small = world.export(&small).await;
    let names: Vec<&str> = small.result.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "1.Bundle.deleted.ndjson",
            "2.Bundle.deleted.ndjson",
            "3.Bundle.deleted.ndjson"
        ]
    );
    assert_eq!(small.deleted(), whole.deleted());
    assert!(small.lines(FileKind::Output).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn m_33_filters_judge_what_was_deleted_by_its_last_version_and_what_is_gone_is_listed_and_said() {
    let world = filled().await;
    world.put(&observation("kept", "p1", "x")).await;
    for (id, status) in [("final", "final"), ("amended", "amended")] {
        let line =
            observation(id, "p1", "x").replace(r#""subject""#, &format!(r#""status":"{status}","subject""#));
        world.put(&line).await;
    }
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    world.delete("Observation", "final", &[]).await;
    world.delete("Observation", "amended", &[]).await;
    let mut filtered = spec(ExportLevel::AllPatients, &since(start));
    let criteria = fhirhose_fhir::search::Criteria::parse("Observation?status=final", "").unwrap();
    filtered.request.type_filters = vec![criteria];
    let exported = world.export(&filtered).await;
    assert_eq!(exported.deleted(), set(&["Observation/final"]));
    assert!(exported.lines(FileKind::Error).is_empty());
    // Days later compaction has dropped what the last versions held.
    world.clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));
    world.put(&observation("kept", "p1", "y")).await;
    world.compact("days-later").await;
    let exported = world.export(&filtered).await;
    assert_eq!(
        exported.deleted(),
        set(&["Observation/final", "Observation/amended"])
    );
    let told = exported.lines(FileKind::Error);
    assert!(told.values().any(|line| line.contains("_typeFilter")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_34_deletions_are_listed_however_long_ago_they_were() {
    let world = filled().await;
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    world.delete("Observation", "o7", &[]).await;
    for year in 1..4 {
        world
            .clock
            .advance(std::time::Duration::from_secs(366 * 24 * 3600));
        world.put(&observation("o8", "p3", &format!("{year}"))).await;
        world.compact(&format!("year-{year}")).await;
    }
    let exported = export(&world, ExportLevel::System, &since(start)).await;
    assert_eq!(exported.deleted(), set(&["Observation/o7"]));
    let exported = export(&world, patient("p2"), &since(start)).await;
    assert_eq!(exported.deleted(), set(&["Observation/o7"]));
}
