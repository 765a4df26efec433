//! `fhirhose export`: its flags, and its plan.

use crate::sample::{fhirhose, run, succeed, text};
use std::path::PathBuf;

/// A store of two patients with an observation each, a practitioner, and a Group of the first patient.
struct Clinic {
    folder: tempfile::TempDir,
}

impl Clinic {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = [
            r#"{"resourceType":"Patient","id":"p1","gender":"female"}"#,
            r#"{"resourceType":"Patient","id":"p2","gender":"male"}"#,
            r#"{"resourceType":"Practitioner","id":"d1"}"#,
            r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},"subject":{"reference":"Patient/p1"},"performer":[{"reference":"Practitioner/d1"}]}"#,
            r#"{"resourceType":"Observation","id":"o2","status":"preliminary","code":{"text":"x"},"subject":{"reference":"Patient/p2"}}"#,
            r#"{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}}]}"#,
        ];
        let clinic = Self { folder };
        std::fs::write(clinic.at("all.ndjson"), lines.join("\n")).unwrap();
        succeed(&[
            "load",
            "--data",
            text(&clinic.at("store")),
            text(&clinic.at("all.ndjson")),
        ]);
        clinic
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `Type/id` of all lines of an export with these flags, in the order of the files' names and lines.
    fn names(&self, out: &str, flags: &[&str]) -> Vec<String> {
        let (store, out) = (self.at("store"), self.at(out));
        let mut words = vec!["export", "--data", text(&store), "--out", text(&out)];
        words.extend_from_slice(flags);
        succeed(&words);
        let entries = std::fs::read_dir(&out).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
        files.sort();
        let lines = files.iter().map(|path| std::fs::read_to_string(path).unwrap());
        let lines: Vec<serde_json::Value> = lines
            .flat_map(|text| {
                text.lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect::<Vec<_>>()
            })
            .collect();
        let name = |value: &serde_json::Value| {
            let resource_type = value["resourceType"].as_str().unwrap();
            format!("{resource_type}/{}", value["id"].as_str().unwrap_or_default())
        };
        lines.iter().map(name).collect()
    }

    fn plan(&self, flags: &[&str]) -> serde_json::Value {
        let store = self.at("store");
        let mut words = vec!["export", "--data", text(&store), "--plan", "--json"];
        words.extend_from_slice(flags);
        serde_json::from_slice(&succeed(&words).stdout).unwrap()
    }
}

#[test]
fn export_flags_are_the_parameters_of_a_kick_off() {
    let clinic = Clinic::new();
    let of_p1 = ["Observation/o1", "Patient/p1"];
    for (number, (flags, expected)) in [
        (
            &["--patient", "p1", "--type", "Patient,Observation"][..],
            &of_p1[..],
        ),
        (
            &["--group", "g", "--patient", "p1", "--type", "Patient,Observation"],
            &of_p1,
        ),
        (
            &["--patient", "p1", "--patient", "p2", "--type", "Patient"],
            &["Patient/p1", "Patient/p2"],
        ),
        (
            &[
                "--patients",
                "--type",
                "Observation",
                "--type-filter",
                "Observation?status=final",
            ],
            &["Observation/o1"],
        ),
        (
            &["--patient", "p1", "--type", "Patient,Practitioner,Observation"],
            &["Observation/o1", "Patient/p1", "Practitioner/d1"],
        ),
        (
            &[
                "--patient",
                "p1",
                "--no-helper-resources",
                "--type",
                "Patient,Practitioner,Observation",
            ],
            &of_p1,
        ),
        (&["--type", "Patient", "--until", "2020-01-01T00:00:00Z"], &[]),
        (
            &[
                "--patients",
                "--type",
                "Patient,Observation",
                "--organize-output-by",
                "Patient",
            ],
            &[
                "Parameters/",
                "Patient/p1",
                "Observation/o1",
                "Parameters/",
                "Patient/p2",
                "Observation/o2",
            ],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            clinic.names(&format!("out-{number}"), flags),
            expected,
            "{flags:?}"
        );
    }
}

#[test]
fn flags_that_make_no_sense_are_refused_by_name() {
    let clinic = Clinic::new();
    let (store, out) = (clinic.at("store"), clinic.at("out"));
    for (flags, name) in [
        (&["--organize-output-by", "Observation"][..], "organizeOutputBy"),
        (&["--type-filter", "Patient?nothing=1"], "_typeFilter"),
        (&["--file-bytes-min", "0"], "_minimumFileSize"),
        (&["--group", "g", "--patient", "p2"], "patient"),
    ] {
        let mut words = vec!["export", "--data", text(&store), "--out", text(&out)];
        words.extend_from_slice(flags);
        let refused = run(&words);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains(name),
            "{flags:?}: {said}"
        );
    }
    let filter = [
        "--type-filter",
        "Patient?nothing=1",
        "--lenient",
        "--type",
        "Patient",
    ];
    let all = clinic.names("lenient", &filter);
    assert!(all.contains(&"Patient/p2".to_owned()), "{all:?}");
    let errors =
        std::fs::read_to_string(clinic.at("lenient").join("error/1.OperationOutcome.ndjson")).unwrap();
    assert!(errors.contains("_typeFilter"), "{errors}");
}

#[test]
fn a_plan_tells_types_counts_bytes_and_time_and_makes_nothing() {
    let clinic = Clinic::new();
    let plan = clinic.plan(&[]);
    let rows = |plan: &serde_json::Value| -> Vec<(String, u64)> {
        let row = |each: &serde_json::Value| {
            (
                each["type"].as_str().unwrap().to_owned(),
                each["rows"].as_u64().unwrap(),
            )
        };
        plan["types"].as_array().unwrap().iter().map(row).collect()
    };
    let expected = [
        ("Group", 1),
        ("Observation", 2),
        ("Patient", 2),
        ("Practitioner", 1),
    ];
    assert_eq!(rows(&plan), expected.map(|(name, rows)| (name.to_owned(), rows)));
    assert_eq!(
        (&plan["isExact"], &plan["rate"]),
        (&true.into(), &"assumed".into())
    );
    assert!(plan["seconds"].as_f64().unwrap() > 0.0 && plan["bytes"].as_u64().unwrap() > 0);
    let of_group = clinic.plan(&["--group", "g", "--type-filter", "Observation?status=final"]);
    assert_eq!(
        (&of_group["isExact"], &of_group["isFiltered"]),
        (&false.into(), &true.into())
    );
    let store = clinic.at("store");
    let shown = succeed(&["export", "--data", text(&store), "--plan"]);
    let (table, said) = (
        String::from_utf8(shown.stdout).unwrap(),
        String::from_utf8(shown.stderr).unwrap(),
    );
    assert!(table.contains("2\t≤") && table.contains("\tPatient\n"), "{table}");
    assert!(said.contains("6 resources") && said.contains("assumed"), "{said}");
    let jobs = fhirhose(&["export", "--data", text(&store)]).output().unwrap();
    assert_eq!(
        jobs.status.code(),
        Some(2),
        "without --plan there must be a folder"
    );
}
