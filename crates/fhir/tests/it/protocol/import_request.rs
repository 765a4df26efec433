//! The kick-off of an import.

use super::{assert_only_issue, texts};
use fhirhose_fhir::import_request::{ImportInput, ImportRequest, InputFormat, parse_import_request};
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::resource_type::ResourceType;

const URL: &str = "https://h/fhir/$import";

fn parse(body: &str) -> Result<ImportRequest, OperationOutcome> {
    parse_import_request(body.as_bytes(), URL)
}

fn parse_inputs(parameters: &str) -> Result<ImportRequest, OperationOutcome> {
    parse(&format!(
        r#"{{"resourceType":"Parameters","parameter":[{parameters}]}}"#
    ))
}

fn seed_request() -> ImportRequest {
    let input = |name: &str| ImportInput {
        resource_type: ResourceType::parse(name),
        url: format!("https://storage.example.org/imports/{name}.ndjson"),
    };
    ImportRequest {
        input_format: InputFormat::Ndjson,
        input_source: Some("https://example.org/fhir/import-source".to_owned()),
        inputs: vec![input("Patient"), input("Encounter")],
        request_url: URL.to_owned(),
    }
}

fn seed_body(text: &str, uri: &str, code: &str, url: &str) -> String {
    format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"inputFormat","{text}":"application/fhir+ndjson"}},
        {{"name":"inputSource","{uri}":"https://example.org/fhir/import-source"}},
        {{"name":"input","part":[{{"name":"type","{code}":"Patient"}},
            {{"name":"url","{url}":"https://storage.example.org/imports/Patient.ndjson"}}]}},
        {{"name":"input","part":[{{"name":"type","{code}":"Encounter"}},
            {{"name":"url","{url}":"https://storage.example.org/imports/Encounter.ndjson"}}]}}]}}"#
    )
}

#[test]
fn the_body_of_the_overview_is_read() {
    assert_eq!(
        parse(&seed_body("valueString", "valueUri", "valueString", "valueUrl")),
        Ok(seed_request())
    );
}

#[test]
fn values_of_every_vendors_type_are_read() {
    for (text, uri, code, url) in [
        ("valueString", "valueUri", "valueString", "valueUri"),
        ("valueCode", "valueUri", "valueCode", "valueUri"),
        ("valueUri", "valueString", "valueUrl", "valueString"),
    ] {
        assert_eq!(parse(&seed_body(text, uri, code, url)), Ok(seed_request()));
    }
}

#[test]
fn i_10_to_i_13_plain_json_is_read() {
    let body = r#"{"inputFormat":"application/fhir+ndjson","inputSource":"https://example.org/fhir/import-source",
        "input":[{"type":"Patient","url":"https://storage.example.org/imports/Patient.ndjson"},
                 {"type":"Encounter","url":"https://storage.example.org/imports/Encounter.ndjson"}]}"#;
    assert_eq!(parse(body), Ok(seed_request()));
}

