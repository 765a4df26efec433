//! Why a line is refused: the rule, the place and a message that quotes nothing of the line.

use std::fmt;

use crate::{
    json::{Fault, FaultKind},
    resource_type::ResourceType,
};

/// A rule that a line must keep; each has a stable code for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The line is JSON by RFC 8259, without line breaks, and its numbers fit a double.
    Json,
    /// The line is UTF-8.
    Utf8,
    /// Nothing follows the resource on its line.
    TrailingText,
    /// No object has two members of the same name, however they are escaped.
    DuplicateKey,
    /// Objects and arrays are nested no deeper than the limit.
    Depth,
    /// The line is a JSON object.
    NotAnObject,
    /// `resourceType` is there and is a string.
    ResourceTypeMissing,
    /// `resourceType` is a concrete type of R4.
    ResourceTypeUnknown,
    /// `resourceType` is the type that the input declares.
    ResourceTypeMismatch,
    /// `id` is there.
    IdMissing,
    /// `id` is a string of 1 to 64 of the characters that FHIR allows, written without escapes.
    IdInvalid,
    /// `meta` is an object, and its `tag` an array.
    Meta,
    /// The line is no longer than the limit.
    LineTooLong,
}

impl Rule {
    /// The rule's stable name in kebab-case, such as `duplicate-key`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Utf8 => "utf8",
            Self::TrailingText => "trailing-text",
            Self::DuplicateKey => "duplicate-key",
            Self::Depth => "depth",
            Self::NotAnObject => "not-an-object",
            Self::ResourceTypeMissing => "resource-type-missing",
            Self::ResourceTypeUnknown => "resource-type-unknown",
            Self::ResourceTypeMismatch => "resource-type-mismatch",
            Self::IdMissing => "id-missing",
            Self::IdInvalid => "id-invalid",
            Self::Meta => "meta",
            Self::LineTooLong => "line-too-long",
        }
    }
}

/// A line that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that the line breaks; where it breaks several, the first to be found.
    pub rule: Rule,
    /// The byte in the line where the rule is broken, from 0; for something missing, 0.
    pub offset: usize,
    /// What is wrong, in words, without any content of the line.
    pub message: String,
    /// The line's type, where it could be read before the error.
    pub resource_type: Option<ResourceType>,
    /// The line's id, where it could be read before the error.
    pub id: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {}",
            self.rule.code(),
            self.offset,
            self.message
        )
    }
}

impl std::error::Error for Refusal {}

/// A refusal in the making: rule, place and text.
pub(super) struct Breach {
    pub(super) rule: Rule,
    pub(super) at: usize,
    pub(super) message: String,
}

impl Breach {
    #[cold]
    pub(super) fn new(rule: Rule, at: usize, message: impl Into<String>) -> Self {
        Self {
            rule,
            at,
            message: message.into(),
        }
    }
}

impl From<Fault> for Breach {
    #[cold]
    fn from(fault: Fault) -> Self {
        let rule = match fault.kind() {
            FaultKind::Grammar => Rule::Json,
            FaultKind::Trailing => Rule::TrailingText,
            FaultKind::DuplicateKey => Rule::DuplicateKey,
            FaultKind::Depth => Rule::Depth,
        };
        Self::new(rule, fault.at(), fault.message())
    }
}
