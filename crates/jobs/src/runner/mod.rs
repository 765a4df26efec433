//! What runs jobs in a process: [`Runner`].
//!
//! One task per place in a lane claims a job, starts its handler as a task of its own, and renews the lease beside it
//! (`claimed`); a task per lane lets jobs take turns (`rotation`); one more cleans what has expired (`reaper`). All of them are idempotent functions of what is stored.

mod claimed;
mod reaper;
mod rotation;
mod settings;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::{info, warn};

pub use settings::{Lane, Leftover, RunnerSettings, Turns};

use rotation::Place;

use crate::{
    Claim, Clock, Error, ErrorKind, Handler, JobStore, StopReason, StopSignal, Wake, wake::Listener,
};

/// How long the store may take at a shutdown, after the handlers have stopped, until it is given up.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Runs jobs until it is told to shut down.
pub struct Runner {
    core: Arc<Core>,
}

/// Is what all tasks of a runner share.
struct Core {
    /// Where jobs are; the only thing that the tasks change.
    store: Arc<dyn JobStore>,
    /// Where the time comes from.
    clock: Arc<dyn Clock>,
    /// One handler per kind; fixed.
    handlers: BTreeMap<&'static str, Arc<dyn Handler>>,
    /// Fixed.
    settings: RunnerSettings,
    /// Signalled by others after they changed the store, and by a worker that gave back a cancelled job.
    wake: Wake,
    /// Written once by `Runner::run` when it shuts down, or by `give_up`; all tasks wait for it.
    shutdown: StopSignal,
    /// The jobs that run now. Written by the places as they claim and settle, read by the rotation.
    places: Mutex<Vec<Place>>,
    /// Why the runner gives up. Written by the first task that finds the store broken, taken by `Runner::run` at its end.
    broken: Mutex<Option<Error>>,
}

/// So many claims in a row fail before the store counts as broken.
const CLAIM_TRIES: u32 = 5;

impl Runner {
    /// Makes a runner.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when two handlers have one kind, a lane names a kind without handler or has no place, or a
    /// setting is 0.
    pub fn new(
        store: Arc<dyn JobStore>,
        clock: Arc<dyn Clock>,
        handlers: Vec<Arc<dyn Handler>>,
        settings: RunnerSettings,
    ) -> Result<Self, Error> {
        let count = handlers.len();
        let handlers: BTreeMap<_, _> = handlers
            .into_iter()
            .map(|handler| (handler.kind(), handler))
            .collect();
        if handlers.len() < count {
            return Err(Error::new(
                ErrorKind::Invalid,
                "two handlers have the same kind of job",
            ));
        }
        settings.check(|kind| handlers.contains_key(kind))?;
        let (wake, shutdown) = (Wake::new(), StopSignal::new());
        Ok(Self {
            core: Arc::new(Core {
                store,
                clock,
                handlers,
                settings,
                wake,
                shutdown,
                places: Mutex::default(),
                broken: Mutex::default(),
            }),
        })
    }

    /// Returns what to signal after a job was created or cancelled, so that it is noticed at once.
    pub fn wake(&self) -> Wake {
        self.core.wake.clone()
    }

