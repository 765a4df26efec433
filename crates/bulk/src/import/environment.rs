//! What all threads of one import share.

use std::sync::{Arc, Mutex, PoisonError};

use fhirhose_fhir::ndjson::Chunk;
use fhirhose_jobs::{StopReason, StopSignal};
use fhirhose_store::{OutputName, OutputWriter, Store};
use tokio::runtime::Handle;

use super::settings::ImportSettings;
use super::source::Fetch;
use super::spec::ImportSpec;
use crate::spill::{part_settings, parts_of};
use crate::{Error, Result};

/// What all threads of one claim of one import share; nothing in it changes but the signal.
pub(super) struct Environment {
    pub(super) store: Store,
    pub(super) spec: ImportSpec,
    pub(super) settings: ImportSettings,
    pub(super) fetch: Option<Arc<dyn Fetch>>,
    /// The job's id as text, which names its files.
    pub(super) job: String,
    /// The number of the claim, which keeps the files of two attempts apart.
    pub(super) fence: u64,
    /// Ends all threads: set when the job must stop, or when one of them failed.
    pub(super) halt: StopSignal,
    pub(super) runtime: Handle,
    /// Memory of chunks that are done with, from the workers for the reader; never more than there are chunks in flight.
    pub(super) spare: Mutex<Vec<Vec<u8>>>,
}

impl Environment {
    /// Where the run of an item lies.
    pub(super) fn run_place(&self, item: u64) -> String {
        format!("{}-{}-{item}.run", self.job, self.fence)
    }

    /// Starts a file that only this job reads, and that its checkpoint will name.
    pub(super) fn create_part(&self, item: u64, kind: &str) -> Result<OutputWriter> {
        let name = self.part(&format!("{}-{item}.{kind}", self.fence))?;
        Ok(self.store.outputs().create(&name, &part_settings())?)
    }

    /// The full name of such a file.
    pub(super) fn part(&self, file: &str) -> Result<OutputName> {
        Ok(OutputName::new(&parts_of(&self.job), file)?)
    }

    /// Keeps the memory of a chunk for the reader, when nobody else has the chunk.
    pub(super) fn give_back(&self, chunk: Arc<Chunk>) {
        if let Ok(chunk) = Arc::try_unwrap(chunk) {
            self.spare
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(chunk.bytes);
        }
    }

    /// Memory of a chunk that is done with.
    pub(super) fn spare(&self) -> Option<Vec<u8>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Fails when the work is to stop.
    pub(super) fn check(&self) -> Result<()> {
        self.halt
            .stopping()
            .map_or(Ok(()), |reason| Err(Error::stopped(reason)))
    }
}

/// Ends the threads of an import when the task that runs it goes, in whatever way.
pub(super) struct HaltOnDrop(pub(super) StopSignal);

impl Drop for HaltOnDrop {
    fn drop(&mut self) {
        self.0.stop(StopReason::Shutdown);
    }
}
