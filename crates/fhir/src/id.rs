//! Logical ids: the part of `Type/id` behind the slash.
//!
//! [`Id`] owns one that was checked; [`is_valid_id`] checks bytes on hot paths without keeping them.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

/// The most characters that an id may have.
pub const ID_CHARS_MAX: usize = 64;

/// A logical id: 1 to 64 of `A-Z a-z 0-9 - .`, compared by its bytes.
///
/// Spec: FHIR R4, Data Types, `id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Box<str>", into = "Box<str>")]
pub struct Id(Box<str>);

impl Id {
    /// Takes a text for an id, or gives `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        is_valid_id(text.as_bytes()).then(|| Self(text.into()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Says whether the bytes are an id: 1 to 64 of `A-Z a-z 0-9 - .`.
#[inline]
pub fn is_valid_id(bytes: &[u8]) -> bool {
    // Without an early exit the compiler checks sixteen bytes at once.
    (1..=ID_CHARS_MAX).contains(&bytes.len())
        && bytes.iter().fold(true, |valid, &byte| valid & is_id_byte(byte))
}

#[inline]
fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'-') | (byte == b'.')
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Id {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

// Holds because equality, order and hash of `Id` are those of its text.
impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Box<str>> for Id {
    type Error = IdError;

    fn try_from(text: Box<str>) -> Result<Self, IdError> {
        if is_valid_id(text.as_bytes()) {
            Ok(Self(text))
        } else {
            Err(IdError)
        }
    }
}

impl From<Id> for Box<str> {
    fn from(id: Id) -> Self {
        id.0
    }
}

/// A text that was to be an id and is not. It does not repeat the text, which may name a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError;

impl fmt::Display for IdError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an id is 1 to 64 letters, digits, hyphens and dots")
    }
}

impl std::error::Error for IdError {}

#[cfg(test)]
mod tests {
    use super::{ID_CHARS_MAX, Id, is_valid_id};

    #[test]
    fn ids_are_letters_digits_hyphens_and_dots() {
        for good in [
            "a",
            "0",
            ".",
            "-",
            "Az.09-x",
            "6f7f2d3e-52a4-4c5e-9d1c-1f1d3c1a2b3c",
        ] {
            assert_eq!(Id::parse(good).expect("an id").as_str(), good);
        }
        for bad in ["", " a", "a b", "a/b", "a_b", "ä", "a\n", "a\0", "urn:x"] {
            assert!(Id::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn ids_have_at_most_64_characters() {
        assert!(is_valid_id(&[b'a'; ID_CHARS_MAX]));
        assert!(!is_valid_id(&[b'a'; ID_CHARS_MAX + 1]));
    }

    #[test]
    fn ids_keep_their_case_and_order_by_bytes() {
        let ids = ["-", ".", "0", "A", "a", "a-", "aa"].map(|text| Id::parse(text).expect("an id"));
        assert!(ids.is_sorted());
        assert_ne!(Id::parse("A"), Id::parse("a"));
    }

    #[test]
    fn serde_takes_only_valid_ids() {
        let id: Id = serde_json::from_str("\"a-1\"").expect("an id");
        assert_eq!(serde_json::to_string(&id).expect("serializes"), "\"a-1\"");
        let refused = serde_json::from_str::<Id>("\"a/1\"")
            .expect_err("a slash")
            .to_string();
        assert!(refused.contains("letters, digits"), "{refused}");
    }
}
