//! What has arrived, through crashes: [`Journal`], a file of lines that are only ever appended.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::receipt::AttachmentName;
use crate::{Error, ErrorKind, Result};

/// What begins the line of a file that has arrived.
const ARRIVED: &str = "arrived ";

/// What begins the line of an attachment that has arrived; its name tells its content.
const ATTACHMENT: &str = "attachment ";

/// What begins the line that ends it: behind it are the SHA-256 of the manifest and the digest of the settings that shaped the folder.
const FINISHED: &str = "finished ";

/// The journal of one delivery, which this process holds.
#[derive(Debug)]
pub(super) struct Journal(Mutex<Held>);

#[derive(Debug)]
struct Held {
    file: File,
    /// Names with the SHA-256 of what arrived under them last.
    arrived: HashMap<String, String>,
    /// Attachments that arrived in earlier runs: this one comes to each only once.
    attachments: HashSet<AttachmentName>,
    finished: Option<Finished>,
}

/// What was delivered to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finished {
    /// The digest of the manifest.
    pub(super) manifest: String,
    /// The digest of the settings that shaped the folder; journals of before have none.
    pub(super) shape: Option<String>,
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
        let file = options.open(path).map_err(unusable)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let problem = format!("another process delivers by {}", path.display());
            return Err(Error::new(ErrorKind::InUse, problem));
        }
        let mut held = Held {
            file,
            arrived: HashMap::new(),
            attachments: HashSet::new(),
            finished: None,
        };
        held.read().map_err(unusable)?;
        Ok(Self(Mutex::new(held)))
    }

    /// Whether this very content has arrived under the name, and nothing else since.
    pub(super) fn has(&self, name: &str, sha256: &str) -> bool {
        self.held(|held| held.arrived.get(name).is_some_and(|known| known == sha256))
    }

    /// Whether this attachment has arrived in an earlier run.
    pub(super) fn has_attachment(&self, name: &AttachmentName) -> bool {
        self.held(|held| held.attachments.contains(name))
    }

    /// What was delivered last of all.
    pub(super) fn finished(&self) -> Option<Finished> {
        self.held(|held| held.finished.clone())
    }

    pub(super) fn arrived(&self, name: &str, sha256: &str) -> Result<()> {
        self.held(|held| {
            held.note(&format!("{ARRIVED}{sha256} {name}\n"))?;
            held.arrived.insert(name.to_owned(), sha256.to_owned());
            Ok(())
        })
    }

    /// Notes an attachment. There may be a million: a power cut may take the last notes away, and they are delivered again.
    pub(super) fn attachment_arrived(&self, name: &AttachmentName) -> Result<()> {
        let line = format!("{ATTACHMENT}{name}\n");
        self.held(|held| held.file.write_all(line.as_bytes()).map_err(failed))
    }

    pub(super) fn finish(&self, manifest: &str, shape: &str) -> Result<()> {
        self.held(|held| held.note(&format!("{FINISHED}{manifest} {shape}\n")))
    }

    /// Begins anew.
    pub(super) fn forget(&self) -> Result<()> {
        self.held(|held| {
            held.arrived.clear();
            held.attachments.clear();
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
    /// Reads the lines that are whole, and cuts off what is behind them.
    fn read(&mut self) -> std::io::Result<()> {
        let mut text = BufReader::new(self.file.try_clone()?);
        let (mut line, mut whole_bytes) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = text.read_until(b'\n', &mut line)?;
            let Some(whole) = line.strip_suffix(b"\n") else {
                break;
            };
            self.replay(&String::from_utf8_lossy(whole));
            whole_bytes += read as u64;
        }
        match line.is_empty() {
            true => Ok(()),
            false => self.file.set_len(whole_bytes),
        }
    }

    fn replay(&mut self, line: &str) {
        if let Some((sha256, name)) = line.strip_prefix(ARRIVED).and_then(|rest| rest.split_once(' ')) {
            self.arrived.insert(name.to_owned(), sha256.to_owned());
        } else if let Some(name) = line.strip_prefix(ATTACHMENT) {
            self.attachments.extend(AttachmentName::parse(name));
        } else if let Some(finished) = line.strip_prefix(FINISHED) {
            let (manifest, shape) = match finished.split_once(' ') {
                Some((manifest, shape)) => (manifest, Some(shape.to_owned())),
                None => (finished, None),
            };
            self.finished = Some(Finished {
                manifest: manifest.to_owned(),
                shape,
            });
        }
    }

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
        let name = |digit: &str| AttachmentName::parse(&(digit.repeat(64) + ".pdf")).unwrap();
        journal.attachment_arrived(&name("0")).unwrap();
        assert_eq!(Journal::open(&path).unwrap_err().kind(), ErrorKind::InUse);
        drop(journal);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"arrived bb 2.Pat");
        std::fs::write(&path, text).unwrap();
        let journal = Journal::open(&path).unwrap();
        journal.arrived("2.Patient.ndjson", "bb").unwrap();
        journal.finish("abc", "def").unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert!(journal.has("1.Patient.ndjson", "aa") && journal.has("2.Patient.ndjson", "bb"));
        assert!(!journal.has("2.Pat", "bb"));
        assert!(journal.has_attachment(&name("0")) && !journal.has_attachment(&name("1")));
        assert!(
            !journal.has("1.Patient.ndjson", "cc"),
            "another content has not arrived"
        );
        let finished = journal.finished().unwrap();
        assert_eq!(
            (&*finished.manifest, finished.shape.as_deref()),
            ("abc", Some("def"))
        );
        journal.held(|held| held.replay("finished abc"));
        assert_eq!(
            journal.finished().unwrap().shape,
            None,
            "as it was written before"
        );
        journal.forget().unwrap();
        assert!(!journal.has("1.Patient.ndjson", "aa") && !journal.has_attachment(&name("0")));
    }
}
