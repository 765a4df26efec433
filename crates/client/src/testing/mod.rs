//! What tests of a Data Consumer need (feature `testing`): a Data Provider that breaks as told, and a clock that jumps.
//!
//! [`FaultyEhr`] is a Bulk Data server in this process, HTTP/1.1 by hand, so that it can break anything. What it holds are
//! [`SourceFile`]s, how it always is says its [`Manner`], and what goes wrong at which request its [`Strike`]s: data, so that
//! a seed can [draw](Drawn) them. It writes down every request ([`Asked`]) on both of its hosts. [`SimulatedClock`] is the time of both
//! sides: a wait of weeks is over at once.
//!
//! ```
//! # async fn example() {
//! use fhirhose_client::testing::{Cut, EhrSettings, Fault, FaultyEhr, Place, SimulatedClock, SourceFile, Strike};
//!
//! let clock = SimulatedClock::default();
//! let patients = SourceFile::output("Patient", "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n");
//! let ehr = FaultyEhr::simulated(
//!     EhrSettings {
//!         files: vec![patients],
//!         script: vec![Strike::once(Place::AnyFile, Fault::Cut(Cut::Body(10)))],
//!         ..EhrSettings::default()
//!     },
//!     &clock,
//! )
//! .await;
//! assert!(ehr.base().starts_with("http://127.0.0.1:"));
//! # }
//! ```

mod asked;
mod attachments;
mod clock;
mod connection;
mod drawn;
mod ehr;
mod files;
mod jobs;
mod manifest;
mod manner;
mod script;
mod tokens;

pub use asked::{Asked, Host};
pub use attachments::SourceAttachment;
pub use clock::SimulatedClock;
pub use drawn::{Drawn, Random};
pub use ehr::{EhrSettings, FaultyEhr};
pub use manifest::SourceFile;
pub use manner::{
    Counts, EntityTag, ExpiredLink, FileCoding, FileHost, ManifestShape, Manner, Pages, RetryAfter,
    SlowBodies, TokenManner,
};
pub use script::{Cut, Fault, Place, Strike, Words};
