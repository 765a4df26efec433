//! Syncs: any history of a source, any crash, and the target ends equal.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

mod ends_equal;
mod fixture;
mod folders;
mod rounds;
mod servers;
