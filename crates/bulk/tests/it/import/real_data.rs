//! What goes in is what is stored, and nothing else, on real data.

use std::collections::BTreeMap;

use fhirhose_bulk::import::{ImportSettings, ImportSpec};
use fhirhose_fhir::import_report::ImportCounts;
use serde_json::value::RawValue;

use super::fixture::{Bench, Contents, files_of, small_chunks, synthea, synthea_lines, write_lines};

/// The lines of the real data by `Type/id`; ids are unique in it.
fn expected() -> BTreeMap<String, String> {
    let mut expected = BTreeMap::new();
    for file in files_of(&synthea()) {
        for line in synthea_lines(&file) {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let name = format!(
                "{}/{}",
                value["resourceType"].as_str().unwrap(),
                value["id"].as_str().unwrap()
            );
            assert!(expected.insert(name, line).is_none());
        }
    }
    expected
}

/// Asserts that a stored body is the line but for what storing does to `meta`: each other member byte for byte.
fn assert_same(line: &str, body: &str) {
    let [mut sent, mut kept] = [line, body].map(members);
    assert_eq!(meta(&mut sent), meta(&mut kept));
    let texts = |members: BTreeMap<String, Box<RawValue>>| -> Vec<(String, String)> {
        members
            .into_iter()
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect()
    };
    assert_eq!(texts(sent), texts(kept));
}

fn members(text: &str) -> BTreeMap<String, Box<RawValue>> {
    serde_json::from_str(text).unwrap()
}

/// Takes `meta` out, without what the store keeps elsewhere; an empty one is none.
fn meta(members: &mut BTreeMap<String, Box<RawValue>>) -> serde_json::Map<String, serde_json::Value> {
    let meta = members
        .remove("meta")
        .map_or("{}".to_owned(), |meta| meta.get().to_owned());
    let mut meta: serde_json::Map<_, _> = serde_json::from_str(&meta).unwrap();
    meta.remove("versionId");
    meta.remove("lastUpdated");
    meta
}

fn assert_all_there(expected: &BTreeMap<String, String>, contents: &Contents) {
    assert_eq!(contents.len(), expected.len());
    for ((resource_type, id), stored) in contents {
        assert_same(&expected[&format!("{resource_type}/{id}")], &stored.body);
    }
}

async fn assert_all_comes_in(bench: &Bench, settings: &ImportSettings) {
    let expected = expected();
    let result = bench.import(ImportSpec::of_paths([synthea()]), settings).await;
    assert_all_there(&expected, &bench.contents().await);
    let created = expected.len() as u64;
    assert_eq!(
        result.counts(),
        ImportCounts {
            created,
            ..ImportCounts::default()
        }
    );
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    for name in expected.keys() {
        *types.entry(name.split('/').next().unwrap()).or_default() += 1;
    }
    let counted: Vec<(&str, u64)> = result
        .types
        .iter()
        .map(|taken| (taken.resource_type.name(), taken.lines))
        .collect();
    assert_eq!(counted, types.into_iter().collect::<Vec<_>>());
    assert_eq!(result.inputs.len(), files_of(&synthea()).len());
    assert!(result.is_clean());
}

#[tokio::test]
async fn every_line_comes_in_once_with_exact_counts_by_type() {
    assert_all_comes_in(&Bench::in_memory(), &ImportSettings::with_threads(2)).await;
}

#[tokio::test]
async fn every_line_comes_in_once_in_small_chunks_into_a_folder_and_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let before = {
        let bench = Bench::embedded(&data).await;
        assert_all_comes_in(&bench, &small_chunks(3, 1 << 20)).await;
        bench.contents().await
    };
    let bench = Bench::embedded(&data).await;
    assert_eq!(bench.contents().await, before);
}

#[tokio::test]
async fn importing_again_changes_nothing_and_makes_no_version() {
    let bench = Bench::in_memory();
    let settings = small_chunks(2, 4 << 20);
    let first = bench.import(ImportSpec::of_paths([synthea()]), &settings).await;
    let before = (
        bench.contents().await,
        bench.store.catalog().snapshot().await.unwrap().sequence,
    );
    let second = bench.import(ImportSpec::of_paths([synthea()]), &settings).await;
    let unchanged = first.counts().created;
    assert_eq!(
        second.counts(),
        ImportCounts {
            unchanged,
            ..ImportCounts::default()
        }
    );
    let after = (
        bench.contents().await,
        bench.store.catalog().snapshot().await.unwrap().sequence,
    );
    assert_eq!(after, before);
}

#[tokio::test]
async fn one_changed_line_is_one_update_and_all_others_keep_their_version() {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::in_memory();
    let settings = small_chunks(2, 64 << 10);
    let mut lines = synthea_lines(&synthea().join("Patient.ndjson.zst"));
    let path = write_lines(folder.path(), "Patient.ndjson", &lines);
    bench.import(ImportSpec::of_paths([&path]), &settings).await;
    let before = bench.contents().await;
    assert!(lines[7].contains("\"gender\":\"male\"") || lines[7].contains("\"gender\":\"female\""));
    lines[7] = lines[7].replacen("\"gender\":\"", "\"gender\":\"un", 1);
    write_lines(folder.path(), "Patient.ndjson", &lines);
    let result = bench.import(ImportSpec::of_paths([&path]), &settings).await;
    let unchanged = lines.len() as u64 - 1;
    assert_eq!(
        result.counts(),
        ImportCounts {
            updated: 1,
            unchanged,
            ..ImportCounts::default()
        }
    );
    let after = bench.contents().await;
    let changed: Vec<_> = after
        .iter()
        .filter(|(name, stored)| before[*name] != **stored)
        .collect();
    assert_eq!(changed.len(), 1);
    assert_same(&lines[7], &changed[0].1.body);
}
