//! Dangling references are counted exactly: against a count that knows nothing of the code under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use fhirhose_bulk::import::{Dangling, ImportSettings, ImportSpec};
use fhirhose_fhir::outcome::{OperationOutcome, Severity};
use fhirhose_fhir::resource_type::ResourceType;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::fixture::{Bench, files_of, small_chunks, synthea, synthea_lines, write_lines};

/// The literal references of a JSON text, in its order, as they are written.
#[derive(Default)]
struct Found(Vec<String>);

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FindReferences)
    }
}

struct FindReferences;

impl<'de> Visitor<'de> for FindReferences {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "reference" {
                let value: serde_json::Value = map.next_value()?;
                found.0.extend(value.as_str().map(str::to_owned));
            } else {
                found.0.extend(map.next_value::<Found>()?.0);
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut found = Found::default();
        while let Some(item) = list.next_element::<Found>()? {
            found.0.extend(item.0);
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found, E> {
        Ok(Found::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Found, E> {
        Ok(Found::default())
    }
}

/// Counts dangling references among lines: references and targets, and those that cannot be looked up.
fn count(lines: &[String]) -> (Dangling, BTreeMap<String, u64>) {
    let (mut held, mut missing) = (BTreeSet::new(), BTreeMap::new());
    let mut dangling = Dangling::default();
    let mut all = Vec::new();
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        held.insert(format!(
            "{}/{}",
            value["resourceType"].as_str().unwrap(),
            value["id"].as_str().unwrap()
        ));
        let Found(mut references) = serde_json::from_str(line).unwrap();
        dangling.unresolvable += references
            .iter()
            .filter(|text| text.starts_with("urn:") || text.contains('?'))
            .count() as u64;
        references.retain(|text| {
            text.split_once('/').is_some_and(|(kind, id)| {
                ResourceType::parse(kind).is_some() && !id.contains(['?', '/']) && !id.is_empty()
            })
        });
        references.dedup();
        all.extend(references);
    }
    for reference in all.into_iter().filter(|reference| !held.contains(reference)) {
        *missing.entry(reference).or_default() += 1;
    }
    dangling.references = missing.values().sum();
    dangling.targets = missing.len() as u64;
    (dangling, missing)
}

/// Imports the real data without some files, and compares with the count.
async fn assert_counted(settings: &ImportSettings, left_out: &[&str]) {
    let bench = Bench::in_memory();
    let is_in = |path: &Path| !left_out.iter().any(|name| path.ends_with(name));
    let files: Vec<_> = files_of(&synthea())
        .into_iter()
        .filter(|path| is_in(path))
        .collect();
    let lines: Vec<String> = files.iter().flat_map(|file| synthea_lines(file)).collect();
    let (expected, missing) = count(&lines);
    let job = bench.submit(ImportSpec::of_paths(files)).await;
    let context = bench.claim().await;
    let result = bench.attempt(&context, settings, None).await.unwrap();
    let listed = result.dangling.listed.clone();
    assert_eq!(
        Dangling {
            listed: None,
            ..result.dangling
        },
        expected
    );
    let Some(listed) = listed else {
        assert_eq!(expected.targets, 0);
        return;
    };
    let text = bench.file(job, &listed.name).await;
    let mut named = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let outcome = OperationOutcome::parse(line).unwrap();
        assert_eq!(outcome.issues[0].severity, Severity::Warning);
        let target = outcome.issues[0].details.split(' ').next().unwrap().to_owned();
        let count = format!("references {},", missing[&target]);
        assert!(
            outcome.issues[0]
                .diagnostics
                .as_deref()
                .unwrap()
                .starts_with(&count)
        );
        assert!(named.insert(target));
    }
    assert_eq!(
        named.len() as u64,
        expected.targets.min(settings.dangling_listed_max)
    );
}

#[tokio::test]
async fn dangling_references_of_whole_data_are_counted_exactly() {
    assert_counted(&ImportSettings::with_threads(2), &[]).await;
}

#[tokio::test]
async fn dangling_references_to_left_out_files_are_counted_exactly_over_many_chunks() {
    let settings = ImportSettings {
        merge_parts_max: 3,
        ..small_chunks(3, 256 << 10)
    };
    assert_counted(&settings, &["Encounter.ndjson.zst", "Practitioner.ndjson.zst"]).await;
}

#[tokio::test]
async fn dangling_references_are_all_counted_when_only_some_are_listed() {
    let settings = ImportSettings {
        dangling_listed_max: 10,
        ..small_chunks(2, 1 << 20)
    };
    assert_counted(&settings, &["Patient.ndjson.zst"]).await;
}

#[tokio::test]
async fn what_earlier_imports_and_later_inputs_hold_is_not_dangling() {
    let folder = tempfile::tempdir().unwrap();
    let observation = |patient: &str| {
        let subject = format!(r#"{{"reference":"Patient/{patient}"}}"#);
        format!(r#"{{"resourceType":"Observation","id":"o-{patient}","subject":{subject}}}"#)
    };
    let patient = |id: &str| format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
    let bench = Bench::in_memory();
    let settings = small_chunks(2, 1 << 10);
    let early = write_lines(folder.path(), "early.ndjson", &[patient("early")]);
    bench.import(ImportSpec::of_paths([early]), &settings).await;
    let first = write_lines(
        folder.path(),
        "a.ndjson",
        &["early", "late", "never", "refused"].map(observation),
    );
    let refused = patient("refused").replace('}', ",}");
    let second = write_lines(folder.path(), "b.ndjson", &[patient("late"), refused]);
    let result = bench
        .import(ImportSpec::of_paths([first, second]), &settings)
        .await;
    assert_eq!((result.dangling.references, result.dangling.targets), (2, 2));
}
