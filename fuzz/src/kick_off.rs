//! Kick-off parameters: any bytes give a request or a list of issues, and a request survives being written again.

use fhirhose_fhir::{
    export_request::{ExportLevel, ExportRequest, parse_parameters, parse_query},
    id::Id,
    instant::Instant,
    outcome::OperationOutcome,
};
use serde_json::{Value, json};

const URL: &str = "http://localhost:8080/fhir/$export";
const NOW: Instant = Instant::from_micros(1_795_234_353_123_456);

/// Checks the laws. The first byte chooses the level, and query or body.
pub fn check(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let level = level(choice);
    let request = if choice & 4 == 0 {
        parse_query(level, &String::from_utf8_lossy(text), URL, NOW)
    } else {
        parse_parameters(level, text, URL, NOW)
    };
    match request {
        Ok(request) => check_request(&request),
        Err(outcome) => check_outcome(&outcome),
    }
}

fn level(choice: u8) -> ExportLevel {
    let id = || Id::parse("a-1").expect("a good id");
    match choice & 3 {
        0 => ExportLevel::System,
        1 => ExportLevel::AllPatients,
        2 => ExportLevel::Group(id()),
        _ => ExportLevel::Patient(id()),
    }
}

fn check_outcome(outcome: &OperationOutcome) {
    assert!(!outcome.issues.is_empty(), "a refusal says why");
    let tree: Value = serde_json::from_str(&outcome.to_json()).expect("an outcome is JSON");
    assert_eq!(tree["resourceType"], "OperationOutcome");
}

fn check_request(request: &ExportRequest) {
    if let Some(types) = &request.types {
        assert!(!types.is_empty(), "no list is empty");
        assert!(
            (1..types.len()).all(|at| !types[..at].contains(&types[at])),
            "no type comes twice"
        );
    }
    assert!(
        request.since.is_none_or(|since| since <= NOW),
        "no _since lies ahead"
    );
    let stored = tree_of(request);
    let read: ExportRequest = serde_json::from_value(stored.clone()).expect("a stored request can be read");
    assert_eq!(tree_of(&read), stored, "a request survives being stored");
    let values = values(&stored);
    check_written_as_query(request, &values, &stored);
    check_written_as_body(request, &values, &stored);
}

fn tree_of(request: &ExportRequest) -> Value {
    serde_json::to_value(request).expect("a request can be written")
}

/// The parameters that say what the request says, each value on its own.
fn values(stored: &Value) -> Vec<(&'static str, String)> {
    let list = |name: &str| stored[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().expect("a list of strings").to_owned();
    let types = list("types")
        .iter()
        .map(|value| ("_type", text(value)))
        .collect::<Vec<_>>();
    let elements = list("elements")
        .iter()
        .map(|value| ("_elements", text(value)))
        .collect::<Vec<_>>();
    let since = stored["since"].as_str().map(|since| ("_since", since.to_owned()));
    types.into_iter().chain(elements).chain(since).collect()
}

fn check_written_as_query(request: &ExportRequest, values: &[(&str, String)], stored: &Value) {
    let pairs: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let again = parse_query(request.level.clone(), &pairs.join("&"), URL, NOW);
    assert_eq!(
        &tree_of(&again.expect("a written request is good")),
        stored,
        "repeats equal a list (K-07)"
    );
}

fn check_written_as_body(request: &ExportRequest, values: &[(&str, String)], stored: &Value) {
    let parameter = |(name, value): &(&str, String)| {
        let kind = if *name == "_since" {
            "valueInstant"
        } else {
            "valueString"
        };
        json!({"name": name, kind: value})
    };
    let parameters: Vec<Value> = values.iter().map(parameter).collect();
    let mut body = json!({"resourceType": "Parameters"});
    if !parameters.is_empty() {
        body["parameter"] = parameters.into();
    }
    let again = parse_parameters(request.level.clone(), body.to_string().as_bytes(), URL, NOW);
    assert_eq!(
        &tree_of(&again.expect("a written request is good")),
        stored,
        "a body says what a query says"
    );
}
