//! Two servers kept in step in both directions by the real binary, which is killed on the way; then compared and repaired.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::get;
use crate::kill::wait_until;
use crate::sample::{run, start, succeed};
use crate::served::Served;

/// A server that runs as long as the value lives.
struct Server {
    served: Served,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        Self {
            served: Served::start(&data.path().join("store"), &[]),
            _data: data,
        }
    }

    fn base(&self) -> String {
        self.served.base()
    }

    fn put(&self, name: &str, text: &str) {
        let (kind, id) = name.split_once('/').unwrap();
        let body = json!({ "resourceType": kind, "id": id, "language": text });
        let status = self.served.send("PUT", name, &body.to_string());
        assert!(status == 200 || status == 201, "PUT {name}: {status}");
    }

    fn delete(&self, name: &str) {
        let status = self.served.send("DELETE", name, "");
        assert!((200..300).contains(&status), "DELETE {name}: {status}");
    }

    fn language(&self, name: &str) -> Option<String> {
        let (status, body) = get(&format!("{}/{name}", self.base()));
        let resource: Value = serde_json::from_str(&body).ok()?;
        (status == 200).then(|| resource["language"].as_str().unwrap().to_owned())
    }
}

struct Place {
    source: Server,
    target: Server,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            source: Server::start(),
            target: Server::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("sync")
    }

    fn line(&self, policy: &str) -> Vec<String> {
        let words = [
            "sync",
            "--global",
            "--once",
            "--json",
            "--on-conflict",
            policy,
            "--state",
        ];
        let mut line: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        line.push(self.state().to_str().unwrap().to_owned());
        line.extend([self.source.base(), "--both".to_owned(), self.target.base()]);
        line
    }

    /// A round to its end: the report.
    fn round(&self, policy: &str) -> (i32, Value) {
        let line = self.line(policy);
        let output = run(&line.iter().map(String::as_str).collect::<Vec<_>>());
        let report = serde_json::from_slice(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        (
            output.status.code().unwrap(),
            report.unwrap_or_else(|_| panic!("no report: {error}")),
        )
    }

    /// A round that is killed after this time, unless it is done; whether it was.
    fn killed_round(&self, policy: &str, after: Duration) -> bool {
        let line = self.line(policy);
        let mut child = start(&line.iter().map(String::as_str).collect::<Vec<_>>());
        if wait_until(&mut child, Some(Instant::now() + after)).is_some() {
            return false;
        }
        // It may have ended in this moment.
        child.kill().unwrap();
        child.wait().unwrap().signal() == Some(9)
    }

    fn reconcile(&self, more: &[&str]) -> (i32, Value) {
        let (source, target) = (self.source.base(), self.target.base());
        let line = [&["reconcile", "--json", &source, &target], more].concat();
        let output = run(&line);
        let error = String::from_utf8_lossy(&output.stderr);
        let report = serde_json::from_slice(&output.stdout);
        (
            output.status.code().unwrap(),
            report.unwrap_or_else(|_| panic!("no report: {error}")),
        )
    }
}

#[test]
fn edits_on_both_servers_go_over_though_rounds_are_killed_and_both_end_equal() {
    let place = Place::new();
    place.source.put("Basic/first", "text");
    let began = Instant::now();
    place.round("newest");
    let (span, mut killed) = (began.elapsed(), 0);
    for round in 0..6_u32 {
        for at in 0..8 {
            let name = format!("Patient/p{}", (round * 5 + at) % 17);
            let side = if (round + at) % 3 == 0 {
                &place.target
            } else {
                &place.source
            };
            match (round + at) % 7 == 6 && side.language(&name).is_some() {
                true => side.delete(&name),
                false => side.put(&name, &format!("edit-{round}-{at}")),
            }
        }
        place.source.put("Basic/both", &format!("source-{round}"));
        place.target.put("Basic/both", &format!("target-{round}"));
        // From one in which hardly anything is done to one that may end before.
        killed += usize::from(place.killed_round("newest", span * (round + 1) / 6));
    }
    assert!(killed > 0, "rounds were killed");
    place.round("newest");
    let (code, report) = place.round("newest");
    assert_eq!(
        (code, &report["written"], &report["deleted"]),
        (
            0,
            &json!({"source": 0, "target": 0}),
            &json!({"source": 0, "target": 0})
        )
    );
    for at in 0..17 {
        let name = format!("Patient/p{at}");
        assert_eq!(
            place.source.language(&name),
            place.target.language(&name),
            "{name}"
        );
    }
    assert_eq!(
        place.source.language("Basic/both").as_deref(),
        Some("target-5"),
        "the later one"
    );
    let conflicts = std::fs::read_to_string(place.state().join("conflicts.ndjson")).unwrap();
    assert!(
        conflicts.contains("source-5"),
        "what was overwritten is in the report"
    );
    let (code, report) = place.reconcile(&[]);
    assert_eq!((code, &report["isEqual"]), (0, &json!(true)), "{report}");
}

