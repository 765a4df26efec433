//! What lies on the disk: for its owner alone, encrypted where that is asked for.

use crate::http::{exchange, finished, free_port, get, wait_for_health};
use crate::sample::{fhirhose, succeed};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const NEW_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A temporary folder with a loaded store in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(load: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Where others may look unless the program sees to it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let place = Self { folder };
        open_handed(&["generate", "--patients", "5", "--out", &place.at("population")]);
        let (data, population) = (place.at("data"), place.at("population"));
        let mut line = vec!["load", "--data", &data, &population];
        line.extend(load);
        open_handed(&line);
        place
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Serves; what it says goes to the file `log`.
    fn serve(&self, more: &[&str]) -> (Child, u16) {
        let (port, data) = (free_port(), self.at("data"));
        let listen = format!("127.0.0.1:{port}");
        let mut line = vec![
            "serve",
            "--data",
            &data,
            "--listen",
            &listen,
            "--headers",
            "default",
        ];
        line.extend(more);
        let log = std::fs::File::create(self.at("log")).unwrap();
        let mut child = shell(&line).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        wait_for_health(&mut child, port);
        (child, port)
    }
}

/// The binary, started by somebody whose new files all may read and write.
fn shell(arguments: &[&str]) -> Command {
    let binary = fhirhose(arguments);
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(binary.get_program())
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

fn open_handed(arguments: &[&str]) {
    let output = shell(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Exports over HTTP and gives the URLs of the files.
fn export(port: u16) -> Vec<String> {
    let (status, location) = kick_off(port);
    assert_eq!(status, 202);
    let (status, body) = finished(&location);
    assert_eq!(status, 200, "{body}");
    let manifest: Value = serde_json::from_str(&body).unwrap();
    let files = manifest["output"].as_array().unwrap();
    let url = |file: &Value| file["url"].as_str().unwrap().to_owned();
    files.iter().map(url).collect()
}

fn kick_off(port: u16) -> (u16, String) {
    let head = "GET /fhir/$export HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = exchange(port, head).expect("an answer");
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let location = answer.lines().find_map(|line| {
        line.to_lowercase()
            .starts_with("content-location: ")
            .then(|| line[18..].to_owned())
    });
    (status, location.unwrap_or_default())
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn whatever_a_command_makes_is_for_its_owner_alone() {
    let place = Place::new(&[]);
    let bad = place.at("bad.ndjson");
    std::fs::write(&bad, "{\"resourceType\":\"Patient\",\"id\":\"-!\"}\n").unwrap();
    // Reports of refused lines are files too; the exit code says that there are some.
    let _ = shell(&["load", "--data", &place.at("data"), &bad])
        .output()
        .unwrap();
    open_handed(&["export", "--data", &place.at("data"), "--out", &place.at("files")]);
    let (mut server, port) = place.serve(&[]);
    assert!(!export(port).is_empty());
    // Killed, so that what is only there while it runs is looked at as well.
    server.kill().unwrap();
    server.wait().unwrap();
    let mut seen = 0;
    for made in ["population", "data", "files"] {
        for path in files_below(&place.folder.path().join(made)) {
            let metadata = std::fs::metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{} has mode {mode:03o}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} files and folders");
}

#[test]
fn output_files_are_encrypted_with_the_key_and_keys_can_be_changed() {
    let place = Place::new(&["--output-key-command", &format!("echo {KEY}")]);
    let key_file = |name: &str, text: &str| {
        let path = place.at(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let old = key_file("old.key", &format!("# made by hand\n{KEY}\n"));
    let both = key_file("both.key", &format!("{NEW_KEY}\n{KEY}\n"));

    let (mut server, port) = place.serve(&["--output-key-file", &old]);
    let urls = export(port);
    let texts: Vec<_> = urls.iter().map(|url| get(url)).collect();
    assert!(
        texts
            .iter()
            .all(|(status, text)| *status == 200 && text.starts_with('{'))
    );
    server.kill().unwrap();
    server.wait().unwrap();
    let mut sealed = 0;
    for path in files_below(&place.folder.path().join("data/outputs")) {
        if path.is_file() {
            assert!(
                std::fs::read(&path).unwrap().ends_with(b"fhirenc1"),
                "{}",
                path.display()
            );
            sealed += 1;
        }
    }
    assert!(sealed >= urls.len(), "{sealed} files");

    let moved = |url: &str, port: u16| {
        let (_, path) = url.split_once("/fhir/").unwrap();
        get(&format!("http://127.0.0.1:{port}/fhir/{path}"))
    };
    // Without the key nothing is served, and the log says what is missing.
    let (mut server, port) = place.serve(&[]);
    assert_eq!(moved(&urls[0], port).0, 500);
    server.kill().unwrap();
    server.wait().unwrap();
    let log = std::fs::read_to_string(place.at("log")).unwrap();
    assert!(log.contains("--output-key-file"), "{log}");
    // With a new key before it, the old one still opens what it sealed.
    let (mut server, port) = place.serve(&["--output-key-file", &both]);
    for (url, expected) in urls.iter().zip(&texts) {
        assert!(moved(url, port) == *expected);
    }
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_key_that_others_can_read_is_refused_and_not_shown() {
    let place = Place::new(&[]);
    let path = place.at("open.key");
    std::fs::write(&path, KEY).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    for arguments in [
        ["--output-key-file", &path],
        ["--output-key-command", "echo too short"],
    ] {
        let (data, out) = (place.at("data"), place.at("out"));
        let mut line = vec!["export", "--data", &data, "--out", &out];
        line.extend(arguments);
        let output = fhirhose(&line).env("PATH", "/usr/bin:/bin").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains(KEY) && said.contains("output key"), "{said}");
    }
    succeed(&["export", "--data", &place.at("data"), "--out", &place.at("out")]);
}
