//! Receipts: what is written of a folder, and that nothing of it can change unseen.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::pull::{FileKind, MissingFile, PulledFile};
use fhirhose_client::receipt::{
    Asked, Delivery, Proof, ProveSettings, PulledFolder, Sealed, Standing, write_manifest,
};
use fhirhose_client::{ErrorKind, ExportParameters};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::instant::Instant;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::receipt_attachments::attach_some;

const TIME: &str = "2026-01-02T03:04:05.678+01:00";

pub(crate) fn put(folder: &Path, name: &str, kind: FileKind, resource_type: &str, text: &str) -> PulledFile {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    PulledFile {
        name: name.to_owned(),
        kind,
        resource_type: Some(resource_type.to_owned()),
        lines: text.lines().count() as u64,
        bytes: text.len() as u64,
        sha256: sha256(text.as_bytes()),
    }
}

pub(crate) fn resources(resource_type: &str, count: usize) -> String {
    let line = |number| {
        let text = "x".repeat(number % 60);
        json!({"resourceType": resource_type, "id": format!("id-{number}"), "text": text}).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

/// Makes a folder as a pull leaves it.
pub(crate) fn make(folder: &Path, key: Option<&SigningKey>, missing: &[MissingFile]) {
    make_with(folder, key, missing, Vec::new());
}

/// Makes such a folder that has these files, too.
pub(crate) fn make_with(
    folder: &Path,
    key: Option<&SigningKey>,
    missing: &[MissingFile],
    more: Vec<PulledFile>,
) {
    let deleted = json!({"resourceType": "Bundle", "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": "Patient/gone"}}]});
    let files = [
        put(
            folder,
            "1.Patient.ndjson",
            FileKind::Output,
            "Patient",
            &resources("Patient", 400),
        ),
        put(
            folder,
            "1.Goal.ndjson",
            FileKind::Output,
            "Goal",
            &resources("Goal", 1),
        ),
        put(
            folder,
            "deleted/1.Bundle.ndjson",
            FileKind::Deleted,
            "Bundle",
            &format!("{deleted}\n"),
        ),
    ];
    let files: Vec<PulledFile> = files.into_iter().chain(more).collect();
    let manifest = json!({
        "transactionTime": TIME, "requiresAccessToken": true, "futureMember": 1.50,
        "request": "https://me:secret@ehr.example/fhir/$export?_type=Patient&patient=Patient/p1",
        "output": [{"type": "Patient", "url": "https://ehr.example/file?sig=secret"}], "error": [],
    });
    let mut parameters = ExportParameters::new(ExportLevel::System);
    parameters.types = vec!["Patient".to_owned()];
    parameters.patients = vec!["Patient/p1".to_owned()];
    let entries = BTreeMap::from([("1.Goal.ndjson".to_owned(), json!({"url": "old", "extra": "kept"}))]);
    let delivery = Delivery {
        manifest: &manifest.to_string(),
        entries: &entries,
        source: Some(&"https://me:secret@ehr.example/fhir?a=secret".parse().unwrap()),
        asked: Some(Asked::from(&parameters)),
        created_at: Instant::parse("2026-01-02T05:00:00Z").unwrap(),
        files: &files,
        missing,
    };
    write_manifest(folder, &delivery, key).unwrap();
}

pub(crate) fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).unwrap()
}

pub(crate) fn prove(folder: &Path, settings: &ProveSettings) -> Proof {
    let folder = PulledFolder::open(folder).unwrap();
    folder.prove(settings, &|_| ()).unwrap()
}

/// Whether something is found to be wrong, by whatever check.
pub(crate) fn is_refused(folder: &Path) -> bool {
    match PulledFolder::open(folder) {
        Err(error) => error.kind() == ErrorKind::Corrupt,
        Ok(folder) => !folder
            .prove(&ProveSettings::default(), &|_| ())
            .unwrap()
            .is_whole(),
    }
}

