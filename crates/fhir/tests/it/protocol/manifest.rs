//! The output manifest, written and read.

use fhirhose_fhir::error::ErrorKind;
use fhirhose_fhir::export_request::Wire;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};
use fhirhose_fhir::outcome::Severity;
use fhirhose_fhir::resource_type::ResourceType;
use serde_json::{Value, json};

fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn file(resource_type: &str, url: &str, count: Option<u64>) -> ManifestFile {
    ManifestFile {
        resource_type: Some(resource_type.to_owned()),
        url: url.to_owned(),
        count,
        ..ManifestFile::default()
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
        output_organized_by: None,
        next: None,
    }
}

/// Everything that a manifest can have.
fn full() -> Manifest {
    let patient = ManifestFile {
        file_size: Some(70),
        sha256: Some("0a".repeat(32)),
        ..file("Patient", "https://h/1", Some(3))
    };
    let outcomes = ManifestFile {
        severities: vec![(Severity::Error, 1), (Severity::Warning, 2)],
        ..file("OperationOutcome", "https://h/e", Some(3))
    };
    Manifest {
        output: vec![patient],
        deleted: vec![file("Bundle", "https://h/d", Some(1))],
        error: vec![outcomes],
        next: Some("https://h/fhir/$export-status/j?page=2".to_owned()),
        ..small()
    }
}

fn organised() -> Manifest {
    let block = |url: &str, next: Option<&str>| ManifestFile {
        url: url.to_owned(),
        continues_in_file: next.map(str::to_owned),
        ..ManifestFile::default()
    };
    Manifest {
        output_organized_by: Some(ResourceType::PATIENT),
        output: vec![
            block("https://h/1", Some("https://h/2")),
            block("https://h/2", None),
        ],
        ..small()
    }
}

#[test]
fn s_10_a_manifest_has_the_shape_of_stu3() {
    let expected = concat!(
        r#"{"transactionTime":"2026-11-21T04:12:33.123456Z","#,
        r#""request":"https://h/fhir/$export?_type=Patient&_since=2020-01-01T00%3A00%3A00Z","requiresAccessToken":true,"#,
        r#""output":[{"type":"Patient","url":"https://h/fhir/$export-file/j/1.Patient.ndjson","count":3}],"error":[]}"#
    );
    assert_eq!(small().to_json(Wire::Stu3), expected);
}

#[test]
fn a_manifest_without_files_still_has_output_and_error() {
    let json = Manifest {
        output: Vec::new(),
        ..small()
    }
    .to_json(Wire::Stu3);
    assert!(json.ends_with(r#""output":[],"error":[]}"#), "{json}");
}

#[test]
fn stu4_has_its_own_shape() {
    let expected = json!({
        "transactionTime": "2026-11-21T04:12:33.123456Z",
        "requiresAccessToken": true,
        "manifestType": "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/BulkDataManifest",
        "outputFormat": "application/fhir+ndjson",
        "output": [{"type": "Patient", "url": "https://h/1", "count": 3, "fileSize": 70, "extension":
            [{"url": "https://dpc.cms.gov/checksum", "valueString": format!("sha256:{}", "0a".repeat(32))}]}],
        "deleted": [{"url": "https://h/d", "count": 1}],
        "outcome": [{"url": "https://h/e", "count": 3, "countSeverity":
            [{"code": "error", "count": 1}, {"code": "warning", "count": 2}]}],
        "link": [{"relation": "next", "url": "https://h/fhir/$export-status/j?page=2"}],
    });
    let written: Value = serde_json::from_str(&full().to_json(Wire::Stu4)).expect("JSON");
    assert_eq!(written, expected);
    let empty = Manifest {
        output: Vec::new(),
        ..small()
    };
    let written: Value = serde_json::from_str(&empty.to_json(Wire::Stu4)).expect("JSON");
    assert_eq!(written["output"], Value::Null, "no list of FHIR is empty");
}

#[test]
fn stu3_keeps_types_everywhere_and_extensions_by_url() {
    let written: Value = serde_json::from_str(&full().to_json(Wire::Stu3)).expect("JSON");
    assert_eq!(written["deleted"][0]["type"], "Bundle");
    assert_eq!(
        written["error"],
        json!([{"type": "OperationOutcome", "url": "https://h/e", "count": 3}])
    );
    let extension = &written["output"][0]["extension"]["https://dpc.cms.gov/checksum"];
    assert_eq!(extension["valueString"], format!("sha256:{}", "0a".repeat(32)));
    assert_eq!(written["output"][0]["fileSize"], Value::Null);
    let length = &written["output"][0]["extension"]["https://dpc.cms.gov/file_length"];
    assert_eq!(length["valueDecimal"], 70);
    for stu4 in ["manifestType", "outputFormat", "outcome"] {
        assert_eq!(written[stu4], Value::Null, "{stu4}");
    }
}

#[test]
fn organised_output_has_no_types_and_says_where_it_goes_on() {
    for wire in [Wire::Stu3, Wire::Stu4] {
        let written: Value = serde_json::from_str(&organised().to_json(wire)).expect("JSON");
        assert_eq!(written["outputOrganizedBy"], "Patient");
        let expected =
            json!([{"url": "https://h/1", "continuesInFile": "https://h/2"}, {"url": "https://h/2"}]);
        assert_eq!(written["output"], expected);
    }
}

#[test]
fn m_24_a_manifest_reads_back_as_it_was_written_in_both_versions() {
    for manifest in [small(), full(), organised()] {
        let stu4 = Manifest {
            request: String::new(),
            ..manifest.clone()
        };
        assert_eq!(Manifest::parse(stu4.to_json(Wire::Stu4).as_bytes()), Ok(stu4));
        let mut stu3 = manifest;
        for file in stu3.output.iter_mut().chain(&mut stu3.error) {
            (file.file_size, file.severities) = (None, Vec::new());
        }
        assert_eq!(Manifest::parse(stu3.to_json(Wire::Stu3).as_bytes()), Ok(stu3));
    }
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
        [ManifestFile {
            file_size: Some(9),
            ..file("NutritionProduct", "n", Some(1))
        }],
        "a type that R4 does not know is kept"
    );
    assert_eq!(manifest.deleted, [file("Bundle", "d", None)]);
    assert_eq!(manifest.error[0].severities, [(Severity::Error, 2)]);
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
        r#","link":[{"relation":"next","url":"https://h/2"},{"relation":"next","url":"https://h/3"}]"#,
        ErrorKind::Unsupported,
    );
    check_refused(r#","link":[{"relation":"next"}]"#, ErrorKind::Invalid);
    check_refused(
        r#","outputOrganizedBy":"MadeUp","output":[{"url":"u"}]"#,
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
