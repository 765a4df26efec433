//! The catalog: small rows that say what is where and what is still true, with transactions.
//!
//! [`Catalog`] is the smallest set of operations that a backend must supply, in batches, so that a dynamic call is paid
//! per batch. Nothing in it assumes one process: a commit is fenced by a lease, a snapshot is a number, run files are
//! named by place. [`KvCatalog`] is the catalog over an ordered key-value store, in memory or on disk.
//! What a catalog must hold is written down as tests in [`crate::testing`]; every backend runs them.

mod commit;
mod embedded;
mod jobs;
mod kv;
mod kv_catalog;
mod memory;
mod past;
mod records;
mod row_batch;
mod rows;

pub use embedded::{EmbeddedSettings, FjallKv};
pub use kv::{Batch, Durability, Kv, Space, Visit};
pub use kv_catalog::KvCatalog;
pub use memory::MemoryKv;
pub use records::{Record, RecordExpect, RecordKind};
pub use row_batch::{NewRow, RowBatch};

use crate::run::RunSummary;
use crate::{Result, Sequence};
use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::Splice;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, JobStore, Lease, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A state of the store: everything up to a sequence, which was reached at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The newest commit in it.
    pub sequence: Sequence,
    /// `transactionTime`: no resource of the snapshot is newer, and none that is not in it is as old.
    pub instant: Instant,
}

/// Where a write came from, so that it can be told apart and undone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The job that wrote it; empty for an interactive write.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
    /// Which of the job's inputs, from 0.
    #[serde(default)]
    pub input: u32,
    /// Where in that input, in bytes of its text.
    #[serde(default)]
    pub offset: u64,
}

/// A run file as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The file's path below the runs folder, which is its identity.
    pub place: String,
    /// What is in it.
    pub summary: RunSummary,
    /// The sequence and instant of rows that carry none of their own: those of the commit that wrote the run.
    pub own: Snapshot,
    /// The oldest sequence of a row.
    pub oldest: Sequence,
    /// The newest sequence of a row.
    pub newest: Sequence,
    /// Which rows were identical to what was stored when the run was committed, as a bit per row ordinal.
    #[serde(skip)]
    pub stillborn: Stillborn,
}

/// A set of row ordinals of one run; rows in it are not part of any snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stillborn(Vec<u8>);

impl Stillborn {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a row.
    pub fn insert(&mut self, ordinal: u64) {
        let (byte, bit) = place_of(ordinal);
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << bit;
    }

    /// Whether a row is in the set.
    pub fn contains(&self, ordinal: u64) -> bool {
        let (byte, bit) = place_of(ordinal);
        self.0.get(byte).is_some_and(|bits| bits & (1 << bit) != 0)
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn place_of(ordinal: u64) -> (usize, u64) {
    (
        usize::try_from(ordinal / 8).expect("a run has fewer rows than memory has bytes"),
        ordinal % 8,
    )
}

/// What one commit writes, together with the checkpoint that records it.
pub struct Commit {
    /// The resources.
    pub write: Write,
    /// The job in whose name it is written, if any: refused when its lease is stale.
    pub job: Option<JobWrite>,
    /// Where it came from.
    pub origin: Origin,
}

/// The resources of a commit.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is moved twice"
)]
pub enum Write {
    /// No resource: only a checkpoint.
    Nothing,
    /// A run file that lies durably at its place, and its rows.
    Run(RunWrite),
    /// Interactive writes.
    Hot(Vec<HotWrite>),
}

/// A run file to be committed.
pub struct RunWrite {
    /// The file's path below the runs folder.
    pub place: String,
    /// What is in it.
    pub summary: RunSummary,
    /// Its rows, in its order, sealed.
    pub rows: RowBatch,
}

/// The checkpoint that goes with a commit. It is made once the counts are known, and written in the same batch.
pub struct JobWrite {
    /// The lease under which the job runs.
    pub lease: Lease,
    /// Makes the checkpoint out of what the commit did.
    pub checkpoint: Box<dyn FnOnce(&Counts) -> Checkpoint + Send>,
}

/// One interactive write.
#[derive(Debug, Clone)]
pub struct HotWrite {
    /// The resource's type.
    pub resource_type: ResourceType,
    /// The resource's id.
    pub id: String,
    /// The version that must be the newest for the write to be taken.
    pub expect: Expect,
    /// What to do.
    pub action: HotAction,
}

/// What an interactive write does.
#[derive(Debug, Clone)]
pub enum HotAction {
    /// Creates or replaces.
    Put(HotBody),
    /// Deletes. `others` are the further patients of the version that is deleted.
    Delete {
        /// Patients beside the owner in whose compartments it sat.
        others: Vec<String>,
    },
}

