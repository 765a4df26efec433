//! Runs long work once, through crashes: job store, leases, checkpoints, progress, cancel.
//!
//! A *job* is a kind, a specification in bytes and an owner, recorded durably in a [`JobStore`]. A [`Runner`] claims
//! jobs under a [`Lease`], calls the [`Handler`] of their kind with a [`JobContext`], and renews the lease beside it. The
//! handler writes [`Checkpoint`]s; after a crash the next claim hands the last one back and the handler goes on from there.
//! Each claim raises the lease's fence, so that a worker that was thought dead can change nothing when it comes back.
//!
//! What a call does to a job is written once, as the methods of [`JobRecord`] (module `transition`); a store only loads,
//! applies and saves. [`testing`] (feature `testing`) has the conformance suite that every store runs and a simulation
//! that crashes a job everywhere.
//!
//! The crate knows no FHIR, HTTP or SQL, and keeps nothing on disk itself.
//!
//! ```
//! use async_trait::async_trait;
//! use fhirhose_jobs::{Checkpoint, Cleanup, Handler, JobContext, JobError, JobRecord};
//!
//! struct Count;
//!
//! #[async_trait]
//! impl Handler for Count {
//!     fn kind(&self) -> &'static str {
//!         "count"
//!     }
//!
//!     async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
//!         let mut units_done = context.record().checkpoint.as_ref().map_or(0, |state| state[0]);
//!         while units_done < 10 {
//!             units_done += 1;
//!             context.checkpoint(Checkpoint::new().state(vec![units_done])).await?;
//!         }
//!         Ok(vec![units_done])
//!     }
//!
//!     async fn clean(&self, _job: &JobRecord) -> Result<Cleanup, JobError> {
//!         Ok(Cleanup::Done)
//!     }
//! }
//! ```

mod bytes_text;
mod clock;
mod context;
mod error;
mod handler;
mod id;
mod record;
mod runner;
mod share;
mod stop;
mod store;
mod transition;
mod wake;

#[cfg(feature = "testing")]
pub mod testing;

pub use clock::{Clock, SystemClock, Timestamp};
pub use context::JobContext;
pub use error::{Error, ErrorKind};
pub use handler::{Cleanup, Handler, JobError};
pub use id::{Entropy, JobId, SystemEntropy};
pub use record::{Failure, JobRecord, JobState, Lease, NewJob, Progress, Tally, Turn};
pub use runner::{Lane, Leftover, Runner, RunnerSettings, Turns};
pub use share::next_job;
pub use stop::{StopReason, StopSignal};
pub use store::{Checkpoint, Claim, Finish, JobFilter, JobStore, Outcome, Queue, Release, Standing};
pub use wake::Wake;
