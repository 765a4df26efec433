//! The Parameters resource as a request body.

use super::{assert_only_issue, texts};
use fhirhose_fhir::parameters::{Coding, ParameterContent, parse_parameters};

#[test]
fn every_text_like_value_is_the_same() {
    for kind in [
        "String",
        "Code",
        "Uri",
        "Url",
        "Canonical",
        "Instant",
        "DateTime",
        "Id",
    ] {
        let body =
            format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"a","value{kind}":"b"}}]}}"#);
        assert_eq!(
            parse_parameters(body.as_bytes()).expect("parameters")[0].text(),
            Some("b"),
            "{kind}"
        );
    }
}

#[test]
fn parts_keep_their_place() {
    let body = br#"{"resourceType":"Parameters","id":"x","parameter":[
        {"name":"a","valueBoolean":true},
        {"name":"input","part":[{"name":"type","valueCode":"Patient"},{"name":"url","_valueUrl":{"id":"1"}}]}]}"#;
    let parameters = parse_parameters(body).expect("parameters");
    assert_eq!(parameters[0].content, ParameterContent::Boolean(true));
    let ParameterContent::Parts(parts) = &parameters[1].content else {
        panic!("parts")
    };
    assert_eq!(parts[0].expression, "Parameters.parameter[1].part[0]");
    assert_eq!((parts[0].text(), parts[1].text()), (Some("Patient"), None));
}

#[test]
fn values_that_are_no_text_are_read_as_what_they_are() {
    let content = |value: &str| {
        let body = format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"a",{value}}}]}}"#);
        let mut parameters = parse_parameters(body.as_bytes()).expect("parameters");
        parameters.remove(0).content
    };
    assert_eq!(content(r#""valuePositiveInt":7"#), ParameterContent::Integer(7));
    let reference = r#""valueReference":{"reference":"Patient/1","display":"x"}"#;
    assert_eq!(
        content(reference),
        ParameterContent::Reference("Patient/1".to_owned())
    );
    let coding = Coding {
        system: Some("s".to_owned()),
        code: "c".to_owned(),
    };
    assert_eq!(
        content(r#""valueCoding":{"system":"s","code":"c"}"#),
        ParameterContent::Coding(coding)
    );
    for other in [
        r#""valueInteger":-7"#,
        r#""valueDecimal":1.5"#,
        r#""valueReference":{"identifier":{}}"#,
        r#""valueCoding":{"system":"s"}"#,
        r#""valueCoding":{"code":""}"#,
        r#""valuePeriod":{"start":"2020"}"#,
    ] {
        assert_eq!(content(other), ParameterContent::Other, "{other}");
    }
}

#[test]
fn k_25_a_body_that_is_no_parameters_resource_is_refused() {
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"Parameters\"",
        "{}",
        r#"{"resourceType":"Patient"}"#,
        "{\"resourceType\":\"Parameters\"} x",
    ] {
        let outcome = parse_parameters(body.as_bytes()).expect_err("no parameters");
        assert_only_issue(&outcome, "the body");
    }
    assert!(parse_parameters(&[b'"', 0xff, b'"']).is_err());
}

#[test]
fn a_member_given_twice_is_refused_at_any_depth() {
    for body in [
        r#"{"resourceType":"Parameters","parameter":[],"parameter":[{"name":"a","valueString":"b"}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","valueString":"b","valueString":"c"}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","part":[{"name":"a","name":"b"}]}]}"#,
    ] {
        assert_only_issue(
            &parse_parameters(body.as_bytes()).expect_err("twice"),
            "given twice",
        );
    }
}

#[test]
fn a_depth_bomb_is_an_error_and_no_crash() {
    let arrays = "[".repeat(1_000_000);
    let parts = r#"{"resourceType":"Parameters","parameter":[{"name":"a","part":["#.to_owned()
        + &r#"{"name":"a","part":["#.repeat(100_000);
    for body in [arrays, parts] {
        assert!(parse_parameters(body.as_bytes()).is_err());
    }
}

#[test]
fn all_faults_of_the_shape_are_told_at_once() {
    let body = br#"{"resourceType":"Parameters","contained":[],"parameter":[
        7, {"valueString":"x"}, {"name":""}, {"name":"a","valueString":"x","valueCode":"y"}, {"name":"b","value":"x"},
        {"name":"c","part":{}}, {"name":"d","modifierExtension":[]}]}"#;
    let outcome = parse_parameters(body).expect_err("faults");
    let texts = texts(&outcome);
    assert_eq!(texts.len(), 8, "{texts:?}");
    for fragment in [
        "contained",
        "[0]",
        "[1] has no name",
        "[2] has no name",
        "a has more",
        "member value",
        "[5].part",
        "modifierExtension",
    ] {
        assert!(
            texts.iter().any(|text| text.contains(fragment)),
            "{fragment} in {texts:?}"
        );
    }
}

#[test]
fn a_flood_of_faults_is_listed_up_to_a_limit() {
    let body = format!(
        r#"{{"resourceType":"Parameters","parameter":[{}0]}}"#,
        "0,".repeat(9_999)
    );
    let outcome = parse_parameters(body.as_bytes()).expect_err("faults");
    assert_eq!(outcome.issues.len(), 51);
    assert!(texts(&outcome)[50].starts_with("9950 further problems"));
}
