//! What tests of job stores and handlers need (feature `testing`).
//!
//! [`conformance`] is the one suite that every [`JobStore`](crate::JobStore) passes. [`ManualClock`], [`PausedClock`] and [`SeededEntropy`] stand
//! in for the operating system; [`MemoryJobStore`] for a store on disk.

mod clock;
mod conformance;
mod entropy;
mod memory;

pub use clock::{ManualClock, PausedClock};
pub use conformance::conformance;
pub use entropy::SeededEntropy;
pub use memory::MemoryJobStore;
