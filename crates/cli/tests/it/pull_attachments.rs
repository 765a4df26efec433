//! Attachments of pulls by the real binary: from our own server, and from one where some cannot be had.

use crate::client::{Place, stderr};
use crate::faulty::Ehr;
use crate::sample::{fhirhose, run, succeed, text};
use fhirhose_client::testing::{Fault, Place as At, SourceAttachment, SourceFile, Strike, Words};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

const NOTE: &str = "Patient feels well.\n";

/// That note in base64.
const NOTE_BASE64: &str = "UGF0aWVudCBmZWVscyB3ZWxsLgo=";

/// Its name: the SHA-256 of it.
const NAME: &str = "attachments/bedd3a638ffa32debc07549d3317819dcb3713e5d6ed75ee429e3294958d8cf8.txt";

fn document(id: &str, content_type: &str, url: &str) -> String {
    format!(
        "{{\"resourceType\":\"DocumentReference\",\"id\":\"{id}\",\"status\":\"current\",\"subject\":{{\"reference\":\"Patient/p1\"}},\
         \"content\":[{{\"attachment\":{{\"contentType\":\"{content_type}\",\"url\":\"{url}\"}}}}]}}\n"
    )
}

/// The URLs of the documents in a folder, in their order.
pub(crate) fn urls(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("1.DocumentReference.ndjson")).unwrap();
    let url = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let url = &line["content"][0]["attachment"]["url"];
        url.as_str().unwrap_or_default().to_owned()
    };
    text.lines().map(url).collect()
}

pub(crate) fn attachments(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder.join("attachments")).unwrap();
    let name = |entry: std::fs::DirEntry| format!("attachments/{}", entry.file_name().to_str().unwrap());
    entries.map(|entry| name(entry.unwrap())).collect()
}

fn log(folder: &Path, event: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("log.ndjson")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of = lines.filter(|line| line["eventId"] == event);
    of.map(|line| line["eventDetail"].clone()).collect()
}

/// Our own server with a note and what refers to it.
pub(crate) fn own_server() -> (Place, String) {
    let mut place = Place::new();
    let binary = format!(
        "{{\"resourceType\":\"Binary\",\"id\":\"b1\",\"contentType\":\"text/plain\",\"data\":\"{NOTE_BASE64}\"}}\n"
    );
    let files = [
        ("Binary.ndjson", binary),
        (
            "DocumentReference.ndjson",
            document("d1", "text/plain", "Binary/b1") + &document("d2", "text/plain", "Binary/b1"),
        ),
    ];
    for (name, text) in files {
        std::fs::write(place.path(name), text).unwrap();
        succeed(&["load", "--data", &place.at("store"), &place.at(name)]);
    }
    place.serve(&[]);
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    (place, base)
}

#[test]
fn attachments_of_our_own_server_lie_in_the_folder_and_the_lines_lead_there() {
    let (place, base) = own_server();
    let out = place.at("out");
    let line = ["pull", &base, "--out", &out, "--download-attachments"];
    let output = succeed(&line);
    let (folder, name) = (place.path("out"), NAME.to_owned());
    assert_eq!(std::fs::read_to_string(folder.join(&name)).unwrap(), NOTE);
    assert_eq!(attachments(&folder), BTreeSet::from([name.clone()]));
    assert_eq!(urls(&folder), [format!("./{name}"), format!("./{name}")]);
    assert!(
        stderr(&output).contains("1 attachments, 20 B"),
        "{}",
        stderr(&output)
    );
    let requests = log(&folder, "download_request");
    let requests = requests
        .iter()
        .filter(|request| request["itemType"] == "attachment");
    assert_eq!(requests.count(), 1, "one URL is fetched once");
    assert_eq!(log(&folder, "export_complete")[0]["attachments"], 1);
    succeed(&["verify", &out]);
    assert!(stderr(&succeed(&line)).contains("already"));
    // Another pull of the same is the same.
    let again = place.at("again");
    let by_variable = fhirhose(&["pull", &base, "--out", &again])
        .env("FHIRHOSE_DOWNLOAD_ATTACHMENTS", "text/")
        .output()
        .unwrap();
    assert!(by_variable.status.success(), "{}", stderr(&by_variable));
    assert_eq!(urls(&folder), urls(&place.path("again")));
    std::fs::remove_file(folder.join(&name)).unwrap();
    assert_eq!(run(&["verify", &out]).status.code(), Some(3));
}

