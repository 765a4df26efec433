//! Keeps a target in step with a source, one way: first everything, then what changed, deletions included.
//!
//! A [`Sync`] runs rounds. A round fetches from a [`Source`] what is new since the cursor, works out what that means for the target
//! (`merge`), puts the resources, applies the deletions, and only then moves the cursor (CL-11, CL-12). Each step is recorded in the
//! [`StateFolder`] before the next one begins, and each can be done twice, so a round that was stopped anywhere goes on or repeats
//! itself to the same end. What was brought is known from the ledger, a sorted file of type, id and content hash; so nothing is
//! deleted at the target that this sync has not brought, and a source without `_since` is followed by comparing its pulls with it.
//!
//! [`BulkSource`] is any Bulk Data server, [`FolderSource`] are folders; [`StoreTarget`] is a store of this machine, [`ImportTarget`] a
//! server with `$import`, [`BundleTarget`] any FHIR server. It does not resolve what was changed at the target by others.

mod apply;
pub mod both;
mod daemon;
mod deletions;
mod filter;
mod gather;
mod hook;
mod ledger;
mod lines;
mod merge;
mod metrics;
mod plan;
mod records;
mod reports;
mod round;
mod schedule;
mod settings;
mod source;
mod state;
mod target;

pub use apply::{FolderApplied, apply_folder_to_store};
pub use daemon::{Daemon, Heard, retry_at};
pub(crate) use deletions::each_deletion;
pub use filter::LocalFilter;
pub use hook::Hook;
pub use metrics::render_metrics;
pub use reports::Reports;
pub use round::{Guide, Point, RoundReport, Sync, Unguided};
pub use schedule::Schedule;
pub use settings::{Leavers, SyncSettings};
pub(crate) use source::count_errors;
pub use source::{BulkSource, Fetched, FolderSource, Source, SourceFile, Wanted};
pub use state::{State, StateFolder, UnderWay};
pub use target::{Applied, BundleTarget, ChangeFile, ImportTarget, StoreTarget, Target};
