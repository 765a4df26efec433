//! Integration tests of the bulk operations; modules mirror `src/`.

mod generate;
mod import;
