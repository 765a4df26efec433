//! Tests of the crate through its public surface; modules mirror `src/`.

mod store;
