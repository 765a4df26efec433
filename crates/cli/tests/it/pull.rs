//! `fhirhose pull` against the real server, and against one by hand.

use crate::client::{Place, stderr};
use crate::http::{ByHand, answer, eventually};
use crate::sample::{assert_same, exported, fhirhose, run, signal, start, succeed, text};
use fhirhose_auth::SigningKey;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

/// A store of a small population with a server over it.
pub(crate) fn population(place: &Place) {
    let (files, store) = (place.at("population"), place.at("store"));
    succeed(&["generate", "--patients", "20", "--out", &files]);
    succeed(&["load", "--data", &store, &files]);
}

fn base(place: &Place) -> String {
    format!("http://127.0.0.1:{}/fhir", place.port)
}

/// What a pull of this folder has come to, as `--json` tells it.
fn events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is a JSON object"))
        .collect()
}

#[test]
fn a_pull_has_what_an_export_has_and_run_again_says_so_cl_10_cl_13() {
    let mut place = Place::new();
    population(&place);
    let (store, direct) = (place.at("store"), place.at("direct"));
    succeed(&["export", "--data", &store, "--out", &direct, "--patients"]);
    place.serve(&[]);
    let pulled = place.at("pulled");
    let output = succeed(&["pull", &base(&place), "--out", &pulled]);
    assert_same(
        &exported(&place.path("direct")),
        &exported(&place.path("pulled")),
        "pulled",
    );
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("\t1\tPatient\n"), "{table}");
    let manifest = std::fs::read(place.path("pulled/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut files = manifest["output"].as_array().unwrap().iter();
    assert!(files.any(|file| file["url"] == "1.Patient.ndjson"), "{manifest}");
    place.end(Signal::TERM);
    let again = succeed(&["pull", &base(&place), "--out", &pulled]);
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
    let other = run(&["pull", &base(&place), "--out", &pulled, "--type", "Patient"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("another"), "{}", stderr(&other));
}

#[test]
fn a_pull_as_a_registered_client_needs_its_id_and_key_cl_01_cl_02() {
    let mut place = Place::new();
    place.serve(&["--auth", "smart"]);
    for keys in ["keys", "stranger"] {
        place.keygen(keys);
    }
    place.add("app", "keys", &["--scope", "system/*.rs"]);
    let pull = |out: &str, keys: &str| {
        let (base, out) = (base(&place), place.at(out));
        let key = place.at(&format!("{keys}/private-key.pem"));
        run(&["pull", &base, "--out", &out, "--client-id", "app", "--key", &key])
    };
    let pulled = pull("pulled", "keys");
    assert!(pulled.status.success(), "{}", stderr(&pulled));
    assert!(place.path("pulled/1.Patient.ndjson").is_file());
    let refused = pull("refused", "stranger");
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains("invalid_client"),
        "{}",
        stderr(&refused)
    );
    let nobody = run(&["pull", &base(&place), "--out", &place.at("nobody")]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("401"), "{}", stderr(&nobody));
    let by_environment = fhirhose(&["pull", "--out", &place.at("environment")])
        .env("FHIRHOSE_FHIR_URL", base(&place))
        .env("FHIRHOSE_CLIENT_ID", "app")
        .env(
            "FHIRHOSE_CLIENT_KEY_COMMAND",
            format!("cat {}", place.at("keys/private-key.pem")),
        )
        .output()
        .unwrap();
    assert!(by_environment.status.success(), "{}", stderr(&by_environment));
}

#[test]
fn keys_of_each_form_are_taken_cl_01() {
    let mut place = Place::new();
    place.serve(&["--auth", "smart"]);
    let (mut public, mut private) = (Vec::new(), Vec::new());
    for algorithm in ["RS384", "ES384"] {
        let out = place.at(algorithm);
        succeed(&["client", "keygen", "--out", &out, "--algorithm", algorithm]);
        let jwks = std::fs::read(place.path(algorithm).join("jwks.json")).unwrap();
        let jwks: Value = serde_json::from_slice(&jwks).unwrap();
        public.push(jwks["keys"][0].clone());
        let pem = std::fs::read_to_string(place.path(algorithm).join("private-key.pem")).unwrap();
        private.push(SigningKey::from_pem(&pem).unwrap().private_jwk());
    }
    std::fs::create_dir(place.path("both")).unwrap();
    for (name, keys) in [("jwks.json", public), ("private.json", private)] {
        let file = place.path("both").join(name);
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    }
    place.add("app", "both", &["--scope", "system/*.rs"]);
    for key in [
        "RS384/private-key.pem",
        "ES384/private-key.pem",
        "both/private.json",
    ] {
        let (base, out) = (base(&place), place.at(&format!("{key}.pulled")));
        let key = place.at(key);
        succeed(&["pull", &base, "--out", &out, "--client-id", "app", "--key", &key]);
        let file = Path::new(&out).join("1.Patient.ndjson");
        assert!(file.is_file(), "{key}");
    }
}

#[test]
fn a_server_that_knows_scopes_of_smart_1_only_is_asked_for_those_cl_01() {
    let server = ByHand::start(|request, port| {
        let token = format!("http://127.0.0.1:{port}/token");
        let known = json!({ "token_endpoint": token, "scopes_supported": ["system/*.read"] }).to_string();
        Some(match request.target() {
            "/fhir/.well-known/smart-configuration" => {
                answer("200 OK", "Content-Type: application/json\r\n", known.as_bytes())
            }
            _ => answer("400 Bad Request", "", b""),
        })
    });
    let place = Place::new();
    place.keygen("keys");
    let (base, out, key) = (server.base(), place.at("out"), place.at("keys/private-key.pem"));
    let line = ["pull", &base, "--out", &out, "--client-id", "app", "--key", &key];
    let output = run(&line);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let requests = server.requests.lock().unwrap();
    let asked = requests
        .iter()
        .find(|request| request.starts_with("POST /token "));
    let (_, form) = asked.unwrap().split_once("\r\n\r\n").unwrap();
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).collect();
    assert_eq!(
        (&*form["scope"], &*form["grant_type"]),
        ("system/*.read", "client_credentials")
    );
}

