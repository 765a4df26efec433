//! The sample data, the binary, and how exports are compared.

use crate::http::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Writes the sample data as plain NDJSON, one file a type.
pub(crate) fn write_population(out: &Path) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100");
    std::fs::create_dir_all(out).unwrap();
    for entry in std::fs::read_dir(&sample).expect("the sample data lies beside the checkout") {
        let path = entry.unwrap().path();
        let text = zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap();
        std::fs::write(out.join(path.file_stem().unwrap()), text).unwrap();
    }
}

/// The binary with these arguments, without the settings of whoever runs the tests.
pub(crate) fn fhirhose(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhirhose"));
    command
        .args(arguments)
        .env_clear()
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    fhirhose(arguments).output().expect("the binary runs")
}

/// Runs the binary, which must succeed.
pub(crate) fn succeed(arguments: &[&str]) -> Output {
    let output = run(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Starts the binary and does not wait.
pub(crate) fn start(arguments: &[&str]) -> Child {
    fhirhose(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Sends a signal at once.
pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for a process that is to end, and gives what it said. For one that says little: nobody empties its pipes before.
pub(crate) fn ended(mut child: Child) -> Output {
    eventually("the end of a process", || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What an exported folder holds: file → lines, without version and time, which differ from load to load.
pub(crate) fn exported(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let is_log = path.ends_with("log.ndjson");
        if !is_log && path.extension().is_some_and(|extension| extension == "ndjson") {
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            let lines = file.lines().map(|line| without_version(&line.unwrap())).collect();
            files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), lines);
        }
    }
    files
}

/// Cuts `meta.versionId` and `meta.lastUpdated` out of a line, as text: every other byte counts.
pub(crate) fn without_version(line: &str) -> String {
    let start = line
        .find(r#""versionId":""#)
        .expect("every exported resource has a version");
    let time = line[start..]
        .find(r#""lastUpdated":""#)
        .map(|at| start + at)
        .expect("and a time");
    let end = time + r#""lastUpdated":"2026-11-21T00:00:00.000000Z""#.len();
    format!("{}{}", &line[..start], &line[end..])
}

/// Fails with the first difference, without printing resources.
pub(crate) fn assert_same(
    expected: &BTreeMap<String, Vec<String>>,
    actual: &BTreeMap<String, Vec<String>>,
    what: &str,
) {
    let names = |files: &BTreeMap<String, Vec<String>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(actual), "{what}: other files");
    for (name, lines) in expected {
        assert_eq!(
            lines.len(),
            actual[name].len(),
            "{what}: {name} has another number of lines"
        );
        let differs = lines
            .iter()
            .zip(&actual[name])
            .position(|(left, right)| left != right);
        assert_eq!(differs, None, "{what}: {name} differs at this line (from 0)");
    }
}
