//! What has arrived, through crashes: [`Journal`], a file of lines that are only ever appended.

use std::collections::HashMap;
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
    /// Names with the SHA-256 of what arrived under them last.
    arrived: HashMap<String, String>,
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
        let whole_bytes = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let whole = String::from_utf8_lossy(&bytes[..whole_bytes]);
        let (mut arrived, mut finished) = (HashMap::new(), None);
        for line in whole.lines() {
            if let Some((sha256, name)) = line.strip_prefix(ARRIVED).and_then(|rest| rest.split_once(' ')) {
                arrived.insert(name.to_owned(), sha256.to_owned());
            } else if let Some(manifest) = line.strip_prefix(FINISHED) {
                finished = Some(manifest.to_owned());
            }
        }
        if whole_bytes < bytes.len() {
            file.set_len(whole_bytes as u64).map_err(unusable)?;
        }
        Ok(Self(Mutex::new(Held {
            file,
            arrived,
            finished,
        })))
    }

    /// Whether this very content has arrived under the name, and nothing else since.
    pub(super) fn has(&self, name: &str, sha256: &str) -> bool {
        self.held(|held| held.arrived.get(name).is_some_and(|known| known == sha256))
    }

    /// The digest of the manifest that was delivered last of all.
    pub(super) fn finished(&self) -> Option<String> {
        self.held(|held| held.finished.clone())
    }

    pub(super) fn arrived(&self, name: &str, sha256: &str) -> Result<()> {
        self.held(|held| {
            held.note(&format!("{ARRIVED}{sha256} {name}\n"))?;
            held.arrived.insert(name.to_owned(), sha256.to_owned());
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
        journal.arrived("1.Patient.ndjson", "aa").unwrap();
        assert_eq!(Journal::open(&path).unwrap_err().kind(), ErrorKind::InUse);
        drop(journal);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"arrived bb 2.Pat");
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(&path).unwrap();
        journal.arrived("2.Patient.ndjson", "bb").unwrap();
        journal.finish("abc").unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert!(journal.has("1.Patient.ndjson", "aa") && journal.has("2.Patient.ndjson", "bb"));
        assert!(!journal.has("2.Pat", "bb"));
        assert!(
            !journal.has("1.Patient.ndjson", "cc"),
            "another content has not arrived"
        );
        assert_eq!(journal.finished().as_deref(), Some("abc"));
        journal.forget().unwrap();
        assert!(!journal.has("1.Patient.ndjson", "aa"));
    }
}
