//! `log.ndjson`: what happened, line by line, in the form that bulk-data-client writes and others read (version 2).
//!
//! Every line has one `exportId`, the status URL, through all runs. No line has a token, the query of a file's URL, the `patient` parameter
//! or anything of a resource.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fhirhose_fhir::instant::Instant;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Error, Result};

/// The name in the folder.
pub(crate) const LOG: &str = "log.ndjson";

/// How long a log grows before it is put aside, in bytes.
const LOG_BYTES_MAX: u64 = 50 << 20;

/// How many logs there are at most.
const LOGS_MAX: u32 = 5;

/// The log of a folder; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Log {
    folder: PathBuf,
    open: Arc<Mutex<Option<OpenLog>>>,
}

#[derive(Debug)]
struct OpenLog {
    file: File,
    bytes: u64,
    export_id: String,
}

impl Log {
    /// Opens the log, or none.
    pub(super) fn open(folder: PathBuf, is_on: bool) -> Result<Self> {
        let open = if is_on {
            let (file, bytes) = append(&folder)?;
            Some(OpenLog {
                file,
                bytes,
                export_id: String::new(),
            })
        } else {
            None
        };
        Ok(Self {
            folder,
            open: Arc::new(Mutex::new(open)),
        })
    }

    /// Says which export the lines from now on are of.
    pub(super) fn name(&self, export_id: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_mut() {
            export_id.clone_into(&mut open.export_id);
        }
    }

    /// Whether a line of this event was written for this export, in this run or an earlier one. A log that is not kept misses none.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::ErrorKind::Disk).
    pub(super) fn has(&self, event: &str) -> Result<bool> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = open.as_ref() else {
            return Ok(true);
        };
        for number in 0..LOGS_MAX {
            let path = numbered(&self.folder, number);
            let told = tells(&path, event, &log.export_id);
            if told.map_err(|source| Error::disk("reading", &path, source))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes one line, unless an earlier run has.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub(super) fn write_once(&self, now: Instant, event: &str, detail: Value) -> Result<()> {
        match self.has(event)? {
            true => Ok(()),
            false => self.write(now, event, detail),
        }
    }

    /// Writes one line.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::ErrorKind::Disk), [`ErrorKind::DiskFull`](crate::ErrorKind::DiskFull).
    pub(super) fn write(&self, now: Instant, event: &str, detail: Value) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = open.as_mut() else {
            return Ok(());
        };
        let line = json!({
            "exportId": log.export_id,
            "timestamp": now.to_string(),
            "eventId": event,
            "eventDetail": detail,
        });
        let line = format!("{line}\n");
        if log.bytes > 0 && log.bytes + line.len() as u64 > LOG_BYTES_MAX {
            rotate(&self.folder)?;
            (log.file, log.bytes) = append(&self.folder)?;
        }
        log.bytes += line.len() as u64;
        let written = log.file.write_all(line.as_bytes());
        written.map_err(|source| Error::disk("writing", &self.folder.join(LOG), source))
    }
}

/// Opens the log at its end; a line that a crash has cut is ended first.
fn append(folder: &Path) -> Result<(File, u64)> {
    let path = folder.join(LOG);
    let failed = |source| Error::disk("opening", &path, source);
    let opened = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(&path);
    let mut file = opened.map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut last = [b'\n'];
    if bytes > 0 {
        file.read_exact_at(&mut last, bytes - 1).map_err(failed)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n").map_err(failed)?;
    }
    Ok((file, bytes))
}

/// The log that is written, number 0, or one that was put aside.
fn numbered(folder: &Path, number: u32) -> PathBuf {
    match number {
        0 => folder.join(LOG),
        number => folder.join(format!("log.{number}.ndjson")),
    }
}

/// `log.ndjson` becomes `log.1.ndjson`, that `log.2.ndjson`, and the oldest goes.
fn rotate(folder: &Path) -> Result<()> {
    for number in (0..LOGS_MAX - 1).rev() {
        let from = numbered(folder, number);
        if from.exists() {
            let moved = fs::rename(&from, numbered(folder, number + 1));
            moved.map_err(|source| Error::disk("putting aside", &from, source))?;
        }
    }
    Ok(())
}

/// Whether a log has a line of this event and export; a line that a crash has cut counts for nothing.
fn tells(path: &Path, event: &str, export_id: &str) -> std::io::Result<bool> {
    let file = match File::open(path) {
        Err(source) if source.kind() == IoErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let (mut text, mut line) = (BufReader::new(file), Vec::new());
    while text.read_until(b'\n', &mut line)? > 0 {
        let told: Option<Told<'_>> = serde_json::from_slice(&line).ok();
        if told.is_some_and(|told| told.event_id == event && told.export_id == export_id) {
            return Ok(true);
        }
        line.clear();
    }
    Ok(false)
}

/// What a line is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(borrow)]
    export_id: Cow<'a, str>,
    #[serde(borrow)]
    event_id: Cow<'a, str>,
}

/// A URL without its query, for that can be a secret.
pub(super) fn bare(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_grows_is_put_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let log = Log::open(path.clone(), true).unwrap();
        let long = "x".repeat(20 << 20);
        for _ in 0..12 {
            log.write(Instant::from_micros(0), "kickoff", json!({ "text": long }))
                .unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "log.1.ndjson",
            "log.2.ndjson",
            "log.3.ndjson",
            "log.4.ndjson",
            "log.ndjson",
        ];
        assert_eq!(names, expected);
    }
}
