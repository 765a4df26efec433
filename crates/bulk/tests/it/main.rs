//! Integration tests of the bulk operations; modules mirror `src/`.

mod export;
mod generate;
mod import;
