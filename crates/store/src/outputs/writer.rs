//! The writer of output files: counts and hashes the text, and hands it to blocks in a store or to a plain file.

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::Xxh3;

use super::blocks::BlockSink;
use super::cipher::FileCipher;
use super::plain::PlainFile;
use super::{Hashing, OutputFile, OutputName, OutputSettings, Upload};
use crate::Result;

/// Writes one output file in a stream. Dropped unfinished, it leaves nothing under the file's name.
///
/// Memory: two parts and one block of [`OutputSettings`]. It waits for the disk or the store: call it in
/// `spawn_blocking` or on a thread of one's own, never on a thread that drives the runtime.
#[derive(Debug)]
pub struct OutputWriter {
    name: String,
    sink: Sink,
    tally: Tally,
}

/// What is known of the text, whatever its form at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextFacts {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Zero in a plain file, which has none.
    pub(super) fingerprint: [u8; 16],
    pub(super) sha256: Option<[u8; 32]>,
}

#[derive(Debug)]
enum Sink {
    Blocks(Box<BlockSink>),
    Plain(PlainFile),
}

impl OutputWriter {
    pub(super) fn in_blocks(
        name: &OutputName,
        settings: &OutputSettings,
        upload: Upload,
        cipher: Option<FileCipher>,
    ) -> Result<Self> {
        let sink = Sink::Blocks(Box::new(BlockSink::new(settings, upload, cipher)?));
        Ok(Self {
            name: name.file().to_owned(),
            sink,
            tally: Tally::new(settings.hashing, Some(Box::default())),
        })
    }

    pub(super) fn plain(name: &str, hashing: Hashing, file: PlainFile) -> Self {
        Self {
            name: name.to_owned(),
            sink: Sink::Plain(file),
            // No tag is made of a plain file.
            tally: Tally::new(hashing, None),
        }
    }

    /// Appends text, cut anywhere; each line ends in `\n`, the last one too.
    ///
    /// # Errors
    /// [`crate::ErrorKind::DiskFull`] or [`crate::ErrorKind::Storage`]; the writer is of no use then and must be dropped.
    pub fn write(&mut self, text: &[u8]) -> Result<()> {
        self.tally.add(text);
        match &mut self.sink {
            Sink::Blocks(blocks) => blocks.write(text),
            Sink::Plain(file) => file.write(text),
        }
    }

    /// The length of the text so far: what a limit on the size of a file is compared with.
    pub fn text_bytes(&self) -> u64 {
        self.tally.bytes
    }

    /// Finishes the file; when this returns it shows under its name and a checkpoint may name it.
    ///
    /// # Errors
    /// As [`OutputWriter::write`]; nothing shows under the name then.
    pub fn finish(self) -> Result<OutputFile> {
        let facts = self.tally.facts();
        let (stored_bytes, blocks) = match self.sink {
            Sink::Blocks(sink) => sink.finish(&facts)?,
            Sink::Plain(file) => {
                file.finish()?;
                (facts.bytes, 0)
            }
        };
        Ok(OutputFile {
            name: self.name,
            rows: facts.rows,
            bytes: facts.bytes,
            stored_bytes,
            sha256: facts.sha256.map(|digest| hex(&digest)),
            blocks,
        })
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Counts and hashes what goes by.
struct Tally {
    rows: u64,
    bytes: u64,
    fingerprint: Option<Box<Xxh3>>,
    sha256: Option<Sha256>,
}

impl Tally {
    fn new(hashing: Hashing, fingerprint: Option<Box<Xxh3>>) -> Self {
        let sha256 = match hashing {
            Hashing::Sha256 => Some(Sha256::new()),
            Hashing::FingerprintOnly => None,
        };
        Self {
            rows: 0,
            bytes: 0,
            fingerprint,
            sha256,
        }
    }

    fn add(&mut self, text: &[u8]) {
        self.rows += memchr::memchr_iter(b'\n', text).count() as u64;
        self.bytes += text.len() as u64;
        if let Some(fingerprint) = &mut self.fingerprint {
            fingerprint.update(text);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(text);
        }
    }

    fn facts(&self) -> TextFacts {
        TextFacts {
            rows: self.rows,
            bytes: self.bytes,
            fingerprint: self
                .fingerprint
                .as_ref()
                .map_or([0; 16], |hash| hash.digest128().to_be_bytes()),
            sha256: self.sha256.clone().map(|sha256| sha256.finalize().into()),
        }
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally")
            .field("rows", &self.rows)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
