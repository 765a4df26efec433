//! `fhirhose doctor` by the real binary, against our own server and one that nobody knows.

use crate::client::Place;
use crate::sample::{run, succeed};
use fhirhose_client::QuirkProfile;
use serde_json::Value;
use std::process::Output;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Examines a server, which has to be as good as the standard: everything that was looked at is as it says.
fn check_own(place: &Place, more: &[&str]) -> Value {
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    let line = ["doctor", &base, "--pause-millis", "0", "--json"];
    let output = succeed(&[&line[..], more].concat());
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    for check in diagnosis["checks"].as_array().unwrap() {
        let is_fine = check["verdict"] == "ok" || check["verdict"] == "not-tried";
        assert!(is_fine, "{check:#}");
    }
    assert_eq!(diagnosis["outlook"], "works", "{diagnosis:#}");
    assert_eq!(diagnosis["quirks"], "fhirhose");
    diagnosis
}

fn verdict<'a>(diagnosis: &'a Value, id: &str) -> &'a str {
    let checks = diagnosis["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id);
    check
        .and_then(|check| check["verdict"].as_str())
        .unwrap_or("absent")
}

#[test]
fn our_own_server_does_as_the_standard_says_k_40_d_02_d_04() {
    let mut place = Place::new();
    place.serve(&[]);
    let diagnosis = check_own(&place, &[]);
    for id in ["K-40", "S-10", "D-02", "D-04"] {
        assert_eq!(verdict(&diagnosis, id), "ok", "{id}");
    }
    assert_eq!(verdict(&diagnosis, "A-21"), "not-tried");
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    let told = text(&succeed(&["doctor", &base, "--no-export"]));
    assert!(told.contains("a pull may work; no export was tried"), "{told}");
    assert!(
        told.contains(&format!("fhirhose pull {base} --out DIR")),
        "{told}"
    );
}

#[test]
fn a_server_with_authorization_is_examined_as_its_client_and_shows_no_secret() {
    let mut place = Place::new();
    place.serve(&["--auth", "smart"]);
    place.keygen("keys");
    place.add("app", "keys", &["--scope", "system/*.rs"]);
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    let stranger = run(&["doctor", &base, "--pause-millis", "0"]);
    assert_eq!(stranger.status.code(), Some(1));
    let told = text(&stranger);
    assert!(
        told.contains("a pull will not work") && told.contains("no token was sent"),
        "{told}"
    );
    let key = place.at("keys/private-key.pem");
    let diagnosis = check_own(&place, &["--client-id", "app", "--key", &key]);
    for id in ["A-01", "A-21", "CL-03", "K-40", "D-04"] {
        assert_eq!(verdict(&diagnosis, id), "ok", "{id}");
    }
    let shown = diagnosis.to_string();
    assert!(!shown.contains("Bearer ") && !shown.contains("eyJ"), "{shown}");
}

#[test]
fn quirks_are_listed_shown_and_taken_from_a_file() {
    let listed = text(&succeed(&["doctor", "--list-quirks"]));
    let known = QuirkProfile::known();
    assert!(known.iter().any(|profile| profile.name == "epic"));
    for profile in known {
        let is_it = |line: &str| line.starts_with(&*profile.name);
        assert!(listed.lines().any(is_it), "{} in {listed}", profile.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.json");
    let shown = text(&succeed(&["doctor", "--show-quirks", "epic"]));
    std::fs::write(&file, shown.replace("\"epic\"", "\"ours\"")).unwrap();
    // Nobody is there; the file is read before.
    let line = [
        "doctor",
        "http://127.0.0.1:9/fhir",
        "--json",
        "--quirks",
        file.to_str().unwrap(),
    ];
    let output = run(&line);
    assert_eq!(output.status.code(), Some(1));
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&diagnosis["quirks"], &diagnosis["outlook"]),
        (&"ours".into(), &"will-not-work".into())
    );
    for (quirks, code) in [("nothing-known", 2), ("/dev/null", 1)] {
        let output = run(&["doctor", "http://127.0.0.1:9/fhir", "--quirks", quirks]);
        assert_eq!(output.status.code(), Some(code), "{quirks}");
    }
}