#[test]
fn a_held_conflict_is_listed_resolved_and_done_by_the_next_round() {
    let place = Place::new();
    place.source.put("Patient/p1", "one");
    place.target.put("Patient/p1", "two");
    let (code, report) = place.round("hold");
    assert_eq!((code, &report["held"]), (3, &json!(1)), "{report}");
    let state = place.state();
    let state = state.to_str().unwrap();
    let listed = succeed(&["sync", "resolve", "--state", state]);
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        "Patient/p1: source changed, target changed\n"
    );
    let decided = run(&["sync", "resolve", "--state", state, "--use", "target"]);
    assert_eq!(decided.status.code(), Some(2), "which one was not said");
    succeed(&[
        "sync",
        "resolve",
        "--state",
        state,
        "--use",
        "target",
        "Patient/p1",
    ]);
    let (code, report) = place.round("hold");
    assert_eq!((code, &report["held"]), (0, &json!(0)), "{report}");
    assert_eq!(place.source.language("Patient/p1").as_deref(), Some("two"));
}

#[test]
fn a_reconcile_lists_what_differs_and_repairs_it() {
    let place = Place::new();
    for at in 0..5 {
        place.source.put(&format!("Patient/p{at}"), "same");
    }
    place.target.put("Patient/p0", "same");
    place.target.put("Patient/p1", "other");
    place.target.put("Patient/extra", "text");
    let list = place.folder.path().join("list.ndjson");
    let (code, report) = place.reconcile(&["--list", list.to_str().unwrap()]);
    let patients = json!({"inA": 5, "inB": 3, "missingInA": 1, "missingInB": 3, "different": 1});
    assert_eq!((code, &report["types"]["Patient"]), (3, &patients), "{report}");
    let listed = std::fs::read_to_string(&list).unwrap();
    assert!(
        listed.contains("\"extra\"") && listed.lines().count() == 5,
        "{listed}"
    );
    let (code, report) = place.reconcile(&["--repair", "a-to-b"]);
    assert_eq!(
        (code, &report["repaired"]["written"], &report["repaired"]["left"]),
        (3, &json!(4), &json!(1))
    );
    let (code, report) = place.reconcile(&["--repair", "a-to-b", "--repair-deletes"]);
    assert_eq!((code, &report["repaired"]["deleted"]), (0, &json!(1)), "{report}");
    assert_eq!(place.reconcile(&[]).0, 0);
}

#[test]
fn a_folder_and_a_store_are_sides_too_but_only_a_server_is_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(
        files.join("1.Patient.ndjson"),
        "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n",
    )
    .unwrap();
    let (store, files) = (folder.path().join("store"), files.to_str().unwrap().to_owned());
    let store = store.to_str().unwrap();
    succeed(&["load", "--data", store, &files]);
    let side = format!("store:{store}");
    let equal = succeed(&["reconcile", &files, &side]);
    assert_eq!(
        String::from_utf8(equal.stdout).unwrap(),
        "Patient: A 1, B 1: equal\n"
    );
    std::fs::write(
        format!("{files}/2.Patient.ndjson"),
        "{\"resourceType\":\"Patient\",\"id\":\"p2\"}\n",
    )
    .unwrap();
    let differs = run(&["reconcile", &files, &side]);
    assert_eq!(differs.status.code(), Some(3));
    let refused = run(&["reconcile", &files, &side, "--repair", "a-to-b"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("--repair writes to a server")
    );
}
