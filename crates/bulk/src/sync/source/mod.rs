//! Where a sync takes from: the trait [`Source`], and its kinds.

mod bulk;
mod folder;

pub use bulk::BulkSource;
pub use folder::FolderSource;
pub(crate) use folder::count_errors;
pub(super) use folder::read_folder;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::Result;

/// What a round wants of its source.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Everything after this `transactionTime`, verbatim (CL-12); `None`: everything.
    pub cursor: Option<String>,
    /// The members of the Group in the round before, for Group sources.
    pub members: Option<BTreeSet<String>>,
}

/// One file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it lies: NDJSON, plain, gzip or zstd.
    pub path: PathBuf,
    /// Whether its lines are Bundles of deletions, and not resources.
    pub is_deletions: bool,
    /// Whether its lines were refused by the target in an earlier round.
    pub is_pending: bool,
}

impl SourceFile {
    /// A file of resources.
    pub fn output(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_deletions: false,
            is_pending: false,
        }
    }

    /// A file of Bundles of deletions.
    pub fn deletions(path: impl Into<PathBuf>) -> Self {
        Self {
            is_deletions: true,
            ..Self::output(path)
        }
    }

    /// Says that the target has refused it before.
    #[must_use]
    pub fn pending(self) -> Self {
        Self {
            is_pending: true,
            ..self
        }
    }
}

/// What was fetched for one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The next cursor, verbatim.
    pub transaction_time: String,
    /// Whether it is everything that the source has: what is not in it is gone.
    pub is_whole: bool,
    /// What it is of, whatever the time, for sources whose pulls can be of more or of less: with another scope than that of the first round
    /// nothing counts as gone because it is not there.
    pub scope: Option<String>,
    /// The files; older ones first.
    pub files: Vec<SourceFile>,
    /// Names of files that could not be had, with the reason. A round with such is not applied.
    pub missing: Vec<(String, String)>,
    /// What the source itself says it could not give; then nothing counts as gone because it is not there.
    pub source_errors: u64,
    /// The members of the Group now, for Group sources.
    pub members: Option<BTreeSet<String>>,
    /// Those whose whole data was fetched because they were no members before (G-03).
    pub joiners: BTreeSet<String>,
}

/// Gives what is new.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// Names it: the same for the same source, nothing secret and no patient.
    fn name(&self) -> String;

    /// Whether what is new can come in several rounds, one after the other at once.
    fn comes_in_steps(&self) -> bool {
        false
    }

    /// Fetches into a folder of the round, which it makes. Asked again for the same round, after a crash, it goes on. `None`: there is
    /// nothing new.
    ///
    /// # Errors
    /// What keeps it from fetching at all; single files that are not to be had are told in the answer.
    async fn fetch(&self, wanted: &Wanted, folder: &Path) -> Result<Option<Fetched>>;
}
