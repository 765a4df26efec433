//! Scopes: any text gives scopes or a reason, scopes survive being written, and narrowing grants what both sides grant.

use fhirhose_auth::{Actions, NamedScope, Scope, Scopes};
use fhirhose_fhir::resource_type::ResourceType;

const ACTIONS: [Actions; 5] = [
    Actions::CREATE,
    Actions::READ,
    Actions::UPDATE,
    Actions::DELETE,
    Actions::SEARCH,
];
const NAMED: [NamedScope; 3] = [
    NamedScope::BulkSubmit,
    NamedScope::BulkImport,
    NamedScope::Operator,
];

/// Checks the laws. The first line is what is asked for, the second a policy.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let (asked, policy) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    check_ways(asked);
    if let (Ok(asked), Ok(policy)) = (Scopes::parse(asked), Scopes::parse(policy)) {
        check_narrowing(&asked, &policy);
    }
}

/// What each way of reading makes of a text.
fn check_ways(text: &str) {
    let known = Scopes::parse_known(text);
    let Ok(asked) = Scopes::parse_asked(text) else {
        assert!(
            Scopes::parse(text).is_err(),
            "what may not be asked for is no list of scopes"
        );
        return;
    };
    assert_eq!(asked, known, "what is left out is unknown");
    if let Ok(strict) = Scopes::parse(text) {
        assert_eq!(strict, asked);
        assert!(!strict.is_empty(), "a list that is read is not empty");
        let written = strict.to_string();
        assert_eq!(
            Scopes::parse(&written).as_ref(),
            Ok(&strict),
            "scopes survive being written"
        );
        let json = serde_json::to_string(&strict).expect("scopes can be stored");
        assert_eq!(
            serde_json::from_str::<Scopes>(&json).expect("stored scopes"),
            strict
        );
        let names_it = text.contains("AuditEvent");
        let reads_it = ACTIONS
            .iter()
            .any(|action| strict.allows(*action, ResourceType::AUDIT_EVENT));
        assert!(names_it || !reads_it, "no wildcard covers the audit trail");
    }
}

fn check_narrowing(asked: &Scopes, policy: &Scopes) {
    let granted = asked.narrowed(policy);
    for action in ACTIONS {
        for resource_type in ResourceType::all() {
            let both = asked.allows(action, resource_type) && policy.allows(action, resource_type);
            assert_eq!(
                granted.allows(action, resource_type),
                both,
                "{action} of {resource_type}"
            );
        }
        let both = asked.allows_every(action) && policy.allows_every(action);
        assert_eq!(granted.allows_every(action), both, "{action} of every type");
    }
    for named in NAMED {
        assert_eq!(granted.has(named), asked.has(named) && policy.has(named));
    }
    let own: Vec<Scope> = granted.iter().collect();
    assert_eq!(
        own.into_iter().collect::<Scopes>(),
        granted,
        "sorted and each once"
    );
}
