//! The kick-off of an export.

use super::{assert_only_issue, texts};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::resource_type::ResourceType;

const URL: &str = "https://h/fhir/$export";

fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn now() -> Instant {
    instant("2026-11-21T04:12:33Z")
}

fn query(query: &str) -> Result<ExportRequest, OperationOutcome> {
    at(ExportLevel::System).read_query(query)
}

fn at(level: ExportLevel) -> KickOff<'static> {
    KickOff {
        request_url: URL,
        ..KickOff::new(level, now())
    }
}

fn post(parameters: &str) -> Result<ExportRequest, OperationOutcome> {
    let body = format!(r#"{{"resourceType":"Parameters","parameter":[{parameters}]}}"#);
    at(ExportLevel::System).read_body(body.as_bytes())
}

fn type_names(request: ExportRequest) -> Vec<&'static str> {
    request
        .types
        .expect("types")
        .into_iter()
        .map(ResourceType::name)
        .collect()
}

fn group() -> ExportLevel {
    ExportLevel::Group(Id::parse("g").expect("an id"))
}

fn patient() -> ExportLevel {
    ExportLevel::Patient(Id::parse("p").expect("an id"))
}

#[test]
fn k_01_a_bare_kick_off_asks_for_everything() {
    for bare in ["", "&", "&&"] {
        let request = query(bare).expect("a request");
        assert_eq!(
            (request.types, request.since, request.elements.is_none()),
            (None, None, true)
        );
        assert_eq!(
            (request.level, request.request_url.as_str()),
            (ExportLevel::System, URL)
        );
    }
    assert!(post("").is_ok());
}

#[test]
fn the_manifest_can_echo_the_exact_url() {
    let url = "https://h/fhir/Patient/$export?_type=Patient%2CGroup&_since=2020-01-01T00:00:00+01:00";
    let (_, raw) = url.split_once('?').expect("a query");
    let kick_off = KickOff {
        request_url: url,
        ..at(ExportLevel::AllPatients)
    };
    let request = kick_off.read_query(raw).expect("a request");
    assert_eq!(request.request_url, url);
}

