//! `fhirhose sync` from a real server into each kind of target: exports of both ends are the same, by content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fhirhose_fhir::content_hash::{Ignoring, content_hash};
use rustix::process::Signal;

use crate::http::{eventually, free_port, get};
use crate::sample::{ended, run, signal, start, succeed, text};
use crate::served::Served;

const TYPES: &str = "Patient,Observation,Organization";

/// A running server over a store of its own.
struct Server {
    served: Served,
    store: PathBuf,
}

impl Server {
    fn start(folder: &Path, name: &str, flags: &[&str]) -> Self {
        let store = folder.join(name);
        let seed = folder.join(format!("{name}.ndjson"));
        std::fs::write(&seed, "{\"resourceType\":\"Organization\",\"id\":\"seed\"}\n").unwrap();
        succeed(&["load", "--data", text(&store), text(&seed)]);
        let served = Served::start(&store, flags);
        Self { served, store }
    }

    fn base(&self) -> String {
        self.served.base()
    }

    fn send(&self, method: &str, key: &str, body: &str) {
        let status = self.served.send(method, key, body);
        assert!((200..210).contains(&status), "{method} {key}: {status}");
    }

    fn put(&self, key: &str, members: &str) {
        let (kind, id) = key.split_once('/').unwrap();
        self.send(
            "PUT",
            key,
            &format!(r#"{{"resourceType":"{kind}","id":"{id}",{members}}}"#),
        );
    }

    fn delete(&self, key: &str) {
        self.send("DELETE", key, "");
    }

    /// Ends the server and gives its store.
    fn stop(self) -> PathBuf {
        self.store
    }
}

/// Content hashes of everything in a store, by type and id, out of an export.
pub(crate) fn contents(store: &Path, out: &Path) -> BTreeMap<String, String> {
    let line = [
        "export",
        "--data",
        text(store),
        "--out",
        text(out),
        "--type",
        TYPES,
    ];
    succeed(&line);
    let paths = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let ndjson = paths.filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    hashes(ndjson.map(|path| std::fs::read_to_string(path).unwrap()))
}

/// Content hashes of the lines of texts, by type and id.
pub(crate) fn hashes(texts: impl IntoIterator<Item = impl AsRef<str>>) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for text in texts {
        for line in text.as_ref().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            let hash = content_hash(line.as_bytes(), Ignoring::SERVER_META).unwrap();
            hashes.insert(
                format!("{}/{}", word("resourceType"), word("id")),
                hash.to_string(),
            );
        }
    }
    hashes
}

/// The value of one of the metrics of a sync.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let name = format!("fhirhose_sync_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&*name));
    value
        .unwrap_or_else(|| panic!("no {name}in {text}"))
        .parse()
        .unwrap()
}