#[test]
fn a_receipt_tells_the_files_and_the_time_verbatim_and_nothing_secret_cl_12() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), Some(&key()), &[]);
    let pulled = PulledFolder::open(folder.path()).unwrap();
    assert_eq!(
        (pulled.standing(), pulled.transaction_time()),
        (Standing::WithReceipt, Some(TIME))
    );
    assert_eq!(pulled.source(), Some("https://ehr.example/fhir"));
    let asked = pulled.asked().unwrap();
    assert_eq!((asked.types.len(), asked.patients_sha256.is_some()), (1, true));
    let patients = &pulled.files()[0];
    assert_eq!(
        (patients.name.as_str(), patients.lines),
        ("1.Patient.ndjson", Some(400))
    );
    assert_eq!(patients.first_id.as_deref(), Some("id-0"));
    assert_eq!(patients.last_id.as_deref(), Some("id-399"));
    let text = fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    assert!(!text.contains("secret") && !text.contains("Patient/p1"), "{text}");
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["output"][0]["url"], "1.Patient.ndjson");
    assert_eq!(manifest["output"][1]["extra"], "kept");
    assert_eq!(manifest["deleted"][0]["url"], "deleted/1.Bundle.ndjson");
    assert_eq!(manifest["futureMember"], 1.5);
    fhirhose_fhir::manifest::Manifest::parse(text.as_bytes()).unwrap();
}

#[test]
fn a_whole_folder_is_proved_and_says_who_signed_it() {
    let folder = tempfile::tempdir().unwrap();
    let key = key();
    let signer = key.verifying_key().thumbprint();
    make(folder.path(), Some(&key), &[]);
    let settings = ProveSettings {
        deep: true,
        signers: vec![signer.clone()],
        ..ProveSettings::default()
    };
    let proof = prove(folder.path(), &settings);
    assert!(proof.is_whole(), "{proof:?}");
    assert_eq!(
        (proof.files, proof.lines, proof.sealed),
        (3, 402, Sealed::By(signer))
    );
    let settings = ProveSettings {
        signers: vec!["another".to_owned()],
        ..settings
    };
    assert!(!prove(folder.path(), &settings).is_whole());
    make(folder.path(), None, &[]);
    let proof = prove(folder.path(), &ProveSettings::default());
    assert!(proof.is_whole() && proof.sealed == Sealed::Digest, "{proof:?}");
    assert!(
        !prove(folder.path(), &settings).is_whole(),
        "one of the signer is asked for"
    );
}

/// What base64url says, without padding (RFC 4648).
fn base64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|own| *own == digit).unwrap();
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The steps of `docs/receipts.md`, "Checking it without fhirhose", but for the one that checks the signature itself.
#[test]
fn a_receipt_is_checked_by_hand_as_the_documentation_says() {
    let folder = tempfile::tempdir().unwrap();
    let attached = attach_some(folder.path());
    for key in [Some(key()), None] {
        make(folder.path(), key.as_ref(), &[]);
        let text = fs::read_to_string(folder.path().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        let receipt = &manifest["extension"]["urn:fhirhose:receipt"];
        let seal = ["signature", "digest"].map(|name| receipt[name].as_str());
        let (seal, said) = match seal {
            [Some(signature), None] => {
                let parts: Vec<&str> = signature.split('.').collect();
                let header: Value = serde_json::from_slice(&base64url(parts[0])).unwrap();
                let payload: Value = serde_json::from_slice(&base64url(parts[1])).unwrap();
                assert_eq!((parts.len(), &header["typ"]), (3, &json!("fhirhose-receipt")));
                (signature, payload["sha-256"].as_str().unwrap().to_owned())
            }
            [None, Some(digest)] => (digest, digest.to_owned()),
            both => panic!("{both:?}"),
        };
        assert_eq!(text.matches(seal).count(), 1);
        assert_eq!(sha256(text.replace(seal, "").as_bytes()), said);
        let files = receipt["files"].as_array().unwrap();
        assert_eq!(files.len(), 3);
        for file in files {
            let bytes = fs::read(folder.path().join(file["name"].as_str().unwrap())).unwrap();
            assert_eq!(file["sha256"], sha256(&bytes), "{file}");
        }
        let list = fs::read_to_string(folder.path().join("attachments.sha256")).unwrap();
        assert_eq!(receipt["attachments"]["sha256"], sha256(list.as_bytes()));
        let mut listed = Vec::new();
        for (digest, name) in list.lines().map(|line| line.split_once("  ").unwrap()) {
            assert_eq!(digest, sha256(&fs::read(folder.path().join(name)).unwrap()));
            listed.push(name);
        }
        assert_eq!(listed, attached, "those that lie there, as ls and cut list them");
    }
}

/// The key that signed `fixtures/signed-1`, a folder as a pull left it; the key is no more.
const SIGNER: &str = "uh0_R_AjsrPZPjP5S18c7On2dA5UsunhEx8SjTXiEuI";

#[test]
fn a_folder_that_was_signed_when_receipts_were_new_proves_whole_for_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/signed-1");
    let settings = ProveSettings {
        deep: true,
        signers: vec![SIGNER.to_owned()],
        ..ProveSettings::default()
    };
    let proof = prove(&path, &settings);
    assert!(proof.is_whole() && proof.extra.is_empty(), "{proof:?}");
    assert_eq!(
        (proof.files, proof.lines, proof.sealed),
        (4, 7, Sealed::By(SIGNER.to_owned()))
    );
    let pulled = PulledFolder::open(&path).unwrap();
    assert_eq!(pulled.transaction_time(), Some("2026-11-21T23:13:34.414121Z"));
    assert_eq!(pulled.files()[0].last_id.as_deref(), Some("id-2"));
}

