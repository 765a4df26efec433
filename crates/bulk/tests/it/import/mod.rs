//! Imports through the public surface: a specification in, a store and a result out.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

mod fixture;
mod http;
mod inputs;
mod order;
mod real_data;
mod references;
mod refused;
mod resume;
mod subsetted;
