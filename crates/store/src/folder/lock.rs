//! One process at a time: an exclusive lock on the file `lock`, whose content says who holds it.
//!
//! The operating system releases the lock when the process ends, however it ends; the content is only for people.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::{Error, ErrorKind, Result};

const FILE: &str = "lock";

/// At most this much of the lock file is shown to the process that did not get the lock.
const HOLDER_BYTES_MAX: u64 = 1024;

/// Who holds a data folder: what another process is told that wants it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    command: String,
    process: u32,
    host: String,
    since: String,
}

impl Holder {
    /// Describes this process: `command` is what the user typed after `fhirhose`, `since` the instant of its start.
    pub fn this_process(command: impl Into<String>, since: impl fmt::Display) -> Self {
        Self {
            command: command.into(),
            process: std::process::id(),
            host: host(),
            since: since.to_string(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            command,
            process,
            host,
            since,
        } = self;
        write!(
            f,
            "fhirhose {command} (process {process} on {host}, since {since})"
        )
    }
}

/// The lock, released when dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Takes the lock of the folder at once, or says who has it.
    pub(super) fn take(root: &Path, holder: &Holder) -> Result<Self> {
        let context = || format!("lock data folder {}", root.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(root.join(FILE))
            .map_err(|error| Error::io(context(), error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(root, &mut file)),
            Err(TryLockError::Error(error)) => return Err(Error::io(context(), error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{holder}"))
            .map_err(|error| Error::io(context(), error))?;
        Ok(Self { file })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A name that stays behind misleads nobody for long: whoever takes the lock next overwrites it.
        let _ = self.file.set_len(0);
    }
}

fn in_use(root: &Path, file: &mut File) -> Error {
    let mut holder = String::new();
    let read = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
    // The holder may be just about to write its name.
    let holder = match (read, holder.trim()) {
        (Ok(_), named) if !named.is_empty() => named,
        _ => "another process",
    };
    Error::new(
        ErrorKind::InUse,
        format!("data folder {} is in use by {holder}", root.display()),
    )
}

fn host() -> String {
    ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this host".to_owned())
}
