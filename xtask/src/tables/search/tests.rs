//! The way from search parameters to source, on a few made-up definitions.

use serde_json::{Value, json};

use super::{super::definitions::Definitions, documentation, source};

fn structure(name: &str, elements: Value) -> Value {
    json!({"resource": {
        "resourceType": "StructureDefinition", "name": name, "version": "4.0.1", "kind": "resource",
        "derivation": "specialization", "abstract": false, "snapshot": {"element": elements},
    }})
}

fn resources() -> Value {
    json!({"entry": [
        structure("Basic", json!([
            {"path": "Basic"},
            {"path": "Basic.status", "type": [{"code": "code"}],
                "binding": {"strength": "required", "valueSet": "http://x/vs|4.0.1"}},
            {"path": "Basic.value[x]", "type": [{"code": "Quantity"}, {"code": "Age"}, {"code": "SampledData"}]},
            {"path": "Basic.part", "type": [{"code": "BackboneElement"}]},
            {"path": "Basic.part.code", "type": [{"code": "CodeableConcept"}]},
            {"path": "Basic.part.when[x]", "type": [{"code": "dateTime"}, {"code": "Period"}, {"code": "string"}]},
            {"path": "Basic.part.part", "contentReference": "#Basic.part"},
            {"path": "Basic.subject", "type": [{"code": "Reference"}]},
            {"path": "Basic.telecom", "type": [{"code": "ContactPoint"}]},
        ])),
        structure("Group", json!([{"path": "Group"}])),
        {"resource": {"resourceType": "CompartmentDefinition", "code": "Patient", "resource": []}},
        {"resource": {"resourceType": "ValueSet", "url": "http://x/vs",
            "compose": {"include": [{"system": "http://x/cs"}]}}},
    ]})
}

fn parameter(code: &str, kind: &str, base: &[&str], expression: &str) -> Value {
    json!({"resource": {
        "id": format!("Basic-{code}"), "url": format!("http://hl7.org/fhir/SearchParameter/Basic-{code}"), "version": "4.0.1",
        "code": code, "type": kind, "base": base, "expression": expression, "description": "What it \"means\"",
    }})
}

fn table(parameters: Vec<Value>) -> String {
    let (resources, parameters) = (resources(), json!({"entry": parameters}));
    let definitions = Definitions::read(&resources, &parameters).expect("definitions");
    source(&definitions, &[&resources], &parameters).unwrap_or_else(|error| format!("{error:#}"))
}

fn check(kind: &str, expression: &str, expected: &str) {
    let source = table(vec![parameter("x", kind, &["Basic"], expression)]);
    assert!(source.contains(&format!("{expected:?}")), "{source}");
}

#[test]
fn expressions_become_paths_with_types() {
    check("token", "Basic.status", "status:code(http://x/cs)");
    check(
        "quantity",
        "Basic.value",
        "valueQuantity:Quantity|valueAge:Quantity",
    );
    check("quantity", "(Basic.value as Age)", "valueAge:Quantity");
    check(
        "date",
        "Basic.part.when",
        "part.whenDateTime:dateTime|part.whenPeriod:Period",
    );
    check(
        "token",
        "Other.code | Basic.part.part.code",
        "part.part.code:CodeableConcept",
    );
    check(
        "reference",
        "Basic.subject.where(resolve() is Patient)",
        "subject:Reference(Patient)",
    );
    check(
        "token",
        "Basic.telecom.where(system='phone')",
        "telecom[system=phone]:ContactPoint",
    );
    check("token", "part.code", "part.code:CodeableConcept");
}

#[test]
fn composites_name_their_parts() {
    let mut composite = parameter("pair", "composite", &["Basic"], "Basic | Basic.part");
    composite["resource"]["expression"] = "Basic.part".into();
    composite["resource"]["component"] = json!([
        {"definition": "http://hl7.org/fhir/SearchParameter/Basic-code", "expression": "code"},
        {"definition": "http://hl7.org/fhir/SearchParameter/Basic-status", "expression": "%resource.status"},
    ]);
    let source = table(vec![
        composite,
        parameter("code", "token", &["Basic"], "Basic.part.code"),
        parameter("status", "token", &["Basic"], "Basic.status"),
    ]);
    let expected = concat!(
        r#"composite("pair", "Basic-pair", "part:self", "What it \"means\"", "#,
        r#"&[component(Kind::Token, "code:CodeableConcept"), component(Kind::Token, "%status:code(http://x/cs)")]),"#,
    );
    assert!(source.contains(expected), "{source}");
}

#[test]
fn what_cannot_be_compiled_is_an_error_unless_it_is_left_out_by_name() {
    let source = table(vec![parameter("x", "token", &["Basic"], "Basic.status.exists()")]);
    assert!(
        source.starts_with("search parameter http://hl7.org/fhir/SearchParameter/Basic-x of Basic"),
        "{source}"
    );
    let source = table(vec![parameter("x", "date", &["Basic"], "Basic.status")]);
    assert!(source.contains("a date parameter meets a code"), "{source}");
    let mut excluded = parameter("near", "special", &["Basic"], "Basic.status");
    excluded["resource"]["id"] = "Location-near".into();
    let source = table(vec![excluded]);
    assert!(
        source.contains(r#"unsupported("Basic", "near", "distances are not computed")"#),
        "{source}"
    );
}

#[test]
fn parameters_of_all_types_stand_apart_and_other_versions_are_passed_over() {
    let mut newer = parameter("newer", "token", &["Basic"], "Basic.status");
    newer["resource"]["version"] = "5.0.0".into();
    let source = table(vec![newer]);
    assert!(!source.contains("newer"), "{source}");
}

#[test]
fn shared_descriptions_give_each_type_its_line() {
    let shared = "Multiple Resources: \r\n\r\n* [Basic](basic.html): Of the first\r\n* [Group](group.html): Of the second\r\n";
    assert_eq!(documentation(shared, "Group"), "Of the second");
    assert_eq!(documentation("One line", "Group"), "One line");
}