#[test]
fn small_attachments_are_put_into_their_resources_and_other_types_stay() {
    let (place, base) = own_server();
    for (out, flags, expected) in [
        (
            "inline",
            &[
                "--downloadAttachments",
                "--inlineDocRefAttachmentsSmallerThan",
                "21",
            ][..],
            "",
        ),
        (
            "others",
            &["--downloadAttachments=image/", "--inline-attachments-below", "21"][..],
            "Binary/b1",
        ),
    ] {
        let folder = place.at(out);
        succeed(&[&["pull", &base, "--out", &folder][..], flags].concat());
        let urls = urls(Path::new(&folder));
        assert!(urls.iter().all(|url| url.ends_with(expected)), "{urls:?}");
        assert!(!place.path(out).join("attachments").exists());
        let text = std::fs::read_to_string(place.path(out).join("1.DocumentReference.ndjson")).unwrap();
        let data = format!("\"data\":\"{NOTE_BASE64}\",\"size\":20");
        assert_eq!(text.contains(&data), out == "inline", "{text}");
        succeed(&["verify", &folder]);
    }
}

#[test]
fn an_attachment_that_is_not_there_ends_with_3_unless_that_is_to_be_so() {
    let lines = document("d1", "text/plain", "Binary/0") + &document("d2", "application/pdf", "Binary/1");
    let ehr = Ehr::with(vec![SourceFile::output("DocumentReference", lines)]);
    ehr.hold(SourceAttachment::new("text/plain", NOTE));
    ehr.strike(Strike::always(
        At::Attachment(1),
        Fault::answer(404, Words::Nothing),
    ));
    let place = tempfile::tempdir().unwrap();
    let (base, out) = (ehr.base(), place.path().join("out"));
    let line = [
        "pull",
        &base,
        "--out",
        text(&out),
        "--download-attachments",
        "--json",
    ];
    let output = run(&line);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let said = stderr(&output);
    for part in [
        "missing: attachment in line 2 of 1.DocumentReference.ndjson: ",
        "404",
        "--ignore-attachment-errors",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let told = String::from_utf8(output.stdout).unwrap();
    let is_failed =
        |line: &str| line.contains("\"attachment-failed\"") && line.contains("\"attemptsLeft\":0");
    assert!(told.lines().any(is_failed), "{told}");
    let report: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(report["whole"], false);
    assert_eq!(ehr.asked_at(At::Delete).len(), 0);
    assert_eq!(run(&["verify", text(&out)]).status.code(), Some(3));
    let output = succeed(&[&line[..], &["--ignore-attachment-errors"]].concat());
    let told = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(report["attachments"]["ignored"], 1);
    assert_eq!(urls(&out), [format!("./{}", NAME), format!("{base}/Binary/1")]);
    assert_eq!(ehr.asked_at(At::Attachment(0)).len(), 1, "it was there");
    assert_eq!(ehr.asked_at(At::Delete).len(), 1);
    assert!(!log(&out, "download_error").is_empty());
    succeed(&["verify", text(&out)]);
}

#[test]
fn flags_of_attachments_that_would_change_nothing_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let (out, store) = (place.path().join("out"), place.path().join("store"));
    let (out, store) = (["--out", text(&out)], ["--into", text(&store)]);
    for (to, flags, why) in [
        (
            out,
            &["--ignore-attachment-errors"][..],
            "is for --download-attachments",
        ),
        (
            out,
            &["--inline-attachment-types", "text/plain"],
            "is for --download-attachments",
        ),
        (
            out,
            &[
                "--download-attachments",
                "--inline-attachment-types",
                "text/plain",
            ],
            "is for --inline-attachments-below",
        ),
        (
            out,
            &["--download-attachments=false", "--inline-attachments-below", "9"],
            "is for --download-attachments",
        ),
        (out, &["--download-attachments=text/,"], "takes media types"),
        (
            out,
            &["--inline-attachments-below", "9"],
            "is for --download-attachments",
        ),
        (store, &["--download-attachments"], "is for --out"),
        (
            store,
            &["--inline-attachments-below", "9"],
            "is for --download-attachments",
        ),
    ] {
        let output = run(&[&["pull", "http://127.0.0.1:9/fhir"][..], &to, flags].concat());
        assert_eq!(output.status.code(), Some(2), "{flags:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{flags:?}: {}", stderr(&output));
    }
}
