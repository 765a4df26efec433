//! Flags of `serve` about authorization: one that would mean nothing is refused, not passed over.

use crate::sample::run;

#[track_caller]
fn check_refused(flags: &[&str], code: i32, told: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    let mut arguments = vec![
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        data.to_str().unwrap(),
    ];
    arguments.extend(flags);
    let output = run(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{flags:?}: {stderr}");
    assert!(stderr.contains(told), "{flags:?}: {stderr}");
}

#[test]
fn flags_of_another_mode_are_refused() {
    check_refused(
        &["--token-secs", "60"],
        1,
        "--token-secs has no meaning with --auth none",
    );
    check_refused(
        &["--auth", "smart", "--issuer", "https://login.example.org"],
        1,
        "--issuer has no meaning with --auth smart",
    );
    let external = ["--auth", "external", "--issuer", "https://login.example.org"];
    check_refused(
        &[&external[..], &["--assertion-algorithms", "ES384"]].concat(),
        1,
        "--assertion-algorithms has no meaning with --auth external",
    );
}

#[test]
fn settings_that_lack_something_or_go_too_far_are_refused() {
    check_refused(&["--auth", "external"], 1, "--issuer");
    check_refused(&["--auth", "smart", "--token-secs", "3601"], 1, "3600");
    check_refused(
        &["--auth", "smart", "--assertion-algorithms", "HS256"],
        2,
        "ES384",
    );
    check_refused(
        &[
            "--auth",
            "external",
            "--issuer",
            "https://login.example.org",
            "--issuer-introspection-url",
            "https://login.example.org/introspect",
            "--issuer-client-id",
            "fhirhose",
        ],
        1,
        "--issuer-secret-file",
    );
}
