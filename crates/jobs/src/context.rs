//! What a handler is given to work with: [`JobContext`].

use std::sync::Arc;

use crate::{Checkpoint, Clock, ErrorKind, JobError, JobRecord, JobStore, Lease, StopReason, StopSignal};

/// Is one claim of one job: what is known of it, and the means to write checkpoints and to hear of a stop.
///
/// It is shared by reference among the tasks of one handler; only `stop` changes.
pub struct JobContext {
    /// The job as it was when claimed. Never updated: what this claim writes, the handler knows itself.
    record: JobRecord,
    /// The right to change the job, given with the claim.
    lease: Lease,
    /// Where checkpoints go.
    store: Arc<dyn JobStore>,
    /// Where the time comes from.
    clock: Arc<dyn Clock>,
    /// Why to stop. Written by the renewing task, by refused checkpoints here, and by the runner's shutdown.
    stop: StopSignal,
}

impl JobContext {
    /// Makes the context of a claim. The runner does so; tests of a handler may.
    pub fn new(
        (record, lease): (JobRecord, Lease),
        store: Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        stop: StopSignal,
    ) -> Self {
        Self {
            record,
            lease,
            store,
            clock,
            stop,
        }
    }

    /// Returns the job as it was when claimed, with the checkpoint to go on from.
    pub fn record(&self) -> &JobRecord {
        &self.record
    }

    /// Returns the lease, for a store that commits data and checkpoint together.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Returns the clock.
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Returns the signal, to be cloned into blocking threads.
    pub fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }

    /// Returns why to stop, or `None` to go on; cheap.
    pub fn stopping(&self) -> Option<StopReason> {
        self.stop.stopping()
    }

    /// Waits until there is a reason to stop.
    pub async fn stopped(&self) -> StopReason {
        self.stop.stopped().await
    }

    /// Fails when there is a reason to stop, so that a loop can say `context.check()?`.
    ///
    /// # Errors
    /// [`JobError::Stop`].
    pub fn check(&self) -> Result<(), JobError> {
        self.stopping()
            .map_or(Ok(()), |reason| Err(JobError::Stop(reason)))
    }

    /// Writes a checkpoint, durable when this returns. It is written even when a shutdown, a yield or a pause was signalled: that is what
    /// draining means; what comes next is then [`JobError::Stop`] all the same, so that a handler that only writes
    /// checkpoints stops after the first one.
    ///
    /// # Errors
    /// [`JobError::Stop`] when the lease is lost or the job cancelled (nothing was written), or for another reason (it was
    /// written). [`JobError::Retry`] when the store cannot be reached: whether it was written is then unknown, and only
    /// going on from the stored checkpoint is safe. [`JobError::Failed`] for anything else.
    pub async fn checkpoint(&self, write: Checkpoint) -> Result<(), JobError> {
        match self.stopping() {
            Some(reason @ (StopReason::LeaseLost | StopReason::Cancelled)) => {
                return Err(JobError::Stop(reason));
            }
            Some(StopReason::Shutdown | StopReason::Yield | StopReason::Pause) | None => {}
        }
        self.store
            .checkpoint(&self.lease, write)
            .await
            .map_err(|error| self.refused(error))?;
        self.check()
    }

    /// Reads the job's entries with keys at or above `from`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`JobError::Retry`] when the store cannot be reached, [`JobError::Failed`] for anything else.
    pub async fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, JobError> {
        Ok(self.store.entries(&self.lease.job, from, limit).await?)
    }

    /// Turns the refusal of a write under this lease into the handler's error, and tells all others who work on the job.
    /// For handlers whose data store commits checkpoints itself.
    pub fn refused(&self, error: crate::Error) -> JobError {
        match error.kind() {
            ErrorKind::LeaseLost => self.stop.stop(StopReason::LeaseLost),
            ErrorKind::Cancelled => self.stop.stop(StopReason::Cancelled),
            _ => {}
        }
        error.into()
    }
}
