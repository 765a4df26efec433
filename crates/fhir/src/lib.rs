//! See the crate description.

pub mod accept;
pub mod bundle;
pub mod error;
pub mod reference;
pub mod ndjson;
pub mod line;
pub mod elements;
pub mod etag;
pub mod import_request;
pub mod group;
pub mod export_request;
pub mod id;
pub mod import_report;
pub mod instant;
pub mod manifest;
pub mod meta;
pub mod outcome;
pub mod parameters;
pub mod prefer;
pub mod range;
pub mod resource_type;

mod header;
mod json;
mod compartment;
mod json_body;
mod query;
mod tables;
