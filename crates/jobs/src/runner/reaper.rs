//! Cleans and removes jobs that were cancelled or have expired.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Core;
use crate::{Cleanup, Error, Failure, Handler, JobError, JobFilter, JobRecord};

/// How many jobs one look at the store brings.
const PAGE_JOBS: usize = 100;

/// The least time between two rounds, so that a burst of signals does not become a burst of listings.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

impl Core {
    /// Cleans until the shutdown. A round that the shutdown cuts short is made again in the next life.
    pub(super) async fn reap(&self) {
        let mut listener = self.wake.listen();
        loop {
            listener.looking();
            tokio::select! {
                biased;
                _ = self.shutdown.stopped() => return,
                round = self.reap_round() => if let Err(error) = round {
                    warn!(error = &error as &dyn StdError, "looking for expired jobs failed");
                }
            }
            let soonest = self.clock.now().plus(ROUND_PAUSE);
            self.pause(&mut listener, Duration::from_secs(self.settings.reap_secs))
                .await;
            tokio::select! {
                biased;
                _ = self.shutdown.stopped() => return,
                () = self.clock.sleep_until(soonest) => {}
            }
        }
    }

    /// Cleans every job that has expired, page by page: one that is in use must not hide those behind it.
    async fn reap_round(&self) -> Result<(), Error> {
        let mut filter = JobFilter {
            expired_at: Some(self.clock.now()),
            limit: Some(PAGE_JOBS),
            ..JobFilter::default()
        };
        loop {
            let jobs = self.store.jobs(&filter).await?;
            for job in &jobs {
                self.reap_job(job).await?;
            }
            match jobs.last() {
                Some(last) if jobs.len() == PAGE_JOBS => filter.after = Some((last.created, last.id)),
                _ => return Ok(()),
            }
        }
    }

    async fn reap_job(&self, job: &JobRecord) -> Result<(), Error> {
        let Some(handler) = self.handlers.get(job.kind.as_str()) else {
            // Another process, or an older version, knows what this kind left behind.
            return Ok(());
        };
        match clean(handler.clone(), job.clone()).await {
            Ok(Cleanup::Done) => {
                self.store.remove(&job.id).await?;
                info!(job.id = %job.id, job.kind, job.state = ?job.state, "job removed");
            }
            Ok(Cleanup::Later) => {}
            Err(error) => {
                warn!(job.id = %job.id, job.kind, error = &error as &dyn StdError, "cleaning a job failed");
            }
        }
        Ok(())
    }
}

/// Cleans as a task of its own, so that a handler that panics stops one job's cleaning and not the runner.
async fn clean(handler: Arc<dyn Handler>, job: JobRecord) -> Result<Cleanup, JobError> {
    let mut task = JoinSet::new();
    task.spawn(async move { handler.clean(&job).await });
    let ended = task.join_next().await.and_then(Result::ok);
    ended.unwrap_or_else(|| Err(JobError::Failed(Failure::new("panic", "the handler panicked"))))
}
