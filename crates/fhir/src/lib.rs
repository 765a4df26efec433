//! See the crate description.

pub mod accept;
pub mod error;
pub mod etag;
pub mod meta;
pub mod outcome;
pub mod parameters;
pub mod prefer;
pub mod range;

mod header;
mod json_body;
