//! Behaviour of the crate through its public surface; the modules mirror `src/`.

mod protocol;
