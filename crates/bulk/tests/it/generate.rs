//! The generator through its public surface: determinism, whole files, and populations that hold together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use fhirhose_bulk::generate::{
    GROUP_ALL, GROUP_DIABETES, GROUP_INACTIVE, GROUP_NESTED, GROUP_ONE_PERCENT, GenerateError, Generated,
    Population, Summary, write_population,
};
use serde_json::Value;

/// The types that the demonstration promises, with the elements that R4 makes mandatory.
const MANDATORY: [(&str, &[&str]); 23] = [
    ("AllergyIntolerance", &["patient"]),
    ("CarePlan", &["status", "intent", "subject"]),
    ("CareTeam", &[]),
    (
        "Claim",
        &[
            "status",
            "type",
            "use",
            "patient",
            "created",
            "provider",
            "priority",
            "insurance",
        ],
    ),
    ("Condition", &["subject"]),
    ("Coverage", &["status", "beneficiary", "payor"]),
    ("Device", &[]),
    ("DiagnosticReport", &["status", "code"]),
    ("DocumentReference", &["status", "content"]),
    ("Encounter", &["status", "class"]),
    (
        "ExplanationOfBenefit",
        &[
            "status",
            "type",
            "use",
            "patient",
            "created",
            "insurer",
            "provider",
            "outcome",
            "insurance",
        ],
    ),
    ("Goal", &["lifecycleStatus", "description", "subject"]),
    ("Group", &["type", "actual"]),
    (
        "Immunization",
        &["status", "vaccineCode", "patient", "occurrenceDateTime"],
    ),
    ("Location", &[]),
    (
        "MedicationRequest",
        &["status", "intent", "medicationCodeableConcept", "subject"],
    ),
    ("Observation", &["status", "code"]),
    ("Organization", &["name"]),
    ("Patient", &[]),
    ("Practitioner", &[]),
    ("PractitionerRole", &[]),
    ("Procedure", &["status", "subject"]),
    ("Provenance", &["target", "recorded", "agent"]),
];

#[test]
fn files_are_the_same_bytes_for_any_number_of_threads() {
    let population = population(120);
    let (alone, _) = files(&population, 1);
    for count in [2, 5] {
        assert!(
            files(&population, count).0 == alone,
            "{count} threads made other bytes than one"
        );
    }
}

#[test]
fn files_are_those_of_the_iterator() {
    let population = population(40);
    let mut lines: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for resource in population.resources() {
        let name = format!("{}.ndjson", resource.resource_type);
        let bytes = lines.entry(name).or_default();
        bytes.extend_from_slice(&resource.line);
        bytes.push(b'\n');
    }
    assert!(files(&population, 2).0 == lines);
}

#[test]
fn another_seed_makes_another_population() {
    let ids = |seed| -> HashSet<Vec<u8>> {
        let population = Population { seed, patients: 8 };
        let resources = population.resources();
        resources
            .filter(|made| made.resource_type != "Group")
            .map(|made| made.line)
            .collect()
    };
    assert!(ids(1).is_disjoint(&ids(2)));
}

#[test]
fn a_patients_record_does_not_depend_on_the_population_size() {
    let (few, _) = files(&population(20), 1);
    let (many, _) = files(&population(150), 1);
    for name in ["Patient", "Observation", "Claim", "DocumentReference"] {
        let name = format!("{name}.ndjson");
        assert!(many[&name].starts_with(&few[&name]), "{name} differs");
    }
}

#[test]
fn one_patient_is_enough_for_every_type() {
    let (files, summary) = files(&population(1), 1);
    let expected: Vec<&str> = MANDATORY.iter().map(|(name, _)| *name).collect();
    let types: Vec<&str> = summary.types.iter().map(|one| one.resource_type).collect();
    assert_eq!(types, expected);
    for one in &summary.types {
        let bytes = &files[&format!("{}.ndjson", one.resource_type)];
        assert!(one.resources > 0, "no {}", one.resource_type);
        assert_eq!(one.bytes, bytes.len() as u64);
        let newlines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(one.resources, newlines as u64);
    }
}

