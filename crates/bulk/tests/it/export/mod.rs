//! Exports, on real data and on small stores made for a case.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

mod estimate;
mod expected;
mod files;
mod fixture;
mod granted;
mod groups;
mod helpers;
mod levels;
mod members;
mod oracle;
mod organized;
mod pages;
mod provenance;
mod resume;
mod since;
mod stages;
