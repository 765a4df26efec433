//! Pulls an export into a folder: kick off, poll, download, prove, and go on after a crash where it was.
//!
//! [`Pull::run`] does all of it and tells a [`Watch`] what happens; [`PullReport`] says what is there and what is missing.

mod attach;
mod conclude;
mod event;
mod fetch;
mod folder;
mod follow;
mod gate;
mod journal;
mod kick_off;
mod lines;
mod log;
mod past;
mod plan;
mod proof;
mod report;
mod run;
mod settings;
mod sink;
mod source;

pub use event::{PullEvent, Quiet, Watch};
pub(crate) use folder::has_begun;
pub(crate) use journal::shape_digest;
pub(crate) use log::LOG;
pub use report::{AttachmentReport, FileKind, MissingFile, PullReport, PulledFile};
pub use settings::{AttachmentSettings, PullSettings};

use std::path::PathBuf;

use crate::Result;
use crate::kick_off::ExportParameters;
use crate::provider::DataProvider;
use crate::receipt::hex;

/// An export that is to lie in a folder.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Who has it.
    pub provider: DataProvider,
    /// What is asked for.
    pub parameters: ExportParameters,
    /// Where it goes; made when absent. What an earlier run of the same pull left there is gone on with.
    pub folder: PathBuf,
    /// Limits.
    pub settings: PullSettings,
}

impl Pull {
    /// Pulls to the end. The report names files that could not be had; then the server keeps its job, and the same pull run again fetches
    /// what is missing.
    ///
    /// # Errors
    /// What ends the whole pull: a refused kick-off, a failed job, a full disk, a folder of another pull.
    pub async fn run(&self, watch: &dyn Watch) -> Result<PullReport> {
        Box::pin(run::run(self, watch)).await
    }
}
