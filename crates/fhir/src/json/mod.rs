//! Reads JSON text byte for byte: one strict validating pass, and a cheap walk over text that has passed it.
//!
//! [`scan`] holds a text to the whole grammar and tells a [`Visitor`] what it meets; [`Members`] walks the
//! members of an object that is known to be valid. Nothing here builds a tree, allocates per value or rewrites
//! a byte, and nothing here knows FHIR.

mod keys;
mod members;
mod number;
mod scan;
mod string;

pub(crate) use keys::{Key, fingerprint};
pub(crate) use members::{Member, Members};
pub(crate) use scan::{Kind, Place, Scratch, Visitor, scan};
pub(crate) use string::{Quoted, closing_quote, decode, write_string};

/// What kind of rule a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The grammar of RFC 8259, or a number that no double can hold.
    Grammar,
    /// Something follows the value.
    Trailing,
    /// An object has two members of the same name.
    DuplicateKey,
    /// Objects and arrays lie deeper within one another than allowed.
    Depth,
}

/// Where and why a text is refused; `what` never quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

impl Fault {
    /// A breach of the grammar at byte `at`.
    #[cold]
    pub(crate) fn grammar(at: usize, what: &'static str) -> Self {
        Self {
            kind: FaultKind::Grammar,
            at,
            what,
        }
    }
}

/// Tells whether a byte is JSON's white space.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