    /// Runs jobs until `shutdown` is ready; then stops claiming, tells the running handlers, waits for each to write its
    /// checkpoint and stop (`drain_secs` at most), gives the leases back, and returns.
    ///
    /// Dropping the future instead is what a crash is: handlers stop where they are and leases run out.
    ///
    /// # Errors
    /// The store's, when the leftovers of this worker's last life cannot be freed at the start.
    /// [`ErrorKind::Unavailable`] when the store gave no answer for so long that the leases are left to run out.
    /// [`ErrorKind::Store`] when a task of the runner panicked; the others were shut down in order.
    /// The store's own when it takes no changes any more, as with a full disk: what ended could not be recorded, goes on at
    /// the next start, and nobody should wait for it here.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let core = self.core;
        core.free_leftovers().await?;
        let mut tasks = core.start();
        let mut panicked = false;
        tokio::select! {
            biased;
            () = shutdown => info!(worker = core.settings.worker, "shutting down: draining jobs"),
            _ = core.shutdown.stopped() => {
                warn!(worker = core.settings.worker, "the job store takes no changes any more: draining jobs");
            }
            _ = tasks.join_next() => {
                // Before the shutdown a task ends by a panic only.
                panicked = true;
                warn!(worker = core.settings.worker, "a task of the job runner panicked: draining jobs");
            }
        }
        core.shutdown.stop(StopReason::Shutdown);
        let drain_end = core.clock.now().plus(core.settings.drain() + SETTLE_MAX);
        while !tasks.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = tasks.join_next() => panicked |= ended.is_err(),
                () = core.clock.sleep_until(drain_end) => {
                    tasks.shutdown().await;
                    core.check_broken()?;
                    return Err(Error::new(ErrorKind::Unavailable, "the job store did not answer at the shutdown"));
                }
            }
        }
        core.check_broken()?;
        match panicked {
            true => Err(Error::new(ErrorKind::Store, "a task of the job runner panicked")),
            false => Ok(()),
        }
    }
}

impl Core {
    /// Ends the runner because its store failed for good: one that cannot be reached just now is none.
    fn give_up(&self, error: Error) {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.shutdown.stop(StopReason::Shutdown);
    }

    fn check_broken(&self) -> Result<(), Error> {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        broken.map_or(Ok(()), Err)
    }

    async fn free_leftovers(&self) -> Result<(), Error> {
        if self.settings.leftover == Leftover::WaitForLease {
            return Ok(());
        }
        let jobs = self.store.abandon(&self.settings.worker).await?;
        if jobs > 0 {
            info!(
                worker = self.settings.worker,
                jobs, "jobs of this worker's last life go on"
            );
        }
        Ok(())
    }

    /// Starts one task per place of each lane, one that rotates the lane, and the reaper.
    fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (number, lane) in self.settings.lanes.iter().enumerate() {
            for _ in 0..lane.parallel {
                let core = self.clone();
                tasks.spawn(async move { core.work(number).await });
            }
            if lane.turns != Turns::Never {
                let core = self.clone();
                tasks.spawn(async move { core.rotate(number).await });
            }
        }
        let core = self.clone();
        tasks.spawn(async move { core.reap().await });
        tasks
    }

    /// Claims and runs the jobs of one lane, one after another, until the shutdown.
    async fn work(&self, lane: usize) {
        let kinds: Vec<&str> = self.settings.lanes[lane]
            .kinds
            .iter()
            .map(String::as_str)
            .collect();
        let mut listener = self.wake.listen();
        let mut failures = 0;
        while self.shutdown.stopping().is_none() {
            listener.looking();
            let now = self.clock.now();
            let until = now.plus(self.settings.lease());
            match self
                .store
                .claim(Claim {
                    worker: &self.settings.worker,
                    kinds: &kinds,
                    now,
                    until,
                })
                .await
            {
                Ok(Some(claimed)) => {
                    failures = 0;
                    self.run_claimed(lane, claimed).await;
                }
                Ok(None) => {
                    failures = 0;
                    self.pause(&mut listener, self.settings.poll()).await;
                }
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "claiming a job failed");
                    failures += u32::from(error.kind() != ErrorKind::Unavailable);
                    if failures >= CLAIM_TRIES {
                        return self.give_up(error);
                    }
                    self.pause(&mut listener, self.settings.poll()).await;
                }
            }
        }
    }

    /// Waits for a signal, the shutdown, or this long.
    async fn pause(&self, listener: &mut Listener, at_most: Duration) {
        let until = self.clock.now().plus(at_most);
        tokio::select! {
            biased;
            _ = self.shutdown.stopped() => {}
            () = listener.signalled() => {}
            () = self.clock.sleep_until(until) => {}
        }
    }
}