fn change(source: &Server, night: u32) {
    for n in 0..5 {
        source.put(
            &format!("Patient/p{n}"),
            &format!(r#""active":true,"birthDate":"2000-01-0{night}""#),
        );
        let subject =
            format!(r#""status":"final","code":{{"text":"x"}},"subject":{{"reference":"Patient/p{n}"}}"#);
        source.put(&format!("Observation/o{night}-{n}"), &subject);
    }
    if night > 1 {
        source.delete(&format!("Observation/o{}-0", night - 1));
        source.delete(&format!("Observation/o{}-1", night - 1));
        source.put(
            &format!("Observation/o{}-1", night - 1),
            r#""status":"amended","code":{"text":"again"}"#,
        );
    }
}

#[test]
fn each_kind_of_target_ends_equal_to_its_source_cl_11_cl_12() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let shared = at("shared");
    std::fs::create_dir(&shared).unwrap();
    let source = Server::start(folder.path(), "source", &[]);
    let by_bundle = Server::start(folder.path(), "by-bundle", &[]);
    let by_import = Server::start(folder.path(), "by-import", &["--import-root", text(&shared)]);
    let to_store = format!("store:{}", at("replica").display());
    let to_import = format!("import:{}", by_import.base());
    let (state_b, state_i, base) = (at("state-b"), at("state-i"), source.base());
    let commands: [Vec<&str>; 3] = [
        vec!["--to", &to_store],
        vec!["--to", "", "--state", text(&state_b)],
        vec![
            "--to",
            &to_import,
            "--state",
            text(&state_i),
            "--import-path",
            text(&shared),
        ],
    ];
    let to_bundle = by_bundle.base();
    for night in 1..4 {
        change(&source, night);
        for command in &commands {
            let mut words = vec!["sync", &base, "--global", "--once", "--type", TYPES];
            words.extend(command.iter().map(|word| {
                if word.is_empty() {
                    to_bundle.as_str()
                } else {
                    *word
                }
            }));
            succeed(&words);
        }
    }
    let state = at("replica").join("sync");
    let status = succeed(&["sync", "status", "--state", text(&state)]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("rounds\t3, 0 failed tries"), "{status}");
    let expected = contents(&source.stop(), &at("of-source"));
    assert!(expected.len() > 15 && !expected.contains_key("Observation/o1-0"));
    assert_eq!(contents(&at("replica"), &at("of-replica")), expected, "the store");
    assert_eq!(
        contents(&by_bundle.stop(), &at("of-bundle")),
        expected,
        "the server by Bundles"
    );
    assert_eq!(
        contents(&by_import.stop(), &at("of-import")),
        expected,
        "the server by $import"
    );
}

#[test]
fn a_group_is_followed_with_the_past_of_new_members_g_03_g_05() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = Server::start(folder.path(), "source", &[]);
    change(&source, 1);
    let group = |members: &[&str]| {
        let member = |id: &&str| format!(r#"{{"entity":{{"reference":"Patient/{id}"}}}}"#);
        let members: Vec<String> = members.iter().map(member).collect();
        source.put(
            "Group/g",
            &format!(
                r#""type":"person","actual":true,"member":[{}]"#,
                members.join(",")
            ),
        );
    };
    let to = format!("store:{}", at("replica").display());
    let sync = |round: usize| {
        let base = source.base();
        let words = [
            "sync",
            &base,
            "--group",
            "g",
            "--to",
            &to,
            "--leavers",
            "remove",
            "--type",
            "Patient,Observation",
            "--json",
        ];
        let told = succeed(&words).stdout;
        let report: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let kept = contents(&at("replica"), &at(&format!("out-{round}")));
        (report, kept.into_keys().collect::<Vec<_>>())
    };
    group(&["p0", "p1"]);
    assert_eq!(
        sync(1).1,
        ["Observation/o1-0", "Observation/o1-1", "Patient/p0", "Patient/p1"]
    );
    // Nothing of `p2` has changed since, and it comes with everything.
    group(&["p1", "p2"]);
    let (report, kept) = sync(2);
    assert_eq!(
        (report["joiners"].as_u64(), report["leavers"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(
        kept,
        ["Observation/o1-1", "Observation/o1-2", "Patient/p1", "Patient/p2"]
    );
}

#[test]
fn wrong_ends_are_refused_with_a_hint() {
    let check = |words: &[&str], code: i32, said: &str| {
        let mut line = vec!["sync"];
        line.extend_from_slice(words);
        let output = run(&line);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
        assert!(told.contains(said), "{words:?}: {told}");
    };
    check(&["http://127.0.0.1:1/fhir", "--to", "somewhere"], 2, "--to takes");
    check(
        &["http://127.0.0.1:1/fhir", "--to", "http://127.0.0.1:1/fhir"],
        2,
        "--state",
    );
    check(
        &[
            "/nonexistent",
            "--to",
            "http://127.0.0.1:1/fhir",
            "--state",
            "/tmp/x",
        ],
        2,
        "neither a URL nor a folder",
    );
    check(
        &["http://127.0.0.1:1/fhir", "--to", "store:x", "--every", "5x"],
        2,
        "24h",
    );
    check(&["status", "--state", "/nonexistent"], 1, "no state of a sync");
}

#[test]
fn metrics_can_be_read_by_the_collector_and_flags_that_do_nothing_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("pull")).unwrap();
    std::fs::write(
        at("pull/1.Patient.ndjson"),
        "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n",
    )
    .unwrap();
    let (source, store, metrics) = (
        at("pull"),
        format!("store:{}", at("replica").display()),
        at("sync.prom"),
    );
    let words = ["sync", text(&source), "--to", &store];
    for ignored in [
        &["--jitter", "5m"][..],
        &["--metrics-listen", "127.0.0.1:0"],
        &["--leavers", "remove"],
    ] {
        let refused = run(&[&words[..], ignored].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    }
    succeed(&[&words[..], &["--metrics-file", text(&metrics)]].concat());
    let mode = std::fs::metadata(&metrics).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let told = std::fs::read_to_string(&metrics).unwrap();
    for (name, value) in [
        ("rounds_total", 1.0),
        ("failures_total", 0.0),
        ("put_total", 1.0),
        ("resources", 1.0),
    ] {
        assert_eq!(metric(&told, name), value, "{name}");
    }
    // A pull that is under way seems to be everything, and is not.
    std::fs::create_dir(at("pull/.fhirhose-pull")).unwrap();
    std::fs::write(
        at("pull/2.Patient.ndjson"),
        "{\"resourceType\":\"Patient\",\"id\":\"q\"}\n",
    )
    .unwrap();
    let refused = run(&words);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

#[test]
fn a_sync_by_a_schedule_answers_with_metrics_and_ends_at_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (source, store) = (folder.path().join("files"), folder.path().join("replica"));
    std::fs::create_dir(&source).unwrap();
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
    std::fs::write(source.join("1.Patient.ndjson"), patient).unwrap();
    let (address, to) = (
        format!("127.0.0.1:{}", free_port()),
        format!("store:{}", store.display()),
    );
    let line = [
        "sync",
        text(&source),
        "--to",
        &to,
        "--every",
        "24h",
        "--metrics-listen",
        &address,
    ];
    let secs = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
    };
    let before = secs();
    let mut child = start(&line);
    let url = format!("http://{address}/metrics");
    let told = eventually("the metrics of a round", || {
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        let (status, told) = get(&url);
        (status == 200 && told.contains("fhirhose_sync_rounds_total 1\n")).then_some(told)
    });
    let success = metric(&told, "last_success_timestamp_seconds");
    assert!((before - 1.0..=secs()).contains(&success), "{success}");
    assert_eq!(get(&format!("http://{address}/fhir")).0, 404);
    signal(&child, Signal::TERM);
    let output = ended(child);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the next round begins at"), "{told}");
    assert!(told.contains("stopped; run the same command again"), "{told}");
}

#[test]
fn a_sync_takes_what_matches_and_sends_it_through_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let (source, store) = (folder.path().join("files"), folder.path().join("replica"));
    std::fs::create_dir(&source).unwrap();
    let patient = |(id, name, active): &(&str, &str, bool)| {
        format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"active\":{active},\"name\":[{{\"family\":\"{name}\"}}]}}\n"
        )
    };
    let files = |patients: &[_]| patients.iter().map(patient).collect::<String>();
    let given = files(&[("a", "Meier", true), ("b", "Meier", false), ("c", "Huber", true)]);
    std::fs::write(source.join("1.Patient.ndjson"), given).unwrap();
    let to = format!("store:{}", store.display());
    let line = ["sync", text(&source), "--to", &to, "--json"];
    let rules = [
        "--type-filter",
        "Patient?active=true",
        "--through",
        "sed s/Meier/X/",
    ];
    let told = succeed(&[&line[..], &rules].concat()).stdout;
    let report: serde_json::Value = serde_json::from_slice(&told).unwrap();
    let counts = &report["counts"];
    assert_eq!(
        (&counts["created"], &counts["filtered"]),
        (&2.into(), &1.into()),
        "{report}"
    );
    let expected = files(&[("a", "X", true), ("c", "Huber", true)]);
    assert_eq!(contents(&store, &folder.path().join("out")), hashes([expected]));
}
