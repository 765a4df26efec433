//! What has arrived, through crashes: [`Journal`], a file of lines that are only ever appended.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, ErrorKind, Result};

/// What begins the line of a file that has arrived.
const ARRIVED: &str = "arrived ";

/// What begins the line that ends it: behind it is the SHA-256 of the manifest.
const FINISHED: &str = "finished ";

/// The journal of one delivery, which this process holds.
#[derive(Debug)]
pub(super) struct Journal(Mutex<Held>);

#[derive(Debug)]
struct Held {
    file: File,
    arrived: HashSet<String>,
    finished: Option<String>,
}

impl Journal {
    /// Opens the journal and reads it. A line that was not written whole counts for nothing: its file is delivered again.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] while another process has it; [`ErrorKind::Disk`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let unusable = |source: std::io::Error| {
            Error::new(ErrorKind::Disk, format!("opening {}", path.display())).caused_by(source)
        };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(path).map_err(unusable)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let problem = format!("another process delivers by {}", path.display());
            return Err(Error::new(ErrorKind::InUse, problem));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unusable)?;
        let text = String::from_utf8_lossy(&bytes);
        let is_torn = !text.is_empty() && !text.ends_with('\n');
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let (mut arrived, mut finished) = (HashSet::new(), None);
        for line in whole.lines() {
            if let Some(name) = line.strip_prefix(ARRIVED) {
                arrived.insert(name.to_owned());
            } else if let Some(manifest) = line.strip_prefix(FINISHED) {
                finished = Some(manifest.to_owned());
            }
        }
        if is_torn {
            // What follows begins a line of its own.
            file.write_all(b"\n").map_err(unusable)?;
        }
        Ok(Self(Mutex::new(Held {
            file,
            arrived,
            finished,
        })))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.held(|held| held.arrived.contains(name))
    }

    /// The digest of the manifest that was delivered last of all.
    pub(super) fn finished(&self) -> Option<String> {
        self.held(|held| held.finished.clone())
    }

    pub(super) fn arrived(&self, name: &str) -> Result<()> {
        self.held(|held| {
            held.note(&format!("{ARRIVED}{name}\n"))?;
            held.arrived.insert(name.to_owned());
            Ok(())
        })
    }

    pub(super) fn finish(&self, manifest: &str) -> Result<()> {
        self.held(|held| held.note(&format!("{FINISHED}{manifest}\n")))
    }

    /// Begins anew.
    pub(super) fn forget(&self) -> Result<()> {
        self.held(|held| {
            held.arrived.clear();
            held.finished = None;
            let cut = held.file.set_len(0).and_then(|()| held.file.sync_data());
            cut.map_err(failed)
        })
    }

    fn held<T>(&self, act: impl FnOnce(&mut Held) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Held {
    fn note(&mut self, line: &str) -> Result<()> {
        let written = self.file.write_all(line.as_bytes());
        written.and_then(|()| self.file.sync_data()).map_err(failed)
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::new(ErrorKind::Disk, "writing the journal of what has arrived").caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_counts_for_nothing_and_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        journal.arrived("1.Patient.ndjson").unwrap();
        assert_eq!(Journal::open(&path).unwrap_err().kind(), ErrorKind::InUse);
        drop(journal);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"arrived 2.Pat");
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(&path).unwrap();
        journal.arrived("2.Patient.ndjson").unwrap();
        journal.finish("abc").unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert!(journal.has("1.Patient.ndjson") && journal.has("2.Patient.ndjson"));
        assert!(!journal.has("2.Pat"));
        assert_eq!(journal.finished().as_deref(), Some("abc"));
        journal.forget().unwrap();
        assert!(!journal.has("1.Patient.ndjson"));
    }
}