#[test]
fn no_flipped_byte_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    for key in [Some(key()), None] {
        make(folder.path(), key.as_ref(), &[]);
        assert!(!is_refused(folder.path()));
        for (name, step) in [
            ("manifest.json", 11),
            ("1.Patient.ndjson", 1000),
            ("1.Goal.ndjson", 10),
            ("deleted/1.Bundle.ndjson", 20),
        ] {
            let path = folder.path().join(name);
            let whole = fs::read(&path).unwrap();
            for at in (0..whole.len()).step_by(step) {
                // White space into other white space, letters into other letters, the end of lines into text.
                for bits in [0x07, 0x20, 0x80] {
                    let mut bytes = whole.clone();
                    bytes[at] ^= bits;
                    fs::write(&path, bytes).unwrap();
                    assert!(is_refused(folder.path()), "{name}: byte {at}, bits {bits:x}");
                }
            }
            fs::write(&path, whole).unwrap();
        }
    }
}

#[test]
fn what_is_missing_cut_or_added_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = MissingFile {
        name: "2.Patient.ndjson".to_owned(),
        kind: FileKind::Output,
        resource_type: None,
        why: "410".to_owned(),
    };
    make(folder.path(), Some(&key()), &[missing]);
    fs::remove_file(folder.path().join("deleted/1.Bundle.ndjson")).unwrap();
    let patients = fs::read_to_string(folder.path().join("1.Patient.ndjson")).unwrap();
    fs::write(
        folder.path().join("1.Patient.ndjson"),
        patients.replacen("{\"id\":\"id-7\"", "{\"id\";\"id-7\"", 1),
    )
    .unwrap();
    fs::write(folder.path().join("3.Patient.ndjson"), "{}\n").unwrap();
    for told in ["log.ndjson", "notes.txt", ".hidden"] {
        fs::write(folder.path().join(told), "{}\n").unwrap();
    }
    let proof = prove(folder.path(), &ProveSettings::default());
    let damages: Vec<_> = proof
        .damages
        .iter()
        .map(|damage| (damage.file.as_str(), damage.line))
        .collect();
    assert_eq!(
        damages,
        [
            ("2.Patient.ndjson", None),
            ("1.Patient.ndjson", Some(8)),
            ("deleted/1.Bundle.ndjson", None)
        ]
    );
    let extra: Vec<_> = proof
        .extra
        .iter()
        .map(|extra| (extra.file.as_str(), extra.is_data))
        .collect();
    assert_eq!(extra, [("notes.txt", false), ("3.Patient.ndjson", true)]);
    assert!(!proof.is_whole());
}

