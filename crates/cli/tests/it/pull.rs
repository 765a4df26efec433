//! `fhirhose pull` against the real server, and against one by hand.

use crate::client::{Place, stderr};
use crate::http::{eventually, free_port};
use crate::sample::{assert_same, exported, fhirhose, run, start, succeed};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};

/// A store of a small population with a server over it.
fn population(place: &Place) {
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
    place.end("-TERM");
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

/// Answers each request by a function, and keeps all requests.
struct ByHand {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl ByHand {
    fn start(answer: impl Fn(&str, u16) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&mut stream);
                let answer = answer(&request, port);
                kept.lock().unwrap().push(request);
                // A client that does not listen any more has what it wants.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { port, requests }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let request = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return request;
            }
        }
        match stream.read(&mut buffer).unwrap_or(0) {
            0 => return request,
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
}

/// The kick-off that these flags send: its first line, its `Prefer` and its body.
fn kick_off(flags: &[&str]) -> String {
    let server = ByHand::start(|_, _| http("400 Bad Request", "", ""));
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (server.base(), folder.path().join("out"));
    let mut line = vec!["pull", "-f", &base, "--out", out.to_str().unwrap()];
    line.extend_from_slice(flags);
    let output = run(&line);
    assert_eq!(output.status.code(), Some(1), "{flags:?}: {}", stderr(&output));
    let requests = server.requests.lock().unwrap();
    let kick_off = requests.iter().find(|request| request.contains("$export"));
    let kick_off = kick_off.unwrap_or_else(|| panic!("no kick-off: {}", stderr(&output)));
    let (head, body) = kick_off.split_once("\r\n\r\n").unwrap();
    let prefer = head
        .lines()
        .find(|line| line.to_lowercase().starts_with("prefer"));
    let told = [head.lines().next().unwrap(), prefer.unwrap(), body];
    told.join("\n")
}

/// Flags of bulk-data-client, the same in ours, and what is in the kick-off.
type Spelling = (&'static [&'static str], &'static [&'static str], &'static str);

const SINCE: &str = "2026-01-01T00:00:00.000Z";

const SPELLINGS: [Spelling; 4] = [
    (
        &["-t", "Patient,Condition", "-g", "g1", "-s", SINCE],
        &[
            "--type",
            "Patient",
            "--type",
            "Condition",
            "--group",
            "g1",
            "--since",
            SINCE,
        ],
        "GET /fhir/Group/g1/$export?",
    ),
    (
        &[
            "--_type",
            "Patient",
            "--_since",
            SINCE,
            "--_elements",
            "Patient.name",
            "--lenient",
        ],
        &[
            "--type",
            "Patient",
            "--since",
            SINCE,
            "--elements",
            "Patient.name",
            "--lenient",
        ],
        "_elements=Patient.name",
    ),
    (
        &[
            "--global",
            "-q",
            "Observation?status=final",
            "-i",
            "LatestProvenanceResources",
        ],
        &[
            "--global",
            "--type-filter",
            "Observation?status=final",
            "--include-associated-data",
            "LatestProvenanceResources",
        ],
        "GET /fhir/$export?",
    ),
    (
        &["-p", "p1,p2", "-F", "ndjson", "-c", "a=1", "b=2"],
        &[
            "--patient",
            "p1",
            "--patient",
            "p2",
            "--output-format",
            "ndjson",
            "--custom",
            "a=1",
            "b=2",
        ],
        "POST /fhir/Patient/$export",
    ),
];

