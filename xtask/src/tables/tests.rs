//! The way from definitions to source, on a few made-up definitions.

use serde_json::{Value, json};

use super::{definitions::Definitions, render::render, rows};

fn structure(name: &str, version: &str, elements: &[(&str, u8)]) -> Value {
    let element = |(path, min): &(&str, u8)| json!({"path": path, "min": min});
    json!({"resource": {
        "resourceType": "StructureDefinition", "name": name, "version": version, "kind": "resource",
        "derivation": "specialization", "abstract": false,
        "snapshot": {"element": elements.iter().map(element).collect::<Vec<_>>()},
    }})
}

fn resources() -> Value {
    let basic = [
        ("Basic", 0),
        ("Basic.id", 0),
        ("Basic.code", 1),
        ("Basic.value[x]", 0),
        ("Basic.code.text", 1),
    ];
    json!({"entry": [
        structure("Device", "4.0.1", &[("Device", 0), ("Device.patient", 0)]),
        structure("Basic", "4.0.1", &basic),
        structure("Newer", "4.3.0", &[("Newer", 0)]),
        {"resource": {"resourceType": "CompartmentDefinition", "code": "Patient", "resource": [
            {"code": "Basic", "param": ["patient", "author"]},
            {"code": "Device"},
        ]}},
    ]})
}

fn parameters() -> Value {
    json!({"entry": [
        {"resource": {"code": "author", "base": ["Basic"], "expression": "Basic.author"}},
        {"resource": {"code": "patient", "base": ["Account", "Basic"],
            "expression": "Account.subject | Basic.subject.where(resolve() is Patient)"}},
        {"resource": {"code": "near", "base": ["Location"]}},
    ]})
}

#[test]
fn definitions_become_source() {
    let (resources, parameters) = (resources(), parameters());
    let definitions = Definitions::read(&resources, &parameters).expect("definitions");
    let source = render(&rows(&definitions).expect("rows"));
    let (_, body) = source.split_once("= &[\n").expect("a table");
    let expected = r#"    TypeRow {
        name: "Basic",
        elements: &[
            optional("id"), mandatory("code"), optional_choice("value"),
        ],
        patient_paths: &["subject", "author"],
    },
    TypeRow {
        name: "Device",
        elements: &[
            optional("patient"),
        ],
        patient_paths: &["patient"],
    },
];
"#;
    assert_eq!(body, expected);
}

#[test]
fn a_compartment_parameter_without_definition_is_an_error() {
    let (resources, none) = (resources(), json!({"entry": []}));
    let definitions = Definitions::read(&resources, &none).expect("definitions");
    let error = rows(&definitions).expect_err("no parameters").to_string();
    assert_eq!(error, "no search parameter Basic patient");
}
