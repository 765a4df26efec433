//! What an export may use of the machine.

use std::num::NonZeroUsize;
use std::sync::Arc;

use fhirhose_auth::SigningKey;
use fhirhose_store::{Durability, Hashing, OutputSettings};

/// What exports of a process may use, and how they write. None of it changes what is in a file.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Parts of one export that are made at the same time, each on a thread of its own. Default: the cores.
    pub parts_parallel: usize,
    /// Stored text from which on one type is cut into several parts, in bytes. Below it the files of a type are cut by their content
    /// alone; above it the cuts depend on how the runs lie, too. A part fills at least one file. Default: 1 GiB.
    pub part_bytes: u64,
    /// The time between two checkpoints, in milliseconds; 0 writes one after each file. What was done since the last one is done
    /// again after a crash. Default: 100.
    pub checkpoint_millis: u64,
    /// Finished files whose last bytes are on their way to the disk while their part goes on. Default: 8.
    pub files_finishing_max: usize,
    /// Files that an export may come to at most, by what its parts read, where the client asks for shorter ones than the server's own
    /// (`_maximumFileSize`). Default: 100,000.
    pub small_files_max: u64,
    /// Text of blocks that one organised export gathers in memory, all its parts together, in bytes; a patient with more is read twice
    /// instead. Default: 256 MiB.
    pub block_bytes: usize,
    /// Files that make up a page of an export whose client allows partial manifests (M-27). Default: 10.
    pub page_files: usize,
    /// How files in the store's outputs are compressed and hashed.
    pub outputs: OutputSettings,
    /// What is computed of plain files. Default: SHA-256, which `manifest.json` then has.
    pub folder_hashing: Hashing,
    /// What a finished plain file survives. Default: the death of the process.
    pub folder_durability: Durability,
    /// What signs the receipt in a folder's `manifest.json`. Default: nothing; the receipt then has a bare digest.
    pub receipt_key: Option<Arc<SigningKey>>,
}

impl Default for ExportSettings {
    fn default() -> Self {
        Self {
            parts_parallel: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            part_bytes: 1 << 30,
            checkpoint_millis: 100,
            files_finishing_max: 8,
            small_files_max: 100_000,
            block_bytes: 256 << 20,
            page_files: 10,
            outputs: OutputSettings::default(),
            folder_hashing: Hashing::Sha256,
            folder_durability: Durability::Cached,
            receipt_key: None,
        }
    }
}