#[test]
fn folders_of_other_clients_are_read_without_a_receipt() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("1.Patient.ndjson"), resources("Patient", 3)).unwrap();
    fs::write(at("2.Patient.ndjson"), resources("Patient", 2)).unwrap();
    fs::create_dir(at("error")).unwrap();
    fs::write(
        at("error/1.OperationOutcome.ndjson"),
        "{\"resourceType\":\"OperationOutcome\"}\n",
    )
    .unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(resources("Goal", 5).as_bytes()).unwrap();
    fs::write(at("Goal.000.ndjson.gz"), gzip.finish().unwrap()).unwrap();
    fs::write(at("log.ndjson"), "{}\n").unwrap();
    let pulled = PulledFolder::open(folder.path()).unwrap();
    assert_eq!(
        (pulled.standing(), pulled.files().len()),
        (Standing::WithoutManifest, 4)
    );
    let of = |counts: [u64; 2]| {
        json!({"transactionTime": TIME, "output": [
        {"type": "Patient", "url": "https://ehr.example/1", "count": counts[0]},
        {"type": "Patient", "url": "https://ehr.example/2", "count": counts[1]},
        {"type": "Goal", "url": "https://ehr.example/3", "count": 5}]})
        .to_string()
    };
    fs::write(at("manifest.json"), of([4, 1])).unwrap();
    let pulled = PulledFolder::open(folder.path()).unwrap();
    assert_eq!(
        (pulled.standing(), pulled.transaction_time()),
        (Standing::WithoutReceipt, Some(TIME))
    );
    let proof = prove(folder.path(), &ProveSettings::default());
    assert!(
        proof.is_whole() && proof.lines == 11 && proof.sealed == Sealed::Nothing,
        "{proof:?}"
    );
    fs::write(at("manifest.json"), of([4, 2])).unwrap();
    assert!(is_refused(folder.path()), "a line is missing");
    fs::write(at("manifest.json"), of([4, 1])).unwrap();
    fs::write(at("2.Patient.ndjson"), resources("Goal", 2)).unwrap();
    assert!(is_refused(folder.path()), "another type");
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |path: &Path| PulledFolder::open(path).unwrap_err().kind();
    assert_eq!(kind(folder.path()), ErrorKind::Disk);
    assert_eq!(kind(&folder.path().join("absent")), ErrorKind::Disk);
    for text in [
        "",
        "[]",
        "{\"receiptVersion\":1}",
        "{\"extension\":{\"urn:fhirhose:receipt\":{}}}",
    ] {
        fs::write(folder.path().join("manifest.json"), text).unwrap();
        assert_eq!(kind(folder.path()), ErrorKind::Corrupt, "{text}");
    }
}

#[test]
fn a_pull_that_is_under_way_and_what_has_no_end_are_no_folders_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("1.Patient.ndjson"), resources("Patient", 2)).unwrap();
    fs::create_dir(at(".fhirhose-pull")).unwrap();
    let error = PulledFolder::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    fs::remove_dir(at(".fhirhose-pull")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(at("2.Patient.ndjson"))
        .status();
    assert!(made.unwrap().success());
    let pulled = PulledFolder::open(folder.path()).unwrap();
    let error = pulled.prove(&ProveSettings::default(), &|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
    fs::rename(at("2.Patient.ndjson"), at("manifest.json")).unwrap();
    let error = PulledFolder::open(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disk, "{error}");
}

#[test]
fn a_receipt_names_no_file_outside_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["../1.Patient.ndjson", "/etc/passwd", "manifest.json", ""] {
        make(folder.path(), None, &[]);
        let path = folder.path().join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["extension"]["urn:fhirhose:receipt"]["files"][0]["name"] = json!(name);
        fs::write(&path, manifest.to_string()).unwrap();
        assert_eq!(
            PulledFolder::open(folder.path()).unwrap_err().kind(),
            ErrorKind::Corrupt,
            "{name}"
        );
    }
}
