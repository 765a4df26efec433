//! Keeps the store's layout in shape: asks from time to time whether a flush or compaction is due, and records the job.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_jobs::{Cleanup, Entropy, Handler, JobContext, JobError, JobRecord, StopSignal, Wake};
use fhirhose_store::Store;
use tokio::sync::Notify;
use tracing::warn;

/// Records maintenance jobs.
pub(crate) struct Upkeep {
    pub(crate) store: Store,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Signalled after a job was recorded.
    pub(crate) wake: Wake,
    /// How long to wait between two looks, unless nudged.
    pub(crate) period: Duration,
    /// Notified when an import has ended: it leaves many runs behind.
    pub(crate) nudge: Arc<Notify>,
}

impl Upkeep {
    /// Looks again and again until `stop`.
    pub(crate) async fn run(self, stop: StopSignal) {
        loop {
            match self.store.schedule_maintenance(&*self.entropy).await {
                Ok(true) => self.wake.signal(),
                Ok(false) => {}
                Err(error) => warn!(
                    error = &error as &dyn StdError,
                    "looking for due maintenance failed"
                ),
            }
            let next = self.store.clock().now().plus(self.period);
            tokio::select! {
                _ = stop.stopped() => return,
                () = self.nudge.notified() => {}
                () = self.store.clock().sleep_until(next) => {}
            }
        }
    }
}

/// Runs another handler, and nudges the upkeep when it is done.
pub(crate) struct Nudging<H> {
    pub(crate) handler: H,
    pub(crate) nudge: Arc<Notify>,
}

#[async_trait]
impl<H: Handler> Handler for Nudging<H> {
    fn kind(&self) -> &'static str {
        self.handler.kind()
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let ended = self.handler.run(context).await;
        self.nudge.notify_one();
        ended
    }

    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        self.handler.clean(job).await
    }
}