#[test]
fn every_resource_is_json_with_its_type_a_unique_id_and_what_r4_demands() {
    let mandatory: HashMap<&str, &[&str]> = MANDATORY.into_iter().collect();
    let mut seen = HashSet::new();
    for (name, resource) in sample() {
        assert_eq!(resource["resourceType"], *name);
        let id = resource["id"].as_str().expect("every resource has an id");
        assert!((1..=64).contains(&id.len()));
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(id.bytes().all(allowed), "{name} has an odd id");
        assert!(seen.insert((name, id.to_owned())), "{name}/{id} is there twice");
        for element in mandatory[name] {
            assert!(!resource[element].is_null(), "{name} lacks {element}");
        }
    }
}

#[test]
fn every_reference_resolves_within_the_population() {
    let resources = sample();
    let known: HashSet<String> = resources
        .iter()
        .map(|(name, resource)| format!("{name}/{}", resource["id"].as_str().unwrap_or("")))
        .collect();
    let mut found = 0;
    for (name, resource) in resources {
        for reference in references(resource) {
            found += 1;
            let resolves = known.contains(reference) || reference == "#referral";
            assert!(resolves, "{name} refers to {reference}");
        }
    }
    assert!(found > resources.len());
}

#[test]
fn nothing_happens_before_birth_or_after_death() {
    let resources = sample();
    let mut lives = HashMap::new();
    for (_, patient) in resources.iter().filter(|(name, _)| *name == "Patient") {
        let birth = patient["birthDate"].as_str().expect("patients have a birth date");
        let death = patient["deceasedDateTime"].as_str().unwrap_or("2025-06-30");
        lives.insert(
            format!("Patient/{}", patient["id"].as_str().unwrap_or("")),
            (birth, &death[..10]),
        );
    }
    assert!(
        lives.values().any(|(_, last)| *last < "2025-06-30"),
        "nobody died"
    );
    let mut checked = 0;
    for (name, resource) in resources {
        let owner = ["subject", "patient"]
            .iter()
            .find_map(|key| resource[key]["reference"].as_str());
        let Some((birth, last)) = owner.and_then(|owner| lives.get(owner)) else {
            continue;
        };
        for key in [
            "effectiveDateTime",
            "occurrenceDateTime",
            "authoredOn",
            "recordedDate",
            "onsetDateTime",
            "abatementDateTime",
            "startDate",
        ] {
            if let Some(time) = resource[key].as_str() {
                checked += 1;
                assert!((*birth..=*last).contains(&&time[..10]), "{name}.{key} is {time}");
            }
        }
    }
    assert!(checked > 10_000, "only {checked} times were checked");
}

#[test]
fn decimals_keep_their_trailing_zeros() {
    let (files, _) = files(&population(30), 1);
    let text = String::from_utf8_lossy(&files["MedicationRequest.ndjson"]).into_owned();
    assert!(text.contains("\"doseQuantity\":{\"value\":1.00}"));
    let text = String::from_utf8_lossy(&files["Observation.ndjson"]).into_owned();
    assert!(text.contains("0,\"unit\":\"mg/dL\""));
}

#[test]
fn groups_have_the_members_that_their_names_promise() {
    let population = population(350);
    let resources = parsed(&population);
    let groups: HashMap<&str, &Value> = resources
        .iter()
        .filter(|(name, _)| *name == "Group")
        .map(|(_, group)| (group["id"].as_str().unwrap_or(""), group))
        .collect();
    assert_eq!(members(groups[GROUP_ALL]).len(), 350);
    assert_eq!(members(groups[GROUP_ONE_PERCENT]).len(), 3);
    let diabetic = members(groups[GROUP_DIABETES]);
    assert!(diabetic.is_superset(&diabetic_patients(&resources)));
    assert!((10..100).contains(&diabetic.len()));
    let nested = members(groups[GROUP_NESTED]);
    assert!(nested.contains("Group/demo-diabetes") && nested.contains("Group/panel-00001"));
    let panels = ["panel-00001", "panel-00002", "panel-00003", "panel-00004"];
    let sizes = panels.map(|panel| members(groups[panel]).len());
    assert_eq!(sizes, [100, 100, 100, 50]);
    let entries = groups[GROUP_INACTIVE]["member"]
        .as_array()
        .expect("it has members");
    let inactive = entries.iter().filter(|entry| entry["inactive"] == true);
    assert!((1..entries.len()).contains(&inactive.count()));
}

