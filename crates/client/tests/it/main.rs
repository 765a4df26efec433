//! The client against servers of the test's own.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

mod attachments;
mod batch;
mod batch_waits;
mod case;
mod delivery;
mod doctor;
mod ehr;
mod faults;
mod guard;
mod import_order;
mod limits;
mod origins;
mod provider;
mod pull;
mod quirks;
mod quirks_members;
mod receipt;
mod receipt_attachments;
mod server;
mod smart;
mod tls;
