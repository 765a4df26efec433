//! Scopes: reading, narrowing, what they allow.

use fhirhose_auth::{Actions, NamedScope, ScopeFault, Scopes};
use fhirhose_fhir::resource_type::ResourceType;
use proptest::prelude::*;

fn scopes(text: &str) -> Scopes {
    Scopes::parse(text).expect(text)
}

#[track_caller]
fn check_refused(text: &str, fault: ScopeFault) {
    assert_eq!(Scopes::parse(text), Err(fault), "{text}");
}

#[track_caller]
fn check_narrowed(asked: &str, policy: &str, granted: &str) {
    assert_eq!(
        scopes(asked).narrowed(&scopes(policy)).to_string(),
        granted,
        "{asked} by {policy}"
    );
}

#[test]
fn a_40_scopes_of_both_forms_are_read_and_written_alike() {
    for text in [
        "system/*.*",
        "system/*.cruds",
        "system/Patient.read",
        "system/Patient.write",
        "system/Patient.rs",
        "system/Patient.c",
        "system/Patient.cud",
        "system/bulk-import",
        "system/bulk-submit",
        "system/operator",
    ] {
        assert_eq!(scopes(text).to_string(), text);
    }
}

#[test]
fn a_42_a_44_a_45_a_47_what_is_malformed_unknown_or_filtered_is_refused() {
    check_refused("", ScopeFault::Empty);
    check_refused("  ", ScopeFault::Empty);
    check_refused("system/Patient", ScopeFault::Malformed);
    check_refused("openid", ScopeFault::Malformed);
    check_refused("system/Patient.rs\tsystem/Group.rs", ScopeFault::UnknownAction);
    check_refused("system/Patient.", ScopeFault::UnknownAction);
    check_refused("system/Patient.sr", ScopeFault::UnknownAction);
    check_refused("system/Patient.rr", ScopeFault::UnknownAction);
    check_refused("system/Patient.xyz", ScopeFault::UnknownAction);
    check_refused("system/Patient.READ", ScopeFault::UnknownAction);
    check_refused("system/patient.rs", ScopeFault::UnknownType);
    check_refused("system/Unknown.rs", ScopeFault::UnknownType);
    check_refused("system/Resource.rs", ScopeFault::UnknownType);
    check_refused("patient/*.rs", ScopeFault::NotSystem);
    check_refused("user/Patient.read", ScopeFault::NotSystem);
    check_refused("system/Observation.rs?category=laboratory", ScopeFault::Filtered);
    check_refused(&"system/Patient.rs ".repeat(2_000), ScopeFault::TooLong);
}

#[test]
fn a_31_a_41_narrowing_keeps_what_both_have_in_the_words_of_who_asked() {
    check_narrowed("system/*.read", "system/*.rs", "system/*.read");
    check_narrowed("system/*.*", "system/*.rs", "system/*.read");
    check_narrowed("system/*.cruds", "system/*.read", "system/*.rs");
    check_narrowed(
        "system/*.cruds",
        "system/*.rs system/*.cud system/*.cruds",
        "system/*.cruds",
    );
    check_narrowed("system/*.rs", "system/*.rs system/Patient.r", "system/*.rs");
    check_narrowed(
        "system/*.read",
        "system/Group.rs system/Patient.rs",
        "system/Group.read system/Patient.read",
    );
    check_narrowed("system/Patient.read", "system/*.r", "system/Patient.r");
    check_narrowed(
        "system/Patient.rs system/Patient.read",
        "system/*.rs",
        "system/Patient.read system/Patient.rs",
    );
    check_narrowed("system/Patient.write", "system/*.rs", "");
    check_narrowed(
        "system/bulk-import system/operator",
        "system/bulk-import",
        "system/bulk-import",
    );
    check_narrowed("system/bulk-import", "system/*.cruds", "");
}

