//! Reads JSON text byte for byte: one strict validating pass, and a cheap walk over text that has passed it.
//!
//! [`scan`] holds a text to the whole grammar and tells a [`Visitor`] what it meets; [`Blocks`] tells what lies where in a text, 64 bytes
//! at a time, for readers that want little of it; [`Members`] walks the members of an object that is known to be valid. Nothing here builds a tree, allocates per value or rewrites
//! a byte, and nothing here knows FHIR.

mod blocks;
mod fault;
mod keys;
mod members;
mod number;
mod scan;
mod string;

pub(crate) use blocks::{Block, Blocks};
pub(crate) use fault::{Fault, FaultKind, Problem};
pub(crate) use keys::{Key, fingerprint};
pub(crate) use members::{Member, Members};
pub(crate) use number::scan_number;
pub(crate) use scan::{Kind, Place, Scratch, Visitor, scan};
pub(crate) use string::{Quoted, closing_quote, decode, write_string};

/// Tells whether a byte is JSON's white space.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
