//! The facts of good lines: type, id, owner, patients, references, meta.

use fhirhose_fhir::{line::LineLimits, resource_type::ResourceType};

use super::{LineChecker, checker};

/// What a line's facts are, as owned values.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    owner: Option<String>,
    others: Vec<String>,
    references: Vec<String>,
    unresolvable: usize,
}

fn facts(line: &str) -> Facts {
    let mut checker = checker();
    let checked = checker
        .check(line.as_bytes(), None)
        .unwrap_or_else(|refusal| panic!("{refusal}: {line}"));
    assert_eq!(&line[checked.id_at..checked.id_at + checked.id.len()], checked.id);
    assert_eq!(checked.references.len(), checked.references.iter().count());
    assert_eq!(
        checked.other_patients.len(),
        checked.other_patients.iter().count()
    );
    Facts {
        owner: checked.owner.map(str::to_owned),
        others: checked.other_patients.iter().map(str::to_owned).collect(),
        references: (checked.references.iter())
            .map(|reference| format!("{}/{}", reference.resource_type, reference.id))
            .collect(),
        unresolvable: checked.unresolvable,
    }
}

fn assert_patients(line: &str, owner: Option<&str>, others: &[&str]) {
    let facts = facts(line);
    assert_eq!(facts.owner.as_deref(), owner, "{line}");
    assert_eq!(facts.others, others, "{line}");
}

#[test]
fn owner_is_the_first_compartment_path_in_table_order() {
    // Observation: subject comes before performer, wherever they stand.
    assert_patients(
        r#"{"resourceType":"Observation","id":"o","performer":[{"reference":"Practitioner/x"},{"reference":"Patient/b"}],"subject":{"reference":"Patient/a"}}"#,
        Some("a"),
        &["b"],
    );
    assert_patients(
        r#"{"resourceType":"Observation","id":"o","performer":[{"reference":"Patient/b"},{"reference":"Patient/c"}],"subject":{"reference":"Group/g"}}"#,
        Some("b"),
        &["c"],
    );
    assert_patients(
        r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Location/l"}}"#,
        None,
        &[],
    );
}

#[test]
fn patients_own_themselves_and_links_are_further_patients() {
    assert_patients(
        r#"{"resourceType":"Patient","id":"p","link":[{"other":{"reference":"Patient/z"}},{"other":{"reference":"Patient/p"}},{"other":{"reference":"RelatedPerson/r"}}]}"#,
        Some("p"),
        &["z"],
    );
}

#[test]
fn deep_compartment_paths_are_followed_through_arrays() {
    assert_patients(
        r#"{"resourceType":"Appointment","id":"a","participant":[{"actor":{"reference":"Location/l"}},{"actor":{"reference":"Patient/p"}},{"actor":{"reference":"Patient/o"}}]}"#,
        Some("p"),
        &["o"],
    );
    assert_patients(
        r#"{"resourceType":"CarePlan","id":"a","activity":[{"detail":{"performer":[{"reference":"Patient/q"}]}}],"subject":{"reference":"Patient/p"}}"#,
        Some("p"),
        &["q"],
    );
    // Device.patient is not in R4's definition and is added (G-08).
    assert_patients(
        r#"{"resourceType":"Device","id":"a","patient":{"reference":"Patient/p"}}"#,
        Some("p"),
        &[],
    );
}

#[test]
fn only_the_types_own_paths_count() {
    // `patient` is no path of Observation, `subject` none of Device; a contained resource has no compartment.
    assert_patients(
        r#"{"resourceType":"Observation","id":"a","patient":{"reference":"Patient/p"}}"#,
        None,
        &[],
    );
    assert_patients(
        r#"{"resourceType":"Encounter","id":"a","contained":[{"resourceType":"Encounter","subject":{"reference":"Patient/p"}}]}"#,
        None,
        &[],
    );
    assert_patients(
        r#"{"resourceType":"Encounter","id":"a","extension":[{"valueReference":{"reference":"Patient/p"}}],"subject":{"extension":[{"valueReference":{"reference":"Patient/q"}}]}}"#,
        None,
        &[],
    );
    assert_patients(
        r#"{"resourceType":"Organization","id":"a","partOf":{"reference":"Patient/p"}}"#,
        None,
        &[],
    );
}

#[test]
fn type_and_id_may_come_last() {
    let line = r#"{"subject":{"reference":"Patient/p"},"performer":[{"reference":"Patient/q"}],"id":"a","resourceType":"Observation"}"#;
    assert_patients(line, Some("p"), &["q"]);
    let mut checker = checker();
    let checked = checker.check(line.as_bytes(), None).expect("a good line");
    assert_eq!(checked.resource_type, ResourceType::OBSERVATION);
    assert_eq!(checked.id, "a");
}

#[test]
fn further_patients_come_sorted_and_once() {
    let members: Vec<String> = (0..500)
        .map(|number| {
            format!(
                r#"{{"entity":{{"reference":"Patient/m{}"}}}}"#,
                (number * 7) % 250
            )
        })
        .collect();
    let line = format!(
        r#"{{"resourceType":"Group","id":"g","member":[{}]}}"#,
        members.join(",")
    );
    let facts = facts(&line);
    let mut expected: Vec<String> = (1..250).map(|number| format!("m{number}")).collect();
    expected.sort();
    assert_eq!(facts.owner.as_deref(), Some("m0"));
    assert_eq!(facts.others, expected);
    assert_eq!(facts.references.len(), 500);
}