#[test]
fn events_are_lines_of_json_with_the_report_as_the_last() {
    let mut place = Place::new();
    place.serve(&[]);
    let output = succeed(&["pull", "-f", &base(&place), "-d", &place.at("pulled"), "--json"]);
    let events = events(&output);
    let names: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"kicked-off"), "{names:?}");
    assert!(names.contains(&"file-done"), "{names:?}");
    let report = events.last().unwrap();
    assert_eq!(
        (&report["event"], &report["whole"]),
        (&"report".into(), &true.into())
    );
    assert_eq!(report["files"][0]["name"], "1.Patient.ndjson");
    assert_eq!(report["files"][0]["lines"], 1);
    let is_timed = |event: &Value| event["timestamp"].is_string();
    assert!(events[..events.len() - 1].iter().all(is_timed));
}

#[test]
fn a_file_that_cannot_be_had_ends_with_3_and_comes_with_the_next_run() {
    let is_there = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&is_there);
    let line = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
    let server = ByHand::start(move |request, port| {
        let at = |path: &str| format!("http://127.0.0.1:{port}/{path}");
        Some(match request.target() {
            path if path.contains("$export") => {
                let location = format!("Content-Location: {}\r\n", at("status"));
                answer("202 Accepted", &location, b"")
            }
            "/status" if request.method() == "DELETE" => answer("202 Accepted", "", b""),
            "/status" => {
                let (one, two) = (at("one"), at("two"));
                let body = format!(
                    r#"{{"transactionTime":"2026-01-01T00:00:00Z","request":"x","requiresAccessToken":false,
                    "output":[{{"type":"Patient","url":"{one}"}},{{"type":"Patient","url":"{two}"}}],"error":[]}}"#
                );
                answer("200 OK", "Content-Type: application/json\r\n", body.as_bytes())
            }
            "/two" if !*seen.lock().unwrap() => answer("404 Not Found", "", b""),
            "/one" | "/two" => {
                let ndjson = "Content-Type: application/fhir+ndjson\r\n";
                answer("200 OK", ndjson, line.as_bytes())
            }
            _ => answer("404 Not Found", "", b""),
        })
    });
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (server.base(), folder.path().join("out"));
    let words = [
        "pull",
        &base,
        "--out",
        out.to_str().unwrap(),
        "--file-attempts-max",
        "1",
    ];
    let first = run(&words);
    assert_eq!(first.status.code(), Some(3), "{}", stderr(&first));
    assert!(
        stderr(&first).contains("missing: 2.Patient.ndjson: "),
        "{}",
        stderr(&first)
    );
    *is_there.lock().unwrap() = true;
    let second = run(&words);
    assert_eq!(second.status.code(), Some(0), "{}", stderr(&second));
    assert_eq!(
        std::fs::read_to_string(out.join("2.Patient.ndjson")).unwrap(),
        line
    );
    assert_eq!(server.asked("$export"), 1, "the same export");
    assert_eq!(server.asked("GET /one"), 1, "what is whole is not fetched again");
    assert_eq!(server.asked("DELETE /status"), 1, "only when everything is safe");
}

