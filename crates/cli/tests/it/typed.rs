//! Flags go where they are meant to go: what is for one server never to another, and none is taken and ignored.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::sync::{Arc, Mutex};

use crate::client::{Place, stderr};
use crate::http::{free_port, wait_for_health};
use crate::sample::{fhirhose, succeed};

/// A server behind a relay that keeps what it is sent.
struct Overheard {
    child: Child,
    relay: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _data: tempfile::TempDir,
}

impl Drop for Overheard {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Overheard {
    fn start(patient: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let at = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
        let line = format!("{{\"resourceType\":\"Patient\",\"id\":\"{patient}\"}}\n");
        std::fs::write(at("seed.ndjson"), line).unwrap();
        succeed(&["load", "--data", &at("store"), &at("seed.ndjson")]);
        let port = free_port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let relay = relay(port, &heard);
        let (listen, base) = (
            format!("127.0.0.1:{port}"),
            format!("http://127.0.0.1:{relay}/fhir"),
        );
        let mut serve = fhirhose(&[
            "serve",
            "--data",
            &at("store"),
            "--listen",
            &listen,
            "--base-url",
            &base,
        ]);
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_health(&mut child, port);
        Self {
            child,
            relay,
            heard,
            _data: data,
        }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.relay)
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

/// Hands bytes on in both directions as long as the test runs, and keeps those that are sent to the server.
fn relay(server: u16, heard: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                return;
            };
            let heard = Arc::clone(&heard);
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || hand_on(from, to, |bytes| heard.lock().unwrap().extend(bytes)));
            std::thread::spawn(move || hand_on(server, client, |_| {}));
        }
    });
    port
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut bytes = vec![0; 1 << 16];
    // Either end may go at any time.
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        keep(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The binary with secrets for the first server, by each way in which they come.
fn with_secrets(arguments: &[&str]) -> Output {
    let secrets = ["--header", "X-Api-Key: hush"];
    fhirhose(&[arguments, &secrets].concat())
        .env("FHIRHOSE_BEARER_TOKEN", "hush-token")
        .output()
        .unwrap()
}

#[test]
fn nothing_that_the_first_server_is_shown_reaches_the_second() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--both", "--to"] {
        let (first, second) = (Overheard::start("one"), Overheard::start("two"));
        let state = folder.path().join(&flag[2..]);
        let (source, target) = (first.base(), second.base());
        let state = state.to_str().unwrap();
        let line = [
            "sync", &source, flag, &target, "--state", state, "--once", "--global",
        ];
        let output = with_secrets(&line);
        assert_eq!(output.status.code(), Some(0), "{flag}: {}", stderr(&output));
        let shown = first.heard();
        assert!(shown.contains("x-api-key: hush") || shown.contains("X-Api-Key: hush"));
        assert!(shown.contains("Bearer hush-token"), "{flag}");
        let heard = second.heard();
        assert!(heard.contains("Patient/one"), "{flag}: the round wrote there");
        assert!(!heard.contains("hush"), "{flag}: a secret went along");
    }
}

#[test]
fn the_second_servers_own_token_goes_there_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Overheard::start("one"), Overheard::start("two"));
    let state = folder.path().join("state");
    let (source, target) = (first.base(), second.base());
    let line = [
        "sync",
        &source,
        "--both",
        &target,
        "--state",
        state.to_str().unwrap(),
        "--once",
        "--global",
    ];
    let output = fhirhose(&line)
        .env("FHIRHOSE_OTHER_BEARER_TOKEN", "hush-other")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(second.heard().contains("Bearer hush-other"));
    assert!(!first.heard().contains("hush"), "a secret went along");
}

#[test]
fn a_repair_asks_for_a_token_that_lets_it_write_and_says_that_all_is_mended() {
    let mut place = Place::new();
    place.serve(&["--auth", "smart"]);
    place.keygen("keys");
    place.add("app", "keys", &["--scope", "system/*.cruds", "--allow-write"]);
    let (base, key) = (
        format!("http://127.0.0.1:{}/fhir", place.port),
        place.at("keys/private-key.pem"),
    );
    let files = place.path("files");
    std::fs::create_dir(&files).unwrap();
    let patients = ["p1", "p2"].map(|id| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n"));
    std::fs::write(files.join("1.Patient.ndjson"), patients.concat()).unwrap();
    let sides = ["reconcile", files.to_str().unwrap(), &base];
    let access = ["--type", "Patient", "--client-id", "app", "--key", &key];
    let repaired = succeed(&[&sides[..], &access, &["--repair", "a-to-b"]].concat());
    let told = stderr(&repaired);
    assert!(
        told.contains("the sides differed; every difference was repaired"),
        "{told}"
    );
    let equal = succeed(&[&sides[..], &access].concat());
    assert!(
        stderr(&equal).contains("both sides hold the same"),
        "{}",
        stderr(&equal)
    );
}
