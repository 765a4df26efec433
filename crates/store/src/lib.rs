//! Where resources and jobs are kept: run files, the catalog with its backends, outputs, and the
//! conformance suite that every backend runs.

mod error;
pub mod key;
mod sequence;

pub use error::{Error, ErrorKind, Result};
pub use sequence::Sequence;
