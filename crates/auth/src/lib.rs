//! SMART Backend Services, both sides, as pure functions: the caller passes time, keys and bytes; nothing here does I/O.
//!
//! [`Scopes`] says what may be done with which types; [`Grant`] what one request may do and in whose name; [`Client`] is a
//! registered client with the most that it can ever be granted.
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

mod client;
mod grant;
mod scope;

pub use client::{CLIENT_ID_CHARS_MAX, Client, ClientId, ClientKeys, ClientLimits, Standing};
pub use grant::{Grant, GroupAccess};
pub use scope::{Actions, Form, NamedScope, Scope, ScopeFault, Scopes, Subject};
