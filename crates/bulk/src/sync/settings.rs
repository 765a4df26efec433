//! How a sync works: [`SyncSettings`].

use serde::{Deserialize, Serialize};

/// What becomes of the data of patients who have left a Group (G-05). Either way they are counted and written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leavers {
    /// It stays as it was when they left.
    #[default]
    Keep,
    /// What belongs to nobody else in the Group is deleted at the target.
    Remove,
}

/// Limits and policies of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncSettings {
    /// Patients who have left a Group. Default: keep.
    pub leavers: Leavers,
    /// The longest line, in bytes; a longer one is refused. Default: 64 MiB.
    pub line_bytes_max: usize,
    /// Memory for sorting, in bytes. Default: 64 MiB.
    pub sort_bytes: usize,
    /// Lines and deletions that a target may refuse in one round; more stop the round. Default: 10,000.
    pub refused_max: u64,
    /// The part of what was brought that one whole pull may take away, from 0 to 1; more stops the round, for a source rarely loses half
    /// of its resources. It holds from [`DELETIONS_UNLIMITED`] resources on. Default: 0.5.
    pub deletions_share_max: f64,
    /// Finished rounds whose reports are kept. Default: 100.
    pub reports_kept: u64,
}

/// With fewer resources than this, `deletions_share_max` does not count.
pub(super) const DELETIONS_UNLIMITED: u64 = 20;

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            leavers: Leavers::Keep,
            line_bytes_max: 64 << 20,
            sort_bytes: 64 << 20,
            refused_max: 10_000,
            deletions_share_max: 0.5,
            reports_kept: 100,
        }
    }
}
