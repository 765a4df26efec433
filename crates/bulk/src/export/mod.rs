//! Export: the resources of a system, of all patients, of a Group or of one patient as NDJSON files.
//!
//! [`submit_export`] records an [`ExportSpec`] as a job of the kind [`EXPORT`]; an [`ExportHandler`] runs it and returns an
//! [`ExportResult`]. It takes a snapshot of the store (its first checkpoint: `transactionTime` never changes), finds out whose
//! resources are wanted, cuts the work into parts, writes the parts' files in parallel, and numbers them at the end. Each
//! finished file may become part of a checkpoint; a worker that takes over makes the unfinished ones anew, the same bytes.
//!
//! Files go to the store's outputs, for a server, or straight into a folder as plain files. This module knows no HTTP: what the
//! manifest's URLs are, the caller says ([`ExportResult::manifest`]).

mod blocks;
mod characteristics;
mod cohort;
mod deleted;
mod estimate;
mod files;
mod folder;
mod handler;
mod helpers;
mod holding;
mod keyed;
mod members;
mod names;
mod notes;
mod pages;
mod part;
mod parts;
mod patients;
mod plan;
mod provenance;
mod result;
mod roster;
mod settings;
mod side;
mod spec;
mod state;
mod tally;
mod terms;
mod wanted;

pub use estimate::{Estimate, Rate, TypeEstimate, estimate};
pub use handler::ExportHandler;
pub use holding::ExportReach;
pub use pages::ExportPages;
pub use patients::{PatientFault, drop_patient_faults, filters_decide, patient_faults};
pub use result::{ExportPage, ExportResult, FileKind, ResultFile};
pub use settings::ExportSettings;
pub use spec::{EXPORT, ExportSpec, FILE_BYTES_MAX, GroupJoiners, Target, submit_export};
pub use terms::StatusTerms;
