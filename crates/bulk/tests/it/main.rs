//! Integration tests of the bulk operations; modules mirror `src/`.

mod crash;
mod export;
mod generate;
mod import;
