//! Errors on their way to a person: message, causes, hint, exit code. Kinds become exit codes here and nowhere else.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

/// Done, but not everything was taken.
pub(crate) const PARTIAL: u8 = 3;
const FAILED: u8 = 1;
const IN_USE: u8 = 4;
const DISK_FULL: u8 = 5;

/// Prints an error with its causes and a way out, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let _ = write!(text, "\n  because: {cause}");
    }
    let (code, hint) = judge(error);
    if let Some(hint) = hint {
        let _ = write!(text, "\nhint: {hint}");
    }
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(code)
}

fn judge(error: &anyhow::Error) -> (u8, Option<&'static str>) {
    use fhirhose_store::ErrorKind as Store;
    let kind = error.chain().find_map(store_kind);
    match kind {
        Some(Store::InUse) => (
            IN_USE,
            Some("stop that process, or talk to it over HTTP; a data folder has one process at a time"),
        ),
        Some(Store::NewerFormat) => (
            FAILED,
            Some("use the fhirhose that wrote the folder, or a newer one"),
        ),
        Some(Store::NoKey) => (
            FAILED,
            Some(
                "name the key with --output-key-file or --output-key-command; older keys come on further lines",
            ),
        ),
        Some(Store::DiskFull) => (
            DISK_FULL,
            Some("free some space and run the same command again: it goes on where it stopped"),
        ),
        Some(Store::NotFound) => (
            FAILED,
            Some("`fhirhose load --data DIR PATH…` makes a data folder"),
        ),
        Some(Store::Corrupt) => (
            FAILED,
            Some("`fhirhose store check --data DIR` lists all damage; restore those files from a copy"),
        ),
        _ => (FAILED, None),
    }
}

fn store_kind(cause: &(dyn Error + 'static)) -> Option<fhirhose_store::ErrorKind> {
    cause
        .downcast_ref::<fhirhose_store::Error>()
        .map(fhirhose_store::Error::kind)
}
