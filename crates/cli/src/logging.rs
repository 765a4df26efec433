//! Logs go to stderr, one event a line, with fields; never resource content, ids of patients, or credentials.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging at a level; `FHIRHOSE_LOG` (as `tracing` filters are written) wins.
pub(crate) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("FHIRHOSE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}
