//! Tests of the crate through its public surface; modules mirror `src/`.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

mod catalog;
mod crash;
mod folder;
mod full_disk;
mod outputs;
mod run;
mod sealed_outputs;
