//! Integration tests of the bulk operations; modules mirror `src/`.

mod answers;
mod crash;
mod diff;
mod export;
mod generate;
mod import;
mod reconcile;
mod sync;
mod two_way;
