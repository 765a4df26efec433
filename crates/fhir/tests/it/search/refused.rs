//! What is refused, and that the refusal names it.

use fhirhose_fhir::{
    outcome::IssueCode,
    resource_type::ResourceType,
    search::{CRITERIA_BYTES_MAX, Criteria, PARAMETERS_MAX, VALUES_MAX},
};

use super::BASE;

fn issues(text: &str) -> Vec<(IssueCode, String)> {
    let issues = Criteria::parse(text, BASE).expect_err(text);
    issues
        .into_iter()
        .map(|issue| (issue.code, issue.details))
        .collect()
}

#[track_caller]
fn check(text: &str, code: IssueCode, expected: &str) {
    let issues = issues(text);
    let [(found, details)] = &issues[..] else {
        panic!("{text}: {issues:?}");
    };
    assert_eq!(*found, code, "{text}: {details}");
    assert!(details.contains(expected), "{text}: {details}");
}

/// T-05, C-04
#[test]
fn t_05_result_parameters_are_refused_by_name() {
    for name in [
        "_sort",
        "_count",
        "_include",
        "_revinclude",
        "_summary",
        "_total",
        "_elements",
        "_contained",
        "_containedType",
        "_include:iterate",
    ] {
        let text = format!("Patient?{name}=x");
        check(
            &text,
            IssueCode::Invalid,
            &format!("{name}: it arranges a result"),
        );
    }
}

/// T-06, C-04
#[test]
fn t_06_the_context_is_one_type() {
    for text in [
        "",
        "?code=1",
        "code=1",
        "Patients?name=x",
        "Resource?_id=a",
        "*?_id=a",
    ] {
        check(text, IssueCode::Invalid, "must begin with one resource type");
    }
    check("Patient,Observation?_id=a", IssueCode::Invalid, "several types");
    check(
        "Patient/a/Observation?code=1",
        IssueCode::Invalid,
        "within a compartment",
    );
    check("http://x/Patient?name=x", IssueCode::Invalid, "name one type");
}

/// T-08, C-04
#[test]
fn t_08_chains_are_refused() {
    check(
        "Observation?subject.name=x",
        IssueCode::NotSupported,
        "subject.name: chaining is not possible",
    );
    check(
        "Observation?subject:Patient.name=x",
        IssueCode::NotSupported,
        "chaining is not possible",
    );
    check(
        "Patient?_has:Observation:subject:code=1",
        IssueCode::NotSupported,
        "chaining is not possible",
    );
}

/// C-04
#[test]
fn c_04_what_is_not_supported_is_refused_with_its_reason() {
    check(
        "Patient?_filter=a",
        IssueCode::NotSupported,
        "_filter: filter expressions",
    );
    check(
        "Patient?_text=a",
        IssueCode::NotSupported,
        "_text: text is not indexed",
    );
    check(
        "Patient?_content=a",
        IssueCode::NotSupported,
        "_content: text is not indexed",
    );
    check(
        "Patient?_query=a",
        IssueCode::NotSupported,
        "_query: there are no named queries",
    );
    check(
        "Patient?_list=a",
        IssueCode::NotSupported,
        "_list: lists are not followed",
    );
    check(
        "Patient?phonetic=a",
        IssueCode::NotSupported,
        "no phonetic comparison",
    );
    check("Location?near=1|2", IssueCode::NotSupported, "distances");
}

/// C-04, T-11
#[test]
fn c_04_unknown_parameters_are_refused_with_the_nearest_name() {
    check(
        "Patient?birthDate=1970",
        IssueCode::NotSupported,
        "did you mean birthdate?",
    );
    check(
        "Patient?status=active",
        IssueCode::NotSupported,
        "status: Patient has no such search parameter in R4",
    );
    check(
        "Observation?_lastupdated=2020",
        IssueCode::NotSupported,
        "did you mean _lastUpdated?",
    );
    check(
        "Observation?x=y",
        IssueCode::NotSupported,
        "x: Observation has no such",
    );
}

