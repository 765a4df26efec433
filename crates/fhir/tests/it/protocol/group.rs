//! Members of Groups.

use fhirhose_fhir::error::ErrorKind;
use fhirhose_fhir::group::{FILTER_LANGUAGE, GroupMembers, MemberFilter};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;

const AT: &str = "2026-02-28T12:00:00Z";

fn read_at(members: &str, at: &str) -> Result<GroupMembers, fhirhose_fhir::error::Error> {
    let group =
        format!(r#"{{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{members}]}}"#);
    GroupMembers::read(group.as_bytes(), Instant::parse(at).expect("an instant"))
}

fn patients(members: &str) -> Vec<String> {
    read_at(members, AT)
        .expect("members")
        .patients
        .iter()
        .map(Id::to_string)
        .collect()
}

fn is_member(period_end: &str, at: &str) -> bool {
    let member = format!(
        r#"{{"entity":{{"reference":"Patient/p"}},"period":{{"start":"1999","end":"{period_end}"}}}}"#
    );
    !read_at(&member, at).expect("members").patients.is_empty()
}

#[test]
fn members_are_told_apart_sorted_and_each_once() {
    let members = r#"{"entity":{"reference":"Patient/b"}},{"entity":{"reference":"Group/inner","display":"x"}},
        {"entity":{"reference":"https://ehr.example/fhir/r4/Patient/a"}},{"entity":{"reference":"Patient/b/_history/3"}},
        {"entity":{"reference":"http://x/Patient/c/_history/1"}},{"entity":{"reference":"Practitioner/p"}},{"entity":{"reference":"Device/p"}},
        {"entity":{"reference":"urn:uuid:62247e85-c8c1-4047-90b3-e0b3a9c59600"}},{"entity":{"reference":"Patient?identifier=http://s/Patient/9"}},
        {"entity":{"identifier":{"value":"1"}}},{"entity":{"reference":"\u0023in"}},{"entity":{"reference":"Patient/"}}"#;
    let members = read_at(members, AT).expect("members");
    assert_eq!(
        members.patients,
        ["a", "b", "c"].map(|id| Id::parse(id).expect("an id"))
    );
    assert_eq!(members.groups, [Id::parse("inner").expect("an id")]);
    assert_eq!((members.others, members.unresolvable), (2, 5));
}

#[test]
fn g_06_inactive_members_are_left_out() {
    let members = r#"{"entity":{"reference":"Patient/a"},"inactive":true},{"entity":{"reference":"Patient/b"},"inactive":false},
        {"entity":{"reference":"Group/c"},"inactive":true}"#;
    assert_eq!(patients(members), ["b"]);
    assert!(read_at(members, AT).expect("members").groups.is_empty());
}

#[test]
fn g_06_a_period_ends_with_its_last_microsecond() {
    for (end, last, next) in [
        ("2026", "2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00Z"),
        ("2026-01", "2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:00Z"),
        ("2024-02", "2024-02-29T23:59:59.999999Z", "2024-03-01T00:00:00Z"),
        ("2026-12", "2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00Z"),
        (
            "2026-02-28",
            "2026-02-28T23:59:59.999999Z",
            "2026-03-01T00:00:00Z",
        ),
        (
            "2026-02-28T12:00:00+02:00",
            "2026-02-28T10:00:00Z",
            "2026-02-28T10:00:00.000001Z",
        ),
    ] {
        assert!(is_member(end, last), "{end} at {last}");
        assert!(!is_member(end, next), "{end} at {next}");
    }
}

#[test]
fn an_open_period_is_a_membership() {
    assert_eq!(
        patients(
            r#"{"entity":{"reference":"Patient/a"},"period":{"start":"2020"}},{"entity":{"reference":"Patient/b"},"period":{}}"#
        ),
        ["a", "b"]
    );
}

#[test]
fn a_period_end_that_is_no_date_is_an_error_that_quotes_nothing() {
    for end in [
        "",
        "soon",
        "20a6",
        "2026-13",
        "2026-00",
        "2026-+1",
        "2026-02-30",
        "2026-02-28T12:00",
        "2026-02-28T12:00:00",
        "２０",
    ] {
        let member = format!(r#"{{"entity":{{"reference":"Patient/secret"}},"period":{{"end":"{end}"}}}}"#);
        let error = read_at(&member, AT).expect_err(end);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{end}");
        assert_eq!(
            error.to_string(),
            "the Group's member[0].period.end is not a FHIR dateTime"
        );
    }
}

#[test]
fn a_group_without_members_is_empty() {
    let at = Instant::parse(AT).expect("an instant");
    assert_eq!(
        GroupMembers::read(br#"{"resourceType":"Group","actual":false}"#, at),
        Ok(GroupMembers::default())
    );
}

#[test]
fn what_is_no_group_is_an_error_that_quotes_nothing() {
    let at = Instant::parse(AT).expect("an instant");
    let other = GroupMembers::read(br#"{"resourceType":"Patient"}"#, at).expect_err("a Patient");
    assert_eq!(other.kind(), ErrorKind::Invalid);
    let bomb = format!(r#"{{"resourceType":"Group","member":{}"#, "[".repeat(1_000_000));
    for group in [
        "",
        "secret",
        "[]",
        r#"{"resourceType":"Group","member":"secret"}"#,
        r#"{"resourceType":"Group","member":[{"entity":"secret"}]}"#,
        r#"{"resourceType":"Group","member":[{}]}"#,
        &bomb,
    ] {
        let error = GroupMembers::read(group.as_bytes(), at).expect_err("no group");
        assert_eq!(error.kind(), ErrorKind::Json);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn c_02_a_cohort_tells_its_filters_in_their_order() {
    let group = br#"{"resourceType":"Group","id":"g","type":"person","actual":false,"modifierExtension":[
        {"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{"language":"application/x-fhir-query","expression":"Encounter?date=ge2020"}},
        {"url":"http://other","valueString":"x"},
        {"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{"language":"text/cql","expression":"true"}},
        {"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter"}]}"#;
    let members = GroupMembers::read(group, Instant::MAX).unwrap();
    assert!(!members.lists_members);
    let expressions: Vec<_> = members
        .filters
        .iter()
        .map(|filter| filter.expression.as_str())
        .collect();
    assert_eq!(expressions, ["Encounter?date=ge2020", "true", ""]);
    for refused in &members.filters[1..] {
        let issues = refused.compile(1, "").unwrap_err();
        assert!(issues[0].details.contains("language"), "C-04: {issues:?}");
    }
    let outside = MemberFilter {
        language: FILTER_LANGUAGE.to_owned(),
        expression: "Organization?name=x".to_owned(),
    };
    assert!(outside.compile(0, "").is_err());
}

#[test]
fn a_group_has_a_bounded_number_of_filters() {
    let filter = r#"{"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{"language":"application/x-fhir-query","expression":"Patient?gender=male"}}"#;
    let read = |count: usize| {
        let filters = vec![filter; count].join(",");
        let group = format!(r#"{{"resourceType":"Group","modifierExtension":[{filters}]}}"#);
        GroupMembers::read(group.as_bytes(), Instant::MAX)
    };
    assert_eq!(read(32).expect("a Group").filters.len(), 32);
    assert!(read(33).is_err());
}
