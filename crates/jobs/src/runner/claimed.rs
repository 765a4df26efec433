//! Runs one claimed job: its handler as a task, the lease renewed beside it, and what becomes of the job afterwards.

use std::{error::Error as StdError, future::pending, sync::Arc, time::Duration};

use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use super::Core;
use crate::{
    Error, ErrorKind, Failure, Finish, Handler, JobContext, JobError, JobRecord, Lease, Outcome, Release,
    StopReason, StopSignal, Timestamp,
};

/// How long a job waits after an attempt that gave no better answer; doubled with each further one.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait between attempts.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// How often the end of a job is told to a store that cannot be reached, before the lease is left to run out.
const SETTLE_TRIES: u32 = 5;

/// The wait between those tries.
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// What a handler came to.
type Ended = Result<Vec<u8>, JobError>;

/// What is told to the store about a claim that is over.
enum Settlement {
    Finish(Finish),
    Release(Release),
    /// Nothing: the job is somebody else's.
    Leave,
}

impl Core {
    pub(super) async fn run_claimed(&self, lane: usize, (record, lease): (JobRecord, Lease)) {
        let began = self.clock.now();
        info!(job.id = %record.id, job.kind = record.kind, lease.fence, attempts = record.attempts, "job claimed");
        let context = JobContext::new(
            (record, lease),
            self.store.clone(),
            self.clock.clone(),
            StopSignal::new(),
        );
        let context = Arc::new(context);
        let _place = self.take_place(lane, &context);
        let ended = match self.exhausted(context.record()) {
            Some(failure) => Err(self.give_job_up(context.record(), failure).await),
            None => self.supervise(&context).await,
        };
        self.log_end(&context, began, &ended);
        let settlement = self.settlement(lane, &context, ended);
        self.settle(&context, settlement).await;
    }

    /// Returns the failure of a job that was tried too often without moving forward.
    fn exhausted(&self, job: &JobRecord) -> Option<Failure> {
        let attempts_max = self.settings.attempts_max;
        let crashed = || {
            let message =
                format!("the worker crashed {attempts_max} times while it ran this job, at the same point");
            Failure::new("crash-loop", message)
        };
        (job.attempts > attempts_max).then(|| job.failure.clone().unwrap_or_else(crashed))
    }

    async fn give_job_up(&self, job: &JobRecord, failure: Failure) -> JobError {
        let told = self.handler(job).give_up(job, &failure).await;
        told.err().unwrap_or(JobError::Failed(failure))
    }

    fn handler(&self, job: &JobRecord) -> Arc<dyn Handler> {
        let handler = self.handlers.get(job.kind.as_str());
        Arc::clone(handler.expect("only kinds with a handler are claimed"))
    }

    /// Runs the handler as a task of its own, renews the lease beside it, and hands on the shutdown.
    async fn supervise(&self, context: &Arc<JobContext>) -> Ended {
        let handler = self.handler(context.record());
        let stop = context.stop_signal();
        let mut work = JoinSet::new();
        let for_work = context.clone();
        work.spawn(async move { handler.run(&for_work).await });
        let hand_on_shutdown = async {
            stop.stop(self.shutdown.stopped().await);
            pending::<()>().await;
        };
        let overdue = async {
            let reason = stop.stopped().await;
            if reason == StopReason::Yield {
                // It may take its time: what is cut off would be made again. Unless the process ends.
                self.shutdown.stopped().await;
            }
            self.clock
                .sleep_until(self.clock.now().plus(self.settings.drain()))
                .await;
            reason
        };
        tokio::select! {
            biased;
            ended = work.join_next() => ended.map_or_else(|| Err(panicked()), from_task),
            () = self.renew(context) => Err(JobError::Stop(StopReason::LeaseLost)),
            () = hand_on_shutdown => Err(JobError::Stop(StopReason::Shutdown)),
            reason = overdue => {
                warn!(job.id = %context.record().id, ?reason, "the handler did not stop in time: dropped");
                work.shutdown().await;
                Err(JobError::Stop(reason))
            }
        }
    }

