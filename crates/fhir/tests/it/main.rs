//! Behaviour of the crate through its public surface; the modules mirror `src/`.

mod attachment;
mod content_hash;
mod elements;
mod line;
mod meta;
mod ndjson;
mod protocol;
mod reference;
mod sample;
mod search;
