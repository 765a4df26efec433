//! Attachments of a pulled folder: the receipt binds which there are, and each is named that is damaged, missing or added.

use std::fs;
use std::path::Path;

use fhirhose_client::pull::FileKind;
use fhirhose_client::receipt::{
    ATTACHMENT_EXTENSION_BYTES_MAX, AttachmentName, Proof, ProveSettings, PulledFolder, Receipt,
};
use serde_json::json;

use crate::receipt::{is_refused, key, make, make_with, prove, put, resources, sha256};

/// Puts content under its name, as a pull does.
pub(crate) fn attach(folder: &Path, content: &[u8], extension: &str) -> String {
    let name = format!("attachments/{}{extension}", sha256(content));
    fs::create_dir_all(folder.join("attachments")).unwrap();
    fs::write(folder.join(&name), content).unwrap();
    name
}

/// Attachments that look like all that a reader of the folder may stumble over.
pub(crate) fn attach_some(folder: &Path) -> Vec<String> {
    let mut names = vec![
        attach(folder, b"%PDF-1.7\n\xff\x00\n", ".pdf"),
        attach(folder, resources("Goal", 3).as_bytes(), ".ndjson"),
        attach(folder, b"{\"transactionTime\":\"2001-01-01T00:00:00Z\"}", ".json"),
        attach(folder, b"", ""),
        attach(folder, &[7; 700_000], ".vnd-x_y+16bytes"),
    ];
    names.sort();
    names
}

fn receipt(folder: &Path) -> Receipt {
    PulledFolder::open(folder).unwrap().receipt().unwrap().clone()
}

fn damages(proof: &Proof) -> Vec<(&str, &str)> {
    let damages = proof.damages.iter();
    damages
        .map(|damage| (damage.file.as_str(), damage.why.as_str()))
        .collect()
}

#[test]
fn a_receipt_binds_the_attachments_by_a_list_that_other_tools_read() {
    let folder = tempfile::tempdir().unwrap();
    let names = attach_some(folder.path());
    make(folder.path(), Some(&key()), &[]);
    let list = fs::read_to_string(folder.path().join("attachments.sha256")).unwrap();
    let line = |name: &String| format!("{}  {name}\n", &name["attachments/".len()..][..64]);
    assert_eq!(list, names.iter().map(line).collect::<String>());
    let attachments = receipt(folder.path()).attachments.unwrap();
    let bytes = names
        .iter()
        .map(|name| fs::metadata(folder.path().join(name)).unwrap().len());
    assert_eq!(
        (attachments.count, attachments.bytes, attachments.sha256),
        (5, bytes.sum(), sha256(list.as_bytes()))
    );
    let text = fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    assert!(!text.contains(&names[0]), "a million of them must not be in it");
    let proof = prove(folder.path(), &ProveSettings::default());
    assert!(proof.is_whole() && proof.extra.is_empty(), "{proof:?}");
    assert_eq!((proof.files, proof.lines, proof.attachments), (3, 402, 5));
    assert_eq!(proof.attachment_bytes, attachments.bytes);
    let settings = ProveSettings {
        attachments: false,
        ..ProveSettings::default()
    };
    fs::remove_dir_all(folder.path().join("attachments")).unwrap();
    let proof = prove(folder.path(), &settings);
    assert!(proof.is_whole() && proof.attachments == 0, "{proof:?}");
    // Without any the receipt is as it was before there were any.
    let plain = tempfile::tempdir().unwrap();
    make(plain.path(), None, &[]);
    assert_eq!(receipt(plain.path()).attachments, None);
    assert!(!plain.path().join("attachments.sha256").exists());
}

#[test]
fn the_attachment_that_is_damaged_missing_or_added_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let names = attach_some(folder.path());
    make(folder.path(), Some(&key()), &[]);
    let mut bytes = fs::read(folder.path().join(&names[1])).unwrap();
    bytes.push(b' ');
    fs::write(folder.path().join(&names[1]), bytes).unwrap();
    fs::remove_file(folder.path().join(&names[3])).unwrap();
    let added = attach(folder.path(), b"added", ".pdf");
    fs::write(folder.path().join("attachments/notes.txt"), "?").unwrap();
    fs::create_dir(folder.path().join("attachments/more")).unwrap();
    fs::write(folder.path().join("attachments/.hidden"), "?").unwrap();
    let proof = prove(folder.path(), &ProveSettings::default());
    assert_eq!(
        damages(&proof),
        [
            (names[3].as_str(), "is not there"),
            (names[1].as_str(), "has another SHA-256 than its name")
        ]
    );
    let extra: Vec<_> = proof
        .extra
        .iter()
        .map(|extra| (extra.file.as_str(), extra.is_data))
        .collect();
    let strangers = [("attachments/more/", true), ("attachments/notes.txt", true)];
    assert_eq!(extra, [[(added.as_str(), true)].as_slice(), &strangers].concat());
    assert_eq!(proof.attachments, 4, "of what was added nothing is known");
    for file in [names[1].as_str(), "attachments/notes.txt", added.as_str()] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    fs::remove_dir(folder.path().join("attachments/more")).unwrap();
    attach_some(folder.path());
    assert!(prove(folder.path(), &ProveSettings::default()).is_whole());
}