#[test]
fn resources_are_about_as_many_as_asked_for() {
    for seed in [1, 2] {
        let asked = 120_000;
        let population = Population::for_resources(seed, asked);
        let made = population.resources().count() as u64;
        let off = made.abs_diff(asked) * 100 / asked;
        assert!(off < 10, "asked for {asked}, made {made}");
    }
    assert_eq!(Population::for_resources(1, 0).patients, 1);
}

#[test]
fn progress_grows_to_the_summary() {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let reports: Mutex<Vec<Generated>> = Mutex::default();
    let report = |generated| reports.lock().expect("nobody panicked").push(generated);
    let summary = write_population(&population(70), out.path(), threads(3), &report)
        .expect("the folder can be written");
    let reports = reports.into_inner().expect("nobody panicked");
    assert!(reports.is_sorted_by_key(|generated| generated.bytes));
    let last = reports.last().expect("there was progress");
    assert_eq!(last.patients, 70);
    assert_eq!(last.resources, summary.resources());
    assert_eq!(last.bytes, summary.bytes());
}

#[test]
fn nobody_is_refused() {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let refused = write_population(&population(0), out.path(), threads(1), &|_| ());
    assert!(matches!(refused, Err(GenerateError::NoPatients)));
    assert_eq!(population(0).resources().count(), 0);
}

#[test]
fn a_file_that_cannot_be_made_leaves_nothing_behind() {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let obstacle = out.path().join(".Goal.ndjson.partial");
    fs::create_dir(&obstacle).expect("a folder can be made");
    let failed = write_population(&population(5), out.path(), threads(2), &|_| ());
    assert!(matches!(failed, Err(GenerateError::Write { path, .. }) if path == obstacle));
    assert_eq!(names(out.path()), [".Goal.ndjson.partial"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_all_threads_and_keeps_the_files_of_before() {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    write_population(&population(2), out.path(), threads(1), &|_| ()).expect("the folder can be written");
    let before = read(out.path());
    let partial = out.path().join(".Claim.ndjson.partial");
    std::os::unix::fs::symlink("/dev/full", &partial).expect("a link can be made");
    let failed = write_population(&population(200), out.path(), threads(4), &|_| ());
    assert!(matches!(failed, Err(GenerateError::Write { path, .. }) if path == partial));
    assert!(read(out.path()) == before);
}

fn population(patients: u32) -> Population {
    Population { seed: 42, patients }
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("tests ask for at least one thread")
}

/// Writes a population and reads it back, by file name.
fn files(population: &Population, count: usize) -> (BTreeMap<String, Vec<u8>>, Summary) {
    let out = tempfile::tempdir().expect("a temporary folder can be made");
    let out = out.path().join("made/on/the/way");
    let summary =
        write_population(population, &out, threads(count), &|_| ()).expect("the folder can be written");
    (read(&out), summary)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the folder can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = |name: &String| fs::read(folder.join(name)).expect("the file can be read");
    let names = names(folder);
    names
        .into_iter()
        .map(|name| (name.clone(), bytes(&name)))
        .collect()
}

fn parsed(population: &Population) -> Vec<(&'static str, Value)> {
    population
        .resources()
        .map(|made| {
            let resource = serde_json::from_slice(&made.line).expect("every line is JSON");
            (made.resource_type, resource)
        })
        .collect()
}

/// A population's resources, parsed once for all tests that only read them.
fn sample() -> &'static [(&'static str, Value)] {
    static SAMPLE: LazyLock<Vec<(&str, Value)>> = LazyLock::new(|| parsed(&population(150)));
    &SAMPLE
}

fn references(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().flat_map(references).collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| match value {
                Value::String(text) if key == "reference" => vec![text.as_str()],
                _ => references(value),
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn members(group: &Value) -> BTreeSet<String> {
    let entries = group["member"].as_array().expect("every Group has members");
    entries
        .iter()
        .filter_map(|entry| entry["entity"]["reference"].as_str())
        .map(str::to_owned)
        .collect()
}

fn diabetic_patients(resources: &[(&str, Value)]) -> BTreeSet<String> {
    resources
        .iter()
        .filter(|(name, resource)| {
            *name == "Condition" && resource["code"]["coding"][0]["code"] == "44054006"
        })
        .filter_map(|(_, resource)| resource["subject"]["reference"].as_str())
        .map(str::to_owned)
        .collect()
}