#[test]
fn references_are_read_in_every_form() {
    let texts = [
        ("Patient/a", Some("Patient/a")),
        ("Patient/a/_history/2", Some("Patient/a")),
        ("Patient/a/_history/a", Some("Patient/a")),
        ("http://example.org/fhir/Patient/a.B-9", Some("Patient/a.B-9")),
        ("https://example.org/Patient/a", Some("Patient/a")),
        ("https://example.org/x/y/Patient/a/_history/7", Some("Patient/a")),
        (r"Patient\/a", Some("Patient/a")),
        (r"http:\/\/example.org\/Patient\/\u0061", Some("Patient/a")),
        ("Patient/", None),
        ("Patient", None),
        ("patient/a", None),
        ("Nothing/a", None),
        ("Patient/a b", None),
        ("Patient/a/b", None),
        ("https://Patient/a", None),
        ("#a", None),
        ("", None),
        ("/", None),
    ];
    for (text, expected) in texts {
        let line = format!(r#"{{"resourceType":"Goal","id":"g","subject":{{"reference":"{text}"}}}}"#);
        let facts = facts(&line);
        assert_eq!(
            facts.references,
            expected.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{text}"
        );
        assert_eq!(facts.owner.is_some(), expected.is_some(), "{text}");
        assert_eq!(facts.unresolvable, 0, "{text}");
    }
}

#[test]
fn references_that_cannot_be_looked_up_are_counted() {
    let line = r##"{"resourceType":"Encounter","id":"e","subject":{"reference":"urn:uuid:7d0ddd0c-0000-4000-8000-000000000000"},
        "serviceProvider":{"reference":"Organization?identifier=x|y"},"partOf":{"reference":"#c"},"episodeOfCare":[{"reference":"nothing?x"}]}"##;
    let facts = facts(&line.replace('\n', " "));
    assert_eq!(facts.unresolvable, 2);
    assert!(facts.references.is_empty());
}

#[test]
fn references_are_found_at_any_depth_and_direct_repeats_left_out() {
    let line = r##"{"resourceType":"Provenance","id":"p","target":[{"reference":"Goal/1"},{"reference":"Goal/1"},{"reference":"Goal/2"},{"reference":"Goal/1"}],
        "contained":[{"a":[[{"b":{"reference":"Device/d"}}]]}],"x":{"reference":{"reference":"Device/e"}},"y":["reference","Device/f"],"z":{"r\u0065ference":"Device/h"}}"##;
    let facts = facts(&line.replace('\n', " "));
    assert_eq!(
        facts.references,
        ["Goal/1", "Goal/2", "Goal/1", "Device/d", "Device/e", "Device/h"]
    );
}

#[test]
fn a_repeated_patient_still_counts_at_its_own_path() {
    assert_patients(
        r#"{"resourceType":"Observation","id":"o","focus":[{"reference":"Patient/a"}],"subject":{"reference":"Patient/a"}}"#,
        Some("a"),
        &[],
    );
}

#[test]
fn subsetted_is_told_from_the_tag() {
    let subsetted = |meta: &str| {
        let line = format!(r#"{{"resourceType":"Goal","id":"g","meta":{meta}}}"#);
        checker()
            .check(line.as_bytes(), None)
            .expect("a good line")
            .subsetted
    };
    assert!(subsetted(r#"{"tag":[{"code":"SUBSETTED"}]}"#));
    assert!(subsetted(
        r#"{"tag":[{"system":"s","code":"x"},{"code":"SUB\u0053ETTED","system":"s"}]}"#
    ));
    assert!(!subsetted(r#"{"tag":[]}"#));
    assert!(!subsetted(
        r#"{"tag":[{"display":"SUBSETTED"},1,"SUBSETTED",[{"code":"SUBSETTED"}]]}"#
    ));
    assert!(!subsetted(r#"{"security":[{"code":"SUBSETTED"}]}"#));
    assert!(!subsetted(r#"{}"#));
}

#[test]
fn a_checker_forgets_the_line_before() {
    let mut checker = LineChecker::new(LineLimits::default());
    let full = br#"{"resourceType":"Observation","id":"o","meta":{"source":"x"},"subject":{"reference":"Patient\/a"},"performer":[{"reference":"Patient/b"}],"focus":[{"reference":"urn:x"}]}"#;
    let checked = checker.check(full, None).expect("a good line");
    assert_eq!((checked.references.len(), checked.unresolvable), (2, 1));
    assert!(checker.check(br#"{"resourceType":"Obs"#, None).is_err());
    let checked = checker
        .check(br#"{"resourceType":"Observation","id":"p"}"#, None)
        .expect("a good line");
    assert_eq!(
        (checked.owner, checked.references.len(), checked.unresolvable),
        (None, 0, 0)
    );
    assert!(checked.other_patients.is_empty() && !checked.meta.is_present());
}
