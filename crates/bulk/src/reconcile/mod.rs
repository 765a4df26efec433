//! Compares two sides that should hold the same resources, and finds what differs without reading everything.
//!
//! [`tree`] has what is compared; [`Gatherer`] makes it.

mod gather;
pub mod tree;

pub use gather::{Entry, Gathered, Gatherer, Listing};