#[test]
fn k_06_three_spellings_of_ndjson_are_accepted_with_plus_as_a_space_too() {
    for spelling in [
        "application/fhir%2Bndjson",
        "application/fhir+ndjson",
        "application/fhir%20ndjson",
        "application%2Ffhir%2bndjson",
        "application/ndjson",
        "ndjson",
        "NDJSON",
    ] {
        assert!(query(&format!("_outputFormat={spelling}")).is_ok(), "{spelling}");
    }
    assert!(post(r#"{"name":"_outputFormat","valueString":"application/fhir+ndjson"}"#).is_ok());
}

#[test]
fn other_formats_are_refused() {
    for format in [
        "application/xml",
        "text/html",
        "x-custom",
        "application/fhir%2Bjson",
        "application/fhir%2Bndjson,x",
        "parquet",
    ] {
        assert_only_issue(
            &query(&format!("_outputFormat={format}")).expect_err(format),
            "_outputFormat: the format",
        );
    }
    assert_only_issue(
        &query("_outputFormat=ndjson&_outputFormat=ndjson").expect_err("twice"),
        "_outputFormat: given more than once",
    );
    let spaced = post(r#"{"name":"_outputFormat","valueString":"application/fhir ndjson"}"#);
    assert_only_issue(&spaced.expect_err("no space in a body"), "_outputFormat");
}

#[test]
fn since_is_an_instant_and_a_plus_may_arrive_as_a_space() {
    for (text, expected) in [
        ("2023-01-01T00:00:00Z", "2023-01-01T00:00:00Z"),
        ("2023-01-01T00:00:00.123456Z", "2023-01-01T00:00:00.123456Z"),
        ("2023-01-01T00:00:00%2B05:00", "2022-12-31T19:00:00Z"),
        ("2023-01-01T00:00:00+05:00", "2022-12-31T19:00:00Z"),
        ("2023-01-01T00%3A00%3A00-05%3A00", "2023-01-01T05:00:00Z"),
        ("2026-11-21T04:12:33Z", "2026-11-21T04:12:33Z"),
    ] {
        let request = query(&format!("_since={text}")).expect(text);
        assert_eq!(request.since, Some(instant(expected)), "{text}");
    }
    let request = post(r#"{"name":"_since","valueInstant":"2023-01-01T00:00:00+05:00"}"#).expect("a request");
    assert_eq!(request.since, Some(instant("2022-12-31T19:00:00Z")));
}

#[test]
fn k_48_a_since_that_is_no_past_instant_is_refused() {
    for since in [
        "0000-60-01T30:70:80+05:00",
        "2023-01-01",
        "2023",
        "2023-01-01T00:00:00",
        "2023-01-01T00:00Z",
        "yesterday",
    ] {
        assert_only_issue(
            &query(&format!("_since={since}")).expect_err(since),
            "_since: not an instant",
        );
    }
    assert_only_issue(
        &query("_since=2026-11-21T04:12:33.000001Z").expect_err("future"),
        "_since: the instant lies in the future",
    );
    assert_only_issue(
        &query("_since=2023-01-01T00:00:00Z&_since=bad").expect_err("twice"),
        "_since: given more than once",
    );
    assert_only_issue(
        &post(r#"{"name":"_since","valueInteger":7}"#).expect_err("a number"),
        "_since: a text value",
    );
}

#[test]
fn k_07_repeats_equal_a_comma_list() {
    let expected = ["Patient", "Observation", "Encounter"];
    for raw in [
        "_type=Patient,Observation,Encounter",
        "_type=Patient&_type=Observation&_type=Encounter",
        "_type=Patient%2CObservation&_type=Encounter,Patient",
        "_type=Patient,+Observation,%20Encounter",
    ] {
        assert_eq!(type_names(query(raw).expect(raw)), expected, "{raw}");
    }
    let repeats =
        r#"{"name":"_type","valueString":"Patient"},{"name":"_type","valueCode":"Observation,Encounter"}"#;
    assert_eq!(type_names(post(repeats).expect("a request")), expected);
}

#[test]
fn unknown_and_empty_types_are_refused_each() {
    let outcome = query("_type=Patient,Foo,patient,,Bar&_type=&_type").expect_err("types");
    let texts = texts(&outcome);
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(texts.iter().all(|text| text.starts_with("_type: ")), "{texts:?}");
    assert!(texts[0].contains("Foo") && texts[1].contains("patient") && texts[3].contains("Bar"));
}

#[test]
fn k_08_types_that_are_all_outside_the_compartment_are_refused_below_the_system_level() {
    for level in [ExportLevel::AllPatients, group(), patient()] {
        let refused = at(level.clone()).read_query("_type=Organization,Practitioner");
        assert_only_issue(&refused.expect_err("outside"), "_type: none of the types");
        for fine in [
            "_type=Organization,Observation",
            "_type=Patient",
            "_type=Group",
            "_type=Device",
            "",
        ] {
            assert!(at(level.clone()).read_query(fine).is_ok(), "{fine}");
        }
    }
    assert!(query("_type=Organization,Practitioner").is_ok());
}

#[test]
fn elements_are_gathered_from_repeats_and_lists() {
    let request = query("_elements=Observation.code,Patient.birthDate&_elements=id").expect("a request");
    let listed = query("_elements=Observation.code,Patient.birthDate,id").expect("a request");
    let json = |request: &ExportRequest| serde_json::to_value(&request.elements).expect("JSON");
    assert_eq!(
        json(&request),
        serde_json::json!(["Observation.code", "Patient.birthDate", "id"])
    );
    assert_eq!(json(&request), json(&listed));
}

#[test]
fn bad_elements_are_told_each() {
    let outcome =
        query("_elements=Observation.code.coding,Foo.bar,Patient.birthDate,").expect_err("elements");
    let texts = texts(&outcome);
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(
        texts.iter().all(|text| text.starts_with("_elements: ")),
        "{texts:?}"
    );
}

#[test]
fn elements_are_bounded_in_number_and_length() {
    let many = |count: usize| format!("_elements={}", vec!["id"; count].join(","));
    assert!(query(&many(1000)).is_ok());
    assert_only_issue(
        &query(&many(1001)).expect_err("many"),
        "_elements: more than 1000 elements",
    );
    let long = format!("_elements={}", "x".repeat(100_000));
    assert!(query(&long).expect_err("long").to_json().len() < 400);
}

#[test]
fn unknown_parameters_are_refused_by_name() {
    for (raw, name) in [
        ("foo=1", "foo"),
        ("_Type=Patient", "_Type"),
        ("_type:exact=x", "_type:exact"),
        ("_format=json", "_format"),
        ("%5Ftypes", "_types"),
        ("=x", ""),
    ] {
        assert_only_issue(
            &query(raw).expect_err(raw),
            &format!("the parameter {name} is unknown"),
        );
    }
    assert_only_issue(
        &post(r#"{"name":"foo","valueString":"x"}"#).expect_err("foo"),
        "the parameter foo is unknown",
    );
    let long = "x".repeat(100_000);
    assert!(
        query(&long).expect_err("long").to_json().len() < 400,
        "what the client sent is echoed in part only"
    );
}

#[test]
fn a_broken_percent_escape_is_an_error() {
    for raw in [
        "_type=Pa%",
        "_type=%4",
        "_type=%zz",
        "_type=%ff",
        "%c3%28=x",
        "_type=%+4",
    ] {
        assert_only_issue(&query(raw).expect_err(raw), "percent-encoded");
    }
}

#[test]
fn k_48_all_faults_are_told_at_once() {
    let raw = "_type=Foo&_since=x&_outputFormat=csv&patient=Patient/1&bar=1&_elements=a.b.c&%zz=1";
    let outcome = query(raw).expect_err("faults");
    assert_eq!(outcome.issues.len(), 7, "{:?}", texts(&outcome));
    for name in [
        "_type",
        "_since",
        "_outputFormat",
        "patient",
        "bar",
        "_elements",
        "the query",
    ] {
        assert!(texts(&outcome).iter().any(|text| text.contains(name)), "{name}");
    }
}

#[test]
fn faults_of_a_body_tell_their_place() {
    let outcome = post(r#"{"name":"_type","valueString":"Patient"},{"name":"_since","valueString":"x"}"#)
        .expect_err("a fault");
    assert_eq!(
        outcome.issues[0].expression.as_deref(),
        Some("Parameters.parameter[1]")
    );
}

#[test]
fn parameters_in_the_url_of_a_post_are_refused() {
    let body = br#"{"resourceType":"Parameters"}"#;
    let post_to = |url: &'static str| {
        let kick_off = KickOff {
            request_url: url,
            ..at(ExportLevel::System)
        };
        kick_off.read_body(body)
    };
    assert_only_issue(
        &post_to("https://h/fhir/$export?_type=Patient").expect_err("a query"),
        "from the body",
    );
    assert!(post_to("https://h/fhir/$export?").is_ok());
}

#[test]
fn k_25_a_body_that_is_no_parameters_resource_is_refused() {
    for body in ["", "{}", r#"{"resourceType":"Patient"}"#, "_type=Patient"] {
        assert!(
            at(ExportLevel::System).read_body(body.as_bytes()).is_err(),
            "{body}"
        );
    }
}

#[test]
fn a_stored_request_keeps_its_form() {
    for stored in [
        r#"{"level":"system","types":null,"since":null,"elements":null,"requestUrl":"u"}"#,
        r#"{"level":"all-patients","types":["Patient"],"since":null,"elements":null,"requestUrl":"u"}"#,
        r#"{"level":{"group":"g"},"types":null,"since":"2026-11-21T04:12:33.123456Z","elements":null,"requestUrl":"u"}"#,
        r#"{"level":{"patient":"p"},"types":null,"since":null,"elements":["Patient.birthDate"],"requestUrl":"u"}"#,
    ] {
        let request: ExportRequest = serde_json::from_str(stored).expect(stored);
        assert_eq!(serde_json::to_string(&request).expect("JSON"), stored);
    }
}
