//! Every conflict with both its versions, for people: `conflicts.ndjson` in the state folder, readable by its owner only.
//!
//! A line is on disk before anything is written over, so nothing that is overwritten is lost. After a crash a line can come twice.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};

use super::merge::{Conflict, ConflictKind, ConflictPolicy, Now, Pair, Side};
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// The file in the state folder.
pub const CONFLICTS_FILE: &str = "conflicts.ndjson";

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictLine {
    /// When it was found.
    pub found: Instant,
    /// `Type/id`.
    pub resource: String,
    /// How the sides disagree.
    pub kind: ConflictKind,
    /// Which policy decided.
    pub policy: ConflictPolicy,
    /// Whose version stays; `None`: it is held.
    pub winner: Option<Side>,
    /// Whether the times were equal or missing.
    pub is_tie: bool,
    /// Whether somebody decided this one.
    pub is_resolved: bool,
    /// What each side had; `None` where it was deleted.
    pub versions: Pair<Option<ConflictVersion>>,
}

/// A version in conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictVersion {
    /// `meta.versionId`.
    pub version: Option<String>,
    /// `meta.lastUpdated`.
    pub updated: Option<Instant>,
    /// The resource, byte for byte.
    pub text: String,
}

impl ConflictVersion {
    pub(super) fn of(now: &Now, text: Option<Vec<u8>>) -> Option<Self> {
        let Now::There(present) = now else { return None };
        Some(Self {
            version: present.version.clone(),
            updated: present.updated,
            text: String::from_utf8_lossy(&text?).into_owned(),
        })
    }
}

impl ConflictLine {
    pub(super) fn new(
        (found, resource): (Instant, &str),
        (conflict, policy, is_resolved): (Conflict, ConflictPolicy, bool),
        versions: Pair<Option<ConflictVersion>>,
    ) -> Self {
        Self {
            found,
            resource: resource.to_owned(),
            kind: conflict.kind,
            policy,
            winner: conflict.winner,
            is_tie: conflict.is_tie,
            is_resolved,
            versions,
        }
    }
}

/// The report, open for more lines.
#[derive(Debug)]
pub(super) struct ConflictLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl ConflictLog {
    /// Opens the report; a line that a crash has torn is cut off.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> Result<Self> {
        let path = folder.join(CONFLICTS_FILE);
        let open = || {
            let mut options = OpenOptions::new();
            options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600);
            let mut file = options.open(&path)?;
            let bytes = whole(&mut file)?;
            file.set_len(bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = open()
            .map_err(|source: std::io::Error| Error::io(format!("opening {}", path.display()), source))?;
        durable::sync_parent(&path)?;
        Ok(Self {
            path,
            file,
            bytes,
            bytes_max,
        })
    }

    /// Adds lines, durably.
    ///
    /// # Errors
    /// [`ErrorKind::DiskFull`] when the report would pass its limit: then nothing may be overwritten.
    pub(super) fn add(&mut self, lines: &[ConflictLine]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("lines are strings and numbers");
            text.push(b'\n');
        }
        if self.bytes + text.len() as u64 > self.bytes_max {
            let text = format!(
                "{} would pass its limit of {} bytes: move it away once it is looked through",
                self.path.display(),
                self.bytes_max
            );
            return Err(Error::new(ErrorKind::DiskFull, text));
        }
        let written = durable::append(&mut self.file, self.bytes, &text);
        written.map_err(|source| Error::io(format!("writing {}", self.path.display()), source))?;
        self.bytes += text.len() as u64;
        Ok(())
    }
}

/// The length up to the last line feed.
fn whole(file: &mut File) -> std::io::Result<u64> {
    const PIECE_BYTES: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let begin = end.saturating_sub(PIECE_BYTES);
        file.seek(SeekFrom::Start(begin))?;
        let mut piece = Vec::new();
        Read::take(&mut *file, end - begin).read_to_end(&mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}
