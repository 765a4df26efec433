//! What the README tells its readers to type, typed.

use crate::http::{eventually, free_port};
use crate::sample::succeed;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The shell blocks of a section, without what is said between them.
fn blocks(section: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let from = text
        .find(&format!("\n## {section}\n"))
        .expect("the section is there");
    let section = &text[from + 1..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let pieces = section.split("```sh\n").skip(1);
    let block = |piece: &str| piece.split("```").next().unwrap().to_owned();
    pieces.map(block).collect()
}

/// Bash in a folder, with the built binary as `fhirhose`.
fn bash(folder: &Path, script: &str) -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_fhirhose")).parent().unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", binary.display()),
        )
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn typed(folder: &Path, script: &str) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = bash(folder, script).output().expect("bash runs");
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{script}\n{said}");
    String::from_utf8(stdout).unwrap()
}

/// A server that ends with the test.
struct Server(Child);

impl Server {
    fn start(folder: &Path, script: &str, port: u16) -> Self {
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = bash(folder, &format!("exec {script}"));
        let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        eventually("a server that takes connections", || {
            let said = || std::fs::read_to_string(folder.join("log")).unwrap();
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself: {}", said());
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then the test has failed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_walk_with_authorization_is_as_the_readme_has_it_a_20_a_29_a_50() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let folder = folder.path();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    succeed(&["generate", "--patients", "30", "--out", &at("population")]);
    succeed(&["load", "--data", &at("store"), &at("population")]);
    let blocks: Vec<String> = blocks("With authorization")
        .iter()
        .map(|block| block.replace("8443", &port.to_string()))
        .collect();
    let [setting_up, serving, exporting, changing] = blocks.as_slice() else {
        panic!("the section has other blocks than this test knows");
    };
    typed(folder, setting_up);
    let server = Server::start(folder, serving, port);
    let counted = typed(folder, exporting);
    for name in ["1.Patient.ndjson", "1.Condition.ndjson"] {
        assert!(counted.contains(name), "{counted}");
        let line = std::fs::read_to_string(folder.join(name)).unwrap();
        assert!(line.starts_with("{\"resourceType\":"), "a resource a line");
    }
    let changed = typed(folder, changing);
    assert!(changed.contains("my-app\tactive"), "{changed}");
    assert!(changed.contains("standing\trevoked"), "{changed}");
    let log = std::fs::read_to_string(folder.join("log")).unwrap();
    for secret in ["eyJ", "PRIVATE KEY", "Bearer"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    drop(server);
}

#[test]
fn a_pull_is_as_the_readme_has_it() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let folder = folder.path();
    let blocks: Vec<String> = blocks("Pull")
        .iter()
        .map(|block| block.replace("8080", &port.to_string()))
        .collect();
    let [making, serving, pulling] = blocks.as_slice() else {
        panic!("the section has other blocks than this test knows");
    };
    typed(folder, making);
    let served = format!("{} --listen 127.0.0.1:{port}", serving.trim());
    let server = Server::start(folder, &served, port);
    let told = typed(folder, pulling);
    let report = told.lines().last().unwrap();
    assert!(
        report.contains("\"event\":\"report\"") && report.contains("\"whole\":true"),
        "{report}"
    );
    for name in [
        "files/1.Patient.ndjson",
        "diabetes/1.Condition.ndjson",
        "everything/manifest.json",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    drop(server);
}
