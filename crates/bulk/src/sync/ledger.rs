//! The ledger: what this sync has brought to the target, one line a resource, sorted by `Type/id`.
//!
//! A line is `Type/id`, the content hash of the source's text, and for Group sources the patients to whom it belongs, with tabs between.
//! What the target has refused is in it too, and waits beside it as pending. It holds ids, so it is for its owner alone, and it holds no content.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use super::records::{flush, read_line, write_line};
use crate::durable;
use crate::{Error, ErrorKind, Result};

const BUFFER_BYTES: usize = 256 << 10;

/// One resource that was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// `Type/id`.
    pub(super) key: String,
    /// 32 hexadecimal digits; before them an `s` where the copy is an incomplete one (CL-15).
    pub(super) hash: String,
    /// The patients to whom it belongs, parted by commas; empty for none, or where nobody asks.
    pub(super) owners: String,
}

impl Entry {
    /// Whether the copy is known to be an incomplete one.
    pub(super) fn is_subsetted(&self) -> bool {
        self.hash.starts_with('s')
    }

    /// The patients to whom it belongs.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        self.owners.split(',').filter(|owner| !owner.is_empty())
    }

    fn parse(line: &[u8]) -> Result<Self> {
        let broken = || Error::new(ErrorKind::Corrupt, "a line of the ledger cannot be read");
        let text = std::str::from_utf8(line).map_err(|source| broken().with_source(source))?;
        let mut fields = text.split('\t').map(str::to_owned);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(key), Some(hash), owners) => Ok(Self {
                key,
                hash,
                owners: owners.unwrap_or_default(),
            }),
            _ => Err(broken()),
        }
    }
}

/// Reads a ledger from its beginning.
pub(super) struct LedgerReader {
    from: Option<BufReader<File>>,
    next: Option<Entry>,
}

impl LedgerReader {
    /// Opens a ledger; `None` is an empty one.
    pub(super) fn open(path: Option<&Path>) -> Result<Self> {
        let from = match path {
            None => None,
            Some(path) => {
                let file = File::open(path);
                let file = file.map_err(|source| Error::io(format!("opening {}", path.display()), source))?;
                Some(BufReader::with_capacity(BUFFER_BYTES, file))
            }
        };
        let mut reader = Self { from, next: None };
        reader.advance()?;
        Ok(reader)
    }

    /// The entry that comes next.
    pub(super) fn peek(&self) -> Option<&Entry> {
        self.next.as_ref()
    }

    /// Takes the entry that comes next.
    pub(super) fn take(&mut self) -> Result<Option<Entry>> {
        let taken = self.next.take();
        self.advance()?;
        Ok(taken)
    }

    fn advance(&mut self) -> Result<()> {
        if let Some(from) = &mut self.from {
            self.next = read_line(from)?.map(|line| Entry::parse(&line)).transpose()?;
        }
        Ok(())
    }
}

/// Writes a ledger, entry after entry in their order.
pub(super) struct LedgerWriter {
    out: BufWriter<File>,
    path: PathBuf,
    /// Entries written.
    pub(super) entries: u64,
}

impl LedgerWriter {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let out = BufWriter::with_capacity(BUFFER_BYTES, durable::create(path)?);
        Ok(Self {
            out,
            path: path.to_owned(),
            entries: 0,
        })
    }

    pub(super) fn push(&mut self, entry: &Entry) -> Result<()> {
        let line = format!("{}\t{}\t{}", entry.key, entry.hash, entry.owners);
        self.entries += 1;
        write_line(&mut self.out, line.as_bytes(), &self.path)
    }

    /// Makes it durable.
    pub(super) fn finish(self) -> Result<u64> {
        flush(self.out, &self.path)?;
        durable::sync_parent(&self.path)?;
        Ok(self.entries)
    }
}
