//! Ctrl-C and SIGTERM end a command wherever it is, and leave nothing lying that nobody wants.

use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::client::{Place, stderr};
use crate::http::{ByHand, answer, eventually};
use crate::pull::{assert_copied, population};
use crate::sample::{ended, fhirhose, signal, succeed, text};

#[test]
fn a_pull_into_a_store_stops_while_it_loads_and_goes_on_later() {
    let mut place = Place::new();
    population(&place);
    place.serve(&[]);
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    let copy = place.at("copy");
    let line = ["pull", &base, "--global", "--into", &copy];
    let mut pull = fhirhose(&line);
    let mut child = pull.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let is_loading = |line: String| line.contains("taking the files into the store");
    assert!(said.any(|line| is_loading(line.unwrap())), "it never loads");
    signal(&child, Signal::TERM);
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(
        rest.iter()
            .any(|line| line.contains("stopped; run the same command again")),
        "{rest:?}"
    );
    succeed(&line);
    assert!(!place.path("copy/pull").exists(), "nothing is left behind");
    assert_copied(&mut place);
}

#[test]
fn a_comparison_that_is_stopped_leaves_no_copy_of_a_server() {
    let server = ByHand::start(|request, port| {
        let status = format!("Content-Location: http://127.0.0.1:{port}/status\r\n");
        Some(match request.target() {
            target if target.contains("$export") => answer("202 Accepted", &status, b""),
            "/status" => answer("202 Accepted", "Retry-After: 120\r\n", b""),
            _ => answer("404 Not Found", "", b""),
        })
    });
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("files")).unwrap();
    std::fs::create_dir(at("temporary")).unwrap();
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
    std::fs::write(at("files/1.Patient.ndjson"), patient).unwrap();
    let base = server.base();
    let child = fhirhose(&["reconcile", text(&at("files")), &base])
        .env("TMPDIR", at("temporary"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("a poll", || (server.asked("GET /status") > 0).then_some(()));
    let fetched = || std::fs::read_dir(at("temporary")).unwrap().count();
    assert_eq!(fetched(), 1, "it is fetched there");
    signal(&child, Signal::INT);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("interrupted; "), "{}", stderr(&output));
    assert_eq!(fetched(), 0);
}

#[test]
fn a_two_way_state_in_use_gives_exit_code_4_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger"), "").unwrap();
    let lock = std::fs::File::create(folder.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let resolve = fhirhose(&["sync", "resolve"])
        .env("FHIRHOSE_SYNC_STATE", folder.path())
        .output()
        .unwrap();
    let told = stderr(&resolve);
    assert_eq!(resolve.status.code(), Some(4), "{told}");
    assert!(told.contains("in use by another sync"), "{told}");
    assert!(
        told.contains("hint: wait for the other process, or stop it"),
        "{told}"
    );
}
