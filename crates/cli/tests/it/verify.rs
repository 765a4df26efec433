//! `fhirhose verify` and `fhirhose diff`: exit codes, what is said, and the key that is made at first use.

use crate::client::Place;
use crate::sample::{fhirhose, run, succeed, text};
use fhirhose_auth::SigningKey;
use fhirhose_client::pull::{FileKind, PulledFile};
use fhirhose_client::receipt::{Delivery, write_manifest};
use fhirhose_fhir::instant::Instant;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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

/// SHA-256 of `attached`, and of a line of a Patient `p3`.
const ATTACHED: &str = "55d9067ef2bfacd4dc38ef7294695794ff61bba45f11b2f4d9b70515c57b2187";
const LINE_OF_P3: &str = "2045f230ecf595ba45cd726b56d4fc0d3c9acba87e8f9f72e8f2513d3c17538f";

/// A folder as a pull with attachments leaves it: these Patients, and attachments that look like resources.
fn pull_with_attachments(folder: &Path, lines: &str) {
    let attachments = folder.join("attachments");
    fs::create_dir_all(&attachments).unwrap();
    fs::write(attachments.join(format!("{ATTACHED}.pdf")), "attached").unwrap();
    let line = r#"{"resourceType":"Patient","id":"p3"}"#;
    fs::write(attachments.join(format!("{LINE_OF_P3}.ndjson")), line).unwrap();
    fs::write(folder.join("1.Patient.ndjson"), lines).unwrap();
    let file = PulledFile {
        name: "1.Patient.ndjson".to_owned(),
        kind: FileKind::Output,
        resource_type: Some("Patient".to_owned()),
        lines: lines.lines().count() as u64,
        bytes: lines.len() as u64,
        sha256: sha256_of(&folder.join("1.Patient.ndjson")),
    };
    let manifest = json!({"transactionTime": "2026-11-22T00:00:00Z", "requiresAccessToken": false,
        "request": "https://ehr.example/fhir/Patient/$export", "output": [], "error": []});
    let delivery = Delivery {
        manifest: &manifest.to_string(),
        entries: &BTreeMap::new(),
        source: None,
        asked: None,
        created_at: Instant::from_micros(0),
        files: &[file],
        missing: &[],
    };
    write_manifest(folder, &delivery, None).unwrap();
}

fn sha256_of(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&output.stdout)[..64].to_owned()
}

const PHOTO: &str = concat!(
    r#"{"resourceType":"Patient","id":"p1","photo":[{"url":"./attachments/"#,
    "55d9067ef2bfacd4dc38ef7294695794ff61bba45f11b2f4d9b70515c57b2187",
    r#".pdf"}]}"#,
    "\n"
);

#[test]
fn attachments_are_proved_by_name_and_by_common_tools() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("pulled");
    pull_with_attachments(&folder, PHOTO);
    let by_hand = Command::new("sha256sum")
        .args(["-c", "--quiet", "--strict", "attachments.sha256"])
        .current_dir(&folder)
        .status();
    assert!(by_hand.unwrap().success());
    let verify = |flags: &[&str]| run(&[&["verify", text(&folder)], flags].concat());
    let whole = verify(&[]);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    assert!(said(&whole).contains("1 files, 1 lines") && said(&whole).contains("2 attachments of 44 B"));
    let told: Value = serde_json::from_slice(&verify(&["--json"]).stdout).unwrap();
    assert_eq!(
        (&told["attachments"], &told["attachmentBytes"]),
        (&2.into(), &44.into())
    );
    let (damaged, missing) = (format!("{LINE_OF_P3}.ndjson"), format!("{ATTACHED}.pdf"));
    fs::write(folder.join("attachments").join(&damaged), "{}").unwrap();
    fs::remove_file(folder.join("attachments").join(&missing)).unwrap();
    fs::write(folder.join("attachments/added.pdf"), "?").unwrap();
    let told = verify(&[]);
    assert_eq!(told.status.code(), Some(3));
    let expected = format!(
        "damaged\t1.Patient.ndjson\t1\thas a line that links to an attachment that is not there\n\
         damaged\tattachments/{missing}\t\tis not there\n\
         damaged\tattachments/{damaged}\t\thas another SHA-256 than its name\n\
         extra\tattachments/added.pdf\t\tis an attachment that nobody has named\n"
    );
    assert_eq!(String::from_utf8_lossy(&told.stdout), expected);
    let told: Value = serde_json::from_slice(&verify(&["--json"]).stdout).unwrap();
    assert_eq!(
        (&told["whole"], &told["extra"][0]["isData"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn load_and_diff_leave_attachments_where_they_are() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    pull_with_attachments(&at("older"), PHOTO);
    let more = PHOTO.to_owned() + "{\"resourceType\":\"Patient\",\"id\":\"p2\"}\n";
    pull_with_attachments(&at("newer"), &more);
    let loaded = succeed(&["load", "--data", text(&at("store")), text(&at("newer"))]);
    assert!(said(&loaded).contains("2 created"), "{loaded:?}");
    assert!(
        said(&loaded).contains("newer/attachments are not loaded"),
        "{loaded:?}"
    );
    for remove_manifest in [false, true] {
        for folder in ["older", "newer"].into_iter().filter(|_| remove_manifest) {
            fs::remove_file(at(folder).join("manifest.json")).unwrap();
        }
        let out = at(&format!("changes-{remove_manifest}"));
        let (older, newer) = (at("older"), at("newer"));
        let mut words = vec!["diff", text(&older), text(&newer), "--out", text(&out)];
        if remove_manifest {
            words.extend(["--transaction-time", "2026-11-22T00:00:00Z"]);
        }
        let output = succeed(&words);
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            table,
            "added\tchanged\tremoved\tsame\ttype\n1\t0\t0\t1\tPatient\n"
        );
        assert!(!out.join("attachments").exists() && !out.join("attachments.sha256").exists());
        assert_eq!(run(&["verify", text(&out)]).status.code(), Some(0));
    }
}
