//! The checkpoint of an export: the snapshot in the job's state, and one row per part beside it.

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, JobContext, JobError};
use fhirhose_store::catalog::{KeyRange, Snapshot};
use fhirhose_store::{OutputFile, Sequence};
use serde::{Deserialize, Serialize};

use super::blocks::Blocks;
use super::helpers::turn_of;
use super::wanted::Times;
use crate::{Error, ErrorKind, Result};

/// Rows of a job that are read in one call.
const ROWS_PER_READ: usize = 1_000;

/// The keys of a job's rows from here on are pages; those below are parts.
pub(super) const PAGE_ROWS: u64 = 1 << 32;

/// What is fixed for the whole export, once made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) snapshot: Snapshot,
    /// `_since` as a sequence: only what is newer. Zero without it.
    pub(super) after: Sequence,
    /// How many parts there are; `None` until they are planned.
    pub(super) parts: Option<usize>,
    /// The oldest state that the export reads, if it is older than the snapshot: that of `_since`.
    #[serde(default)]
    pub(super) oldest_read: Option<Sequence>,
    /// Versions that had ended at or before this may have been dropped when the export began.
    #[serde(default)]
    pub(super) forgotten: Sequence,
}

/// A part and how far it is; the row with its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) work: Work,
    /// An upper bound of the text that it reads, in bytes: what progress is measured in.
    pub(super) text_bytes_max: u64,
    /// Its finished files, in order.
    pub(super) files: Vec<OutputFile>,
    /// Which of `files`, by position, end within a block that goes on in the next one. Rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) continued: Vec<usize>,
    /// The side files beside `files`, by name: what later stages need of the resources in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) side: Vec<String>,
    pub(super) next: Next,
}

/// What a part does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Work {
    /// Writes the resources of a type in a range of keys.
    Resources {
        resource_type: ResourceType,
        range: KeyRange,
    },
    /// Writes the resources of a type in a range of keys that `_since` leaves out, of members who joined the Group since then.
    Joined {
        resource_type: ResourceType,
        range: KeyRange,
    },
    /// Writes the Provenance without an owner that is about a resource in a wanted compartment.
    Unowned {
        range: KeyRange,
        #[serde(default)]
        times: Times,
    },
    /// Writes the Provenance that `includeAssociatedData` chooses for what was exported.
    Associated,
    /// Writes the resources of a type that others refer to.
    Helpers { resource_type: ResourceType },
    /// Writes blocks of output that is organised by instance.
    Blocks(Blocks),
    /// Writes what was deleted.
    Deletions,
}

impl Work {
    /// When the part is made: stages follow one another, for a later one needs the side files of those before.
    pub(super) fn stage(&self) -> usize {
        match self {
            Self::Resources { .. }
            | Self::Joined { .. }
            | Self::Unowned { .. }
            | Self::Blocks(_)
            | Self::Deletions => 0,
            Self::Associated => 1,
            Self::Helpers { resource_type } => 2 + turn_of(*resource_type),
        }
    }
}

/// Where a part goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Next {
    Start,
    /// At the resource with this key, the first of the next file.
    Key(Vec<u8>),
    /// At a line of the block with this key: so many of its lines, the header not counted, are in finished files.
    Line {
        block: Vec<u8>,
        line: u64,
    },
    /// Nowhere: all of it is in its files.
    Done,
}

impl State {
    /// The state of an export of what was written after a sequence.
    pub(super) fn at(snapshot: Snapshot, after: Sequence) -> Self {
        Self {
            snapshot,
            after,
            parts: None,
            oldest_read: None,
            forgotten: Sequence::ZERO,
        }
    }

    /// The state of a job's last checkpoint.
    pub(super) fn load(checkpoint: &[u8]) -> Result<Self> {
        serde_json::from_slice(checkpoint).map_err(|source| unreadable().with_source(source))
    }

    /// A checkpoint with this state that holds what the export reads.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let state = serde_json::to_vec(self).expect("a state is plain data");
        let oldest = self.oldest_read.unwrap_or(self.snapshot.sequence);
        Checkpoint::new()
            .state(state)
            .holds(oldest.min(self.snapshot.sequence).0)
    }
}

impl Part {
    /// A part that has not begun.
    pub(super) fn new(work: Work, text_bytes_max: u64) -> Self {
        Self {
            work,
            text_bytes_max,
            files: Vec::new(),
            continued: Vec::new(),
            side: Vec::new(),
            next: Next::Start,
        }
    }

    /// Adds the row of this part to a checkpoint.
    pub(super) fn save(&self, number: usize, checkpoint: Checkpoint) -> Checkpoint {
        let row = serde_json::to_vec(self).expect("a part is plain data");
        checkpoint.entry(number as u64, row)
    }

    /// Forgets all that was done.
    pub(super) fn restart(&mut self) {
        self.side.clear();
        self.files.clear();
        self.continued.clear();
        self.next = Next::Start;
    }

    /// The parts of a job whose plan is stored.
    pub(super) async fn load_all(context: &JobContext, count: usize) -> Result<Vec<Self>, JobError> {
        let mut parts: Vec<Self> = Vec::with_capacity(count);
        while parts.len() < count {
            let limit = ROWS_PER_READ.min(count - parts.len());
            let rows = context.entries(parts.len() as u64, limit).await?;
            if rows.is_empty() {
                return Err(unreadable().into());
            }
            for (_, row) in rows {
                let part = serde_json::from_slice(&row);
                parts.push(part.map_err(|source| unreadable().with_source(source))?);
            }
        }
        Ok(parts)
    }
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Corrupt, "reading the checkpoint of an export")
}
