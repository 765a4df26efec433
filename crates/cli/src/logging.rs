//! Logs go to stderr, one event a line, with fields; never resource content, ids of patients, or credentials.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging: `FHIRHOSE_LOG` (as `tracing` filters are written) wins over the count of `-v`.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn,fhirhose_server=info",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("FHIRHOSE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
}
