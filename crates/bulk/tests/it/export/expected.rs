//! What an export must hold, computed from the source lines with `serde_json` and R4's compartment paths written out here:
//! nothing of it comes from the code under test.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// The Patient compartment of R4 4.0.1 for the types of the real data, as paths of elements, and `Device.patient`.
const PATHS: &[(&str, &[&str])] = &[
    ("AllergyIntolerance", &["patient", "recorder", "asserter"]),
    ("CarePlan", &["subject", "activity.detail.performer"]),
    ("CareTeam", &["subject", "participant.member"]),
    ("Claim", &["patient", "payee.party"]),
    ("Condition", &["subject", "asserter"]),
    ("Device", &["patient"]),
    ("DiagnosticReport", &["subject"]),
    ("Encounter", &["subject"]),
    ("ExplanationOfBenefit", &["patient", "payee.party"]),
    ("Group", &["member.entity"]),
    ("ImagingStudy", &["subject"]),
    ("Immunization", &["patient"]),
    ("MedicationRequest", &["subject"]),
    ("Observation", &["subject", "performer"]),
    ("Patient", &["link.other"]),
    ("Procedure", &["subject", "performer.actor"]),
];

/// A resource of the source.
pub(super) struct Known {
    pub(super) resource_type: String,
    pub(super) id: String,
    pub(super) line: String,
    /// The patients in whose compartments it sits.
    pub(super) patients: BTreeSet<String>,
    /// The members of a Group.
    pub(super) members: BTreeSet<String>,
}

impl Known {
    pub(super) fn of(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        let (resource_type, id) = (text("resourceType"), text("id"));
        let mut patients = BTreeSet::new();
        let paths = PATHS
            .iter()
            .find(|(name, _)| *name == resource_type)
            .map_or(&[][..], |(_, paths)| paths);
        for path in paths {
            gather(&value, path, &mut patients);
        }
        let members = if resource_type == "Group" {
            patients.clone()
        } else {
            BTreeSet::new()
        };
        if resource_type == "Patient" {
            patients.insert(id.clone());
        }
        Self {
            resource_type,
            id,
            line: line.to_owned(),
            patients,
            members,
        }
    }

    pub(super) fn name(&self) -> (String, String) {
        (self.resource_type.clone(), self.id.clone())
    }
}

/// Follows a path through objects and lists to references to patients.
fn gather(value: &Value, path: &str, patients: &mut BTreeSet<String>) {
    if let Value::Array(items) = value {
        return items.iter().for_each(|item| gather(item, path, patients));
    }
    let Some((name, rest)) = path.split_once('.') else {
        let references = match &value[path] {
            Value::Array(items) => items.iter().collect(),
            other => vec![other],
        };
        let patient = |reference: &Value| {
            reference["reference"]
                .as_str()?
                .strip_prefix("Patient/")
                .map(str::to_owned)
        };
        return patients.extend(references.into_iter().filter_map(patient));
    };
    gather(&value[name], rest, patients);
}

/// The folder of the real data, beside the repository.
pub(super) fn synthea_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100")
}

/// The real data of one type.
pub(super) fn synthea_of(resource_type: &str) -> Vec<Known> {
    let path = synthea_folder().join(format!("{resource_type}.ndjson.zst"));
    let text = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    std::str::from_utf8(&text)
        .unwrap()
        .lines()
        .map(Known::of)
        .collect()
}

/// All the real data.
pub(super) fn synthea() -> Vec<Known> {
    let mut all = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(synthea_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let name = name.to_str().unwrap().to_owned();
        all.extend(synthea_of(name.strip_suffix(".ndjson.zst").unwrap()));
    }
    all
}
