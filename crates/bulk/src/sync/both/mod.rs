//! Two-way sync: each side's own changes go to the other, echoes are recognised, conflicts follow a policy and every one is reported.
//!
//! [`merge`] decides on one resource, [`Ledger`] remembers what both sides agreed on, [`Both`] does the rounds; a side is a [`Peer`].

mod conflicts;
mod fhir_peer;
mod ledger;
pub mod merge;
mod peer;
mod record;
mod report;
mod round;
mod told;

pub use conflicts::{CONFLICTS_FILE, ConflictLine, ConflictVersion};
pub use fhir_peer::FhirPeer;
pub(crate) use fhir_peer::texts_of;
pub use ledger::Ledger;
pub use merge::{ConflictKind, ConflictPolicy, Over, Pair, Side};
pub use peer::{Changes, Peer, Write, Written};
pub use record::Carried;
pub use report::{BothReport, ConflictGroup};
pub use round::{Both, BothSettings};
pub(crate) use told::{LineReader, each_line};
