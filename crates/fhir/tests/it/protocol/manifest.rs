//! The output manifest, written and read.

use fhirhose_fhir::error::ErrorKind;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};

fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn file(resource_type: &str, url: &str, count: Option<u64>) -> ManifestFile {
    ManifestFile {
        resource_type: resource_type.to_owned(),
        url: url.to_owned(),
        count,
    }
}

fn small() -> Manifest {
    Manifest {
        transaction_time: instant("2026-11-21T04:12:33.123456Z"),
        request: "https://h/fhir/$export?_type=Patient&_since=2020-01-01T00%3A00%3A00Z".to_owned(),
        requires_access_token: true,
        output: vec![file(
            "Patient",
            "https://h/fhir/$export-file/j/1.Patient.ndjson",
            Some(3),
        )],
        deleted: Vec::new(),
        error: Vec::new(),
    }
}

#[test]
fn s_10_a_manifest_has_the_shape_of_stu3() {
    let expected = concat!(
        r#"{"transactionTime":"2026-11-21T04:12:33.123456Z","#,
        r#""request":"https://h/fhir/$export?_type=Patient&_since=2020-01-01T00%3A00%3A00Z","requiresAccessToken":true,"#,
        r#""output":[{"type":"Patient","url":"https://h/fhir/$export-file/j/1.Patient.ndjson","count":3}],"error":[]}"#
    );
    assert_eq!(small().to_json(), expected);
}

#[test]
fn a_manifest_without_files_still_has_output_and_error() {
    let json = Manifest {
        output: Vec::new(),
        ..small()
    }
    .to_json();
    assert!(json.ends_with(r#""output":[],"error":[]}"#), "{json}");
}

#[test]
fn a_manifest_reads_back_as_it_was_written() {
    let manifest = Manifest {
        deleted: vec![file("Bundle", "https://h/d", Some(1))],
        error: vec![file("OperationOutcome", "https://h/e", None)],
        ..small()
    };
    assert_eq!(
        Manifest::parse(manifest.to_json().as_bytes()),
        Ok(manifest.clone())
    );
    let again: Manifest = serde_json::from_str(&manifest.to_json()).expect("serde reads it too");
    assert_eq!(again, manifest);
}

#[test]
fn the_manifest_of_the_overview_is_read() {
    let body = br#"{"transactionTime":"2023-06-15T13:28:17.239+00:00","request":"https://h/fhir/$export","requiresAccessToken":true,
        "output":[{"type":"Patient","url":"https://s/Patient.ndjson"},{"type":"Encounter","url":"https://s/Encounter.ndjson"}],"error":[]}"#;
    let manifest = Manifest::parse(body).expect("a manifest");
    assert_eq!(manifest.transaction_time, instant("2023-06-15T13:28:17.239Z"));
    assert_eq!(
        manifest.output[1],
        file("Encounter", "https://s/Encounter.ndjson", None)
    );
}

#[test]
fn the_shape_of_stu4_is_read() {
    let body = br#"{"transactionTime":"2026-01-01T00:00:00Z","requiresAccessToken":false,"manifestType":"x","outputFormat":"application/fhir+ndjson",
        "output":[{"type":"NutritionProduct","url":"n","count":1,"fileSize":9}],"deleted":[{"url":"d"}],
        "outcome":[{"url":"o","countSeverity":[{"code":"error","count":2}]}],"extension":[],"link":[]}"#;
    let manifest = Manifest::parse(body).expect("a manifest");
    assert_eq!(manifest.request, "");
    assert_eq!(
        manifest.output,
        [file("NutritionProduct", "n", Some(1))],
        "a type that R4 does not know is kept"
    );
    assert_eq!(manifest.deleted, [file("Bundle", "d", None)]);
    assert_eq!(manifest.error, [file("OperationOutcome", "o", None)]);
}

#[test]
fn loose_values_of_other_servers_are_read() {
    let body = br#"{"transactionTime":"2026-01-01T00:00:00+02:00","request":"r","requiresAccessToken":"true",
        "output":[{"type":"Patient","url":"/p","count":"7"},{"type":"Patient","url":"/q","count":null}],"deleted":null,"extension":{}}"#;
    let manifest = Manifest::parse(body).expect("a manifest");
    assert!(manifest.requires_access_token);
    assert_eq!(
        manifest.output,
        [file("Patient", "/p", Some(7)), file("Patient", "/q", None)]
    );
}

#[test]
fn f_05_a_missing_token_flag_sends_no_token() {
    let manifest = Manifest::parse(br#"{"transactionTime":"2026-01-01T00:00:00Z"}"#).expect("a manifest");
    assert!(!manifest.requires_access_token);
}

#[track_caller]
fn check_refused(members: &str, kind: ErrorKind) {
    let body = format!(r#"{{"transactionTime":"2026-01-01T00:00:00Z","requiresAccessToken":true{members}}}"#);
    assert_eq!(
        Manifest::parse(body.as_bytes()).expect_err(members).kind(),
        kind,
        "{members}"
    );
}

#[test]
fn what_would_be_lost_is_refused() {
    check_refused(
        r#","link":[{"relation":"next","url":"https://h/2"}]"#,
        ErrorKind::Unsupported,
    );
    check_refused(
        r#","outputOrganizedBy":"Patient","output":[{"url":"u"}]"#,
        ErrorKind::Unsupported,
    );
}

#[test]
fn a_file_needs_a_url_and_a_type_that_is_safe_in_a_file_name() {
    for members in [
        r#","output":[{"type":"Patient"}]"#,
        r#","output":[{"type":"Patient","url":""}]"#,
        r#","output":[{"url":"u"}]"#,
        r#","output":[{"type":"","url":"u"}]"#,
        r#","error":[{"type":"../../etc/passwd","url":"u"}]"#,
        r#","deleted":[{"type":"a.b","url":"u"}]"#,
    ] {
        check_refused(members, ErrorKind::Invalid);
    }
}

#[test]
fn what_is_no_manifest_is_an_error() {
    check_refused(
        r#","output":[{"type":"Patient","url":"u","count":-1}]"#,
        ErrorKind::Json,
    );
    check_refused(r#","output":{}"#, ErrorKind::Json);
    check_refused(r#","transactionTime":"2026-01-01T00:00:00Z""#, ErrorKind::Json);
    for body in ["", "{}", "[]", "<html>"] {
        assert_eq!(
            Manifest::parse(body.as_bytes()).expect_err(body).kind(),
            ErrorKind::Json
        );
    }
    for time in ["2026-01-01", "2026-01-01T00:00:00", "now"] {
        let body = format!(r#"{{"transactionTime":"{time}"}}"#);
        assert_eq!(
            Manifest::parse(body.as_bytes()).expect_err(time).kind(),
            ErrorKind::Invalid
        );
    }
}
