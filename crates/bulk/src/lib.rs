//! See the crate description.

pub mod diff;
mod durable;
mod error;
pub mod export;
pub mod generate;
pub mod import;
pub mod reconcile;
mod spill;
pub mod sync;

pub use error::{Error, ErrorKind, Result};
