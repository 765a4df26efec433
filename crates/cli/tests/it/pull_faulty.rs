//! `fhirhose pull` on a terminal, and on a full disk.

use crate::client::stderr;
use crate::commands::SmallDisk;
use crate::faulty::{Ehr, patients, sample};
use crate::sample::{run, succeed, text};
use fhirhose_client::testing::{EhrSettings, ManifestShape, Manner, Place, SlowBodies, SourceFile};
use indicatif::HumanBytes;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a pull shows on a terminal of its own.
fn shown(base: &str, out: &Path) -> String {
    let binary = env!("CARGO_BIN_EXE_fhirhose");
    let line = format!(
        "stty rows 40 cols 150; '{binary}' pull {base} --out '{}'",
        out.display()
    );
    // Part of every Debian: it runs a command on a terminal.
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .output()
        .expect("script is installed");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn on_a_terminal_bars_tell_how_far_the_files_are() {
    let folder = tempfile::tempdir().unwrap();
    let large = patients(1_500);
    let total = format!(" KiB/{} ", HumanBytes(large.text.len() as u64));
    // Of these the one says how long its files are, and the other does not.
    for (out, shape) in [("sized", ManifestShape::Stu4), ("unsized", ManifestShape::Stu3)] {
        let small = SourceFile::output("Basic", "{\"resourceType\":\"Basic\",\"id\":\"b\"}\n");
        let pause = Duration::from_millis(20);
        let ehr = Ehr::start(EhrSettings {
            files: vec![large.clone(), small],
            manner: Manner {
                shape,
                takes: Duration::from_millis(600),
                slow_bodies: Some(SlowBodies { bytes: 10_000, pause }),
                ..Manner::default()
            },
            script: Vec::new(),
        });
        let out = folder.path().join(out);
        let shown = shown(&ehr.base(), &out);
        let sized = ["1.Patient.ndjson [", " KiB/s ", "1/2 files [", " about "];
        assert!(
            sized.iter().all(|part| shown.contains(part)),
            "{shape:?}: {shown:?}"
        );
        assert_eq!(
            shown.contains(&total),
            shape == ManifestShape::Stu4,
            "{shape:?}: {shown:?}"
        );
        // Before anything is known the bar is empty, and nobody says when it will be full.
        let waiting = shown.split("0/0 files [                        ] 0 B 0 B/s ");
        assert!(
            waiting.skip(1).any(|rest| rest.starts_with("  ")),
            "{shape:?}: {shown:?}"
        );
        let is_left = |rest: &str| {
            let secs = rest.split_once("s left");
            secs.is_some_and(|(secs, _)| secs.parse::<u32>().is_ok())
        };
        assert!(
            shown.split(" about ").skip(1).any(is_left),
            "{shape:?}: {shown:?}"
        );
        assert!(std::fs::read(out.join("1.Patient.ndjson")).unwrap() == ehr.files()[0].text);
    }
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
