//! `_typeFilter` of a kick-off: what is a filter, and which filters belong to a request.

use super::{assert_only_issue, texts};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff, Wire};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::prefer::Preferences;
use serde_json::json;

fn at(level: ExportLevel) -> KickOff<'static> {
    KickOff {
        base_url: "https://h/fhir",
        ..KickOff::new(level, Instant::MAX)
    }
}

fn query(query: &str) -> Result<ExportRequest, OperationOutcome> {
    at(ExportLevel::System).read_query(query)
}

fn filters(request: &ExportRequest) -> Vec<&str> {
    request
        .type_filters
        .iter()
        .map(|criteria| criteria.text())
        .collect()
}

#[test]
fn t_01_a_filter_is_one_query_encoded_as_a_whole() {
    let request = query("_typeFilter=Observation%3Fstatus%3Dfinal%26date%3Dge2020").expect("a filter");
    assert_eq!(filters(&request), ["Observation?status=final&date=ge2020"]);
    let lazy = query("_typeFilter=Observation?status=final").expect("as people type it");
    assert_eq!(filters(&lazy), ["Observation?status=final"]);
}

#[test]
fn t_03_repeats_are_several_filters_and_a_comma_in_one_is_part_of_its_search() {
    let request = query(
        "_typeFilter=Observation%3Fstatus%3Dfinal,amended&_typeFilter=Observation%3Fstatus%3Dregistered\
         &_typeFilter=Patient%3Fgender%3Dfemale",
    );
    assert_eq!(
        filters(&request.expect("filters")),
        [
            "Observation?status=final,amended",
            "Observation?status=registered",
            "Patient?gender=female"
        ]
    );
}

#[test]
fn t_12_lists_of_old_clients_are_split_at_commas_before_a_type_only() {
    let listed =
        "_typeFilter=Observation%3Fstatus%3Dfinal,amended,Patient%3Fgender%3Dfemale,Condition%3Fcode%3D1,2";
    assert_eq!(
        filters(&query(listed).expect("filters")),
        [
            "Observation?status=final,amended",
            "Patient?gender=female",
            "Condition?code=1,2"
        ]
    );
    let kick_off = KickOff {
        wire: Wire::Stu4,
        ..at(ExportLevel::System)
    };
    let read = |value: &str| {
        let body = json!({"resourceType": "Parameters",
            "parameter": [{"name": "_typeFilter", "valueString": value}]});
        kick_off.read_body(body.to_string().as_bytes())
    };
    assert_eq!(
        read("Patient?gender=female,male")
            .expect("one")
            .type_filters
            .len(),
        1
    );
    // To STU4 this is one search with a code that nobody has, and no list.
    let one = read("Patient?gender=female,Patient?gender=male");
    assert!(one.is_err() || one.is_ok_and(|request| request.type_filters.len() == 1));
}

#[test]
fn t_05_t_06_result_parameters_and_searches_without_a_type_are_refused() {
    for name in [
        "_sort",
        "_count",
        "_include",
        "_revinclude",
        "_summary",
        "_total",
        "_elements",
        "_contained",
        "_containedType",
    ] {
        let outcome = query(&format!("_typeFilter=Patient%3F{name}%3Dx")).expect_err(name);
        assert_only_issue(&outcome, name);
        assert!(texts(&outcome)[0].starts_with("_typeFilter: "), "{outcome:?}");
    }
    for context in [
        "?status=final",
        "Patient/1/Observation?status=final",
        "Nothing?x=1",
        "Patient/?x=1",
    ] {
        let value = context.replace('?', "%3F").replace('=', "%3D");
        assert!(query(&format!("_typeFilter={value}")).is_err(), "{context}");
    }
    assert_only_issue(
        &query("_typeFilter=").expect_err("empty"),
        "_typeFilter: a query such as",
    );
}

#[test]
fn t_11_a_filter_on_what_is_not_exported_is_refused_or_left_out() {
    let outside = "_type=Patient&_typeFilter=Observation%3Fstatus%3Dfinal";
    assert_only_issue(&query(outside).expect_err("outside"), "which _type leaves out");
    // The order of parameters says nothing.
    let reversed = "_typeFilter=Observation%3Fstatus%3Dfinal&_type=Patient";
    assert_only_issue(&query(reversed).expect_err("outside"), "Observation");
    let foreign = "_typeFilter=Organization%3Factive%3Dtrue";
    assert!(query(foreign).is_ok());
    let refused = at(ExportLevel::AllPatients)
        .read_query(foreign)
        .expect_err("a helper");
    assert_only_issue(&refused, "not in the Patient compartment");
    let kick_off = KickOff {
        preferences: Preferences::parse(["handling=lenient"]),
        ..at(ExportLevel::AllPatients)
    };
    for raw in [
        outside,
        foreign,
        "_typeFilter=Patient%3Fmade-up%3D1%26gender%3Dx%26_sort%3Da",
    ] {
        let request = kick_off.read_query(raw).expect(raw);
        assert_eq!(
            (request.type_filters.len(), request.ignored.len()),
            (0, 1),
            "{raw}"
        );
    }
}

#[test]
fn filters_are_bounded_in_number() {
    let many = |count: usize| "_typeFilter=Patient%3Fgender%3Dfemale&".repeat(count);
    assert!(query(&many(200)).is_ok());
    assert_only_issue(&query(&many(201)).expect_err("many"), "more than 200 filters");
}

#[test]
fn a_stored_request_keeps_its_filters_without_the_base_url() {
    let request = query("_typeFilter=Observation%3Fsubject%3Dhttps://h/fhir/Patient/1").expect("a filter");
    assert_eq!(filters(&request), ["Observation?subject=Patient/1"]);
    let stored = serde_json::to_string(&request).expect("JSON");
    let again: ExportRequest = serde_json::from_str(&stored).expect("it opens");
    assert_eq!(filters(&again), filters(&request));
}

/// In a body a value may be as long as the body; to look at its end behind each comma would take hours.
#[test]
fn t_12_a_long_list_is_split_in_one_pass() {
    let commas = format!("Patient?name=a{}", ",".repeat(4_000_000));
    let body =
        json!({"resourceType": "Parameters", "parameter": [{"name": "_typeFilter", "valueString": commas}]});
    let refused = at(ExportLevel::System).read_body(body.to_string().as_bytes());
    assert_only_issue(&refused.expect_err("too long"), "more than 65536 bytes");
}
