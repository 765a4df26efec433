//! The number of a commit.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The place of a commit in the history of a store: 1, 2, 3 … without order of size or time beyond "later is greater".
///
/// It is also the version of every resource that the commit wrote (`meta.versionId`, in decimal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before every commit.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
