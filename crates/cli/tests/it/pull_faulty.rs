//! `fhirhose pull` on a terminal, and on a full disk.

use crate::client::stderr;
use crate::commands::SmallDisk;
use crate::faulty::{Ehr, patients, sample};
use crate::sample::{run, succeed, text};
use fhirhose_client::testing::{EhrSettings, Manner, Place, SlowBodies, SourceFile};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn on_a_terminal_bars_tell_how_far_the_files_are() {
    let small = SourceFile::output("Basic", "{\"resourceType\":\"Basic\",\"id\":\"b\"}\n");
    let pause = Duration::from_millis(20);
    let ehr = Ehr::start(EhrSettings {
        files: vec![patients(1_500), small],
        manner: Manner {
            slow_bodies: Some(SlowBodies { bytes: 10_000, pause }),
            ..Manner::default()
        },
        script: Vec::new(),
    });
    let folder = tempfile::tempdir().unwrap();
    let (binary, base, out) = (
        env!("CARGO_BIN_EXE_fhirhose"),
        ehr.base(),
        folder.path().join("out"),
    );
    let line = format!(
        "stty rows 40 cols 150; '{binary}' pull {base} --out '{}'",
        out.display()
    );
    // Part of every Debian: it runs a command on a terminal of its own.
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .expect("script is installed");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}");
    for part in [
        "1.Patient.ndjson [",
        "/s",
        "about",
        " left",
        "0/2 files [",
        "1/2 files [",
    ] {
        assert!(shown.contains(part), "{part} in {shown:?}");
    }
    assert!(std::fs::read(out.join("1.Patient.ndjson")).unwrap() == ehr.files()[0].text);
}

#[test]
fn a_full_disk_ends_a_pull_with_5_and_the_same_command_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let ehr = Ehr::with(sample(&folder.path().join("population"), 1_000_000));
    let disk = SmallDisk::mount(&folder.path().join("disk"), "3m");
    let (base, out) = (ehr.base(), folder.path().join("disk/out"));
    let line = ["pull", &base, "--out", text(&out)];
    let full = run(&line);
    assert_eq!(full.status.code(), Some(5), "{}", stderr(&full));
    assert!(stderr(&full).contains("free some space"), "{}", stderr(&full));
    disk.grow("100m");
    succeed(&line);
    for file in ehr.files() {
        let name = format!("1.{}.ndjson", file.resource_type);
        assert!(std::fs::read(out.join(&name)).unwrap() == file.text, "{name}");
    }
    assert_eq!(ehr.asked_at(Place::KickOff).len(), 1, "the same export");
}
