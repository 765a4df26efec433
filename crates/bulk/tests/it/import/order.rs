//! Which of several lines of one resource wins, and how they are counted: by their order alone.

use std::collections::BTreeMap;
use std::path::Path;

use fhirhose_bulk::import::ImportSpec;
use fhirhose_fhir::import_report::ImportCounts;
use proptest::prelude::*;

use super::fixture::{Bench, small_chunks, write_lines};

/// A line of a resource: which one, with which content and owner, and how long.
#[derive(Debug, Clone)]
struct Draw {
    id: u8,
    value: u8,
    patient: u8,
    padding: usize,
}

impl Draw {
    fn line(&self) -> String {
        let Self {
            id,
            value,
            patient,
            padding,
        } = self;
        format!(
            r#"{{"resourceType":"Observation","id":"o{id}","subject":{{"reference":"Patient/p{patient}"}},"valueInteger":{value},"x":"{}"}}"#,
            "x".repeat(*padding)
        )
    }
}

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let draw = (0u8..12, 0u8..2, 0u8..2, prop_oneof![Just(0usize), Just(300)]).prop_map(
        |(id, value, patient, padding)| Draw {
            id,
            value,
            patient,
            padding,
        },
    );
    prop::collection::vec(draw, 0..60)
}

/// What a store must hold and count that takes one line after another.
fn one_by_one(stored: &mut BTreeMap<String, String>, lines: &[String]) -> ImportCounts {
    let mut counts = ImportCounts::default();
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        match stored.insert(
            format!("Observation/{}", value["id"].as_str().unwrap()),
            line.clone(),
        ) {
            None => counts.created += 1,
            Some(before) if before == *line => counts.unchanged += 1,
            Some(_) => counts.updated += 1,
        }
    }
    counts
}

async fn assert_one_by_one(folder: &Path, rounds: &[Vec<String>], threads: usize, chunk_bytes: usize) {
    let bench = Bench::in_memory();
    let mut stored = BTreeMap::new();
    for lines in rounds {
        let (first, second) = lines.split_at(lines.len() / 2);
        let paths = [
            write_lines(folder, "b.ndjson", first),
            write_lines(folder, "a.ndjson", second),
        ];
        let result = bench
            .import(ImportSpec::of_paths(paths), &small_chunks(threads, chunk_bytes))
            .await;
        assert_eq!(result.inputs[0].counts, one_by_one(&mut stored, first));
        assert_eq!(result.inputs[1].counts, one_by_one(&mut stored, second));
        assert_eq!(bench.bodies().await, stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_taken_as_if_one_by_one_whatever_threads_and_chunks(
        rounds in prop::collection::vec(draws(), 2),
        threads in 1usize..4,
        chunk_bytes in prop_oneof![Just(1usize << 10), 1_100usize..4_000, Just(1 << 20)],
    ) {
        let rounds: Vec<Vec<String>> =
            rounds.iter().map(|draws| draws.iter().map(Draw::line).collect()).collect();
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(assert_one_by_one(folder.path(), &rounds, threads, chunk_bytes));
    }
}

#[tokio::test]
async fn a_later_line_wins_also_when_it_moves_the_resource_to_another_patient() {
    let folder = tempfile::tempdir().unwrap();
    let draw = |value, patient| {
        Draw {
            id: 1,
            value,
            patient,
            padding: 0,
        }
        .line()
    };
    let lines = [draw(1, 1), draw(2, 2), draw(3, 1), draw(3, 1)];
    let bench = Bench::in_memory();
    let path = write_lines(folder.path(), "a.ndjson", &lines);
    let result = bench
        .import(ImportSpec::of_paths([path]), &small_chunks(2, 1 << 20))
        .await;
    assert_eq!(
        result.counts(),
        ImportCounts {
            created: 1,
            updated: 2,
            unchanged: 1,
            rejected: 0
        }
    );
    assert_eq!(
        bench.bodies().await.into_values().collect::<Vec<_>>(),
        [lines[3].clone()]
    );
}
