//! What the catalog needs of an ordered key-value library: spaces, ranges, atomic batches, sorted ingestion.
//!
//! Two implementations: [`MemoryKv`](super::memory::MemoryKv) for tests and [`FjallKv`](super::embedded::FjallKv) on disk.
//! All catalog logic lives once above this trait, in [`KvCatalog`](super::KvCatalog).

use crate::Result;
use std::ops::ControlFlow;

/// One ordered map of the catalog. The names are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// type ‖ id → the newest version.
    Id,
    /// type ‖ owner ‖ id ‖ sequence → the sequence at which that version stopped being true.
    Dead,
    /// sequence ‖ type ‖ owner ‖ id → deletions.
    Gone,
    /// patient ‖ type ‖ owner ‖ id ‖ sequence → nothing: resources in more than one compartment.
    Membership,
    /// place → a run file.
    Run,
    /// place → when a run file was replaced.
    Retired,
    /// type ‖ owner ‖ id ‖ sequence → bodies of interactive writes.
    Hot,
    /// sequence → instant and origin of a commit.
    Commit,
    /// sequence → nothing: commits that were begun; one that stays is a commit that never came to be.
    Intent,
    /// name → a number of the store as a whole, such as the newest instant that was handed out.
    Meta,
    /// job → its record.
    Job,
    /// job ‖ number → a row of a job.
    JobEntry,
    /// type ‖ id ‖ owner → nothing: former owners of resources of which versions have ended under them.
    Past,
    /// kind ‖ name → a record that is kept beside the resources, such as a client.
    Record,
}

impl Space {
    /// Every space, in a fixed order.
    pub const ALL: [Self; 14] = [
        Self::Id,
        Self::Dead,
        Self::Gone,
        Self::Membership,
        Self::Run,
        Self::Retired,
        Self::Hot,
        Self::Commit,
        Self::Intent,
        Self::Meta,
        Self::Job,
        Self::JobEntry,
        Self::Past,
        Self::Record,
    ];

    /// The name of the space on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Dead => "dead",
            Self::Gone => "gone",
            Self::Membership => "membership",
            Self::Run => "run",
            Self::Retired => "retired",
            Self::Hot => "hot",
            Self::Commit => "commit",
            Self::Intent => "intent",
            Self::Meta => "meta",
            Self::Job => "job",
            Self::JobEntry => "job-entry",
            Self::Past => "past",
            Self::Record => "record",
        }
    }
}

/// Whether a batch must survive a power cut when `write` returns; either way it survives the death of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the call returns.
    Synced,
    /// On disk soon; a power cut may take it, with all that came after it.
    Buffered,
}

/// Changes that become visible together.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) operations: Vec<(Space, Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.operations.push((space, key.into(), Some(value.into())));
    }

    /// Removes a row; one that is not there is fine.
    pub fn remove(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.operations.push((space, key.into(), None));
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// Sees the rows of a range one by one; says whether to go on.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// An ordered key-value store with spaces. All calls are short and synchronous.
pub trait Kv: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Shows the rows with `from` ≤ key < `to` in order (`None`: to the end) until `visit` breaks.
    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()>;

    /// The greatest key of a space.
    fn last_key(&self, space: Space) -> Result<Option<Vec<u8>>>;

    /// Applies a batch atomically.
    fn write(&self, batch: Batch, durability: Durability) -> Result<()>;

    /// Adds rows in strictly rising key order, durably, without the log; they overwrite older rows of the same key.
    ///
    /// Not atomic with any batch: a crash may leave all of them or none.
    fn ingest(&self, space: Space, rows: &mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<()>;

    /// Bytes that the library takes on disk.
    fn disk_bytes(&self) -> Result<u64>;
}
