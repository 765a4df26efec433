//! What the interactions of FHIR's RESTful API do, apart from how they are asked for: by a route of their own, or by an entry of
//! a Bundle.

pub(crate) mod binary;
pub(crate) mod bundle;
pub(crate) mod digest;
pub(crate) mod everything;
pub(crate) mod history;
pub(crate) mod search;
pub(crate) mod visit;
pub(crate) mod write;
