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
    /// Whether a value, or one of the codings in it, is meant.
    pub(super) fn matches(&self, leaf: Leaf, value: Value<'_>) -> bool {
        match leaf {
            Leaf::Coding => self.is_pair(value, "code"),
            Leaf::CodeableConcept => value
                .member("coding")
                .is_some_and(|codings| codings.elements().any(|coding| self.is_pair(coding, "code"))),
            Leaf::Identifier | Leaf::ContactPoint => self.is_pair(value, "value"),
            Leaf::Code(systems) => {
                let system = match &self.system {
                    SystemAsked::Any | SystemAsked::None => true,
                    SystemAsked::Is(asked) => systems.split(',').any(|system| system == asked),
                };
                system && self.is_code(value)
            }
            Leaf::Boolean => {
                let system = match &self.system {
                    SystemAsked::Any | SystemAsked::None => true,
                    SystemAsked::Is(asked) => asked == SPECIAL_VALUES,
                };
                let code = self.code.as_deref();
                system
                    && value
                        .scalar()
                        .is_some_and(|text| code.is_none_or(|code| code == text))
            }
            // That there is a date of death means that a patient is deceased.
            Leaf::Exists => self.code.as_deref() == Some("true"),
            _ => !matches!(self.system, SystemAsked::Is(_)) && self.is_code(value),
        }
    }

    /// Whether an object has the system and, in this member, the code.
    fn is_pair(&self, object: Value<'_>, member: &str) -> bool {
        let (mut system, mut code) = (None, None);
        for (name, value) in object.members() {
            if super::value::means(name, "system") {
                system = Some(value);
            } else if super::value::means(name, member) {
                code = Some(value);
            }
        }
        let has_system = match &self.system {
            SystemAsked::Any => true,
            SystemAsked::None => system.is_none(),
            SystemAsked::Is(asked) => system.is_some_and(|value| value.is_text(asked)),
        };
        has_system && code.is_some_and(|value| self.is_code(value))
    }

    fn is_code(&self, value: Value<'_>) -> bool {
        let Some(code) = self.code.as_deref() else {
            return value.raw_string().is_some();
        };
        // Nearly all codes have no escapes, and then their bytes can be compared.
        match value.raw_string() {
            Some(raw) if raw.contains(&b'\\') => {
                value.string().is_some_and(|text| text.eq_ignore_ascii_case(code))
            }
            Some(raw) => raw.eq_ignore_ascii_case(code.as_bytes()),
            None => false,
        }
    }
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
    kind.is_some_and(|kind| of_type.matches(Leaf::CodeableConcept, kind))
        && identifier
            .member("value")
            .is_some_and(|value| value.is_text(text))
}