#[test]
fn a_token_of_other_means_is_got_anew_when_the_server_refuses_it_cl_02() {
    let server = ByHand::start(|request, _| {
        let is_known = request.head.contains("Bearer second");
        Some(match request.target().contains("$export") && !is_known {
            true => answer("401 Unauthorized", "", b""),
            false => answer("400 Bad Request", "", b""),
        })
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "first").unwrap();
    let file = file.to_str().unwrap();
    let command = format!("cat {file}; echo second > {file}");
    let out = folder.path().join("out");
    let base = server.base();
    let line = [
        "pull",
        &base,
        "--out",
        out.to_str().unwrap(),
        "--bearer-token-command",
        &command,
    ];
    let output = run(&line);
    assert!(stderr(&output).contains("400"), "{}", stderr(&output));
    assert_eq!(
        (server.asked("Bearer first"), server.asked("Bearer second")),
        (1, 1)
    );
    let secret = run(&[
        "pull",
        &base,
        "--out",
        out.to_str().unwrap(),
        "--header",
        "Authorization: Bearer x",
    ]);
    assert_eq!(secret.status.code(), Some(2));
}

#[test]
fn a_pull_has_its_folder_alone_and_ctrl_c_ends_it_and_says_how_it_goes_on() {
    let server = ByHand::start(|request, port| {
        let location = format!("Content-Location: http://127.0.0.1:{port}/status\r\n");
        let waiting = "X-Progress: 3 %\r\nRetry-After: 120\r\n".to_owned();
        let headers = match request.target().contains("$export") {
            true => location,
            false => waiting,
        };
        Some(answer("202 Accepted", &headers, b""))
    });
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (server.base(), folder.path().join("out"));
    let line = ["pull", &base, "--out", text(&out), "--quirks", "standard"];
    let mut child = start(&line);
    eventually("a poll", || (server.asked("GET /status") > 0).then_some(()));
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = said.map(Result::unwrap);
    assert!(
        said.any(|line| line.contains("waiting: 3 %")),
        "it says that it waits"
    );
    let second = run(&line);
    assert_eq!(second.status.code(), Some(4), "{}", stderr(&second));
    assert!(stderr(&second).contains("wait for the other process"));
    signal(&child, Signal::INT);
    let told = said.collect::<Vec<_>>().join("\n");
    assert_eq!(child.wait().unwrap().code(), Some(1), "{told}");
    assert!(told.contains("the same command again"), "{told}");
}

/// Ends the server; its store and the copy are the same by their exports.
pub(crate) fn assert_copied(place: &mut Place) {
    place.end(Signal::TERM);
    for (data, out) in [("store", "of-source"), ("copy", "of-copy")] {
        succeed(&["export", "--data", &place.at(data), "--out", &place.at(out)]);
    }
    let (source, copy) = (place.path("of-source"), place.path("of-copy"));
    assert_same(&exported(&source), &exported(&copy), "the copy");
}

#[test]
fn a_pull_into_a_store_has_what_the_server_has_and_leaves_no_files() {
    let mut place = Place::new();
    population(&place);
    place.serve(&[]);
    let copy = place.at("copy");
    let output = succeed(&["pull", &base(&place), "--global", "--into", &copy, "--json"]);
    let events = events(&output);
    let applied = events.last().unwrap();
    assert_eq!(
        (&applied["event"], &applied["refused"]),
        (&"applied".into(), &0.into())
    );
    assert!(!place.path("copy/pull").exists(), "nothing is left behind");
    assert_copied(&mut place);
}

#[test]
fn a_later_pull_into_the_store_applies_what_was_deleted_meanwhile_cl_11() {
    let mut place = Place::new();
    population(&place);
    place.serve(&[]);
    let (base, copy) = (base(&place), place.at("copy"));
    let line = ["pull", &base, "--global", "--into", &copy, "--json"];
    let first = events(&succeed(&line));
    let report = first.iter().find(|event| event["event"] == "report").unwrap();
    let cursor = report["transactionTime"].as_str().unwrap();
    assert_eq!(place.server().send("DELETE", "Patient/p1", ""), 204);
    let later = events(&succeed(&[&line[..], &["--since", cursor]].concat()));
    let applied = later.last().unwrap();
    assert_eq!(
        (&applied["put"], &applied["deleted"], &applied["refused"]),
        (&0.into(), &1.into(), &0.into())
    );
    assert_copied(&mut place);
}

#[test]
fn what_was_pulled_is_proven_and_loads_again_as_it_was() {
    let mut place = Place::new();
    population(&place);
    place.serve(&[]);
    let (pulled, copy) = (place.at("pulled"), place.at("copy"));
    succeed(&["pull", &base(&place), "--global", "--out", &pulled]);
    assert!(place.path("pulled/log.ndjson").is_file());
    succeed(&["verify", &pulled, "--deep"]);
    succeed(&["load", "--data", &copy, &pulled]);
    assert_copied(&mut place);
}