/// A stored body with its facts.
#[derive(Debug, Clone)]
pub struct HotBody {
    /// The patient whose compartment it sits in.
    pub owner: Option<String>,
    /// Further patients whose compartments it sits in.
    pub others: Vec<String>,
    /// The stored text, without `meta.versionId` and `meta.lastUpdated`.
    pub body: Vec<u8>,
    /// Where both are spliced in.
    pub splice: Splice,
    /// Where the id stands in the body.
    pub id_at: u32,
    /// The hash of the body.
    pub hash: u64,
    /// Whether it is tagged `SUBSETTED`.
    pub subsetted: bool,
}

/// A condition on the newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// None.
    Any,
    /// It exists and is this one.
    Version(Sequence),
    /// There is none, or it is deleted.
    Absent,
}

/// How many resources a commit created, updated and found unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Not there before (or deleted).
    pub created: u64,
    /// There before with other content.
    pub updated: u64,
    /// There before with the same content; no new version.
    pub unchanged: u64,
}

/// What a commit did.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The store after it. When nothing changed this is the store as it was.
    pub snapshot: Snapshot,
    /// What became of the rows.
    pub counts: Counts,
    /// Whether the run is part of the store; a run with nothing new is not, and its file may go.
    pub run_kept: bool,
    /// For interactive writes, in their order: what became of each.
    pub results: Vec<HotResult>,
}

/// What became of an interactive write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotResult {
    /// What was done.
    pub done: HotDone,
    /// The version that now is the newest.
    pub version: Snapshot,
}

/// What an interactive write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HotDone {
    /// The resource was not there before.
    Created,
    /// It replaced another version.
    Updated,
    /// It was there with the same content.
    Unchanged,
    /// It is deleted.
    Deleted,
    /// There was nothing to delete.
    Missing,
}

/// The newest version of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The commit that wrote it.
    pub sequence: Sequence,
    /// The patient whose compartment it sits in.
    pub owner: Option<String>,
    /// The hash of its stored body; of no meaning when deleted.
    pub hash: u64,
    /// Whether it is tagged `SUBSETTED`.
    pub subsetted: bool,
    /// Whether it is a deletion.
    pub deleted: bool,
}

/// A half-open range of keys (type ‖ owner ‖ id); `to` of `None` is the end of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key that is in.
    pub from: Vec<u8>,
    /// The first key that is not.
    pub to: Option<Vec<u8>>,
}

impl KeyRange {
    /// All resources of a type.
    pub fn of_type(resource_type: ResourceType) -> Self {
        Self::of_prefix(vec![resource_type.code()])
    }

    /// All resources of a type that one patient owns.
    pub fn of_owner(resource_type: ResourceType, owner: &str) -> Self {
        let mut prefix = vec![resource_type.code()];
        crate::key::push_owner(Some(owner), &mut prefix);
        Self::of_prefix(prefix)
    }

    /// All keys that start with `prefix`.
    pub fn of_prefix(prefix: Vec<u8>) -> Self {
        let to = crate::key::after_prefix(&prefix);
        Self { from: prefix, to }
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.from.as_slice() && self.to.as_ref().is_none_or(|to| key < to.as_slice())
    }
}

/// A version that stopped being true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// type ‖ owner ‖ id.
    pub key: Vec<u8>,
    /// The version.
    pub sequence: Sequence,
    /// The commit that ended it.
    pub dead_at: Sequence,
}

/// A version of a resource that has ended, as [`Catalog::ended`] finds it by type and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The version.
    pub sequence: Sequence,
    /// The patient in whose compartment it sat first.
    pub owner: Option<String>,
    /// The commit that ended it.
    pub ended_at: Sequence,
    /// Whether that was a deletion, and not another version.
    pub deleted: bool,
}

/// A deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The commit that deleted it.
    pub sequence: Sequence,
    /// type ‖ owner ‖ id.
    pub key: Vec<u8>,
    /// The commit that created it again, if one did.
    pub recreated: Option<Sequence>,
    /// Patients beside the owner in whose compartments it sat, as encoded ids.
    pub others: Vec<Vec<u8>>,
}

/// A version that sits in the compartment of a patient who is not its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// type ‖ owner ‖ id.
    pub key: Vec<u8>,
    /// The version.
    pub sequence: Sequence,
}

/// The body of an interactive write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotRow {
    /// type ‖ owner ‖ id.
    pub key: Vec<u8>,
    /// The commit that wrote it.
    pub sequence: Sequence,
    /// When.
    pub instant: Instant,
    /// Where version and time are spliced in.
    pub splice: Splice,
    /// Where the id stands in the body.
    pub id_at: u32,
    /// The stored text.
    pub body: Vec<u8>,
}

/// A change of the physical layout that changes no resource: a compaction or a flush.
#[derive(Debug, Default)]
pub struct Swap {
    /// Runs that are replaced, by place.
    pub remove_runs: Vec<String>,
    /// Interactive rows that are replaced.
    pub remove_hot: Vec<(Vec<u8>, Sequence)>,
    /// Versions that are in none of the new runs, for nobody needs them any more.
    pub dropped: Vec<(Vec<u8>, Sequence)>,
    /// The newest end of one of those versions.
    pub forgotten: Sequence,
    /// The runs that replace them.
    pub add: Vec<RunRecord>,
}

