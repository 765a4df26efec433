//! The crate's tests, by what they are about.

mod scope;
