//! `fhirhose client` and the operator's socket, by the real binary.

use crate::http::free_port;
use crate::sample::{fhirhose, run, succeed};
use crate::served::Served;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

/// A folder with a small store and keys, and perhaps a server over it.
pub(crate) struct Place {
    server: Option<Served>,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
}

impl Place {
    /// Makes a store with one patient.
    pub(crate) fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            server: None,
        };
        let patient = "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n";
        std::fs::write(place.path("Patient.ndjson"), patient).unwrap();
        succeed(&["load", "--data", &place.at("store"), &place.at("Patient.ndjson")]);
        place
    }

    pub(crate) fn serve(&mut self, more: &[&str]) {
        self.server = Some(Served::start_at(self.port, &self.path("store"), more));
    }

    /// The server that runs.
    pub(crate) fn server(&self) -> &Served {
        self.server.as_ref().expect("the test has started it")
    }

    /// Ends the server by a signal and waits for it.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.server.take().unwrap().end(signal);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Makes a key pair in a folder of this name.
    pub(crate) fn keygen(&self, name: &str) {
        succeed(&["client", "keygen", "--out", &self.at(name)]);
    }

    /// Runs `client` in the store.
    pub(crate) fn client(&self, words: &[&str]) -> Output {
        let store = self.at("store");
        let mut line = vec!["client"];
        line.extend(words);
        line.extend(["--data", &store]);
        run(&line)
    }

    /// Runs `client` in the store, which must succeed, and gives its JSON.
    pub(crate) fn client_json(&self, words: &[&str]) -> Value {
        let mut line = words.to_vec();
        line.push("--json");
        let output = self.client(&line);
        assert!(output.status.success(), "{words:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn add(&self, id: &str, keys: &str, more: &[&str]) -> Value {
        let jwks = self.at(&format!("{keys}/jwks.json"));
        let mut line = vec!["add", id, "--name", "App", "--jwks", &jwks];
        line.extend(more);
        self.client_json(&line)
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn ids(list: &Value) -> Vec<&str> {
    let clients = list.as_array().unwrap().iter();
    clients
        .map(|client| client["client_id"].as_str().unwrap())
        .collect()
}

#[test]
fn clients_are_registered_alike_in_a_free_folder_and_by_a_running_server() {
    let mut place = Place::new();
    place.keygen("keys");
    let scope = ["--scope", "system/Patient.rs system/Observation.rs"];
    let added = place.add("in-folder", "keys", &scope);
    assert_eq!(added["standing"], "active");
    assert_eq!(added["token_url"], Value::Null, "no server runs that could tell");
    place.serve(&[]);
    let id = "https://app.example.org/a~b:c";
    let added = place.add(id, "keys", &scope);
    let origin = format!("http://127.0.0.1:{}", place.port);
    assert_eq!(added["token_url"], Value::Null, "it gives no tokens");
    assert_eq!(added["fhir_base"], format!("{origin}/fhir"));
    let by_server = place.client_json(&["list"]);
    assert_eq!(ids(&by_server), [id, "in-folder"]);
    assert_eq!(place.client_json(&["show", id])["scope"], added["scope"]);
    place.end(Signal::TERM);
    let in_folder = place.client_json(&["list"]);
    assert_eq!(ids(&in_folder), [id, "in-folder"]);
    for name in ["client_id", "scope", "jwks", "created", "limits"] {
        assert_eq!(by_server[0][name], in_folder[0][name], "{name}");
    }
}

#[test]
fn what_is_wrong_with_a_client_is_said_alike_by_folder_and_server() {
    let mut place = Place::new();
    place.keygen("keys");
    let check = |place: &Place| {
        let jwks = place.at("keys/jwks.json");
        let private = place.at("private.json");
        std::fs::write(&private, r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#).unwrap();
        let add = |id: &str, jwks: &str, scope: &str| {
            let output = place.client(&["add", id, "--name", "App", "--jwks", jwks, "--scope", scope]);
            assert_eq!(output.status.code(), Some(1));
            assert!(output.stdout.is_empty());
            stderr(&output)
        };
        let said = add("a", &jwks, "system/*.cruds");
        assert!(said.contains("more than reading"), "{said}");
        let said = add("a", &jwks, "system/Patient.xyz");
        assert!(said.contains("cruds"), "{said}");
        let said = add("operator", &jwks, "system/*.rs");
        assert!(said.contains("names others"), "{said}");
        let said = add("a", &private, "system/*.rs");
        assert!(said.contains("private or secret"), "{said}");
        assert!(!said.contains("c2VjcmV0"), "{said}");
        for words in [&["show", "nobody"], &["revoke", "nobody"]] {
            let said = stderr(&place.client(words));
            assert!(said.contains("no client with this id"), "{said}");
        }
    };
    check(&place);
    place.serve(&[]);
    check(&place);
}

#[test]
fn keygen_makes_keys_that_stay_private_and_are_never_replaced() {
    let place = Place::new();
    for (algorithm, kty) in [("ES384", "EC"), ("RS384", "RSA")] {
        let out = place.at(algorithm);
        let line = [
            "client",
            "keygen",
            "--out",
            &out,
            "--algorithm",
            algorithm,
            "--kid",
            "k1",
        ];
        let said = String::from_utf8(succeed(&line).stdout).unwrap();
        assert!(
            said.contains("client add") && said.contains("client token"),
            "{said}"
        );
        assert!(!said.contains("PRIVATE"), "{said}");
        let private = place.path(algorithm).join("private-key.pem");
        assert_eq!(mode(&private), 0o600);
        assert_eq!(mode(&place.path(algorithm)), 0o700);
        let pem = std::fs::read_to_string(&private).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"), "PKCS#8");
        let jwks = std::fs::read_to_string(place.path(algorithm).join("jwks.json")).unwrap();
        let jwks: Value = serde_json::from_str(&jwks).unwrap();
        assert_eq!(jwks["keys"][0]["kty"], kty);
        assert_eq!(jwks["keys"][0]["kid"], "k1");
        assert_eq!(jwks["keys"][0]["d"], Value::Null);
        let again = run(&line);
        assert_eq!(again.status.code(), Some(1));
        assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
        assert_eq!(std::fs::read_to_string(&private).unwrap(), pem);
    }
}

#[test]
fn an_assertion_is_signed_with_a_key_from_a_file_or_stdin() {
    let place = Place::new();
    place.keygen("keys");
    let key = place.at("keys/private-key.pem");
    let line = |key: &str| {
        let mut command = fhirhose(&[
            "client",
            "token",
            "--assertion-only",
            "--client-id",
            "app",
            "--key",
            key,
        ]);
        command.args(["--token-url", "https://example.org/auth/token"]);
        command
    };
    let of_file = line(&key).output().unwrap();
    assert!(of_file.status.success(), "{}", stderr(&of_file));
    let assertion = String::from_utf8(of_file.stdout).unwrap();
    assert_eq!(
        assertion.trim().split('.').count(),
        3,
        "a JWS on a line of its own"
    );
    let of_stdin = line("-")
        .stdin(Stdio::from(std::fs::File::open(&key).unwrap()))
        .output()
        .unwrap();
    assert!(of_stdin.status.success(), "{}", stderr(&of_stdin));
    assert_ne!(of_stdin.stdout, assertion.as_bytes(), "each has its own jti");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    let refused = line(&key).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let mut both = line(&key);
    both.args(["--scope", "system/*.rs"]);
    assert_eq!(
        both.output().unwrap().status.code(),
        Some(2),
        "the scope is no part of it"
    );
    let plain = run(&[
        "client",
        "token",
        "--client-id",
        "app",
        "--key",
        &key,
        "--token-url",
        "http://example.org/auth/token",
        "--scope",
        "system/*.rs",
    ]);
    assert!(stderr(&plain).contains("https"), "{}", stderr(&plain));
}

#[test]
fn a_socket_can_lie_elsewhere_when_its_path_would_be_too_long() {
    let mut place = Place::new();
    let long = place.at(&"long".repeat(30));
    let refused = run(&[
        "serve",
        "--data",
        &place.at("store"),
        "--listen",
        "127.0.0.1:0",
        "--operator-socket",
        &long,
    ]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--operator-socket"),
        "{}",
        stderr(&refused)
    );
    let occupied = place.at("occupied");
    std::fs::write(&occupied, "not a socket").unwrap();
    let refused = run(&[
        "serve",
        "--data",
        &place.at("store"),
        "--listen",
        "127.0.0.1:0",
        "--operator-socket",
        &occupied,
    ]);
    assert!(
        stderr(&refused).contains("something else"),
        "{}",
        stderr(&refused)
    );
    assert_eq!(std::fs::read_to_string(&occupied).unwrap(), "not a socket");
    let socket = place.at("elsewhere.sock");
    place.serve(&["--operator-socket", &socket]);
    let listed = place.client_json(&["list", "--operator-socket", &socket]);
    assert_eq!(listed, json!([]));
    assert!(
        run(&["jobs", "list", "--operator-socket", &socket])
            .status
            .success()
    );
    let held = place.client(&["list"]);
    assert_eq!(
        held.status.code(),
        Some(4),
        "the folder is held, and its own socket is not there"
    );
}
