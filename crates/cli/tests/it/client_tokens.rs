//! Registered clients with tokens, and the operator, before a server with authorization; by the real binary.

use crate::client::{Place, mode, stderr};
use crate::http::exchange;
use crate::sample::run;
use rustix::process::Signal;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

impl Place {
    /// Makes a store and a server over it.
    fn serving(more: &[&str]) -> Self {
        let mut place = Self::new();
        place.serve(more);
        place
    }

    fn rotate(&self, id: &str, keys: &str, more: &[&str]) {
        let jwks = self.at(&format!("{keys}/jwks.json"));
        let mut line = vec!["rotate", id, "--jwks", &jwks];
        line.extend(more);
        self.client_json(&line);
    }

    /// Asks the server for a token with the key of this folder.
    fn token(&self, id: &str, keys: &str, scope: &str) -> Result<String, String> {
        let url = format!("http://127.0.0.1:{}/auth/token", self.port);
        let key = self.at(&format!("{keys}/private-key.pem"));
        let output = run(&[
            "client",
            "token",
            "--token-url",
            &url,
            "--client-id",
            id,
            "--key",
            &key,
            "--scope",
            scope,
        ]);
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned()),
            false => Err(stderr(&output)),
        }
    }

    /// Asks the server with a token and gives the status.
    fn status(&self, path: &str, token: &str) -> u16 {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/fhir+json\r\n\
             Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(self.port, &head).expect("an answer");
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn revoking_takes_effect_with_the_next_request() {
    let place = Place::serving(&["--auth", "smart"]);
    place.keygen("keys");
    place.add("app", "keys", &["--scope", "system/*.rs"]);
    let token = place.token("app", "keys", "system/Patient.rs").unwrap();
    assert_eq!(place.status("/fhir/Patient", &token), 200);
    assert_eq!(place.client_json(&["revoke", "app"])["standing"], "revoked");
    assert_eq!(place.status("/fhir/Patient", &token), 401);
    let said = place.token("app", "keys", "system/Patient.rs").unwrap_err();
    assert!(said.contains("invalid_client"), "{said}");
}

#[test]
fn rotated_keys_end_at_once_or_overlap_a_14() {
    let place = Place::serving(&["--auth", "smart"]);
    for keys in ["first", "second", "third"] {
        place.keygen(keys);
    }
    place.add("app", "first", &["--scope", "system/*.rs"]);
    let of_first = place.token("app", "first", "system/*.rs").unwrap();
    place.rotate("app", "second", &["--keep"]);
    assert_eq!(place.status("/fhir/Patient", &of_first), 200);
    place.token("app", "first", "system/*.rs").unwrap();
    let of_second = place.token("app", "second", "system/*.rs").unwrap();
    assert_eq!(place.status("/fhir/Patient", &of_second), 200);
    place.rotate("app", "third", &[]);
    for token in [&of_first, &of_second] {
        assert_eq!(place.status("/fhir/Patient", token), 401);
    }
    for keys in ["first", "second"] {
        let said = place.token("app", keys, "system/*.rs").unwrap_err();
        assert!(said.contains("invalid_client"), "{said}");
    }
    let of_third = place.token("app", "third", "system/*.rs").unwrap();
    assert_eq!(place.status("/fhir/Patient", &of_third), 200);
}

#[test]
fn the_operator_needs_no_token_over_the_socket_and_one_over_the_network() {
    let mut place = Place::serving(&["--auth", "smart"]);
    let socket = place.path("store/operator.sock");
    assert_eq!(mode(&socket), 0o600);
    let jobs = |place: &Place, more: &[&str]| {
        let store = place.at("store");
        let mut line = vec!["jobs", "list", "--json"];
        match more.is_empty() {
            true => line.extend(["--data", &store]),
            false => line.extend(more),
        }
        run(&line)
    };
    let listed = jobs(&place, &[]);
    assert!(listed.status.success(), "{}", stderr(&listed));
    let url = format!("http://127.0.0.1:{}", place.port);
    let refused = jobs(&place, &["--server", &url]);
    assert!(stderr(&refused).contains("401"), "{}", stderr(&refused));
    place.keygen("keys");
    place.add("ops", "keys", &["--scope", "system/operator", "--allow-write"]);
    let token = place.token("ops", "keys", "system/operator").unwrap();
    std::fs::write(place.path("token"), token).unwrap();
    std::fs::set_permissions(place.path("token"), PermissionsExt::from_mode(0o600)).unwrap();
    let by_token = jobs(&place, &["--server", &url, "--token-file", &place.at("token")]);
    assert!(by_token.status.success(), "{}", stderr(&by_token));
    // A crash leaves the socket; the next server replaces it, and takes it along when it ends as it should.
    place.end(Signal::KILL);
    assert!(
        std::fs::symlink_metadata(&socket)
            .unwrap()
            .file_type()
            .is_socket()
    );
    let nobody = jobs(&place, &[]);
    assert!(
        stderr(&nobody).contains("no server answers"),
        "{}",
        stderr(&nobody)
    );
    place.serve(&["--auth", "smart"]);
    assert!(jobs(&place, &[]).status.success());
    place.end(Signal::TERM);
    assert!(!socket.exists());
}
