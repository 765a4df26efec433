//! The ordered key-value store on disk: fjall, a log-structured merge tree in pure Rust.
//!
//! Why fjall and how it was measured: `docs/decisions/0003-embedded-catalog.md`.

use super::kv::{Batch, Durability, Kv, Space, Visit};
use crate::error::is_disk_full;
use crate::{Error, ErrorKind, Result};
use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Memory and disk that the embedded catalog may use.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedSettings {
    /// Cache of blocks, in bytes.
    pub cache_bytes: u64,
    /// Rows of one space that are kept in memory before they are written out, in bytes.
    pub memtable_bytes: u64,
    /// The log of writes, in bytes, before old parts are forced out.
    pub journal_bytes_max: u64,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            journal_bytes_max: 128 << 20,
        }
    }
}

/// A fjall database with one keyspace per [`Space`].
pub struct FjallKv {
    database: Database,
    spaces: Vec<Keyspace>,
    /// Set by the write that met a full disk. After a failed write the database takes none any more until it is opened
    /// again, and says no more than that.
    full: AtomicBool,
}

impl FjallKv {
    /// Opens or makes the database in a folder that nobody else has open (the data folder's lock sees to that).
    pub fn open(path: &Path, settings: &EmbeddedSettings) -> Result<Self> {
        let database = Database::builder(path)
            .cache_size(settings.cache_bytes)
            .max_journaling_size(settings.journal_bytes_max)
            .worker_threads(1)
            .open()
            .map_err(|source| failed("opening the catalog", source))?;
        let spaces = Space::ALL
            .iter()
            .map(|space| database.keyspace(space.name(), || options(*space, settings)))
            .collect::<fjall::Result<Vec<_>>>()
            .map_err(|source| failed("opening the catalog", source))?;
        Ok(Self {
            database,
            spaces,
            full: AtomicBool::new(false),
        })
    }

    fn write_failed(&self, source: fjall::Error) -> Error {
        let stopped = matches!(source, fjall::Error::Poisoned) && self.full.load(Ordering::Relaxed);
        if stopped {
            let doing = "writing the catalog, which stopped when the disk was full";
            return Error::new(ErrorKind::DiskFull, doing).with_source(source);
        }
        let error = failed("writing the catalog", source);
        if error.kind() == ErrorKind::DiskFull {
            self.full.store(true, Ordering::Relaxed);
        }
        error
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[Space::ALL
            .iter()
            .position(|each| *each == space)
            .expect("ALL holds every space")]
    }
}

impl Kv for FjallKv {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self
            .space(space)
            .get(key)
            .map_err(|source| failed("reading the catalog", source))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()> {
        let rows = match to {
            Some(to) if to <= from => return Ok(()),
            Some(to) => self.space(space).range(from..to),
            None => self.space(space).range(from..),
        };
        for row in rows {
            let (key, value) = row
                .into_inner()
                .map_err(|source| failed("reading the catalog", source))?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn last_key(&self, space: Space) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.space(space).last_key_value() else {
            return Ok(None);
        };
        Ok(Some(
            row.key()
                .map_err(|source| failed("reading the catalog", source))?
                .to_vec(),
        ))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mode = match durability {
            Durability::Synced => PersistMode::SyncAll,
            Durability::Buffered => PersistMode::Buffer,
        };
        let mut writes = self.database.batch().durability(Some(mode));
        for (space, key, value) in batch.operations {
            match value {
                Some(value) => writes.insert(self.space(space), key, value),
                None => writes.remove(self.space(space), key),
            }
        }
        writes.commit().map_err(|source| self.write_failed(source))
    }

    fn ingest(&self, space: Space, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<()> {
        let wrap = |source| failed("writing sorted rows into the catalog", source);
        let mut ingestion = self.space(space).start_ingestion().map_err(wrap)?;
        for (key, value) in rows {
            ingestion.write(key, value).map_err(wrap)?;
        }
        ingestion.finish().map_err(wrap)
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.database
            .disk_space()
            .map_err(|source| failed("measuring the catalog", source))
    }
}

/// Rows of ids are random bytes: they compress by their shared prefixes alone, so bigger blocks and lz4 at all levels.
fn options(space: Space, settings: &EmbeddedSettings) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().max_memtable_size(settings.memtable_bytes);
    match space {
        Space::Id | Space::Dead | Space::Membership => options
            .data_block_size_policy(BlockSizePolicy::all(8 << 10))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4)),
        _ => options.data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4)),
    }
}

fn failed(doing: &str, source: fjall::Error) -> Error {
    let kind = if is_disk_full(&source) {
        ErrorKind::DiskFull
    } else {
        ErrorKind::Storage
    };
    Error::new(kind, doing).with_source(source)
}
