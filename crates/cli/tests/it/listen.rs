//! What `fhirhose serve` refuses to listen with, and the way out that it names.

use crate::sample::run;

/// The last words of a server that does not start.
fn refused(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    let mut line = vec!["serve", "--data", data.to_str().unwrap()];
    line.extend(flags);
    let output = run(&line);
    assert!(!output.status.success(), "{flags:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_would_cross_a_network_in_plain_text_is_refused_with_the_way_out() {
    for (flags, way_out) in [
        (
            &["--listen", "0.0.0.0:0"][..],
            "--auth none serves this machine only",
        ),
        (
            &["--auth", "smart", "--listen", "0.0.0.0:0"],
            "--tls-cert and --tls-key",
        ),
        (&["--behind-proxy"], "--trusted-proxy"),
        (&["--behind-proxy", "--trusted-proxy", "10.0.0.5"], "--auth smart"),
        (
            &["--auth", "smart", "--behind-proxy", "--trusted-proxy", "10.0.0.5"],
            "--base-url",
        ),
        (&["--trusted-proxy", "10.0.0.5"], "--behind-proxy"),
        (
            &["--behind-proxy", "--trusted-proxy", "proxy.example"],
            "neither an address",
        ),
        (&["--forwarded-by", "forwarded"], "--behind-proxy"),
        (&["--tls-cert", "cert.pem"], "--tls-key"),
        (
            &["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"],
            "--tls-cert: reading nowhere.pem",
        ),
    ] {
        let text = refused(flags);
        assert!(text.contains(way_out), "{flags:?}: {text}");
    }
}
