//! Run files: many resource bodies, sorted, compressed in blocks, never changed once written.
//!
//! A run is what one commit wrote, or what a flush or a compaction made of several. It is written by a [`RunBuilder`]
//! that is fed [`Row`]s in key order ([`crate::key`]) and gives the file's bytes as they become complete; it is read
//! through a [`Run`], which is the file's footer, and a [`Block`], a reusable buffer that one block is decoded into.
//!
//! | part of the file | kind of zstd frame | what it holds |
//! |---|---|---|
//! | header | skippable | magic, format version |
//! | block, any number of times | data, then skippable | whole lines of one type; the table of those lines' facts |
//! | footer | skippable | sequences, index of the blocks, checksum, magic |
//!
//! So `zstd -dc` on a run prints the bodies as NDJSON and nothing else (design §4). A block is found by its first and last
//! key and by 16-bit fingerprints of the patients whose rows it holds. Blocks end early at a change of patient, which
//! costs little compression and lets a Group read few blocks beside its members' own.
//!
//! This module knows no catalog: which rows are still true, and when a run's own commit was, its callers say.

mod block;
mod builder;
mod footer;
mod format;
mod reader;
mod table;

pub use block::{Block, BlockRow};
pub use builder::RunBuilder;
pub use footer::BlockIndex;
pub use format::BODY_BYTES_MAX;
pub use reader::Run;

use crate::Sequence;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::Splice;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

/// How a run is cut and compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunSettings {
    /// Text of a block, in bytes, newlines included: no block is longer unless a single line is; 1 KiB to 64 MiB.
    pub block_bytes: usize,
    /// Compression level as zstd counts them.
    pub zstd_level: i32,
}

/// 128 KiB at level 1.
///
/// Measured on Synthea's Observation, Claim and ExplanationOfBenefit sorted by patient, one core: text to file is 14.6, 11.7
/// and 20.2 (64 KiB: 12.2, 10.2, 15.8; 256 KiB: 16.4, 12.6, 23.4). Levels 2 to 4 gain less than a tenth and are slower, up to
/// four times; level −1 loses a third. All of Synthea's types together come to 14.4. Since blocks end at a change of patient
/// once half full, a Group of 1 % of the patients decodes about 2 % of the text (reckoned from the bytes of a patient in each
/// type), at 4 to 7 GB/s.
impl Default for RunSettings {
    fn default() -> Self {
        Self {
            block_bytes: 128 * 1024,
            zstd_level: 1,
        }
    }
}

/// The commit that a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowCommit {
    /// The commit that will make this very run known: its number is not known while the run is written.
    Own,
    /// An earlier commit, whose row a flush or a compaction carries on.
    At {
        /// Number of the commit.
        sequence: Sequence,
        /// Instant of the commit.
        instant: Instant,
    },
}

/// One resource on its way into a run.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The resource's type.
    pub resource_type: ResourceType,
    /// The patient whose compartment it sits in, if any.
    pub owner: Option<&'a str>,
    /// Offset of the id's first character in the body, in bytes.
    pub id_at: u32,
    /// Length of the id, in bytes.
    pub id_len: u8,
    /// The stored body: JSON text in one line, without newline, 1 to [`BODY_BYTES_MAX`] bytes.
    pub body: &'a [u8],
    /// Where version and time are spliced in on the way out.
    pub splice: Splice,
    /// The commit that wrote it.
    pub commit: RowCommit,
}

/// What a finished run holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Number of rows.
    pub rows: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of all bodies with their newlines.
    pub text_bytes: u64,
    /// Bytes of the whole file.
    pub stored_bytes: u64,
    /// Rows and text by type, in the order of the file.
    pub types: Vec<TypeCount>,
    /// Oldest explicit sequence, `None` when every row belongs to the run's own commit.
    pub oldest: Option<Sequence>,
    /// Newest explicit sequence, `None` when every row belongs to the run's own commit.
    pub newest: Option<Sequence>,
}

/// How much of a run is of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeCount {
    /// The type.
    pub resource_type: ResourceType,
    /// Number of rows.
    pub rows: u64,
    /// Bytes of the bodies with their newlines.
    pub text_bytes: u64,
}
