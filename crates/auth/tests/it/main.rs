//! The crate's tests, by what they are about.

mod fixture;

mod jws;
mod scope;
mod signing_key;
