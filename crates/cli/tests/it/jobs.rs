//! `fhirhose jobs` against a running server, by the real binary.

use crate::http::{exchange, free_port, wait_for_health};
use crate::sample::{fhirhose, run, succeed};
use crate::served::Served;
use serde_json::Value;
use std::process::{Command, Stdio};

/// A server over a small store, ended with the test.
struct Server {
    served: Served,
    url: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(
            at("Patient.ndjson"),
            "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n",
        )
        .unwrap();
        succeed(&["load", "--data", &at("store"), &at("Patient.ndjson")]);
        let served = Served::start(&folder.path().join("store"), more);
        let url = format!("http://127.0.0.1:{}", served.port);
        Self { served, url, folder }
    }

    /// Kicks an export off and gives the answer as it came.
    fn kick_off(&self) -> String {
        let head = "GET /fhir/$export HTTP/1.1\r\nHost: localhost\r\nAccept: application/fhir+json\r\n\
                    Prefer: respond-async\r\nConnection: close\r\n\r\n";
        exchange(self.served.port, head).expect("an answer")
    }

    fn jobs(&self, arguments: &[&str]) -> String {
        let mut line = vec!["jobs"];
        line.extend(arguments);
        line.extend(["--server", &self.url]);
        String::from_utf8(succeed(&line).stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let mut line = arguments.to_vec();
        line.push("--json");
        serde_json::from_str(&self.jobs(&line)).unwrap()
    }
}

#[test]
fn jobs_are_listed_and_shown() {
    let server = Server::start(&[]);
    assert!(server.kick_off().starts_with("HTTP/1.1 202"), "it is accepted");
    let list = server.json(&["list", "--kind", "export"]);
    let id = list["jobs"][0]["id"].as_str().unwrap();
    assert_eq!(list["jobs"][0]["client"], "127.0.0.1");
    let table = server.jobs(&["list", "--limit", "10"]);
    assert!(table.starts_with("id\tkind\tstate\tclient"), "{table}");
    assert!(table.contains(id), "{table}");
    let shown = server.jobs(&["show", id]);
    assert!(shown.contains(&format!("id\t{id}\n")), "{shown}");
    assert_eq!(server.json(&["show", id])["kind"], "export");
    assert_eq!(
        server.json(&["list", "--state", "paused"])["jobs"],
        Value::Array(Vec::new())
    );
}

#[test]
fn a_jobs_action_that_is_refused_says_why() {
    let server = Server::start(&[]);
    let id = "0123456789abcdef0123456789abcdef";
    for action in ["show", "pause", "resume", "cancel"] {
        let output = run(&["jobs", action, id, "--server", &server.url]);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("404") && said.contains("no such job"), "{said}");
        assert!(output.stdout.is_empty());
    }
    let output = run(&["jobs", "list", "--state", "unheard", "--server", &server.url]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("the states are"), "{said}");
}

#[test]
fn a_data_folder_counts_more_than_the_server_that_is_set_for_all_commands() {
    let server = Server::start(&[]);
    let at = |name: &str| server.folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        at("elsewhere.toml"),
        "[jobs.list]\nserver = \"http://127.0.0.1:1\"\n",
    )
    .unwrap();
    let (store, config) = (at("store"), at("elsewhere.toml"));
    let over_socket = ["jobs", "list", "--data", &store];
    let with_file = ["jobs", "list", "--data", &store, "--config", &config];
    let set = |line: &[&str], url: &str, token_file: Option<&str>| {
        let mut command = fhirhose(line);
        command.env("FHIRHOSE_SERVER", url);
        token_file.map(|file| command.env("FHIRHOSE_TOKEN_FILE", file));
        command.output().unwrap()
    };
    assert!(
        set(&over_socket, "http://127.0.0.1:1", Some("/nowhere"))
            .status
            .success()
    );
    assert!(run(&with_file).status.success());
    assert!(set(&["jobs", "list"], &server.url, None).status.success());
    assert!(
        !set(&["jobs", "list"], &server.url, Some("/nowhere"))
            .status
            .success()
    );
    let both = ["jobs", "list", "--data", &store, "--server", &server.url];
    assert_eq!(
        run(&both).status.code(),
        Some(2),
        "two places contradict each other"
    );
}

#[test]
fn a_server_may_open_as_many_files_as_the_system_allows() {
    let mut server = Server::start(&[]);
    server.served.child.kill().unwrap();
    server.served.child.wait().unwrap();
    let (store, port) = (server.folder.path().join("store"), free_port());
    let few = "ulimit -S -n 100 && exec \"$0\" serve --data \"$1\" --listen \"$2\"";
    server.served.child = Command::new("sh")
        .args(["-c", few, env!("CARGO_BIN_EXE_fhirhose")])
        .arg(store)
        .arg(format!("127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_health(&mut server.served.child, port);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.served.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[3], words[4], "{words:?}");
}

#[test]
fn limits_of_the_settings_file_hold() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fhirhose.toml");
    std::fs::write(&file, "[serve]\njobs-kept-max = 1\n").unwrap();
    // The load counts: its job is kept.
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    let answer = server.kick_off();
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("retry-after: 30"),
        "{answer}"
    );
}
