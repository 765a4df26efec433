//! Tests of the crate through its public surface; modules mirror `src/`.

#[cfg(test)]
mod runner;
mod simulation;
mod store;