/// A run that was replaced and whose file may still be read by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The file's place.
    pub place: String,
    /// When it was replaced.
    pub since: Timestamp,
}

/// How much lies in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CatalogStats {
    /// Interactive rows that wait for a flush.
    pub hot_rows: u64,
    /// Their bytes.
    pub hot_bytes: u64,
    /// Bytes on disk, as far as the backend knows.
    pub disk_bytes: u64,
}

/// The small rows of a store, with transactions. See the module's documentation.
#[async_trait]
pub trait Catalog: JobStore {
    /// The newest state below which nothing is still in flight.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// The newest sequence whose instant is not after `instant`.
    async fn sequence_at(&self, instant: Instant) -> Result<Sequence>;

    /// Takes a sequence and an instant and writes everything of `commit` in one atomic, durable batch.
    ///
    /// # Errors
    /// [`LeaseLost`](crate::ErrorKind::LeaseLost), [`Cancelled`](crate::ErrorKind::Cancelled): nothing was written.
    /// [`Conflict`](crate::ErrorKind::Conflict): an expectation does not hold, or a `SUBSETTED` row would replace a fuller one.
    async fn commit(&self, commit: Commit) -> Result<Committed>;

    /// The runs that now hold the store, oldest first.
    async fn runs(&self) -> Result<Vec<Arc<RunRecord>>>;

    /// Changes the layout, fenced and recorded by `job`. Returns nothing: no resource changes.
    async fn swap(&self, swap: Swap, job: Option<(Lease, Checkpoint)>) -> Result<()>;

    /// Runs that were replaced.
    async fn retired(&self) -> Result<Vec<Retired>>;

    /// Forgets replaced runs whose files are gone.
    async fn forget(&self, places: &[String]) -> Result<()>;

    /// The newest version of each id, in the order asked; ask in sorted order where there are many.
    async fn newest(&self, ids: &[(ResourceType, &str)]) -> Result<Vec<Option<Newest>>>;

    /// Ids of a type with their newest versions, deletions too, in the order of their text, at most `limit`, after `after`.
    async fn ids(
        &self,
        resource_type: ResourceType,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Newest)>>;

    /// Versions of one id that have ended, whoever owned them, newest first, at most `limit`, of those below `before`.
    async fn ended(
        &self,
        resource: (ResourceType, &str),
        before: Sequence,
        limit: usize,
    ) -> Result<Vec<Ended>>;

    /// Versions that ended at or before this may be gone: the newest end of a version that a compaction dropped, or zero.
    async fn forgotten(&self) -> Result<Sequence>;

    /// When a commit was made; `None` if no commit has this number.
    async fn instant_of(&self, sequence: Sequence) -> Result<Option<Instant>>;

    /// Versions in a range that stopped being true, in key order, at most `limit`, from `from` on (a key to continue at).
    async fn dead(&self, range: &KeyRange, limit: usize) -> Result<Vec<Dead>>;

    /// Deletions after `after` and up to `upto`, oldest first, at most `limit`, strictly after the position `from`.
    async fn gone(
        &self,
        after: Sequence,
        upto: Sequence,
        from: Option<&Gone>,
        limit: usize,
    ) -> Result<Vec<Gone>>;

    /// Versions in the compartment of a patient who is not their owner, of all types.
    async fn memberships(&self, patient: &str) -> Result<Vec<Membership>>;

    /// The same of all patients in a half-open range of encoded ids, each with its patient, in that order, at most `limit`.
    async fn memberships_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Membership)>>;

    /// Interactive rows in a range, in key order, until `bytes_max` of bodies are gathered (at least one row).
    async fn hot(&self, range: &KeyRange, bytes_max: usize) -> Result<Vec<HotRow>>;

    /// The oldest snapshot that a live job still needs.
    async fn oldest_held(&self) -> Result<Option<Sequence>>;

    /// How much lies in the catalog.
    async fn stats(&self) -> Result<CatalogStats>;

    /// Reads a record.
    async fn record(&self, kind: RecordKind, name: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Records of a kind in the order of their names, at most `limit`, after `after`.
    async fn records(&self, kind: RecordKind, after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>>;

    /// Writes a record if what is there is as expected, and returns whether it did; durable when it returns.
    async fn put_record(
        &self,
        kind: RecordKind,
        name: &[u8],
        value: &[u8],
        expect: RecordExpect<'_>,
    ) -> Result<bool>;

    /// Removes records; ones that are not there are fine. A power cut may bring them back.
    async fn remove_records(&self, kind: RecordKind, names: &[Vec<u8>]) -> Result<()>;
}
