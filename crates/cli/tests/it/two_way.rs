//! Two servers kept in step in both directions by the real binary, which is killed on the way; then compared and repaired.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::gate::{Gate, Hold, Sought};
use crate::http::{Request, free_port, get};
use crate::sample::{run, start, succeed};
use crate::served::Served;

/// A server that runs as long as the value lives; a sync comes to it through a gate.
struct Server {
    served: Served,
    gate: Gate,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let gate = Gate::before(port);
        // A test asks for more exports a minute than one client may.
        let more = [
            "--base-url",
            &gate.base(),
            "--kick-offs-per-minute-max",
            "1000000",
        ];
        Self {
            served: Served::start_at(port, &data.path().join("store"), &more),
            gate,
            _data: data,
        }
    }

    fn base(&self) -> String {
        self.gate.base()
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
        let (status, body) = get(&format!("{}/{name}", self.served.base()));
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

    /// A round that is killed at a request of it to a side.
    fn killed_round(&self, side: &Server, (what, sought): Spot, hold: Hold) {
        let line = self.line("newest");
        let begin = || start(&line.iter().map(String::as_str).collect::<Vec<_>>());
        side.gate
            .killed_at(&format!("{what}, {hold:?}"), (sought, hold), begin);
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

/// A request of a round, by its name.
type Spot = (&'static str, Sought);

const KICK_OFF: Spot = ("the kick-off", |request| {
    request.target().contains("/$export") && !request.target().contains("/$export-")
});
const POLL: Spot = ("a poll", |request| {
    request.method() == "GET" && request.target().contains("/$export-status/")
});
const FILE: Spot = ("a file", |request| request.target().contains("/$export-file/"));
const END: Spot = ("the end of an export", |request| request.method() == "DELETE");
const WRITE: Spot = ("a write", |request| has_entry(request, "PUT"));
const DELETION: Spot = ("a deletion", |request| has_entry(request, "DELETE"));

/// Whether it is a batch with such an entry.
fn has_entry(request: &Request, method: &str) -> bool {
    let method = format!("\"method\":\"{method}\"");
    String::from_utf8_lossy(&request.body).contains(&method)
}

/// Edits on both sides, some of them of the same.
fn edit(place: &Place, round: usize) {
    for at in 0..8 {
        let name = format!("Patient/p{}", (round * 5 + at) % 17);
        let side = if (round + at).is_multiple_of(3) {
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
}

#[test]
fn edits_on_both_servers_go_over_though_rounds_are_killed_and_both_end_equal() {
    let place = Place::new();
    let (source, target) = (&place.source, &place.target);
    let mut rounds = 0;
    // In the order of a round: one that is begun again goes on behind what was done.
    for (one, other, hold) in [(source, target, Hold::Asked), (target, source, Hold::Answered)] {
        one.put("Basic/deleted", "text");
        place.round("newest");
        one.delete("Basic/deleted");
        let spots = [KICK_OFF, POLL, FILE].map(|spot| (one, spot));
        let writes = [(source, WRITE), (target, WRITE), (other, DELETION)];
        for (side, spot) in spots.into_iter().chain([(one, END)]).chain(writes) {
            edit(&place, rounds);
            place.killed_round(side, spot, hold);
            rounds += 1;
        }
        // What it began before the last edits.
        place.round("newest");
    }
    place.round("newest");
    let (code, report) = place.round("newest");
    let nothing = json!({"source": 0, "target": 0});
    assert_eq!(
        (code, &report["written"], &report["deleted"]),
        (0, &nothing, &nothing)
    );
    for at in 0..17 {
        let name = format!("Patient/p{at}");
        assert_eq!(source.language(&name), target.language(&name), "{name}");
    }
    let last = rounds - 1;
    assert_eq!(
        source.language("Basic/both"),
        Some(format!("target-{last}")),
        "the later one"
    );
    let conflicts = std::fs::read_to_string(place.state().join("conflicts.ndjson")).unwrap();
    assert!(
        conflicts.contains(&format!("source-{last}")),
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
