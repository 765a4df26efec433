//! The profile of Groups that are cohorts (C-02, C-07), in our own words: HL7's canonical, its constraints as a differential.

use serde_json::{Value, json};

use super::BULK_DATA;

/// The canonical of the profile.
pub(crate) const COHORT_PROFILE: &str =
    "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/bulk-cohort-group";

/// Its id here.
pub(super) const COHORT_PROFILE_ID: &str = "bulk-cohort-group";

/// Makes the StructureDefinition.
pub(super) fn cohort() -> Value {
    let targets = ["Patient", "Practitioner", "Device", "Group"]
        .map(|name| format!("http://hl7.org/fhir/StructureDefinition/{name}"));
    let extension = |path: &str, slice: &str, (min, max): (u8, &str)| {
        json!({
            "id": format!("{path}:{slice}"),
            "path": path,
            "sliceName": slice,
            "min": min,
            "max": max,
            "type": [{ "code": "Extension", "profile": [format!("{BULK_DATA}/StructureDefinition/{slice_url}", slice_url = kebab(slice))] }],
        })
    };
    json!({
        "resourceType": "StructureDefinition",
        "id": COHORT_PROFILE_ID,
        "url": COHORT_PROFILE,
        "name": "BulkCohortGroup",
        "title": "Cohort for bulk export",
        "status": "active",
        "description": "A Group whose members are those that match all of its member filters, each a FHIR search query of one type \
            (application/x-fhir-query). A filter holds for a patient if it matches the Patient or a resource of its compartment. \
            Without listed members every patient is a candidate. Membership is found out at each export, so members-refreshed \
            is left out.",
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": false,
        "type": "Group",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Group",
        "derivation": "constraint",
        "differential": { "element": [
            extension("Group.extension", "membersRefreshed", (0, "1")),
            extension("Group.modifierExtension", "memberFilter", (1, "*")),
            { "id": "Group.type", "path": "Group.type", "short": "person, practitioner or device" },
            { "id": "Group.name", "path": "Group.name", "min": 1 },
            { "id": "Group.characteristic", "path": "Group.characteristic", "max": "0" },
            { "id": "Group.member.entity", "path": "Group.member.entity",
              "type": [{ "code": "Reference", "targetProfile": targets }] },
        ] },
    })
}

/// `memberFilter` as in URLs: `member-filter`.
fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
