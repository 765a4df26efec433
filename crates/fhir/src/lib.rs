//! See the crate description.

pub mod accept;
pub mod attachment;
pub mod bundle;
pub mod bundle_request;
pub mod bundle_writer;
pub mod cohort_group;
pub mod content_hash;
pub mod elements;
pub mod error;
pub mod etag;
pub mod export_request;
pub mod group;
pub mod id;
pub mod import_report;
pub mod import_request;
pub mod instant;
pub mod line;
pub mod manifest;
pub mod meta;
pub mod ndjson;
pub mod other_versions;
pub mod outcome;
pub mod parameters;
pub mod prefer;
pub mod provenance;
pub mod range;
pub mod reference;
pub mod resource_type;
pub mod search;
pub mod search_request;

mod compartment;
mod header;
mod json;
mod json_body;
mod query;
mod tables;
