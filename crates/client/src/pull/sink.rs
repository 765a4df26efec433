//! Writes one file to the disk while it comes: [`Writer`] decodes, looks at the lines, hashes, and knows how far it is.
//!
//! It runs in a thread of its own, for all of that is work for a processor. What it has written up to the last whole line is good to go on
//! with after a crash; [`Writer::open`] reads it again and says how much that is.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::folder::PullFolder;
use super::hex;
use super::journal::{Journal, Record};
use super::lines::{Expected, LineCheck, LongLines, Seen};
use crate::decode::{Coding, DecodeLimits, Decoder, RestartPoint};
use crate::{Error, ErrorKind, Result};

/// What is gathered before it is written; larger pieces are written as they come.
const WRITE_BYTES: usize = 128 << 10;

/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

/// How much is written before the disk is asked to begin with it.
const BEGIN_BYTES: u64 = 8 << 20;

/// How much text comes at least between two restart points that are noted.
const RESTART_BYTES: u64 = 2 << 20;

/// How many pieces of a body wait for the writer at most; each is what the connection had at once.
pub(super) const PIECES_WAITING_MAX: usize = 8;

/// What a writer is told.
pub(super) enum Message {
    /// A body begins here; what of its text is there already is skipped.
    Begin { coding: Coding, from: RestartPoint },
    /// Its next bytes.
    Bytes(Bytes),
    /// What is there is of no use: another body begins, which is noted.
    Reset(Box<Record>),
    /// The body has ended.
    End,
}

/// What a writer works with.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// The name that the file will have.
    pub(super) name: String,
    pub(super) expected: Expected,
    /// Whether the manifest tells the text's SHA-256, which it is held to in the end.
    pub(super) has_sha256: bool,
    pub(super) long_lines: LongLines,
    pub(super) folder: PullFolder,
    pub(super) journal: Arc<Mutex<Journal>>,
    /// How much text is there, for progress.
    pub(super) text_bytes: Arc<AtomicU64>,
}

/// A whole text.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) seen: Seen,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A file that is being written.
pub(super) struct Writer {
    task: Task,
    path: PathBuf,
    out: BufWriter<File>,
    text: Text,
    decoder: Option<Decoder>,
    /// How much of the decoder's text is there already.
    skip: u64,
    restart_noted: u64,
    /// How much of the file the disk has been asked to begin with.
    disk_begun: u64,
}

/// What is known of the text so far.
struct Text {
    bytes: u64,
    hash: Sha256,
    lines: LineCheck,
}

