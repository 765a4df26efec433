//! Errors on their way to a person: message, causes, hint, exit code. Kinds become exit codes here and nowhere else.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::process::ExitCode;

/// Done, but not everything was taken.
pub(crate) const PARTIAL: u8 = 3;
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const IN_USE: u8 = 4;
const DISK_FULL: u8 = 5;

/// What is wrong with a command line that can be parsed.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Error for Usage {}

/// Makes an error of wrong usage.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

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
    crate::logging::say(&text);
    ExitCode::from(code)
}

fn judge(error: &anyhow::Error) -> (u8, Option<&'static str>) {
    use fhirhose_store::ErrorKind as Store;
    if error.downcast_ref::<Usage>().is_some() {
        return (USAGE, Some("`--help` after the command tells of its flags"));
    }
    if let Some(judged) = error.chain().find_map(bulk_kind).and_then(judge_bulk) {
        return judged;
    }
    if let Some(kind) = error.chain().find_map(client_kind) {
        return judge_client(kind);
    }
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

fn judge_client(kind: fhirhose_client::ErrorKind) -> (u8, Option<&'static str>) {
    use fhirhose_client::ErrorKind as Client;
    match kind {
        Client::Unreachable => (
            FAILED,
            Some("is the URL right, and does the server run? The same command goes on where it stopped"),
        ),
        Client::Busy => (
            FAILED,
            Some("the server has trouble: run the same command again later, and it goes on where it stopped"),
        ),
        Client::InUse => (
            IN_USE,
            Some("wait for the other process; a folder has one at a time"),
        ),
        Client::DiskFull => (
            DISK_FULL,
            Some("free some space and run the same command again: it goes on where it stopped"),
        ),
        Client::OtherFolder => (
            USAGE,
            Some("name another folder, or ask for what the first pull into this one asked for"),
        ),
        _ => (FAILED, None),
    }
}

/// What only operations tell of; else their causes decide.
fn judge_bulk(kind: fhirhose_bulk::ErrorKind) -> Option<(u8, Option<&'static str>)> {
    use fhirhose_bulk::ErrorKind as Bulk;
    match kind {
        Bulk::InUse => Some((IN_USE, Some("wait for the other process, or stop it"))),
        Bulk::TooManyDeletions => Some((
            FAILED,
            Some("look at the source; if that is right, run once with --allow-mass-deletion"),
        )),
        Bulk::DiskFull => Some((
            DISK_FULL,
            Some("free some space and run the same command again: it goes on where it stopped"),
        )),
        _ => None,
    }
}

fn bulk_kind(cause: &(dyn Error + 'static)) -> Option<fhirhose_bulk::ErrorKind> {
    cause
        .downcast_ref::<fhirhose_bulk::Error>()
        .map(fhirhose_bulk::Error::kind)
}

fn client_kind(cause: &(dyn Error + 'static)) -> Option<fhirhose_client::ErrorKind> {
    cause
        .downcast_ref::<fhirhose_client::Error>()
        .map(fhirhose_client::Error::kind)
}

fn store_kind(cause: &(dyn Error + 'static)) -> Option<fhirhose_store::ErrorKind> {
    cause
        .downcast_ref::<fhirhose_store::Error>()
        .map(fhirhose_store::Error::kind)
}
