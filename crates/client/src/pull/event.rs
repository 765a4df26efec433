//! What happens during a pull, for progress and logs: [`PullEvent`].

use super::report::FileKind;

/// Hears what happens. Called from several tasks; must not wait.
pub trait Watch: Send + Sync {
    /// Hears of one event.
    fn hear(&self, event: &PullEvent<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Watch for Quiet {
    fn hear(&self, _event: &PullEvent<'_>) {}
}

/// One event of a pull.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// The server has accepted the export, now or in an earlier run.
    KickedOff {
        /// Whether an earlier run had kicked it off.
        resumed: bool,
    },
    /// The server is at work, or a try failed that will be repeated.
    Waiting {
        /// `X-Progress`, or what went wrong.
        why: &'a str,
        /// Until the next try, in milliseconds.
        wait_ms: u64,
    },
    /// A manifest, or a page of one, has come.
    Manifest {
        /// How many files are known now.
        files: u64,
    },
    /// A file is begun, or gone on with.
    FileBegun {
        /// Its name in the folder.
        name: &'a str,
        /// Its text in bytes, if it is known.
        bytes_total: Option<u64>,
        /// How many bytes of its text are there already.
        bytes_done: u64,
    },
    /// What was there of a file is thrown away: it comes again from its first byte.
    FileAgain {
        /// Its name in the folder.
        name: &'a str,
        /// Why.
        why: &'a str,
    },
    /// Some of a file's text has come.
    FileBytes {
        /// Its name in the folder.
        name: &'a str,
        /// How many bytes came.
        bytes: u64,
    },
    /// A file is whole.
    FileDone {
        /// Its name in the folder.
        name: &'a str,
        /// What is in it.
        kind: FileKind,
        /// SHA-256 of its text, in lower-case hex.
        sha256: &'a str,
        /// Its lines.
        lines: u64,
        /// Its text, in bytes.
        bytes: u64,
    },
    /// An attachment has come.
    AttachmentDone {
        /// How many are there now, of earlier runs too.
        done: u64,
        /// How many are known so far.
        known: u64,
        /// Its content, in bytes.
        bytes: u64,
    },
    /// An attachment could not be had; whether it is tried again says `attempts_left`.
    AttachmentFailed {
        /// Where it stands: a file and a line.
        place: &'a str,
        /// Why.
        why: &'a str,
        /// How often it is tried still.
        attempts_left: u32,
    },
    /// The lines of a file lead to its attachments now; a [`FileDone`](Self::FileDone) before told of the file as it came.
    FileLinked {
        /// Its name in the folder.
        name: &'a str,
        /// SHA-256 of its text, in lower-case hex.
        sha256: &'a str,
        /// Its text, in bytes.
        bytes: u64,
    },
    /// A file could not be had; whether it is tried again says `attempts_left`.
    FileFailed {
        /// Its name in the folder.
        name: &'a str,
        /// Why.
        why: &'a str,
        /// How often it is tried still.
        attempts_left: u32,
    },
}