#[test]
fn a_damaged_list_is_told_apart_from_other_attachments() {
    let folder = tempfile::tempdir().unwrap();
    let names = attach_some(folder.path());
    make(folder.path(), None, &[]);
    let list = folder.path().join("attachments.sha256");
    let text = fs::read_to_string(&list).unwrap();
    let why = "has another SHA-256 than is written down";
    for damaged in [text.replacen('a', "b", 1), text.clone() + "\n", "x".repeat(3_000)] {
        fs::write(&list, damaged).unwrap();
        let proof = prove(folder.path(), &ProveSettings::default());
        assert_eq!(damages(&proof), [("attachments.sha256", why)]);
        assert_eq!((proof.attachments, proof.extra.len()), (5, 0));
    }
    fs::remove_file(&list).unwrap();
    fs::remove_file(folder.path().join(&names[0])).unwrap();
    let proof = prove(folder.path(), &ProveSettings::default());
    let files: Vec<_> = damages(&proof).iter().map(|(file, _)| *file).collect();
    assert_eq!(files, ["attachments.sha256", "attachments/"]);
    assert_eq!(damages(&proof)[0].1, "is not there");
}

#[test]
fn of_very_many_missing_attachments_the_first_are_named_and_the_others_counted() {
    const MANY: usize = 1_200;
    let folder = tempfile::tempdir().unwrap();
    for number in 0..MANY {
        attach(folder.path(), number.to_string().as_bytes(), ".txt");
    }
    make(folder.path(), None, &[]);
    fs::remove_dir_all(folder.path().join("attachments")).unwrap();
    let proof = prove(folder.path(), &ProveSettings::default());
    assert_eq!(proof.damages.len(), 1_001);
    assert_eq!(
        damages(&proof).last().unwrap(),
        &("attachments/", "200 further files are not there")
    );
}

#[test]
fn a_link_leads_to_an_attachment_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let name = attach(folder.path(), b"content", ".pdf");
    let line = |id: &str, url: &str| {
        let content = json!([{"attachment": {"url": url}}]);
        json!({"resourceType": "DocumentReference", "id": id, "content": content}).to_string() + "\n"
    };
    let gone = name.replace(".pdf", ".txt");
    let links = |url: &str| line("d1", &format!("./{name}")) + &line("d2", url);
    let make = |url: &str| {
        let links = put(
            folder.path(),
            "1.DocumentReference.ndjson",
            FileKind::Output,
            "DocumentReference",
            &links(url),
        );
        make_with(folder.path(), None, &[], vec![links]);
        prove(folder.path(), &ProveSettings::default())
    };
    for good in [
        "https://ehr.example/Binary/1",
        "./attachments/other-client.pdf",
        &format!("./{name}"),
    ] {
        assert!(make(good).is_whole(), "{good}");
    }
    let proof = make(&format!("./{gone}"));
    let why = "has a line that links to an attachment that is not there";
    assert_eq!(damages(&proof), [("1.DocumentReference.ndjson", why)]);
    assert_eq!(proof.damages[0].line, Some(2));
    // Lines that came from another folder, without its attachments.
    fs::remove_dir_all(folder.path().join("attachments")).unwrap();
    fs::remove_file(folder.path().join("attachments.sha256")).unwrap();
    assert!(make(&format!("./{gone}")).is_whole());
}

#[test]
fn no_flipped_byte_of_attachments_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let names = attach_some(folder.path());
    make(folder.path(), Some(&key()), &[]);
    assert!(!is_refused(folder.path()));
    let names = names.iter().map(String::as_str);
    for name in names.chain(["attachments.sha256", "manifest.json"]) {
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        let step = whole.len() / 25 + 1;
        for (at, bits) in (0..whole.len())
            .step_by(step)
            .zip([0x01, 0x20, 0x80].into_iter().cycle())
        {
            let mut bytes = whole.clone();
            bytes[at] ^= bits;
            fs::write(&path, bytes).unwrap();
            assert!(is_refused(folder.path()), "{name}: byte {at}, bits {bits:x}");
        }
        fs::write(&path, &whole).unwrap();
        // Its very name, and its end.
        let other = folder.path().join(format!("{name}x"));
        fs::rename(&path, &other).unwrap();
        let is_manifest = name == "manifest.json";
        assert!(
            is_manifest || is_refused(folder.path()),
            "{name} has another name"
        );
        fs::rename(&other, &path).unwrap();
        fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
        assert!(is_refused(folder.path()), "{name} is longer");
        fs::write(&path, &whole).unwrap();
    }
    assert!(!is_refused(folder.path()));
}

#[test]
fn attachments_of_other_clients_are_no_files_of_resources() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("1.Patient.ndjson"), resources("Patient", 2)).unwrap();
    for name in ["attachments", "0/attachments"] {
        let attachments = folder.path().join(name);
        fs::create_dir_all(&attachments).unwrap();
        fs::write(attachments.join("1.Patient.ndjson"), "no resources").unwrap();
        fs::write(attachments.join("manifest.json"), "no manifest").unwrap();
    }
    let manifest = json!({"output": [
        {"type": "Patient", "url": "1.Patient.ndjson", "count": 2},
        {"type": "Patient", "url": "attachments/1.Patient.ndjson"}]});
    for manifest in [None, Some(manifest)] {
        if let Some(manifest) = manifest {
            fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
        }
        let pulled = PulledFolder::open(folder.path()).unwrap();
        assert_eq!(pulled.files().len(), 1);
        let proof = prove(folder.path(), &ProveSettings::default());
        assert!(proof.is_whole(), "{proof:?}");
        assert!(
            proof
                .extra
                .iter()
                .any(|extra| extra.file == "attachments/1.Patient.ndjson")
        );
    }
}

#[test]
fn names_are_short_enough_for_a_million_in_memory() {
    assert_eq!(size_of::<AttachmentName>(), 32 + ATTACHMENT_EXTENSION_BYTES_MAX);
}