/// C-04
#[test]
fn c_04_unsupported_modifiers_are_refused_with_those_that_can_be_used() {
    for (text, expected) in [
        (
            "Observation?code:in=http://x",
            "the modifier in is not supported here; possible: :missing, :not",
        ),
        ("Observation?code:above=1", "the modifier above"),
        ("Observation?date:exact=2020", "possible: :missing"),
        ("Patient?name:not=x", ":exact and :contains"),
        ("Observation?subject:above=x", "the name of a type"),
        (
            "Observation?code-value-quantity:missing=true",
            "possible: no modifier",
        ),
        ("Patient?gender:text=f", "the modifier text"),
        ("Observation?code:of-type=a|b|c", "the modifier of-type"),
        ("ValueSet?url:exact=a", ":above and :below"),
    ] {
        check(text, IssueCode::NotSupported, expected);
    }
    check(
        "Observation?subject:Practitioner=a",
        IssueCode::Invalid,
        "never refers to that type",
    );
}

#[test]
fn values_that_cannot_be_read_are_refused_without_being_repeated() {
    for text in [
        "Patient?birthdate=secret",
        "Patient?birthdate=1970-13",
        "Patient?birthdate=xx1970",
        "Patient?birthdate=",
        "Patient?gender=",
        "Patient?gender=a,,b",
        "Patient?gender=a|b|secret",
        "Patient?gender=|",
        "Patient?name=",
        "Patient?name=%20",
        "Patient?name=a\\secret",
        "Patient?active=secret",
        "Patient?deceased=secret",
        "Patient?name:missing=secret",
        "Patient?_id=a_secret",
        "Patient?general-practitioner=not/secret",
        "Patient?general-practitioner:Organization=Organization/secret",
        "Patient?identifier:of-type=a|secret",
        "Patient?_lastUpdated=secret",
        "Observation?value-quantity=secret",
        "Observation?value-quantity=5|secret",
        "Observation?value-quantity=.5",
        "Observation?code-value-quantity=secret",
        "Observation?code-value-quantity=a$",
        "Observation?code-value-quantity=a$1$secret",
        "RiskAssessment?probability=secret",
    ] {
        let issues = issues(text);
        assert_eq!(issues.len(), 1, "{text}: {issues:?}");
        let (code, details) = &issues[0];
        assert_eq!(*code, IssueCode::Value, "{text}: {details}");
        assert!(!details.contains("secret"), "{details}");
    }
    check("Patient?name=%zz", IssueCode::Structure, "percent-encoded");
    check("Patient?name=%ff", IssueCode::Structure, "percent-encoded");
}

#[test]
fn all_faults_of_a_query_come_together() {
    let issues = issues("Patient?nam=x&_count=1&birthdate=x&gender=female");
    let details: Vec<&str> = issues.iter().map(|(_, details)| details.as_str()).collect();
    assert_eq!(details.len(), 3, "{details:?}");
    assert!(
        details[0].starts_with("nam:")
            && details[1].starts_with("_count:")
            && details[2].starts_with("birthdate:")
    );
}

#[test]
fn sizes_have_limits() {
    let long = format!("Patient?name={}", "x".repeat(CRITERIA_BYTES_MAX));
    check(&long, IssueCode::TooLong, "65536 bytes");
    let many = format!("Patient?{}", "name=x&".repeat(PARAMETERS_MAX + 1));
    check(&many, IssueCode::TooCostly, "at most 32 parameters");
    let values = format!("Patient?_id=a{}", ",a".repeat(VALUES_MAX));
    check(&values, IssueCode::TooCostly, "at most 1000 values");
    let most = format!("Patient?_id=a{}", ",a".repeat(VALUES_MAX - 1));
    assert!(Criteria::parse(&most, BASE).is_ok());
}

#[test]
fn pairs_of_a_rest_search_come_back_when_they_are_no_criteria() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let pairs = [
        pair("name", "a&b"),
        pair("_count", "5"),
        pair("x", "y"),
        pair("subject.name", "z"),
        pair("_id:not", "q"),
    ];
    let (criteria, others) = Criteria::from_pairs(ResourceType::PATIENT, pairs, BASE).expect("good pairs");
    assert_eq!(
        others,
        [pair("_count", "5"), pair("x", "y"), pair("subject.name", "z")]
    );
    assert_eq!(criteria.text(), "Patient?name=a%26b&_id:not=q");
    let refusal = |name| Criteria::refusal(ResourceType::PATIENT, name).map(|issue| issue.details);
    assert_eq!(refusal("name:exact"), None);
    assert!(refusal("_count").expect("refused").contains("arranges a result"));
    assert!(Criteria::from_pairs(ResourceType::PATIENT, [pair("birthdate", "x")], BASE).is_err());
}
