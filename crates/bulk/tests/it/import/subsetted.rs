//! A resource tagged `SUBSETTED` never replaces a fuller one.

use std::collections::BTreeMap;

use fhirhose_bulk::import::ImportSpec;
use fhirhose_fhir::import_report::ImportCounts;
use proptest::prelude::*;

use super::fixture::{Bench, small_chunks, write_lines};

fn line(id: u8, value: u8, cut: bool) -> String {
    let tag = if cut {
        r#","meta":{"tag":[{"code":"SUBSETTED"}]}"#
    } else {
        ""
    };
    format!(
        r#"{{"resourceType":"Patient","id":"p{id}"{tag},"x":{value},"y":"{}"}}"#,
        "y".repeat(200)
    )
}

/// Takes one line after another.
fn one_by_one(stored: &mut BTreeMap<u8, (u8, bool)>, draws: &[(u8, u8, bool)]) -> ImportCounts {
    let mut counts = ImportCounts::default();
    for &(id, value, cut) in draws {
        let before = stored.get(&id).copied();
        if cut && before.is_some_and(|(_, cut)| !cut) {
            counts.rejected += 1;
            continue;
        }
        match before {
            None => counts.created += 1,
            Some(before) if before == (value, cut) => counts.unchanged += 1,
            Some(_) => counts.updated += 1,
        }
        stored.insert(id, (value, cut));
    }
    counts
}

async fn assert_one_by_one(rounds: &[Vec<(u8, u8, bool)>], threads: usize, chunk_bytes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::in_memory();
    let mut stored = BTreeMap::new();
    for draws in rounds {
        let lines: Vec<String> = draws
            .iter()
            .map(|&(id, value, cut)| line(id, value, cut))
            .collect();
        let path = write_lines(folder.path(), "a.ndjson", &lines);
        let result = bench
            .import(ImportSpec::of_paths([path]), &small_chunks(threads, chunk_bytes))
            .await;
        assert_eq!(result.counts(), one_by_one(&mut stored, draws));
        assert!(
            result.inputs[0]
                .errors
                .iter()
                .all(|error| error.rule == "subsetted")
        );
        let expected: BTreeMap<_, _> = stored
            .iter()
            .map(|(id, (value, cut))| (format!("Patient/p{id}"), line(*id, *value, *cut)))
            .collect();
        assert_eq!(bench.bodies().await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cut_copies_are_refused_as_if_lines_came_one_by_one(
        rounds in prop::collection::vec(prop::collection::vec((0u8..6, 0u8..2, any::<bool>()), 1..30), 2),
        threads in 1usize..4,
        chunk_bytes in prop_oneof![Just(1usize << 10), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(assert_one_by_one(&rounds, threads, chunk_bytes));
    }
}
