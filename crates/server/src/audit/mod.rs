//! The audit trail: who did what to whose data, by which right, and what came of it.
//!
//! Every event is a line of a file, a FHIR AuditEvent in the shapes of IHE's basic audit log patterns; each line carries the hash of
//! the one before ([`chain`]). Lines are written by one thread ([`Trail`]) into [`AuditFiles`]; what lasts is opened before it is done
//! and closed after, so that a crash leaves it open to be seen. [`verify`] proves a trail from its files alone.
//!
//! It deliberately does not decide what may be done, and keeps no content of resources.

mod act;
mod body;
mod chain;
mod clients;
mod copy;
mod files;
mod jobs;
mod record;
mod recover;
mod refusals;
mod settings;
mod shape;
mod start;
mod table;
mod trail;
mod verify;
mod writer;

pub use chain::{ChainHead, LineHash};
pub use clients::CommandTrail;
pub use files::{AuditFiles, FolderFiles, MemoryFiles, in_order};
pub use recover::read_head;
pub use settings::AuditSettings;
pub use trail::{Entry, Event, Resumed, Trail, TrailSettings};
pub use verify::{AuditProblem, AuditReport, verify};

pub(crate) use act::Act;
pub(crate) use body::closing;
pub(crate) use clients::{act, closed_after};
pub(crate) use jobs::Audited as AuditedJobs;
pub(crate) use record::{Audit, note, note_client, note_grant, note_patients, note_request, note_resource};
pub(crate) use shape::Told;
pub(crate) use start::start;
pub(crate) use table::audited;
