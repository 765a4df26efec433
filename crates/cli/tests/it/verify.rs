//! `fhirhose verify` and `fhirhose diff`: exit codes, what is said, and the key that is made at first use.

use crate::client::Place;
use crate::sample::{fhirhose, run, succeed, text};
use fhirhose_auth::SigningKey;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

/// A folder with a store of these lines, exported to `out` below it.
struct Exported {
    folder: tempfile::TempDir,
}

impl Exported {
    fn new() -> Self {
        let exported = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        exported.export(
            "out",
            &[
                r#"{"resourceType":"Patient","id":"p1"}"#,
                r#"{"resourceType":"Patient","id":"p2"}"#,
            ],
        );
        exported
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, out: &str, lines: &[&str]) {
        fs::write(self.at("all.ndjson"), lines.join("\n")).unwrap();
        let store = self.at(&format!("store-{out}"));
        succeed(&["load", "--data", text(&store), text(&self.at("all.ndjson"))]);
        let (out, home) = (self.at(out), self.at("home"));
        fs::create_dir_all(&home).unwrap();
        let exported = fhirhose(&["export", "--data", text(&store), "--out", text(&out)])
            .env("HOME", &home)
            .output()
            .unwrap();
        assert!(exported.status.success(), "{exported:?}");
    }

    /// Runs `verify` on `out` as the user with that home folder.
    fn verify(&self, flags: &[&str]) -> Output {
        let out = self.at("out");
        let mut words = vec!["verify", text(&out)];
        words.extend_from_slice(flags);
        fhirhose(&words).env("HOME", self.at("home")).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_exported_folder_is_proved_by_the_key_that_was_made_for_it() {
    let exported = Exported::new();
    let key = exported.at("home/.local/state/fhirhose/receipt-key.pem");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let whole = exported.verify(&["--deep"]);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    assert!(said(&whole).contains("whole: 1 files, 2 lines") && said(&whole).contains("your own key"));
    assert_eq!(exported.verify(&["--key", text(&key)]).status.code(), Some(0));
    assert_eq!(exported.verify(&["--signer", "another"]).status.code(), Some(3));
    let json = exported.verify(&["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["whole"], &json["receipt"], &json["lines"]),
        (&true.into(), &true.into(), &2.into())
    );
}

#[test]
fn a_damaged_folder_is_told_apart_from_one_that_cannot_be_read() {
    let exported = Exported::new();
    let file = exported.at("out/1.Patient.ndjson");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, lines.replace("p2", "p3")).unwrap();
    let damaged = exported.verify(&["--jobs", "1"]);
    assert_eq!(damaged.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&damaged.stdout).starts_with("damaged\t1.Patient.ndjson\t"),
        "{damaged:?}"
    );
    fs::write(exported.at("out/manifest.json"), "{").unwrap();
    assert_eq!(exported.verify(&[]).status.code(), Some(3));
    assert_eq!(run(&["verify", "/nowhere/at/all"]).status.code(), Some(1));
}

#[test]
fn a_pull_that_was_signed_is_proven_elsewhere_by_its_signer() {
    let mut place = Place::new();
    place.serve(&[]);
    let as_user = |home: &str, words: &[&str]| {
        let mut command = fhirhose(words);
        command.env("HOME", place.at(home)).output().unwrap()
    };
    let pulled = as_user(
        "home",
        &["pull", &place.server().base(), "--out", &place.at("pulled")],
    );
    assert!(pulled.status.success(), "{}", said(&pulled));
    let elsewhere = place.path("elsewhere");
    fs::rename(place.path("pulled"), &elsewhere).unwrap();
    let key = fs::read_to_string(place.path("home/.local/state/fhirhose/receipt-key.pem")).unwrap();
    let signer = SigningKey::from_pem(&key).unwrap().verifying_key().thumbprint();
    let verify = || {
        let words = [
            "verify",
            text(&elsewhere),
            "--deep",
            "--json",
            "--signer",
            &signer,
        ];
        let output = as_user("another", &words);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = verify();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        (&told["whole"], &told["sealed"]["by"]),
        (&true.into(), &signer.as_str().into())
    );
    let file = elsewhere.join("1.Patient.ndjson");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, lines.replace("\"p1\"", "\"p2\"")).unwrap();
    let (code, told) = verify();
    assert_eq!((code, &told["whole"]), (Some(3), &false.into()), "{told}");
    assert_eq!(told["damages"][0]["file"], "1.Patient.ndjson", "{told}");
}

#[test]
fn the_difference_of_two_exports_is_an_incremental_export_that_verifies() {
    let exported = Exported::new();
    let changed = r#"{"resourceType":"Patient","id":"p2","active":true}"#;
    exported.export("newer", &[changed, r#"{"resourceType":"Patient","id":"p4"}"#]);
    let (a, b, out) = (exported.at("out"), exported.at("newer"), exported.at("changes"));
    let output = succeed(&["diff", text(&a), text(&b), "--out", text(&out)]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        table,
        "added\tchanged\tremoved\tsame\ttype\n1\t1\t1\t0\tPatient\n"
    );
    let deleted = fs::read_to_string(out.join("deleted/1.Bundle.ndjson")).unwrap();
    assert!(
        deleted.contains(r#"{"method":"DELETE","url":"Patient/p1"}"#),
        "{deleted}"
    );
    assert_eq!(run(&["verify", text(&out)]).status.code(), Some(0));
    let again = run(&["diff", text(&a), text(&b), "--out", text(&out)]);
    assert_eq!(again.status.code(), Some(1), "it is not empty");
}
