//! See the crate description.

mod error;
pub mod export;
pub mod generate;
pub mod import;
mod spill;

pub use error::{Error, ErrorKind, Result};
