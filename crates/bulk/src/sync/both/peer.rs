//! What a two-way sync asks of each side: [`Peer`].

use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::merge::Over;
use crate::Result;

/// A server of which changes can be had and to which resources can be written under their ids.
#[async_trait]
pub trait Peer: Send + Sync {
    /// The FHIR base URL, by which its state is told from others'.
    fn name(&self) -> String;

    /// Brings what changed after `since`, or everything, into `folder`, which is this peer's own. Called again with the same folder after
    /// a crash, it goes on there, and gives the same again where it had ended.
    async fn changes(&self, since: Option<&str>, folder: &Path) -> Result<Changes>;

    /// Reads resources as they are now, in the order of their names, `Type/id`; `None` for those that are not there.
    async fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Writes resources, each for itself, and says what became of each, in their order.
    async fn write(&self, writes: &[Write]) -> Result<Vec<Written>>;
}

/// What changed at a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The time to ask from next, verbatim (CL-12).
    pub cursor: String,
    /// NDJSON files of resources.
    pub output: Vec<PathBuf>,
    /// NDJSON files of Bundles of deletions.
    pub deleted: Vec<PathBuf>,
    /// Errors that the side itself tells of: what they are about did not come, and is asked for again.
    pub errors: u64,
}

/// One resource that is to be written or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `Type/id`.
    pub name: String,
    /// Its text; `None` for a deletion.
    pub text: Option<Vec<u8>>,
    /// What must be there; [`Over::Content`] is checked before and then is without a condition.
    pub over: Over,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It was done.
    Done {
        /// The version that it made, if the server says so.
        version: Option<String>,
    },
    /// Something else was there.
    Behind,
    /// The server does not take it.
    Refused {
        /// The HTTP status.
        status: u16,
    },
}
