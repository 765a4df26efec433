//! Kick-off parameters: any bytes give a request or a list of issues, and a request survives being written again.

use fhirhose_fhir::{
    export_request::{AssociatedData, ExportLevel, ExportRequest, KickOff, Wire},
    id::Id,
    instant::Instant,
    outcome::OperationOutcome,
    prefer::{Handling, Preferences},
};
use serde_json::{Value, json};

const URL: &str = "http://localhost:8080/fhir/$export";
const BASE: &str = "http://localhost:8080/fhir";
const NOW: Instant = Instant::from_micros(1_795_234_353_123_456);

/// Checks the laws. The first byte chooses the level, query or body, leniency and the version of the standard.
pub fn check(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else {
        return;
    };
    let kick_off = KickOff {
        preferences: if choice & 8 == 0 {
            Preferences::default()
        } else {
            lenient()
        },
        wire: if choice & 16 == 0 { Wire::Stu3 } else { Wire::Stu4 },
        ..strict(level(choice))
    };
    let request = if choice & 4 == 0 {
        kick_off.read_query(&String::from_utf8_lossy(text))
    } else {
        kick_off.read_body(text)
    };
    match request {
        Ok(request) => check_request(&request),
        Err(outcome) => check_outcome(&outcome),
    }
}

fn lenient() -> Preferences {
    Preferences {
        handling: Handling::Lenient,
        ..Preferences::default()
    }
}

fn strict(level: ExportLevel) -> KickOff<'static> {
    KickOff {
        base_url: BASE,
        request_url: URL,
        ..KickOff::new(level, NOW)
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
    check_written_as_body(request, &stored);
}

fn tree_of(request: &ExportRequest) -> Value {
    serde_json::to_value(request).expect("a request can be written")
}

/// The parameters that say what the request says, each value on its own.
fn parameters(request: &ExportRequest, stored: &Value) -> Vec<Value> {
    let mut parameters = Vec::new();
    for (member, name) in [
        ("types", "_type"),
        ("elements", "_elements"),
        ("typeFilters", "_typeFilter"),
    ] {
        let values = stored[member].as_array().into_iter().flatten();
        parameters.extend(values.map(|value| json!({"name": name, "valueString": value})));
    }
    for (member, name) in [("since", "_since"), ("until", "_until")] {
        if stored[member].is_string() {
            parameters.push(json!({"name": name, "valueInstant": stored[member]}));
        }
    }
    for id in request.patients.iter().flatten() {
        let reference = format!("Patient/{id}");
        parameters.push(json!({"name": "patient", "valueReference": {"reference": reference}}));
    }
    for (member, name) in [
        ("fileBytesMin", "_minimumFileSize"),
        ("fileBytesMax", "_maximumFileSize"),
    ] {
        if stored[member].is_number() {
            parameters.push(json!({"name": name, "valuePositiveInt": stored[member]}));
        }
    }
    if let Some(organizer) = request.organize_output_by {
        parameters.push(json!({"name": "organizeOutputBy", "valueCode": organizer.name()}));
    }
    if request.allow_partial_manifests {
        parameters.push(json!({"name": "allowPartialManifests", "valueBoolean": true}));
    }
    let associated = match request.associated_data {
        AssociatedData::Default => return parameters,
        AssociatedData::LatestProvenance => "LatestProvenanceResources",
        AssociatedData::RelevantProvenance => "RelevantProvenanceResources",
    };
    parameters.push(json!({"name": "includeAssociatedData", "valueCoding": {"code": associated}}));
    parameters
}

/// What was read, written again parameter by parameter, says the same; a lenient request may say what a strict one may not.
fn check_written_as_body(request: &ExportRequest, stored: &Value) {
    let parameters = parameters(request, stored);
    let mut body = json!({"resourceType": "Parameters"});
    if !parameters.is_empty() {
        body["parameter"] = parameters.into();
    }
    let kick_off = KickOff {
        wire: request.wire,
        preferences: lenient(),
        ..strict(request.level.clone())
    };
    let again = kick_off.read_body(body.to_string().as_bytes());
    let mut again = again.expect("a written request is good");
    again.ignored.clone_from(&request.ignored);
    assert_eq!(
        &tree_of(&again),
        stored,
        "repeats equal a list (K-07), and a body says what a query says"
    );
}
