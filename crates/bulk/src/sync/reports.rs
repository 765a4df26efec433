//! What a round could not take, written down for the operator: [`Reports`].
//!
//! A report is a pair of files: the lines as they came, and an OperationOutcome for each in the same order. They hold resources, so they
//! are for their owner alone. A step that is done again writes its report anew.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};

use crate::durable;
use crate::{Error, ErrorKind, Result};

/// Where a step of a round tells what it could not take.
#[derive(Debug)]
pub struct Reports {
    folder: PathBuf,
    name: &'static str,
    refused_max: u64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    lines: Option<File>,
    outcomes: Option<File>,
    refused: u64,
}

impl Reports {
    /// Begins the report of a step; what an interrupted try of the step wrote goes.
    pub(super) fn begin(folder: &Path, name: &'static str, refused_max: u64) -> Result<Self> {
        let reports = Self {
            folder: folder.to_owned(),
            name,
            refused_max,
            open: Mutex::default(),
        };
        durable::remove(&reports.lines_path())?;
        durable::remove(&reports.outcomes_path())?;
        Ok(reports)
    }

    /// The folder of the round's reports.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps a line that is not taken, with the reason.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when more is refused than the settings allow; a full disk.
    pub fn refuse(&self, line: &[u8], why: &str) -> Result<()> {
        let outcome = OperationOutcome::error(IssueCode::Processing, why).to_json();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.lines.is_none() {
            durable::create_folder(&self.folder)?;
            open.lines = Some(durable::create(&self.lines_path())?);
            open.outcomes = Some(durable::create(&self.outcomes_path())?);
        }
        open.refused += 1;
        self.check(open.refused)?;
        append(open.lines.as_mut(), line, &self.folder)?;
        append(open.outcomes.as_mut(), outcome.as_bytes(), &self.folder)
    }

    /// Sees that so much may be refused.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is more than the settings allow.
    pub(super) fn check(&self, refused: u64) -> Result<()> {
        if refused <= self.refused_max {
            return Ok(());
        }
        let problem = format!(
            "more than {} lines are refused: see {}",
            self.refused_max,
            self.folder.display()
        );
        Err(Error::new(ErrorKind::Invalid, problem))
    }

    /// How much was refused so far.
    pub fn refused(&self) -> u64 {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).refused
    }

    /// Makes what was told durable: a later step may read it after a crash.
    pub(super) fn sync(&self) -> Result<()> {
        for path in [self.lines_path(), self.outcomes_path()] {
            let synced = match File::open(&path) {
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                opened => opened.and_then(|file| file.sync_all()),
            };
            synced.map_err(|source| Error::io(format!("syncing {}", path.display()), source))?;
            durable::sync_parent(&path)?;
        }
        Ok(())
    }

    /// Where the lines are that a step refused, if it refused any.
    pub(super) fn lines_of(folder: &Path, name: &str) -> PathBuf {
        folder.join(format!("{name}.refused.ndjson"))
    }

    /// The file of lines, for a target that has its own of them to add.
    pub(super) fn lines_path(&self) -> PathBuf {
        Self::lines_of(&self.folder, self.name)
    }

    /// The file of an OperationOutcome for each line.
    pub(super) fn outcomes_path(&self) -> PathBuf {
        self.folder.join(format!("{}.outcomes.ndjson", self.name))
    }
}

fn append(file: Option<&mut File>, line: &[u8], folder: &Path) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
    written.map_err(|source| Error::io(format!("writing reports in {}", folder.display()), source))
}