#[test]
fn no_wildcard_covers_the_audit_trail() {
    let every = scopes("system/*.cruds");
    assert!(!every.allows(Actions::READ, ResourceType::AUDIT_EVENT));
    assert!(!every.types(Actions::READ).contains(&ResourceType::AUDIT_EVENT));
    check_narrowed("system/AuditEvent.rs", "system/*.rs", "");
    check_narrowed("system/*.rs", "system/AuditEvent.rs", "");
    check_narrowed(
        "system/AuditEvent.rs",
        "system/AuditEvent.rs",
        "system/AuditEvent.rs",
    );
    assert!(Scopes::everything().allows(Actions::ALL, ResourceType::AUDIT_EVENT));
}

#[test]
fn actions_of_several_scopes_add_up() {
    let granted = scopes("system/Patient.r system/*.s system/Group.cud");
    assert!(granted.allows(Actions::READING, ResourceType::PATIENT));
    assert!(!granted.allows(Actions::READ, ResourceType::OBSERVATION));
    assert!(granted.allows(Actions::SEARCH.with(Actions::DELETE), ResourceType::GROUP));
    assert!(granted.allows_every(Actions::SEARCH) && !granted.allows_every(Actions::READ));
    assert!(!granted.has(NamedScope::Operator));
}

fn some_scope() -> impl Strategy<Value = String> {
    let subject = prop::sample::select(vec!["*", "Patient", "Observation", "Group", "AuditEvent"]);
    let actions = prop::sample::select(vec![
        "read", "write", "*", "rs", "r", "s", "cruds", "cud", "d", "rd",
    ]);
    (subject, actions).prop_map(|(subject, actions)| format!("system/{subject}.{actions}"))
}

fn some_scopes() -> impl Strategy<Value = Scopes> {
    prop::collection::vec(some_scope(), 1..5).prop_map(|list| scopes(&list.join(" ")))
}

proptest! {
    #[test]
    fn a_31_what_is_granted_is_exactly_what_both_allow(asked in some_scopes(), policy in some_scopes()) {
        let granted = asked.narrowed(&policy);
        for resource_type in ResourceType::all() {
            for action in [Actions::CREATE, Actions::READ, Actions::UPDATE, Actions::DELETE, Actions::SEARCH] {
                let both = asked.allows(action, resource_type) && policy.allows(action, resource_type);
                prop_assert_eq!(granted.allows(action, resource_type), both, "{} {:?}", resource_type, action);
            }
        }
        if !granted.is_empty() {
            prop_assert_eq!(&scopes(&granted.to_string()), &granted);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = Scopes::parse(&text);
    }
}

/// A-45: a client that asks for every type that it can think of is not turned away for what R4 lacks.
#[test]
fn types_of_other_versions_are_left_out_of_what_is_asked_for() {
    let asked =
        Scopes::parse_asked("system/Patient.rs system/SubscriptionTopic.rs system/BodySite.read").unwrap();
    assert_eq!(asked.to_string(), "system/Patient.rs");
    assert!(Scopes::parse_asked("system/Citation.rs").unwrap().is_empty());
    for (text, fault) in [
        ("system/Patient.rs system/Unicorn.rs", ScopeFault::UnknownType),
        ("system/Resource.rs", ScopeFault::UnknownType),
        ("system/Citation.xyz", ScopeFault::UnknownAction),
        ("system/Citation.rs?x=1", ScopeFault::Filtered),
        ("  ", ScopeFault::Empty),
    ] {
        assert_eq!(Scopes::parse_asked(text), Err(fault), "{text}");
    }
    assert_eq!(Scopes::parse("system/Citation.rs"), Err(ScopeFault::UnknownType));
}

#[test]
fn scopes_of_others_are_left_out_of_tokens_of_others() {
    let known = Scopes::parse_known("openid system/Patient.rs fhirUser patient/*.read system/Unicorn.rs");
    assert_eq!(known.to_string(), "system/Patient.rs");
    assert!(Scopes::parse_known("").is_empty());
}