impl Text {
    fn new(task: &Task) -> Self {
        Self {
            bytes: 0,
            hash: Sha256::new(),
            lines: LineCheck::new(task.expected.clone(), task.long_lines.clone()),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.lines.push(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Written, String> {
        self.lines.finish()?;
        Ok(Written {
            seen: self.lines.seen,
            bytes: self.bytes,
            sha256: hex(&self.hash.finalize()),
        })
    }
}

impl Writer {
    /// Opens the partial file; with `keep` what is good in it stays. Reads that, so it may take a while.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`], [`ErrorKind::DiskFull`].
    pub(super) fn open(task: Task, keep: bool) -> Result<Self> {
        let path = task.folder.partial(&task.name);
        let failed = |source| Error::disk("opening", &path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!keep)
            .open(&path)
            .map_err(failed)?;
        let text = if keep {
            reread(&mut file, &task).map_err(failed)?
        } else {
            Text::new(&task)
        };
        file.set_len(text.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(text.bytes)))
            .map_err(failed)?;
        task.text_bytes.store(text.bytes, Ordering::Relaxed);
        Ok(Self {
            out: BufWriter::with_capacity(WRITE_BYTES, file),
            disk_begun: text.bytes,
            task,
            path,
            text,
            decoder: None,
            skip: 0,
            restart_noted: 0,
        })
    }

    /// How much text is there.
    pub(super) fn text_bytes(&self) -> u64 {
        self.text.bytes
    }

    /// Does what it is told until the end. Blocks the thread.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a body that cannot be what was announced; [`ErrorKind::Disk`], [`ErrorKind::DiskFull`].
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Result<Written> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Begin { coding, from } => {
                    let limits = DecodeLimits {
                        passes_checksums: self.task.has_sha256,
                        ..DecodeLimits::default()
                    };
                    self.decoder = Some(Decoder::new(coding, from, limits)?);
                    self.skip = self.text.bytes.saturating_sub(from.decoded);
                }
                Message::Bytes(bytes) => self.push(&bytes)?,
                Message::Reset(begun) => self.reset(&begun)?,
                Message::End => return self.finish(),
            }
        }
        // What came stays for the next run.
        self.out
            .flush()
            .map_err(|source| Error::disk("writing", &self.path, source))?;
        Err(Error::new(
            ErrorKind::Unreachable,
            format!("{} was left", self.task.name),
        ))
    }

    fn push(&mut self, encoded: &[u8]) -> Result<()> {
        let Some(mut decoder) = self.decoder.take() else {
            return Err(Error::new(ErrorKind::Protocol, "bytes before their body"));
        };
        let pushed = decoder.push(encoded, &mut |piece| self.take(piece));
        let point = decoder.restart_point();
        self.decoder = Some(decoder);
        pushed?;
        self.task.text_bytes.store(self.text.bytes, Ordering::Relaxed);
        self.note(point)
    }

    fn take(&mut self, mut piece: &[u8]) -> Result<()> {
        if self.skip > 0 {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            self.skip -= skipped as u64;
            piece = &piece[skipped..];
        }
        self.text
            .push(piece)
            .map_err(|why| corrupt(&self.task.name, &why))?;
        self.out
            .write_all(piece)
            .map_err(|source| Error::disk("writing", &self.path, source))?;
        self.begin_on_disk();
        Ok(())
    }

    /// Has the disk begin with what was written, while more comes: the end of the file, and of the pull, then waits for little.
    fn begin_on_disk(&mut self) {
        let bytes = self.text.bytes - self.disk_begun;
        if let Some(length) = NonZeroU64::new(bytes).filter(|_| bytes >= BEGIN_BYTES) {
            // No more than advice: a file system that does not take it writes later.
            let _ = fadvise(
                self.out.get_ref(),
                self.disk_begun,
                Some(length),
                Advice::DontNeed,
            );
            self.disk_begun = self.text.bytes;
        }
    }

    /// Notes where a compressed body can be taken up again; one without a coding can be taken up anywhere.
    fn note(&mut self, point: RestartPoint) -> Result<()> {
        let compressed = self
            .decoder
            .as_ref()
            .is_some_and(|decoder| decoder.coding() != Coding::Identity);
        if !compressed || point.decoded < self.restart_noted + RESTART_BYTES {
            return Ok(());
        }
        self.restart_noted = point.decoded;
        let record = Record::Restart {
            file: self.task.name.clone(),
            point,
        };
        let mut journal = self.task.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.note(&record)
    }

    /// Empties the file before the journal says which body begins: a crash between them must not leave the text of one body under the
    /// ETag of another.
    fn reset(&mut self, begun: &Record) -> Result<()> {
        let failed = |source| Error::disk("emptying", &self.path, source);
        self.out.flush().map_err(failed)?;
        let had = self.text.bytes > 0;
        let file = self.out.get_mut();
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        if had {
            file.sync_all().map_err(failed)?;
        }
        self.task
            .journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(begun)?;
        self.text = Text::new(&self.task);
        self.decoder = None;
        self.skip = 0;
        self.restart_noted = 0;
        self.disk_begun = 0;
        self.task.text_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    fn finish(mut self) -> Result<Written> {
        if let Some(decoder) = &self.decoder {
            decoder
                .finish()
                .map_err(|error| corrupt(&self.task.name, &error.to_string()))?;
        }
        if self.skip > 0 {
            return Err(corrupt(
                &self.task.name,
                "it is shorter than what had come before",
            ));
        }
        let written = self.text.finish().map_err(|why| corrupt(&self.task.name, &why))?;
        self.out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all())
            .map_err(|source| Error::disk("writing", &self.path, source))?;
        Ok(written)
    }
}

/// Reads a whole file, as if it had just come.
///
/// # Errors
/// As [`Writer::run`].
pub(super) fn look_at(task: &Task, path: &std::path::Path) -> Result<Written> {
    let failed = |source| Error::disk("reading", path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut text = Text::new(task);
    let mut block = vec![0; READ_BYTES];
    loop {
        let length = file.read(&mut block).map_err(failed)?;
        if length == 0 {
            return text.finish().map_err(|why| corrupt(&task.name, &why));
        }
        text.push(&block[..length])
            .map_err(|why| corrupt(&task.name, &why))?;
    }
}

/// What is good of a partial file: up to the last whole line before the first that is no line, as after a power cut.
fn reread(file: &mut File, task: &Task) -> std::io::Result<Text> {
    let mut lines = LineCheck::new(task.expected.clone(), task.long_lines.clone());
    let mut block = vec![0; READ_BYTES];
    loop {
        let length = file.read(&mut block)?;
        if length == 0 || lines.push(&block[..length]).is_err() {
            break;
        }
    }
    lines.drop_begun();
    let bytes = lines.seen.bytes;
    let mut hash = Sha256::new();
    file.rewind()?;
    let mut rest = Read::take(&mut *file, bytes);
    loop {
        let length = rest.read(&mut block)?;
        if length == 0 {
            return Ok(Text { bytes, hash, lines });
        }
        hash.update(&block[..length]);
    }
}

fn corrupt(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{name}: {why}"))
}
