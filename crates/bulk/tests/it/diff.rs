//! What two folders differ in, by the public surface: folders in, a folder and a report out.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fhirhose_bulk::diff::{DiffReport, DiffSettings, diff_folders};
use fhirhose_bulk::{ErrorKind, Result};
use fhirhose_client::ExportParameters;
use fhirhose_client::pull::{FileKind, PulledFile};
use fhirhose_client::receipt::{Asked, Delivery, ProveSettings, PulledFolder, write_manifest};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::instant::Instant;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MONDAY: &str = "2026-01-05T00:00:00.12+01:00";
const TUESDAY: &str = "2026-01-06T00:00:00.340Z";

/// Two folders and the place of their difference.
struct Pulls {
    folder: tempfile::TempDir,
    asked: BTreeMap<&'static str, ExportParameters>,
}

impl Pulls {
    fn new() -> Self {
        let everything = || ExportParameters::new(ExportLevel::AllPatients);
        Self {
            folder: tempfile::tempdir().unwrap(),
            asked: BTreeMap::from([("a", everything()), ("b", everything())]),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a folder of these files, each with its lines.
    fn put(&self, name: &str, files: &[(&str, &[&str])]) {
        let folder = self.at(name);
        fs::create_dir_all(&folder).unwrap();
        let mut listed = Vec::new();
        for (file, lines) in files {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(folder.join(file), &text).unwrap();
            let digest = Sha256::digest(&text);
            listed.push(PulledFile {
                name: (*file).to_owned(),
                kind: FileKind::Output,
                resource_type: file.split('.').nth(1).map(str::to_owned),
                lines: lines.len() as u64,
                bytes: text.len() as u64,
                sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
        }
        let time = if name == "a" { MONDAY } else { TUESDAY };
        let manifest = json!({"transactionTime": time, "request": "https://ehr.example/fhir/Patient/$export?_type=Patient,Goal"});
        let delivery = Delivery {
            manifest: &manifest.to_string(),
            entries: &BTreeMap::new(),
            source: Some(&"https://ehr.example/fhir".parse().unwrap()),
            asked: Some(Asked::from(&self.asked[name])),
            created_at: Instant::from_micros(0),
            files: &listed,
            missing: &[],
        };
        write_manifest(&folder, &delivery, None).unwrap();
    }

    fn diff(&self, settings: &DiffSettings) -> Result<DiffReport> {
        let _ = fs::remove_dir_all(self.at("out"));
        let now = Instant::from_micros(0);
        diff_folders(
            &self.at("a"),
            &self.at("b"),
            &self.at("out"),
            settings,
            now,
            &|_| (),
        )
    }

    /// `type: added changed removed same`, for each type.
    fn counts(&self, settings: &DiffSettings) -> Vec<String> {
        let report = self.diff(settings).unwrap();
        let count = |each: &fhirhose_bulk::diff::TypeDiff| {
            format!(
                "{}: {} {} {} {}",
                each.resource_type, each.added, each.changed, each.removed, each.same
            )
        };
        report.types.iter().map(count).collect()
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.at("out").join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn refusal(&self, settings: &DiffSettings) -> String {
        let error = self.diff(settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(!self.at("out").exists());
        error.to_string()
    }
}

fn patient(id: &str, rest: &str) -> String {
    format!(r#"{{"resourceType":"Patient","id":"{id}"{rest}}}"#)
}

fn plain() -> DiffSettings {
    DiffSettings::default()
}

#[test]
fn the_difference_has_the_shape_of_an_incremental_export_m_30_m_31() {
    let pulls = Pulls::new();
    let goal = r#"{"resourceType":"Goal","id":"g","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00Z"},"note":[]}"#;
    let goal_again = r#"{"id":"g","note":[ ],"resourceType":"Goal","meta":{"versionId":"2","lastUpdated":"2026-01-06T00:00:00Z"}}"#;
    let (same, old, gone) = (
        patient("same", ""),
        patient("p", r#","active":true"#),
        patient("gone", ""),
    );
    let (changed, new) = (patient("p", r#","active":false"#), patient("new", ""));
    pulls.put(
        "a",
        &[
            ("1.Patient.ndjson", &[&same, &old, &gone]),
            ("1.Goal.ndjson", &[goal]),
        ],
    );
    pulls.put(
        "b",
        &[
            ("1.Patient.ndjson", &[&new, &changed, &same]),
            ("1.Goal.ndjson", &[goal_again]),
        ],
    );
    assert_eq!(pulls.counts(&plain()), ["Goal: 0 0 0 1", "Patient: 1 1 1 1"]);
    assert_eq!(
        pulls.lines("1.Patient.ndjson"),
        [new, changed],
        "byte for byte, in the order of B"
    );
    let bundle: Value = serde_json::from_str(&pulls.lines("deleted/1.Bundle.ndjson")[0]).unwrap();
    let expected = json!({"resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "Patient/gone"}}]});
    assert_eq!(bundle, expected);
    let out = PulledFolder::open(&pulls.at("out")).unwrap();
    assert_eq!(out.transaction_time(), Some(TUESDAY));
    assert_eq!(out.asked().unwrap().since.as_deref(), Some(MONDAY));
    let manifest = out.manifest().unwrap();
    let request = url::Url::parse(manifest["request"].as_str().unwrap()).unwrap();
    assert!(
        request
            .query_pairs()
            .any(|(name, value)| name == "_since" && value == MONDAY)
    );
    assert_eq!(manifest["output"][0]["url"], "1.Patient.ndjson");
    assert_eq!(manifest["deleted"][0]["url"], "deleted/1.Bundle.ndjson");
    assert!(out.prove(&ProveSettings::default(), &|_| ()).unwrap().is_whole());
    let hidden = fs::read_dir(pulls.folder.path()).unwrap();
    assert_eq!(hidden.count(), 3, "nothing is left beside a, b and out");
}

#[test]
fn with_strict_another_version_is_a_change() {
    let pulls = Pulls::new();
    let of = |version: &str| patient("p", &format!(r#","meta":{{"versionId":"{version}"}}"#));
    pulls.put("a", &[("1.Patient.ndjson", &[&of("1")])]);
    pulls.put("b", &[("1.Patient.ndjson", &[&of("2")])]);
    assert_eq!(pulls.counts(&plain()), ["Patient: 0 0 0 1"]);
    let strict = DiffSettings {
        strict: true,
        ..plain()
    };
    assert_eq!(pulls.counts(&strict), ["Patient: 0 1 0 0"]);
}

#[test]
fn of_repeats_the_newest_counts_then_the_later_line_cl_11() {
    let pulls = Pulls::new();
    let at = |time: &str, name: &str| {
        patient(
            "p",
            &format!(r#","meta":{{"lastUpdated":"{time}"}},"name":[{{"text":"{name}"}}]"#),
        )
    };
    let (old, new, newest) = (
        at("2026-01-01T00:00:00Z", "old"),
        at("2026-01-02T01:00:00+01:00", "new"),
        at("2026-01-02T00:00:00Z", "newest"),
    );
    pulls.put("a", &[("1.Patient.ndjson", &[&new])]);
    pulls.put(
        "b",
        &[
            ("1.Patient.ndjson", &[&new, &newest]),
            ("2.Patient.ndjson", &[&old]),
        ],
    );
    let report = pulls.diff(&plain()).unwrap();
    assert_eq!(pulls.lines("1.Patient.ndjson"), [newest]);
    assert!(
        report.notes[0].contains("2 lines of the newer folder"),
        "{:?}",
        report.notes
    );
}

#[test]
fn what_was_not_asked_for_in_both_does_not_seem_deleted() {
    let mut pulls = Pulls::new();
    pulls.asked.get_mut("b").unwrap().types = vec!["Patient".to_owned()];
    pulls.put(
        "a",
        &[
            ("1.Patient.ndjson", &[&patient("p", "")]),
            ("1.Goal.ndjson", &[r#"{"resourceType":"Goal","id":"g"}"#]),
        ],
    );
    pulls.put("b", &[("1.Patient.ndjson", &[&patient("p", "")])]);
    let report = pulls.diff(&plain()).unwrap();
    assert!(
        report.notes[0].starts_with("Goal is in the older folder, but not compared"),
        "{:?}",
        report.notes
    );
    assert_eq!(report.files, 0);
    assert!(!pulls.at("out/deleted").exists());
    // Asked for everything, a type that is not there any more is gone.
    pulls.asked.get_mut("b").unwrap().types = Vec::new();
    pulls.put("b", &[("1.Patient.ndjson", &[&patient("p", "")])]);
    assert_eq!(pulls.counts(&plain()), ["Goal: 0 0 1 0", "Patient: 0 0 0 1"]);
    let only = DiffSettings {
        types: vec!["Patient".to_owned()],
        ..plain()
    };
    assert_eq!(pulls.counts(&only), ["Patient: 0 0 0 1"]);
}

#[test]
fn pulls_that_were_asked_for_something_else_are_refused() {
    let one = |change: fn(&mut ExportParameters)| {
        let mut pulls = Pulls::new();
        change(pulls.asked.get_mut("b").unwrap());
        for name in ["a", "b"] {
            pulls.put(name, &[("1.Patient.ndjson", &[&patient("p", "")])]);
        }
        pulls.refusal(&plain())
    };
    assert!(one(|b| b.level = ExportLevel::System).contains("level"));
    assert!(one(|b| b.patients = vec!["p".to_owned()]).contains("patient"));
    assert!(one(|b| b.type_filters = vec!["Patient?active=true".to_owned()]).contains("_typeFilter"));
    assert!(one(|b| b.since = Some(MONDAY.to_owned())).contains("_since"));
    assert!(one(|b| b.until = Some(MONDAY.to_owned())).contains("_until"));
    assert!(one(|b| b.elements = vec!["id".to_owned()]).contains("--subsetted"));
    let pulls = Pulls::new();
    for name in ["a", "b"] {
        pulls.put(name, &[("1.Patient.ndjson", &[&patient("p", "")])]);
    }
    let now = Instant::from_micros(0);
    let swapped = diff_folders(
        &pulls.at("b"),
        &pulls.at("a"),
        &pulls.at("out"),
        &plain(),
        now,
        &|_| (),
    );
    assert!(swapped.unwrap_err().to_string().contains("newer than the second"));
}

#[test]
fn a_part_of_a_resource_never_replaces_a_whole_one_cl_15() {
    let pulls = Pulls::new();
    let part = |id: &str| patient(id, r#","meta":{"tag":[{"code":"SUBSETTED"}]}"#);
    pulls.put(
        "a",
        &[("1.Patient.ndjson", &[&patient("p", r#","active":true"#)])],
    );
    pulls.put("b", &[("1.Patient.ndjson", &[&part("p"), &part("new")])]);
    assert!(pulls.refusal(&plain()).contains("SUBSETTED"));
    let subsetted = DiffSettings {
        subsetted: true,
        ..plain()
    };
    assert_eq!(pulls.counts(&subsetted), ["Patient: 1 0 0 1"]);
    assert_eq!(pulls.lines("1.Patient.ndjson"), [part("new")]);
    // Of two copies in one folder the whole one counts, however old.
    pulls.put(
        "b",
        &[(
            "1.Patient.ndjson",
            &[&patient("p", r#","active":true"#), &part("p")],
        )],
    );
    assert_eq!(pulls.counts(&plain()), ["Patient: 0 0 0 1"]);
}

#[test]
fn any_memory_gives_the_same_difference_and_files_stay_below_their_size() {
    let pulls = Pulls::new();
    let id = |number: u32| format!("id-{}", number * 7919 % 1013);
    let all = |from: u32, to: u32, rest: &str| -> Vec<String> {
        (from..to).map(|number| patient(&id(number), rest)).collect()
    };
    let (kept, gone, old) = (
        all(0, 300, ""),
        all(300, 600, ""),
        all(600, 700, r#","active":true"#),
    );
    let (new, changed) = (all(700, 1000, ""), all(600, 700, r#","active":false"#));
    let join = |parts: &[&Vec<String>]| {
        parts
            .iter()
            .flat_map(|part| part.iter().cloned())
            .collect::<Vec<_>>()
    };
    let put = |name, lines: Vec<String>| {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (first, second) = lines.split_at(lines.len() / 2);
        pulls.put(name, &[("1.Patient.ndjson", first), ("2.Patient.ndjson", second)]);
    };
    put("a", join(&[&kept, &gone, &old]));
    put("b", join(&[&new, &changed, &kept]));
    let mut outcomes = Vec::new();
    for sort_bytes in [200, 5_000, 64 << 20] {
        let settings = DiffSettings {
            sort_bytes,
            file_bytes_max: 4_000,
            ..plain()
        };
        assert_eq!(pulls.counts(&settings), ["Patient: 300 100 300 300"]);
        let out = PulledFolder::open(&pulls.at("out")).unwrap();
        assert!(
            out.prove(
                &ProveSettings {
                    deep: true,
                    ..ProveSettings::default()
                },
                &|_| ()
            )
            .unwrap()
            .is_whole()
        );
        let resources = out.files().iter().filter(|file| file.kind == FileKind::Output);
        assert!(resources.clone().count() > 3 && resources.clone().all(|file| file.bytes.unwrap() <= 4_000));
        let text: String = out
            .files()
            .iter()
            .map(|file| pulls.lines(&file.name).join("\n") + "\n")
            .collect();
        outcomes.push(text);
    }
    assert!(outcomes[0] == outcomes[1] && outcomes[1] == outcomes[2]);
    let expected: String = join(&[&new, &changed]).join("\n") + "\n";
    let output: String = outcomes[0]
        .lines()
        .filter(|line| !line.contains("Bundle"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(output, expected);
}

#[test]
fn folders_without_receipts_are_compared_as_far_as_is_sound() {
    use std::io::Write as _;
    let pulls = Pulls::new();
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(&pulls.at("a/Patient.000.ndjson"), &(patient("p", "") + "\n"));
    write(
        &pulls.at("a/Goal.ndjson"),
        "{\"resourceType\":\"Goal\",\"id\":\"g\"}\n",
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all((patient("p", "") + "\r\n\n" + &patient("q", "")).as_bytes())
        .unwrap();
    fs::create_dir_all(pulls.at("b")).unwrap();
    fs::write(pulls.at("b/Patient.ndjson.gz"), gzip.finish().unwrap()).unwrap();
    assert!(pulls.refusal(&plain()).contains("--transaction-time"));
    let settings = DiffSettings {
        transaction_time: Some(TUESDAY.to_owned()),
        ..plain()
    };
    let report = pulls.diff(&settings).unwrap();
    assert!(
        report.notes[0].contains("--type compares it"),
        "{:?}",
        report.notes
    );
    assert_eq!(pulls.lines("1.Patient.ndjson"), [patient("q", "")]);
    let types = vec!["Patient".to_owned(), "Goal".to_owned()];
    let settings = DiffSettings { types, ..settings };
    assert_eq!(pulls.counts(&settings), ["Goal: 0 0 1 0", "Patient: 1 0 0 1"]);
}

#[test]
fn what_is_no_resource_is_named_by_file_and_line() {
    let pulls = Pulls::new();
    pulls.put("a", &[("1.Patient.ndjson", &[&patient("p", "")])]);
    for broken in [
        "{",
        "[]",
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Pat/ient","id":"secret"}"#,
    ] {
        pulls.put("b", &[("1.Patient.ndjson", &[&patient("p", ""), broken])]);
        let error = pulls.diff(&plain()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.to_string().starts_with("line 2 of 1.Patient.ndjson"),
            "{error}"
        );
        assert!(!error.to_string().contains("secret") && !pulls.at("out").exists());
    }
}

#[test]
fn what_a_crash_has_left_is_thrown_away() {
    let pulls = Pulls::new();
    for name in ["a", "b"] {
        pulls.put(name, &[("1.Patient.ndjson", &[&patient(name, "")])]);
    }
    fs::create_dir_all(pulls.at(".out.partial/.sort/a")).unwrap();
    fs::write(pulls.at(".out.partial/9.Patient.ndjson"), "{\"half").unwrap();
    assert_eq!(pulls.counts(&plain()), ["Patient: 1 0 1 0"]);
    assert!(!pulls.at("out/9.Patient.ndjson").exists() && !pulls.at(".out.partial").exists());
    let now = Instant::from_micros(0);
    let again = diff_folders(
        &pulls.at("a"),
        &pulls.at("b"),
        &pulls.at("out"),
        &plain(),
        now,
        &|_| (),
    );
    assert!(again.unwrap_err().to_string().contains("not empty"));
}

#[test]
fn a_file_with_fewer_lines_than_its_receipt_says_is_refused() {
    let pulls = Pulls::new();
    let lines = [patient("p", ""), patient("q", "")];
    for name in ["a", "b"] {
        pulls.put(name, &[("1.Patient.ndjson", &[&lines[0], &lines[1]])]);
    }
    fs::write(pulls.at("b/1.Patient.ndjson"), lines[0].clone() + "\n").unwrap();
    let error = pulls.diff(&plain()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error.to_string().contains("has 1 lines, its receipt says 2"),
        "{error}"
    );
}

#[test]
fn a_difference_that_another_process_makes_is_in_use() {
    let pulls = Pulls::new();
    for name in ["a", "b"] {
        pulls.put(name, &[("1.Patient.ndjson", &[&patient(name, "")])]);
    }
    fs::create_dir_all(pulls.at(".out.partial")).unwrap();
    let lock = fs::File::create(pulls.at(".out.partial/.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(pulls.diff(&plain()).unwrap_err().kind(), ErrorKind::InUse);
    lock.unlock().unwrap();
    assert_eq!(pulls.counts(&plain()), ["Patient: 1 0 1 0"]);
}
