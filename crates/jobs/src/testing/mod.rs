//! What tests of job stores and handlers need (feature `testing`).
//!
//! [`conformance`] is the one suite that every [`JobStore`](crate::JobStore) passes. [`simulate`] and [`crash_everywhere`]
//! run real [`Runner`](crate::Runner)s on a store and crash them, by means of a [`FaultyStore`]. [`ManualClock`], [`PausedClock`] and [`SeededEntropy`] stand
//! in for the operating system; [`MemoryJobStore`] for a store on disk.

mod clock;
mod conformance;
mod entropy;
mod faults;
mod memory;
mod simulation;
mod workload;

pub use clock::{ManualClock, PausedClock};
pub use conformance::conformance;
pub use entropy::SeededEntropy;
pub use faults::{Doom, Fault, Faults, FaultyStore, Ledger};
pub use memory::MemoryJobStore;
pub use simulation::{Disk, SimulationReport, crash_everywhere, simulate};
