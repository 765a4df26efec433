//! What every backend of the store must hold, as tests: one suite, run by the memory catalog and by the embedded one, and by
//! whatever comes next.
//!
//! ```no_run
//! # async fn example(store: fhirhose_store::Store) {
//! fhirhose_store::testing::conformance(store).await;
//! # }
//! ```

mod catalog;
mod faults;
mod past;
mod records;
mod snapshots;
mod workload;

pub use catalog::conformance;
pub use faults::{Fault, FaultPlan, FaultyFiles, FaultyKv, Operation};
pub use snapshots::snapshots_stay;
pub use workload::{Rng, Shown, Workload, import, import_under, shown};
