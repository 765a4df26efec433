//! See the crate description.

pub mod accept;
pub mod error;
pub mod etag;
pub mod id;
pub mod instant;
pub mod meta;
pub mod outcome;
pub mod parameters;
pub mod prefer;
pub mod range;
pub mod resource_type;

mod header;
mod json_body;
mod tables;