#[test]
fn flags_of_bulk_data_client_and_ours_ask_for_the_same() {
    for (theirs, ours, asked) in SPELLINGS {
        let (theirs, ours) = (kick_off(theirs), kick_off(ours));
        assert_eq!(theirs, ours);
        assert!(ours.contains(asked), "{ours}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_server_that_is_not_there_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let nowhere = format!("http://127.0.0.1:{}/fhir", free_port());
    for (flags, code) in [
        (&[][..], 2),
        (&["-f", &nowhere, "--since", "auto"], 2),
        (&["-f", &nowhere, "--output-format", "application/parquet"], 2),
        (&["-f", &nowhere, "--client-id", "app"], 2),
        (&["-f", &nowhere, "--custom", "_since=2026"], 2),
        (&["-f", &nowhere, "--group", "g", "--global"], 2),
    ] {
        let mut line = vec!["pull", "--out", out.to_str().unwrap()];
        line.extend_from_slice(flags);
        let output = run(&line);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", stderr(&output));
    }
    assert!(!out.exists());
}

#[test]
fn a_file_that_cannot_be_had_ends_with_3_and_comes_with_the_next_run() {
    let is_there = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&is_there);
    let line = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
    let server = ByHand::start(move |request, port| {
        let at = |path: &str| format!("http://127.0.0.1:{port}/{path}");
        match request.split(' ').nth(1).unwrap_or_default() {
            path if path.contains("$export") => http(
                "202 Accepted",
                &format!("Content-Location: {}\r\n", at("status")),
                "",
            ),
            "/status" if request.starts_with("DELETE") => http("202 Accepted", "", ""),
            "/status" => {
                let (one, two) = (at("one"), at("two"));
                let body = format!(
                    r#"{{"transactionTime":"2026-01-01T00:00:00Z","request":"x","requiresAccessToken":false,
                    "output":[{{"type":"Patient","url":"{one}"}},{{"type":"Patient","url":"{two}"}}],"error":[]}}"#
                );
                http("200 OK", "Content-Type: application/json\r\n", &body)
            }
            "/two" if !*seen.lock().unwrap() => http("404 Not Found", "", ""),
            "/one" | "/two" => http("200 OK", "Content-Type: application/fhir+ndjson\r\n", line),
            _ => http("404 Not Found", "", ""),
        }
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
    let requests = server.requests.lock().unwrap();
    let asked = |path: &str| requests.iter().filter(|request| request.contains(path)).count();
    assert_eq!(asked("$export"), 1, "the same export");
    assert_eq!(asked("GET /one"), 1, "what is whole is not fetched again");
    assert_eq!(asked("DELETE /status"), 1, "only when everything is safe");
}

#[test]
fn a_token_of_other_means_is_got_anew_when_the_server_refuses_it_cl_02() {
    let server = ByHand::start(|request, _| {
        let is_known = request.contains("Bearer second");
        match request.contains("$export") && !is_known {
            true => http("401 Unauthorized", "", ""),
            false => http("400 Bad Request", "", ""),
        }
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
    let requests = server.requests.lock().unwrap();
    let shown = |token: &str| requests.iter().filter(|request| request.contains(token)).count();
    assert_eq!((shown("Bearer first"), shown("Bearer second")), (1, 1));
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
fn ctrl_c_ends_a_pull_and_says_how_it_goes_on() {
    let server = ByHand::start(|request, port| match request.contains("$export") {
        true => http(
            "202 Accepted",
            &format!("Content-Location: http://127.0.0.1:{port}/status\r\n"),
            "",
        ),
        false => http("202 Accepted", "X-Progress: 3 %\r\nRetry-After: 120\r\n", ""),
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let child = start(&[
        "pull",
        &server.base(),
        "--out",
        out.to_str().unwrap(),
        "--quirks",
        "standard",
    ]);
    let is_polled = |request: &String| request.starts_with("GET /status");
    eventually("a poll", || {
        server
            .requests
            .lock()
            .unwrap()
            .iter()
            .any(is_polled)
            .then_some(())
    });
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &id]).status();
    assert!(sent.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("waiting: 3 %"), "{told}");
    assert!(told.contains("the same command again"), "{told}");
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
    place.end("-TERM");
    for (data, out) in [("store", "of-source"), ("copy", "of-copy")] {
        succeed(&["export", "--data", &place.at(data), "--out", &place.at(out)]);
    }
    let (source, copy) = (place.path("of-source"), place.path("of-copy"));
    assert_same(&exported(&source), &exported(&copy), "the copy");
}
