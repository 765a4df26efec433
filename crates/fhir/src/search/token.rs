//! Tokens: codes, identifiers and the like, with or without the system they are from.

use super::{path::Leaf, value::Value};

/// The system of `true` and `false`.
const SPECIAL_VALUES: &str = "http://terminology.hl7.org/CodeSystem/special-values";

/// A token of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenValue {
    pub(super) system: SystemAsked,
    /// The code; `None` for any.
    pub(super) code: Option<String>,
}

/// What a query says of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SystemAsked {
    /// `code`: nothing.
    Any,
    /// `|code`: that there is none.
    None,
    /// `system|code`
    Is(String),
}

impl TokenValue {
    /// Whether a code is meant, its system apart.
    fn is_code(&self, code: &str) -> bool {
        let asked = self.code.as_deref();
        asked.is_none_or(|asked| asked.eq_ignore_ascii_case(code))
    }

    /// Whether the system is meant of a code whose element says it, or says none.
    fn is_system(&self, system: Option<&str>) -> bool {
        match &self.system {
            SystemAsked::Any => true,
            SystemAsked::None => system.is_none(),
            SystemAsked::Is(asked) => system == Some(asked),
        }
    }

    /// Whether the system is meant of a code whose element has no place for it, but implies some.
    fn is_implied(&self, systems: &str) -> bool {
        match &self.system {
            SystemAsked::Any | SystemAsked::None => true,
            SystemAsked::Is(asked) => systems.split(',').any(|system| system == asked),
        }
    }
}

/// Whether any of the tokens means a value, or one of the codings in it.
pub(super) fn any(tokens: &[TokenValue], leaf: Leaf, value: Value<'_>) -> bool {
    match leaf {
        Leaf::Coding => any_pair(tokens, value, "code"),
        Leaf::CodeableConcept => value
            .member("coding")
            .is_some_and(|codings| codings.elements().any(|coding| any_pair(tokens, coding, "code"))),
        Leaf::Identifier | Leaf::ContactPoint => any_pair(tokens, value, "value"),
        Leaf::Code(systems) => any_code(tokens, value.string().as_deref(), systems),
        Leaf::Boolean => any_code(tokens, value.scalar(), SPECIAL_VALUES),
        // That there is a date of death means that a patient is deceased.
        Leaf::Exists => any_code(tokens, Some("true"), SPECIAL_VALUES),
        _ => any_code(tokens, value.string().as_deref(), ""),
    }
}

fn any_code(tokens: &[TokenValue], code: Option<&str>, systems: &str) -> bool {
    code.is_some_and(|code| {
        tokens
            .iter()
            .any(|token| token.is_code(code) && token.is_implied(systems))
    })
}

/// Whether any token means the system of an object and, in this member, its code.
fn any_pair(tokens: &[TokenValue], object: Value<'_>, member: &str) -> bool {
    let (mut system, mut code) = (None, None);
    for (name, value) in object.members() {
        if super::value::means(name, "system") {
            system = value.string();
        } else if super::value::means(name, member) {
            code = value.string();
        }
    }
    code.is_some_and(|code| {
        tokens
            .iter()
            .any(|token| token.is_code(&code) && token.is_system(system.as_deref()))
    })
}

/// Whether any text that goes with a code or identifier is so (`:text`).
pub(super) fn any_text(leaf: Leaf, value: Value<'_>, is_so: impl Fn(&[u8]) -> bool) -> bool {
    let text = |object: Option<Value<'_>>, member| {
        let raw = object
            .and_then(|object| object.member(member))
            .and_then(Value::raw_string);
        raw.is_some_and(&is_so)
    };
    match leaf {
        Leaf::Coding => text(Some(value), "display"),
        Leaf::CodeableConcept => {
            let mut codings = value.member("coding").into_iter().flat_map(Value::elements);
            text(Some(value), "text") || codings.any(|coding| text(Some(coding), "display"))
        }
        Leaf::Identifier => text(value.member("type"), "text"),
        _ => false,
    }
}

/// Whether an Identifier is of a type and has this value (`:of-type`).
pub(super) fn is_of_type(identifier: Value<'_>, of_type: &TokenValue, text: &str) -> bool {
    let kind = identifier.member("type");
    kind.is_some_and(|kind| any(std::slice::from_ref(of_type), Leaf::CodeableConcept, kind))
        && identifier
            .member("value")
            .is_some_and(|value| value.is_text(text))
}
