//! The crate's tests, by what they are about.

mod fixture;

mod access_token;
mod assertion;
mod jwks;
mod jws;
mod scope;
mod signing_key;
