//! References found in a resource's text, and what a Provenance says.

use fhirhose_fhir::provenance::ProvenanceFacts;
use fhirhose_fhir::reference::each_reference_to;
use fhirhose_fhir::resource_type::ResourceType;

fn found(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let wanted = |resource_type: ResourceType| resource_type != ResourceType::OBSERVATION;
    each_reference_to(text.as_bytes(), wanted, |reference| {
        found.push(format!("{}/{}", reference.resource_type, reference.id));
    });
    found
}

#[test]
fn references_are_found_in_any_place_and_spelling() {
    let text = r#"{"a":{"reference":"Practitioner/1"},"b":[{"reference" : "Organization\/o-2"}],"contained":[{"c":{"reference":"https://x/fhir/Location/3/_history/4"}}],"d":{"reference":"Practitioner/1"},"e":{"reference":"Observation/1"},"f":{"reference":"http://x/Observation/1"}}"#;
    let expected = [
        "Practitioner/1",
        "Organization/o-2",
        "Location/3",
        "Practitioner/1",
    ];
    assert_eq!(found(text), expected);
}

#[test]
fn what_only_looks_like_a_reference_is_none() {
    let text = r##"{"text":"\"reference\":\"Patient/1\"","b":"reference","c":["reference"],"reference":{"x":"Patient/2"},"d":{"reference":"#c"},"e":{"reference":"urn:uuid:1"},"f":{"reference":"Nothing/1"}}"##;
    assert_eq!(found(text), [""; 0]);
    for cut in 0..text.len() {
        found(text.get(..cut).unwrap_or_default());
    }
}

#[test]
fn a_provenance_tells_its_targets_and_when_it_was_recorded() {
    let text = br#"{"resourceType":"Provenance","target":[{"reference":"Patient/1"},{"display":"x"},{"reference":"Observation/2/_history/3"}],"recorded":"2020-01-01T00:00:00Z"}"#;
    let facts = ProvenanceFacts::read(text).unwrap();
    let targets: Vec<_> = facts.targets().map(|target| target.id).collect();
    assert_eq!(targets, ["1", "2"]);
    assert_eq!(facts.recorded.unwrap().micros(), 1_577_836_800_000_000);
    let without = ProvenanceFacts::read(b"{}").unwrap();
    assert!(without.recorded.is_none() && without.targets().next().is_none());
}
