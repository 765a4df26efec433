//! Exit codes, hints and settings.

use crate::sample::{run, succeed, text, write_population};
use crate::served::Served;
use std::path::Path;
use std::process::Output;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const PATIENT: &str =
    r#"{"resourceType":"Patient","id":"p1","multipleBirthInteger":1.00,"x-unknown":[1, 2]}"#;

#[test]
fn refused_lines_give_exit_code_3_and_lie_verbatim_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let (store, input) = (folder.path().join("store"), folder.path().join("Patient.ndjson"));
    std::fs::write(
        &input,
        format!("{PATIENT}\n{{\"resourceType\":\"Patient\",\"id\":\"p 2\"}}\n"),
    )
    .unwrap();
    let output = run(&["load", "--data", text(&store), text(&input)]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let reports = store.join("reports");
    let job = std::fs::read_dir(&reports)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let rejects = std::fs::read_to_string(job.join("1.rejects.ndjson")).unwrap();
    assert_eq!(rejects, "{\"resourceType\":\"Patient\",\"id\":\"p 2\"}\n");
    let outcomes = std::fs::read_to_string(job.join("1.outcomes.ndjson")).unwrap();
    assert!(
        outcomes.contains("OperationOutcome") && outcomes.contains("line 2"),
        "{outcomes}"
    );
}

#[test]
fn what_goes_in_comes_out_byte_for_byte_but_meta() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("Patient.ndjson"), format!("{PATIENT}\n")).unwrap();
    succeed(&["load", "--data", text(&at("store")), text(&at("Patient.ndjson"))]);
    succeed(&["export", "--data", text(&at("store")), "--out", text(&at("out"))]);
    let line = std::fs::read_to_string(at("out").join("1.Patient.ndjson")).unwrap();
    let meta = line.find(r#","meta":{"#).unwrap();
    let end = meta + line[meta..].find('}').unwrap() + 1;
    assert_eq!(
        format!("{}{}", &line[..meta], &line[end..]),
        format!("{PATIENT}\n")
    );
}

#[test]
fn a_run_file_opened_with_zstd_is_ndjson() {
    let folder = tempfile::tempdir().unwrap();
    let (store, input) = (folder.path().join("store"), folder.path().join("Patient.ndjson"));
    std::fs::write(&input, format!("{PATIENT}\n")).unwrap();
    succeed(&["load", "--data", text(&store), text(&input)]);
    let runs: Vec<_> = std::fs::read_dir(store.join("runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(runs.len(), 1);
    let output = std::process::Command::new("zstd")
        .arg("-dc")
        .arg(&runs[0])
        .output()
        .expect("zstd is installed");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{PATIENT}\n"));
}

#[test]
fn a_folder_in_use_says_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::write(folder.path().join("Patient.ndjson"), format!("{PATIENT}\n")).unwrap();
    succeed(&[
        "load",
        "--data",
        text(&store),
        text(&folder.path().join("Patient.ndjson")),
    ]);
    let server = Served::start(&store, &[]);
    let refused = run(&["store", "check", "--data", text(&store)]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let said = stderr(&refused);
    assert!(
        said.contains("serve") && said.contains(&server.child.id().to_string()) && said.contains("hint:"),
        "{said}"
    );
}

#[test]
fn a_folder_of_a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::write(folder.path().join("Patient.ndjson"), format!("{PATIENT}\n")).unwrap();
    succeed(&[
        "load",
        "--data",
        text(&store),
        text(&folder.path().join("Patient.ndjson")),
    ]);
    let format = std::fs::read_to_string(store.join("format")).unwrap();
    std::fs::write(store.join("format"), format.replacen('1', "99", 1)).unwrap();
    let output = run(&["store", "check", "--data", text(&store)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("newer"), "{}", stderr(&output));
}

#[test]
fn a_full_disk_stops_the_load_and_the_same_command_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_population(&at("population"));
    let disk = SmallDisk::mount(&at("disk"), "3m");
    let store = at("disk").join("store");
    let output = run(&[
        "load",
        "--chunk-bytes",
        "1000000",
        "--data",
        text(&store),
        text(&at("population")),
    ]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint:"), "{}", stderr(&output));
    disk.grow("300m");
    succeed(&["load", "--data", text(&store), text(&at("population"))]);
    succeed(&["store", "check", "--data", text(&store)]);
    let exported = succeed(&["export", "--data", text(&store), "--out", text(&at("out"))]);
    assert!(
        stderr(&exported).contains("38,473 resources"),
        "{}",
        stderr(&exported)
    );
}

/// A file system in memory of a fixed size; mounting it takes root, which the machines that run this have.
pub(crate) struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        command("mount", &["-t", "tmpfs", "-o", &options, "tmpfs", text(path)]);
        Self(path.to_owned())
    }

    pub(crate) fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        command("mount", &["-o", &options, text(&self.0)]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command("umount", &["--lazy", text(&self.0)]);
    }
}

fn command(program: &str, words: &[&str]) {
    let status = std::process::Command::new(program).args(words).status().unwrap();
    assert!(status.success(), "{program} {words:?}: {status}");
}

#[test]
fn flags_win_over_the_environment_and_it_over_the_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("fhirhose.toml");
    std::fs::write(&config, "[generate]\npatients = 2\nseed = 5\n").unwrap();
    let generate = |out: &str, flags: &[&str], seed: Option<&str>| {
        let out = folder.path().join(out);
        let mut words = vec!["generate", "--config", text(&config), "--out", text(&out)];
        words.extend_from_slice(flags);
        let mut command = crate::sample::fhirhose(&words);
        seed.iter().for_each(|seed| {
            command.env("FHIRHOSE_SEED", seed);
        });
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        std::fs::read(out.join("Patient.ndjson")).unwrap()
    };
    let of_file = generate("a", &[], None);
    assert_eq!(of_file, generate("b", &["--seed", "5"], None));
    let of_environment = generate("c", &[], Some("6"));
    assert_ne!(of_file, of_environment);
    assert_eq!(of_file, generate("d", &["--seed", "5"], Some("6")));
    std::fs::write(&config, "[generate]\npatiens = 2\n").unwrap();
    let output = run(&[
        "generate",
        "--config",
        text(&config),
        "--patients",
        "1",
        "--out",
        text(folder.path()),
    ]);
    assert!(
        stderr(&output).contains("patiens"),
        "a key that is no flag is named"
    );
}

#[test]
fn wrong_usage_gives_exit_code_2_and_help_has_examples() {
    assert_eq!(run(&["load", "--no-such-flag"]).status.code(), Some(2));
    let help = succeed(&["--help"]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("Examples:") && help.contains("Exit codes:"),
        "{help}"
    );
    let refused = run(&["serve", "--data", "/nonexistent/x", "--listen", "0.0.0.0:0"]);
    assert!(
        stderr(&refused).contains("this machine only"),
        "{}",
        stderr(&refused)
    );
}
