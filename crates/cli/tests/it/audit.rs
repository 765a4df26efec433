//! `fhirhose audit` beside a running server, after SIGKILL, and over files that were tampered with, by the real binary.

use crate::http::exchange;
use crate::sample::{run, succeed};
use crate::served::Served;
use serde_json::Value;
use std::path::{Path, PathBuf};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let patient = place.folder.path().join("Patient.ndjson");
        std::fs::write(&patient, "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n").unwrap();
        succeed(&["load", "--data", &place.store(), patient.to_str().unwrap()]);
        place
    }

    fn store(&self) -> String {
        self.folder.path().join("store").to_str().unwrap().to_owned()
    }

    fn trail(&self) -> PathBuf {
        self.folder.path().join("store/audit/audit.ndjson")
    }

    fn serve(&self) -> Served {
        Served::start(&self.folder.path().join("store"), &[])
    }

    fn verify(&self, more: &[&str]) -> (bool, Value) {
        let store = self.store();
        let mut line = vec!["audit", "verify", "--json", "--data", &store];
        line.extend(more);
        let output = run(&line);
        let report = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.success(), report)
    }
}

fn ask(port: u16, path: &str) -> String {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/fhir+json\r\nPrefer: respond-async\r\n\
         Connection: close\r\n\r\n"
    );
    exchange(port, &head).unwrap()
}

#[test]
fn a_trail_is_proved_while_the_server_runs_and_after_it_was_killed() {
    let place = Place::new();
    let server = place.serve();
    assert!(ask(server.port, "/fhir/$export").starts_with("HTTP/1.1 202"));
    assert!(ask(server.port, "/fhir/Patient/p1").starts_with("HTTP/1.1 200"));
    let (is_whole, report) = place.verify(&[]);
    assert!(is_whole, "{report}");
    let head = report["head"].as_str().unwrap().to_owned();
    drop(server);
    assert!(place.verify(&["--head", &head]).0, "what was told is still there");
    let server = place.serve();
    assert!(ask(server.port, "/fhir/Patient/p1").starts_with("HTTP/1.1 200"));
    drop(server);
    let (is_whole, report) = place.verify(&["--head", &head]);
    assert!(is_whole, "{report}");
    let table = succeed(&["audit", "show", "--data", &place.store(), "--client", "127.0.0.1"]);
    let table = String::from_utf8(table.stdout).unwrap();
    for told in ["export-kick-off", "read", "Patient/p1"] {
        assert!(table.contains(told), "{told} in {table}");
    }
    assert!(!table.contains("server-start"), "only what the client did");
}

#[test]
fn changes_of_clients_are_told_whether_a_server_runs_or_not() {
    let place = Place::new();
    let (store, keys) = (place.store(), place.folder.path().join("keys"));
    succeed(&["client", "keygen", "--out", keys.to_str().unwrap()]);
    let jwks = keys.join("jwks.json").to_str().unwrap().to_owned();
    let add = |id: &str| {
        let line = [
            "client", "add", id, "--data", &store, "--name", "App", "--jwks", &jwks,
        ];
        run(&[&line[..], &["--scope", "system/Patient.rs"]].concat())
    };
    let revoke = |id: &str| succeed(&["client", "revoke", id, "--data", &store]);
    assert!(add("without").status.success());
    let server = place.serve();
    assert!(ask(server.port, "/fhir/Patient/p1").starts_with("HTTP/1.1 200"));
    assert!(add("with").status.success());
    assert!(!add("with").status.success(), "it is there already");
    revoke("without");
    drop(server);
    revoke("with");
    let (is_whole, report) = place.verify(&[]);
    assert!(is_whole && report["open"] == Value::Array(Vec::new()), "{report}");
    let table = succeed(&["audit", "show", "--data", &store, "--client", "operator"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let told = |act: &str, outcome: &str, id: &str| {
        let is_it = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            line.contains("closed") && words.contains(&act) && words.contains(&id) && words[4] == outcome
        };
        table.lines().filter(is_it).count()
    };
    for (act, outcome, id) in [
        ("client-add", "0", "without"),
        ("client-add", "0", "with"),
        ("client-add", "4", "with"),
        ("client-revoke", "0", "without"),
        ("client-revoke", "0", "with"),
    ] {
        assert_eq!(told(act, outcome, id), 1, "{act} {outcome} {id} in {table}");
    }
}

#[test]
fn a_trail_that_was_tampered_with_fails_with_exit_code_1() {
    let place = Place::new();
    let server = place.serve();
    for _ in 0..3 {
        assert!(ask(server.port, "/fhir/Patient/p1").starts_with("HTTP/1.1 200"));
    }
    drop(server);
    let text = std::fs::read_to_string(place.trail()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without = |number: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != number);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    for (what, text) in [
        ("a changed line", text.replacen("Patient/p1", "Patient/p2", 1)),
        ("a missing line", without(2)),
    ] {
        std::fs::write(place.trail(), text).unwrap();
        let (is_whole, report) = place.verify(&[]);
        assert!(!is_whole, "{what}: {report}");
    }
    std::fs::write(place.trail(), &text).unwrap();
    assert!(place.verify(&[]).0);
    // Cut off at the end: the files alone cannot show it, the head can.
    let copy = place.folder.path().join("copy.ndjson");
    std::fs::write(&copy, format!("{}\n", lines[0])).unwrap();
    assert_eq!(verify_file(&copy, &[]), Some(0));
    let last = run(&["audit", "verify", "--json", place.trail().to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&last.stdout).unwrap();
    let head = report["head"].as_str().unwrap();
    assert_eq!(verify_file(&copy, &["--head", head]), Some(1));
    assert_eq!(verify_file(&copy, &["--head", "nothing"]), Some(2));
}

fn verify_file(file: &Path, more: &[&str]) -> Option<i32> {
    let mut line = vec!["audit", "verify", file.to_str().unwrap()];
    line.extend(more);
    run(&line).status.code()
}

#[test]
fn the_trail_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let server = place.serve();
    drop(server);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.trail().parent().unwrap()), 0o700);
    assert_eq!(mode(&place.trail()), 0o600);
    assert_eq!(mode(&place.trail().with_file_name("head")), 0o600);
}
