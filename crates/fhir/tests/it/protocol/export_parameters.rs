//! The parameters of a kick-off one by one, in both versions of the standard, strict and lenient.

use super::{assert_only_issue, texts};
use fhirhose_fhir::export_request::{
    AssociatedData, ExportLevel, ExportRequest, KickOff, Wire, export_parameters,
};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::{OperationOutcome, Severity};
use fhirhose_fhir::prefer::Preferences;
use fhirhose_fhir::resource_type::ResourceType;
use serde_json::{Value, json};

const BASE: &str = "https://h/fhir";

fn at(level: ExportLevel) -> KickOff<'static> {
    KickOff {
        base_url: BASE,
        ..KickOff::new(level, instant("2026-11-21T04:12:33Z"))
    }
}

fn instant(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn id(text: &str) -> Id {
    Id::parse(text).expect("an id")
}

fn lenience() -> Preferences {
    Preferences::parse(["respond-async, handling=lenient"])
}

fn query(query: &str) -> Result<ExportRequest, OperationOutcome> {
    at(ExportLevel::AllPatients).read_query(query)
}

fn lenient(query: &str) -> Result<ExportRequest, OperationOutcome> {
    let kick_off = KickOff {
        preferences: lenience(),
        ..at(ExportLevel::AllPatients)
    };
    kick_off.read_query(query)
}

fn body(kick_off: &KickOff<'_>, parameter: &Value) -> Result<ExportRequest, OperationOutcome> {
    let body = json!({"resourceType": "Parameters", "parameter": parameter});
    kick_off.read_body(body.to_string().as_bytes())
}

fn post(parameter: &Value) -> Result<ExportRequest, OperationOutcome> {
    body(&at(ExportLevel::AllPatients), parameter)
}

fn stu4(parameter: &Value) -> Result<ExportRequest, OperationOutcome> {
    let kick_off = KickOff {
        wire: Wire::Stu4,
        ..at(ExportLevel::AllPatients)
    };
    body(&kick_off, parameter)
}

fn patients(references: &[&str]) -> Value {
    let parameter = |reference: &&str| json!({"name": "patient", "valueReference": {"reference": reference}});
    references.iter().map(parameter).collect()
}

#[test]
fn until_is_an_instant_after_since() {
    let request = query("_since=2023-01-01T00:00:00Z&_until=2023-02-01T00:00:00%2B01:00").expect("a window");
    assert_eq!(request.until, Some(instant("2023-01-31T23:00:00Z")));
    assert!(query("_until=2999-01-01T00:00:00Z").is_ok(), "leaves nothing out");
    for until in ["2023-01-01T00:00:00Z", "2022-12-31T00:00:00Z"] {
        let empty = query(&format!("_until={until}&_since=2023-01-01T00:00:00Z"));
        assert_only_issue(&empty.expect_err("an empty window"), "_until: not after _since");
    }
    for bad in ["2023-01-01", "2023-60-01T00:00:00Z", "soon"] {
        let refused = query(&format!("_until={bad}")).expect_err(bad);
        assert_only_issue(&refused, "_until: not an instant");
    }
}

#[test]
fn patients_come_in_a_body_relative_or_below_the_base() {
    let request = post(&patients(&["Patient/b", "https://h/fhir/Patient/a", "Patient/b"])).expect("patients");
    assert_eq!(request.patients, Some(vec![id("a"), id("b")]));
    let text = post(&json!([{"name": "patient", "valueString": "Patient/a"}])).expect("a text will do");
    assert_eq!(text.patients, Some(vec![id("a")]));
    for bad in [
        "secret",
        "Patient/secret/",
        "Patient/secret/_history/1",
        "Group/secret",
        "https://other/fhir/Patient/secret",
        "https://h/fhirPatient/secret",
        "Patient/secret,Patient/b",
        "Patient?secret=1",
    ] {
        let refused = post(&patients(&[bad])).expect_err(bad);
        assert_only_issue(&refused, "patient: a reference such as");
        assert!(
            !refused.to_json().contains("secret"),
            "a patient is not repeated in errors"
        );
    }
    for odd in [json!({"identifier": {"value": "1"}}), json!(7)] {
        assert!(post(&json!([{"name": "patient", "valueReference": odd}])).is_err());
    }
}

#[test]
fn patient_belongs_to_post_and_not_to_the_system_level() {
    assert_only_issue(
        &query("patient=Patient/a").expect_err("GET"),
        "patient: possible only",
    );
    let system = body(&at(ExportLevel::System), &patients(&["Patient/a"]));
    assert_only_issue(&system.expect_err("system"), "patient: not possible");
    let flags = at(ExportLevel::AllPatients).read_pairs([("patient", "Patient/a"), ("patient", "Patient/b")]);
    assert_eq!(flags.expect("no URL").patients.map(|list| list.len()), Some(2));
    let one = at(ExportLevel::Patient(id("a")));
    assert_eq!(
        body(&one, &patients(&["Patient/a"])).expect("itself").patients,
        None
    );
    let other = body(&one, &patients(&["Patient/b"]));
    assert_only_issue(&other.expect_err("another"), "patient: another patient");
}

#[test]
fn patients_are_bounded() {
    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("Patient/{number}")).collect();
        post(&patients(&names.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    assert!(many(10_000).is_ok());
    assert_only_issue(&many(10_001).expect_err("too many"), "patient: more than 10000");
}

#[test]
fn associated_data_is_a_code_or_a_coding_and_the_most_counts() {
    let of = |request: Result<ExportRequest, OperationOutcome>| request.expect("a request").associated_data;
    let (latest, relevant) = ("LatestProvenanceResources", "RelevantProvenanceResources");
    let name = "includeAssociatedData";
    assert_eq!(
        of(query(&format!("{name}={latest}"))),
        AssociatedData::LatestProvenance
    );
    for both in [
        format!("{name}={latest},{relevant}"),
        format!("{name}={relevant}&{name}={latest}"),
    ] {
        assert_eq!(of(query(&both)), AssociatedData::RelevantProvenance, "{both}");
    }
    let system = "http://hl7.org/fhir/uv/bulkdata/CodeSystem/include-associated-data";
    for value in [
        json!({"name": name, "valueCode": latest}),
        json!({"name": name, "valueString": latest}),
        json!({"name": name, "valueCoding": {"system": system, "code": latest}}),
        json!({"name": name, "valueCoding": {"code": latest}}),
    ] {
        assert_eq!(
            of(post(&json!([value]))),
            AssociatedData::LatestProvenance,
            "{value}"
        );
        assert_eq!(
            of(stu4(&json!([value]))),
            AssociatedData::LatestProvenance,
            "{value}"
        );
    }
    for value in ["_custom", "Latest", "latestprovenanceresources"] {
        let refused = query(&format!("{name}={value}")).expect_err(value);
        assert_only_issue(&refused, "includeAssociatedData: ");
    }
    let foreign = json!([{"name": name, "valueCoding": {"system": "urn:x", "code": latest}}]);
    assert_only_issue(
        &stu4(&foreign).expect_err("a foreign code"),
        "the code system urn:x",
    );
}

#[test]
fn output_is_organised_by_the_types_that_can_be() {
    for name in ["Patient", "Group", "Organization"] {
        let request = query(&format!("organizeOutputBy={name}")).expect(name);
        assert_eq!(request.organize_output_by.map(ResourceType::name), Some(name));
    }
    for name in ["Observation", "Nothing", "Patient,Group"] {
        let refused = query(&format!("organizeOutputBy={name}")).expect_err(name);
        assert_only_issue(&refused, "organizeOutputBy: output cannot be organised");
    }
}

#[test]
fn booleans_and_sizes_are_read_in_both_forms() {
    let request =
        query("allowPartialManifests=true&_minimumFileSize=10&_maximumFileSize=20").expect("a request");
    assert!(request.allow_partial_manifests);
    assert_eq!(
        (request.file_bytes_min, request.file_bytes_max),
        (Some(10), Some(20))
    );
    let same = post(&json!([
        {"name": "allowPartialManifests", "valueBoolean": true},
        {"name": "_minimumFileSize", "valuePositiveInt": 10},
        {"name": "_maximumFileSize", "valuePositiveInt": 20},
        {"name": "_dryRun", "valueBoolean": true},
    ]));
    let same = same.expect("a request");
    assert!(same.allow_partial_manifests && same.dry_run && !request.dry_run);
    assert_eq!((same.file_bytes_min, same.file_bytes_max), (Some(10), Some(20)));
    for (raw, fragment) in [
        ("allowPartialManifests=yes", "true or false"),
        ("_dryRun=1", "_dryRun: true or false"),
        ("_dryRun", "_dryRun: true or false"),
        ("_maximumFileSize=0", "_maximumFileSize: a whole number"),
        ("_maximumFileSize=%2B5", "_maximumFileSize: a whole number"),
        ("_minimumFileSize=2147483648", "_minimumFileSize: a whole number"),
        (
            "_minimumFileSize=5&_maximumFileSize=5",
            "_maximumFileSize: not more than",
        ),
    ] {
        assert_only_issue(&query(raw).expect_err(raw), fragment);
    }
    assert!(post(&json!([{"name": "_maximumFileSize", "valueDecimal": 1.5}])).is_err());
    assert!(post(&json!([{"name": "_maximumFileSize", "valueInteger": -1}])).is_err());
}

#[test]
fn what_may_come_once_is_refused_twice() {
    for parameter in export_parameters() {
        let value = match parameter.fhir_type(Wire::Stu3) {
            "instant" => "2020-01-01T00:00:00Z",
            "boolean" => "true",
            "positiveInt" => "100",
            _ if parameter.name == "_outputFormat" => "ndjson",
            _ => "Patient",
        };
        let pairs = [(parameter.name, value); 2];
        let twice = at(ExportLevel::AllPatients).read_pairs(pairs);
        let told =
            twice.is_err_and(|outcome| texts(&outcome).iter().any(|text| text.contains("more than once")));
        assert_eq!(told, !parameter.repeats, "{}", parameter.name);
    }
}

#[test]
fn k_07_stu4_splits_no_commas_and_has_no_get() {
    let repeats =
        json!([{"name": "_type", "valueCode": "Patient"}, {"name": "_type", "valueCode": "Device"}]);
    assert_eq!(
        stu4(&repeats).expect("repeats").types.map(|types| types.len()),
        Some(2)
    );
    for (name, value) in [
        ("_type", "Patient,Device"),
        ("_elements", "Patient.gender,Patient.birthDate"),
        (
            "includeAssociatedData",
            "LatestProvenanceResources,RelevantProvenanceResources",
        ),
    ] {
        let list = json!([{"name": name, "valueString": value}]);
        assert!(post(&list).is_ok(), "{name}");
        assert_only_issue(&stu4(&list).expect_err("a list"), &format!("{name}: "));
    }
    let get = KickOff {
        wire: Wire::Stu4,
        ..at(ExportLevel::System)
    };
    assert_only_issue(
        &get.read_query("").expect_err("GET"),
        "POST a Parameters resource",
    );
}

#[test]
fn k_22_what_is_not_supported_is_left_out_and_reported_when_the_client_is_lenient() {
    let raw = "unheard=of&_type=Patient,MadeUp&_elements=Patient.gender,Patient.made&includeAssociatedData=_custom\
               &organizeOutputBy=Observation&_typeFilter=Patient%3Fstatus%3Dactive";
    let outcome = query(raw).expect_err("strict");
    assert_eq!(outcome.issues.len(), 6, "{:?}", texts(&outcome));
    let request = lenient(raw).expect("lenient");
    assert_eq!(request.types, Some(vec![ResourceType::PATIENT]));
    assert_eq!(
        serde_json::to_value(&request.elements).expect("JSON"),
        json!(["Patient.gender"])
    );
    assert_eq!(
        (request.associated_data, request.organize_output_by),
        (AssociatedData::Default, None)
    );
    assert!(request.type_filters.is_empty());
    assert_eq!(request.ignored.len(), 6);
    for (outcome, name) in request.ignored.iter().zip([
        "unheard",
        "_type: MadeUp",
        "_elements: ",
        "includeAssociatedData: ",
        "organizeOutputBy: ",
        "_typeFilter: ",
    ]) {
        assert!(
            outcome
                .issues
                .iter()
                .all(|issue| issue.severity == Severity::Warning)
        );
        let text = &outcome.issues[0].details;
        assert!(text.starts_with("ignored: ") && text.contains(name), "{text}");
    }
}

#[test]
fn k_22_what_cannot_be_read_stays_an_error_for_the_lenient() {
    for raw in [
        "_since=yesterday",
        "_since=2999-01-01T00:00:00Z",
        "_until=x",
        "_outputFormat=application/xml",
        "_type=MadeUp",
        "_type=",
        "_since=2020-01-01T00:00:00Z&_since=2020-01-01T00:00:00Z",
        "_since=2020-01-01T00:00:00Z&_until=2019-01-01T00:00:00Z",
        "patient=Patient/1",
        "allowPartialManifests=maybe",
        "_maximumFileSize=big",
        "_dryRun=maybe",
        "%zz=1",
    ] {
        assert_eq!(lenient(raw).expect_err(raw).issues.len(), 1, "{raw}");
    }
}

#[test]
fn k_22_the_lenient_may_ask_for_types_that_are_all_outside_the_compartment() {
    let request = lenient("_type=Organization").expect("lenient");
    assert_eq!(
        (request.types.map(|types| types.len()), request.ignored.len()),
        (Some(1), 1)
    );
}

#[test]
fn k_22_reports_are_bounded() {
    let raw: String = (0..60).map(|number| format!("x{number}=1&")).collect();
    let request = lenient(&raw).expect("lenient");
    assert_eq!(request.ignored.len(), 51);
    assert!(request.ignored[50].issues[0].details.contains("10 further"));
}

#[test]
fn k_23_a_stored_request_remembers_the_separate_status() {
    let kick_off = KickOff {
        preferences: Preferences::parse(["respond-async, separate-export-status"]),
        ..at(ExportLevel::System)
    };
    let request = kick_off.read_query("").expect("a request");
    let stored = serde_json::to_string(&request).expect("JSON");
    let again: ExportRequest = serde_json::from_str(&stored).expect("it opens");
    assert!(again.separate_status && !query("").expect("a request").separate_status);
}

#[test]
fn a_stored_request_keeps_what_was_asked_for() {
    let parameter = json!([
        {"name": "_until", "valueInstant": "2023-01-01T00:00:00Z"},
        {"name": "patient", "valueReference": {"reference": "Patient/a"}},
        {"name": "includeAssociatedData", "valueCoding": {"code": "LatestProvenanceResources"}},
        {"name": "organizeOutputBy", "valueString": "Patient"},
        {"name": "allowPartialManifests", "valueBoolean": true},
        {"name": "_maximumFileSize", "valuePositiveInt": 20},
        {"name": "unheard", "valueString": "of"},
    ]);
    let kick_off = KickOff {
        wire: Wire::Stu4,
        preferences: lenience(),
        ..at(ExportLevel::AllPatients)
    };
    let request = body(&kick_off, &parameter).expect("a request");
    let stored = serde_json::to_value(&request).expect("JSON");
    let again: ExportRequest = serde_json::from_value(stored.clone()).expect("it opens");
    assert_eq!(serde_json::to_value(&again).expect("JSON"), stored);
    assert_eq!((again.wire, again.ignored.len()), (Wire::Stu4, 1));
    assert_eq!(
        (again.patients, again.file_bytes_max),
        (request.patients, Some(20))
    );
}
