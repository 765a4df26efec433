//! `_elements`: reading the parameter, and cutting resources down.

use fhirhose_fhir::{
    elements::{ElementError, ElementFilter, write_elements},
    line::{LineChecker, LineLimits},
    resource_type::ResourceType,
};
use serde_json::Value;

use crate::sample;

const TAG: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"SUBSETTED"}"#;

fn filter(values: &[&str]) -> ElementFilter {
    ElementFilter::parse(values.iter().copied()).expect("good values")
}

fn cut(text: &str, values: &[&str]) -> String {
    let tree: Value = serde_json::from_str(text).expect("the text is JSON");
    let name = tree["resourceType"].as_str().expect("the type is there");
    let mut out = Vec::new();
    write_elements(
        text.as_bytes(),
        ResourceType::parse(name).expect("a known type"),
        &filter(values),
        &mut out,
    );
    let mut checker = LineChecker::new(LineLimits::default());
    checker.check(&out, None).expect("what goes out is a good line");
    String::from_utf8(out).expect("what goes out is UTF-8")
}

#[test]
fn mandatory_elements_id_and_meta_stay() {
    // Observation: status and code are mandatory.
    let text = r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"1"},"text":{},"status":"final","code":{},"subject":{},"issued":"x"}"#;
    let expected = format!(
        r#"{{"resourceType":"Observation","id":"o","meta":{{"tag":[{TAG}],"versionId":"1"}},"status":"final","code":{{}},"subject":{{}}}}"#
    );
    assert_eq!(cut(text, &["Observation.subject"]), expected);
    assert_eq!(cut(text, &["subject"]), expected);
    assert_eq!(
        cut(text, &["Observation.subject", "id", "Observation.meta"]),
        expected
    );
}

#[test]
fn types_that_no_value_names_stay_whole() {
    let text = r#"{ "resourceType":"Goal","id":"g","note":[] }"#;
    let mut out = Vec::new();
    write_elements(
        text.as_bytes(),
        ResourceType::parse("Goal").expect("a type"),
        &filter(&["Patient.birthDate"]),
        &mut out,
    );
    assert_eq!(out, text.as_bytes());
    assert!(filter(&["Patient.birthDate"]).applies_to(ResourceType::PATIENT));
    assert!(!filter(&["Patient.birthDate"]).applies_to(ResourceType::GROUP));
    // An element without a type applies to every type, also where the type does not have it.
    assert!(filter(&["birthDate"]).applies_to(ResourceType::GROUP));
}

#[test]
fn choices_go_by_their_base_name_and_primitives_keep_their_siblings() {
    let text = r#"{"resourceType":"Observation","id":"o","status":"final","_status":{"id":"s"},"code":{},"valueQuantity":{"value":1.00},"valueless":1,"value":2,"issued":"x","_issued":{}}"#;
    let cut = cut(text, &["value"]);
    assert!(cut.contains(r#""valueQuantity":{"value":1.00}"#), "{cut}");
    assert!(cut.contains(r#""_status":{"id":"s"}"#), "{cut}");
    for gone in ["valueless", r#""value":2"#, "issued"] {
        assert!(!cut.contains(gone), "{cut}");
    }
}

#[test]
fn members_keep_their_bytes_and_order() {
    let text = "{ \"meta\" : { \"versionId\" : \"1\" } , \"birthDate\":  \"1970\" ,\"id\":\"p\",\"gender\":\"x\", \"resourceType\" :\"Patient\" }";
    let expected = format!(
        "{{\"meta\" : {{\"tag\":[{TAG}], \"versionId\" : \"1\" }},\"birthDate\":  \"1970\",\"id\":\"p\",\"resourceType\" :\"Patient\"}}"
    );
    assert_eq!(cut(text, &["Patient.birthDate"]), expected);
}

#[test]
fn the_tag_is_added_once_and_beside_other_tags() {
    let cases = [
        (
            r#","meta":{}"#.to_owned(),
            format!(r#","meta":{{"tag":[{TAG}]}}"#),
        ),
        (String::new(), format!(r#","meta":{{"tag":[{TAG}]}}"#)),
        (
            r#","meta":{"tag":[]}"#.to_owned(),
            format!(r#","meta":{{"tag":[{TAG}]}}"#),
        ),
        (
            r#","meta":{"tag":[{"code":"x"}],"source":"s"}"#.to_owned(),
            format!(r#","meta":{{"tag":[{TAG},{{"code":"x"}}],"source":"s"}}"#),
        ),
        (
            format!(r#","meta":{{"tag":[{{"code":"x"}},{TAG}]}}"#),
            format!(r#","meta":{{"tag":[{{"code":"x"}},{TAG}]}}"#),
        ),
        (
            r#","meta":{"tag":[{"code":"SUBSETTED"}]}"#.to_owned(),
            r#","meta":{"tag":[{"code":"SUBSETTED"}]}"#.to_owned(),
        ),
    ];
    for (meta, expected) in cases {
        let text = format!(r#"{{"resourceType":"Patient","id":"p"{meta},"gender":"x"}}"#);
        assert_eq!(
            cut(&text, &["birthDate"]),
            format!(r#"{{"resourceType":"Patient","id":"p"{expected}}}"#)
        );
    }
}

#[test]
fn values_that_name_no_root_element_are_refused() {
    let error = |value: &str| ElementFilter::parse([value]).expect_err("a bad value");
    assert_eq!(
        error("Observation.code.coding"),
        ElementError::NotARoot("Observation.code.coding".into())
    );
    assert_eq!(
        error("Nothing.code"),
        ElementError::UnknownType("Nothing.code".into())
    );
    assert_eq!(error(".code"), ElementError::UnknownType(".code".into()));
    for value in [
        "Patient.code",
        "Patient.",
        "nonsense",
        "Observation.valueQuantity",
        "Observation.value[x]",
        "birthdate",
    ] {
        assert_eq!(error(value), ElementError::UnknownElement(value.into()));
    }
    assert_eq!(error(""), ElementError::Empty);
    assert_eq!(ElementFilter::parse([]), Err(ElementError::Empty));
}

#[test]
fn filters_are_lists_of_strings_in_json() {
    let filter = filter(&["Patient.birthDate", "code"]);
    let json = serde_json::to_string(&filter).expect("filters can be written");
    assert_eq!(json, r#"["Patient.birthDate","code"]"#);
    assert_eq!(
        serde_json::from_str::<ElementFilter>(&json).expect("and read"),
        filter
    );
    assert!(serde_json::from_str::<ElementFilter>(r#"["a.b.c"]"#).is_err());
}

#[test]
fn samples_keep_exactly_the_asked_and_mandatory_members() {
    let filter = filter(&["Observation.subject", "Observation.value"]);
    let (_, text) = sample::files()
        .iter()
        .find(|(name, _)| name == "Observation")
        .expect("there are Observations");
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let mut out = Vec::new();
        write_elements(line, ResourceType::OBSERVATION, &filter, &mut out);
        let mut expected: Value = serde_json::from_slice(line).expect("the sample is JSON");
        let members = expected.as_object_mut().expect("a resource is an object");
        let kept = ["resourceType", "id", "meta", "status", "code", "subject"];
        members.retain(|name, _| kept.contains(&name.as_str()) || name.starts_with("value"));
        members.insert(
            "meta".into(),
            serde_json::json!({"tag": [serde_json::from_str::<Value>(TAG).expect("JSON")]}),
        );
        assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), expected);
    }
}
