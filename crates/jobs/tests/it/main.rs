//! Tests of the crate through its public surface; modules mirror `src/`.

mod clock;
mod record;
#[cfg(test)]
mod runner;
mod simulation;
mod store;
mod turns;