    /// Renews the lease at every third of it, and at once when signalled; never returns. When the job is lost or cancelled
    /// it tells the handler and rests.
    async fn renew(&self, context: &JobContext) {
        let mut listener = self.wake.listen();
        let mut until = context.record().lease_until.unwrap_or_else(|| self.clock.now());
        loop {
            self.pause_until_renewal(&mut listener, until).await;
            listener.looking();
            let next = self.clock.now().plus(self.settings.lease());
            let answer = tokio::select! {
                biased;
                answer = self.store.renew(context.lease(), next) => answer,
                () = self.clock.sleep_until(until.max(self.clock.now().plus(self.settings.lease() / 12))) => Err(no_answer()),
            };
            match answer {
                Ok(standing) => {
                    until = next;
                    if standing.paused {
                        context.stop_signal().stop(StopReason::Pause);
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::LeaseLost | ErrorKind::Cancelled) => {
                    context.refused(error);
                    break;
                }
                Err(error) => {
                    warn!(job.id = %context.record().id, error = &error as &dyn StdError, "renewing a lease failed");
                    if self.clock.now() >= until {
                        // Somebody else may hold the job from now on.
                        context.stop_signal().stop(StopReason::LeaseLost);
                        break;
                    }
                }
            }
        }
        pending::<()>().await;
    }

    /// Waits until a third of the lease has passed, or, when renewals failed, for a twelfth of it.
    async fn pause_until_renewal(&self, listener: &mut crate::wake::Listener, until: Timestamp) {
        let lease = self.settings.lease();
        let left = until.since(self.clock.now());
        let due = left.saturating_sub(lease * 2 / 3).max(lease / 12);
        tokio::select! {
            biased;
            () = listener.signalled() => {}
            () = self.clock.sleep_until(self.clock.now().plus(due)) => {}
        }
    }

    /// Decides what becomes of the job.
    fn settlement(&self, lane: usize, context: &JobContext, ended: Ended) -> Settlement {
        let told = context.stopping();
        match ended {
            Ok(result) => self.finish(Outcome::Succeeded(result)),
            Err(JobError::Failed(failure)) => self.finish(Outcome::Failed(failure)),
            Err(JobError::Retry { after, cause }) => self.retry(context, after, cause),
            Err(JobError::Stop(StopReason::LeaseLost)) => Settlement::Leave,
            Err(JobError::Stop(StopReason::Cancelled)) => Settlement::Release(Release::Shutdown),
            Err(JobError::Stop(StopReason::Shutdown | StopReason::Yield | StopReason::Pause)) => match told {
                Some(StopReason::Yield) => Settlement::Release(self.yielding(lane)),
                Some(_) => Settlement::Release(Release::Shutdown),
                None => {
                    let cause = Failure::new("handler", "the handler stopped for a reason that was none");
                    self.retry(context, RETRY_PAUSE, cause)
                }
            },
        }
    }

    fn finish(&self, outcome: Outcome) -> Settlement {
        let now = self.clock.now();
        let expires = now.plus(Duration::from_secs(self.settings.retention_secs));
        Settlement::Finish(Finish {
            outcome,
            now,
            expires,
        })
    }

    /// Makes a retry whose pause doubles with every attempt that came to nothing.
    fn retry(&self, context: &JobContext, after: Duration, cause: Failure) -> Settlement {
        let doublings = context.record().attempts.saturating_sub(1).min(16);
        let pause = after.saturating_mul(1 << doublings).min(RETRY_PAUSE_MAX);
        Settlement::Release(Release::Retry {
            ready: self.clock.now().plus(pause),
            cause,
        })
    }

    /// Tells the store, again while that fails. A settlement that never arrives costs time only: the lease runs out, and the
    /// job goes on from its checkpoint. But a store that can be reached and takes nothing would make it end in vain for ever.
    async fn settle(&self, context: &JobContext, settlement: Settlement) {
        for attempt in 1..=SETTLE_TRIES {
            match self.settle_once(context.lease(), &settlement).await {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::LeaseLost => break,
                Err(error) => {
                    let job_id = context.record().id;
                    warn!(job.id = %job_id, attempt, error = &error as &dyn StdError, "ending a claim failed");
                    if attempt == SETTLE_TRIES && error.kind() != ErrorKind::Unavailable {
                        self.give_up(error);
                        break;
                    }
                    self.clock.sleep_until(self.clock.now().plus(SETTLE_PAUSE)).await;
                }
            }
        }
        if matches!(settlement, Settlement::Release(_)) {
            // A job that was cancelled can be cleaned now, another one be claimed.
            self.wake.signal();
        }
    }

    async fn settle_once(&self, lease: &Lease, settlement: &Settlement) -> Result<(), Error> {
        match settlement {
            Settlement::Finish(end) => match self.store.finish(lease, end.clone()).await {
                Err(error) if error.kind() == ErrorKind::Cancelled => {
                    self.store.release(lease, Release::Shutdown).await
                }
                answer => answer,
            },
            Settlement::Release(why) => self.store.release(lease, why.clone()).await,
            Settlement::Leave => Ok(()),
        }
    }

    fn log_end(&self, context: &JobContext, began: Timestamp, ended: &Ended) {
        let job = context.record();
        let duration_ms = u64::try_from(self.clock.now().since(began).as_millis()).unwrap_or(u64::MAX);
        match ended {
            Ok(_) => info!(job.id = %job.id, job.kind, duration_ms, "job succeeded"),
            Err(error @ JobError::Stop(_)) => {
                info!(job.id = %job.id, job.kind, duration_ms, %error, "job stopped")
            }
            Err(error) => warn!(job.id = %job.id, job.kind, duration_ms, %error, "job attempt failed"),
        }
    }
}

fn from_task(ended: Result<Ended, JoinError>) -> Ended {
    ended.unwrap_or_else(|_| Err(panicked()))
}

/// Says that a handler panicked. What it said may hold content of resources, so it stays out of the record.
fn panicked() -> JobError {
    JobError::Retry {
        after: RETRY_PAUSE,
        cause: Failure::new("panic", "the handler panicked"),
    }
}

fn no_answer() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the job store did not answer before the lease ended",
    )
}
