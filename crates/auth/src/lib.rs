//! SMART Backend Services, both sides, as pure functions: the caller passes time, keys and bytes; nothing here does I/O.
//!
//! [`Scopes`] says what may be done with which types; [`Grant`] what one request may do and in whose name; [`Client`] is a
//! registered client with the most that it can ever be granted.
//!
//! A client proves who it is by an [`Assertion`], signed with its [`SigningKey`] and verified with the one key that fits of its [`Jwks`];
//! it is given an [`AccessToken`], which it shows with each request. Beneath both lies [`Jws`]. The only thing taken from outside is the
//! randomness of the operating system, for signing and for making keys.
//!
//! ```
//! use fhirhose_auth::{Actions, Scopes};
//! use fhirhose_fhir::resource_type::ResourceType;
//!
//! let asked = Scopes::parse("system/*.read system/Patient.cruds").expect("scopes");
//! let policy = Scopes::parse("system/Patient.rs system/Observation.rs").expect("scopes");
//! let granted = asked.narrowed(&policy);
//! assert_eq!(granted.to_string(), "system/Observation.read system/Patient.read system/Patient.rs");
//! assert!(granted.allows(Actions::READ, ResourceType::PATIENT));
//! ```

mod access_token;
mod algorithm;
mod assertion;
mod claims;
mod client;
mod der;
mod grant;
mod json;
mod jwks;
mod jws;
mod key_fault;
mod scope;
mod signing_key;

pub use access_token::{AccessToken, TokenFault, TokenProfile, TokenRules};
pub use algorithm::Algorithm;
pub use assertion::{ASSERTION_ID_CHARS_MAX, Assertion, AssertionClaims, AssertionFault, AssertionRules};
pub use claims::ClaimFault;
pub use client::{CLIENT_ID_CHARS_MAX, Client, ClientId, ClientKeys, ClientLimits, Standing};
pub use grant::{Grant, GroupAccess};
pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwks, VerifyingKey};
pub use jws::{JWS_BYTES_MAX, Jws, JwsFault};
pub use key_fault::KeyFault;
pub use scope::{Actions, Form, NamedScope, Scope, ScopeFault, Scopes, Subject};
pub use signing_key::{SigningKey, random_id};