#[test]
fn the_type_the_source_and_the_format_may_be_left_out() {
    let request = parse(r#"{"input":[{"url":"file:///data/x.ndjson"}]}"#).expect("a request");
    assert_eq!(request.input_source, None);
    assert_eq!(
        request.inputs,
        [ImportInput {
            resource_type: None,
            url: "file:///data/x.ndjson".to_owned()
        }]
    );
}

#[test]
fn every_spelling_of_ndjson_is_a_format_and_nothing_else() {
    for format in [
        "application/fhir+ndjson",
        "application/ndjson",
        "ndjson",
        "Application/FHIR+NDJSON",
    ] {
        assert!(
            parse(&format!(
                r#"{{"inputFormat":"{format}","input":[{{"url":"https://h/x"}}]}}"#
            ))
            .is_ok(),
            "{format}"
        );
    }
    for format in ["application/fhir+json", "application/fhir ndjson", "csv"] {
        let body = format!(r#"{{"inputFormat":"{format}","input":[{{"url":"https://h/x"}}]}}"#);
        assert_only_issue(&parse(&body).expect_err(format), "inputFormat");
    }
}

#[test]
fn parameters_that_are_not_built_are_refused_by_name() {
    let input = r#"{"name":"input","part":[{"name":"url","valueUrl":"https://h/x"}]}"#;
    for (parameter, expected) in [
        (
            r#"{"name":"mode","valueString":"InitialLoad"}"#,
            "mode is not supported yet",
        ),
        (
            r#"{"name":"storageDetail","part":[{"name":"type","valueString":"https"}]}"#,
            "storageDetail is not supported yet",
        ),
        (
            r#"{"name":"exportUrl","valueUrl":"https://h/m"}"#,
            "exportUrl is not supported yet",
        ),
        (
            r#"{"name":"frobnicate","valueString":"x"}"#,
            "frobnicate is unknown",
        ),
        (
            r#"{"name":"input","part":[{"name":"url","valueUrl":"https://h/y"},{"name":"etag","valueUri":"x"}]}"#,
            "input.etag is not supported yet",
        ),
        (
            r#"{"name":"input","part":[{"name":"url","valueUrl":"https://h/y"},{"name":"size","valueInteger":1}]}"#,
            "input.size is unknown",
        ),
    ] {
        assert_only_issue(
            &parse_inputs(&format!("{input},{parameter}")).expect_err(parameter),
            expected,
        );
    }
    for member in [
        r#""storageDetail":{"type":"https"}"#,
        r#""inputs":[]"#,
        r#""extra":null"#,
    ] {
        let body = format!(r#"{{"input":[{{"url":"https://h/x"}}],{member}}}"#);
        assert_eq!(parse(&body).expect_err(member).issues.len(), 1, "{member}");
    }
}

#[test]
fn an_input_needs_an_absolute_url_and_a_known_type() {
    for (parts, expected) in [
        (r#"{"name":"type","valueCode":"Patient"}"#, "url is missing"),
        (r#"{"name":"url","valueUrl":"Patient.ndjson"}"#, "absolute URL"),
        (r#"{"name":"url","valueUrl":"/data/x"}"#, "absolute URL"),
        (r#"{"name":"url","valueUrl":"https://"}"#, "absolute URL"),
        (r#"{"name":"url","valueUrl":"https://h/a b"}"#, "absolute URL"),
        (r#"{"name":"url","valueUrl":"urn:uuid:1"}"#, "absolute URL"),
        (r#"{"name":"url","valueBoolean":true}"#, "absolute URL"),
        (
            r#"{"name":"url","valueUrl":"https://h/x"},{"name":"url","valueUrl":"https://h/y"}"#,
            "more than once",
        ),
        (
            r#"{"name":"url","valueUrl":"https://h/x"},{"name":"type","valueCode":"Pateint"}"#,
            "Pateint is not a resource type",
        ),
        (
            r#"{"name":"url","valueUrl":"https://h/x"},{"name":"type","valueInteger":1}"#,
            "the value is not a resource type",
        ),
    ] {
        let parameter = format!(r#"{{"name":"input","part":[{parts}]}}"#);
        assert_only_issue(&parse_inputs(&parameter).expect_err(parts), expected);
    }
}

#[test]
fn a_request_without_input_is_refused() {
    for body in [
        "{}",
        r#"{"resourceType":"Parameters"}"#,
        r#"{"inputFormat":"ndjson"}"#,
    ] {
        assert_only_issue(&parse(body).expect_err(body), "input: at least one");
    }
    assert_only_issue(&parse(r#"{"input":[]}"#).expect_err("empty"), "input: the parts");
}

#[test]
fn k_48_all_faults_are_told_at_once_with_their_places() {
    let outcome = parse_inputs(
        r#"{"name":"inputFormat","valueString":"csv"},{"name":"inputSource","valueUri":"no uri"},{"name":"mode","valueString":"x"},
        {"name":"input","part":[{"name":"type","valueCode":"Foo"},{"name":"url","valueUrl":"x"}]},{"name":"input","valueString":"https://h/x"}"#,
    )
    .expect_err("faults");
    assert_eq!(outcome.issues.len(), 6, "{:?}", texts(&outcome));
    let places: Vec<_> = outcome
        .issues
        .iter()
        .map(|issue| issue.expression.as_deref().expect("a place"))
        .collect();
    let base = "Parameters.parameter";
    let expected =
        ["[0]", "[1]", "[2]", "[3].part[0]", "[3].part[1]", "[4]"].map(|place| format!("{base}{place}"));
    assert_eq!(places, expected);
}

#[test]
fn other_bodies_are_refused() {
    for body in [
        "",
        "[]",
        r#"{"resourceType":"Bundle","input":[{"url":"https://h/x"}]}"#,
        r#"{"input":[{"url":"https://h/x"}],"input":[]}"#,
    ] {
        assert_eq!(parse(body).expect_err(body).issues.len(), 1);
    }
    assert!(
        parse(&"{\"input\":".repeat(200_000)).is_err(),
        "a depth bomb is an error and no crash"
    );
}

#[test]
fn a_stored_request_keeps_its_form() {
    let stored = concat!(
        r#"{"inputFormat":"application/fhir+ndjson","inputSource":"urn:x","#,
        r#""inputs":[{"resourceType":"Patient","url":"https://h/x"},{"resourceType":null,"url":"https://h/y"}],"requestUrl":"u"}"#
    );
    let request: ImportRequest = serde_json::from_str(stored).expect("a stored request");
    assert_eq!(serde_json::to_string(&request).expect("JSON"), stored);
}
