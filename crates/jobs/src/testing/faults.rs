//! A store that fails, crashes or freezes its caller at chosen calls: [`FaultyStore`].

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::{
    Checkpoint, Claim, Clock, Error, ErrorKind, Finish, JobFilter, JobId, JobRecord, JobStore, Lease, NewJob,
    Release, Standing, Timestamp,
};

/// Is what goes wrong at one call of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call fails as unavailable and has no effect.
    ErrorBefore,
    /// The call takes effect, but the caller hears that the store is unavailable.
    ErrorAfter,
    /// The process dies before the call takes effect.
    CrashBefore,
    /// The process dies after the call took effect, before it hears so.
    CrashAfter,
    /// All calls of the process stand still for so many seconds, then this one takes effect, or is refused.
    FreezeBefore(u64),
    /// The call takes effect, then all calls of the process stand still for so many seconds.
    FreezeAfter(u64),
    /// The process is told to shut down while the call runs.
    Shutdown,
}

/// Is what the process that uses a [`FaultyStore`] must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// Stop where it is.
    Crash,
    /// Shut down in order.
    Shutdown,
}

/// Is one process's faults to come, counted in calls over all its lives.
#[derive(Default)]
pub struct Faults {
    /// Changed at each call; read by the harness.
    state: Mutex<FaultsState>,
    /// Wakes the harness when a doom was set.
    doomed: Notify,
}

#[derive(Default)]
struct FaultsState {
    /// Calls so far.
    calls: u64,
    /// What goes wrong at which call.
    plan: BTreeMap<u64, Fault>,
    /// Set by a fault, taken by the harness.
    doom: Option<Doom>,
    /// Whether the process has crashed: its calls stand still for ever. Ended by `revive`.
    dead: bool,
    /// Calls that were refused because the lease was stale.
    refused: u64,
    /// Until when its calls stand still.
    frozen_until: Timestamp,
}

impl Faults {
    /// Plans faults by the number of the call, from 0.
    pub fn new(plan: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let state = FaultsState {
            plan: plan.into_iter().collect(),
            ..FaultsState::default()
        };
        Self {
            state: Mutex::new(state),
            doomed: Notify::new(),
        }
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Returns how many calls were refused because the lease was stale: how often a worker came back too late.
    pub fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Waits until the process must crash or shut down.
    pub async fn doom(&self) -> Doom {
        loop {
            let doomed = self.doomed.notified();
            if let Some(doom) = self.lock().doom.take() {
                return doom;
            }
            doomed.await;
        }
    }

    /// Lets the process live again, before its next life begins.
    pub fn revive(&self) {
        let mut state = self.lock();
        state.dead = false;
        state.doom = None;
        state.frozen_until = Timestamp::default();
    }

    fn lock(&self) -> MutexGuard<'_, FaultsState> {
        self.state
            .lock()
            .expect("no code panics while it holds the faults")
    }

    /// Counts a call and returns what goes wrong at it.
    fn next(&self) -> Option<Fault> {
        let mut state = self.lock();
        let call = state.calls;
        state.calls += 1;
        state.plan.remove(&call)
    }

    fn set_doom(&self, doom: Doom) {
        let mut state = self.lock();
        if state.dead {
            // Another call that was under way when the process died cannot tell it to shut down any more.
            return;
        }
        state.doom = Some(doom);
        state.dead = doom == Doom::Crash;
        drop(state);
        self.doomed.notify_one();
    }
}

/// Passes calls on to a store, but for the planned faults.
pub struct FaultyStore {
    /// What the calls go to.
    inner: Arc<dyn JobStore>,
    /// This process's faults; shared with the harness and with later lives.
    faults: Arc<Faults>,
    /// Says when a freeze is over.
    clock: Arc<dyn Clock>,
    /// Every checkpoint that took effect, in that order; shared by all processes.
    ledger: Ledger,
}

/// Is a list of the checkpoints that took effect: the job, the fence, and the keys of the entries.
pub type Ledger = Arc<Mutex<Vec<(Lease, Vec<u64>)>>>;

impl FaultyStore {
    /// Wraps a store for one life of a process.
    pub fn new(inner: Arc<dyn JobStore>, faults: Arc<Faults>, clock: Arc<dyn Clock>, ledger: Ledger) -> Self {
        Self {
            inner,
            faults,
            clock,
            ledger,
        }
    }

    async fn around<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.stand_still().await;
        let answer = self.disturb(call).await;
        if answer
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::LeaseLost)
        {
            self.faults.lock().refused += 1;
        }
        answer
    }

    async fn disturb<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.faults.next() {
            None => call.await,
            Some(Fault::ErrorBefore) => Err(unavailable()),
            Some(Fault::ErrorAfter) => call.await.and_then(|_| Err(unavailable())),
            Some(Fault::CrashBefore) => self.crash().await,
            Some(Fault::CrashAfter) => match call.await {
                Ok(_) | Err(_) => self.crash().await,
            },
            Some(Fault::FreezeBefore(secs)) => {
                self.freeze(secs).await;
                call.await
            }
            Some(Fault::FreezeAfter(secs)) => {
                let answer = call.await;
                self.freeze(secs).await;
                answer
            }
            Some(Fault::Shutdown) => {
                self.faults.set_doom(Doom::Shutdown);
                call.await
            }
        }
    }

    async fn crash<T>(&self) -> T {
        self.faults.set_doom(Doom::Crash);
        pending().await
    }

    async fn freeze(&self, secs: u64) {
        let until = self.clock.now().plus(Duration::from_secs(secs));
        self.faults.lock().frozen_until = until;
        self.stand_still().await;
    }

    async fn stand_still(&self) {
        let (dead, frozen_until) = {
            let state = self.faults.lock();
            (state.dead, state.frozen_until)
        };
        if dead {
            pending::<()>().await;
        }
        self.clock.sleep_until(frozen_until).await;
    }
}

#[async_trait]
impl JobStore for FaultyStore {
    async fn create(&self, job: NewJob) -> Result<(), Error> {
        self.around(self.inner.create(job)).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Error> {
        self.around(self.inner.job(id)).await
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Error> {
        self.around(self.inner.jobs(filter)).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<(JobRecord, Lease)>, Error> {
        self.around(self.inner.claim(claim)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Standing, Error> {
        self.around(self.inner.renew(lease, until)).await
    }

    async fn checkpoint(&self, lease: &Lease, write: Checkpoint) -> Result<(), Error> {
        let (inner, ledger, lease) = (self.inner.clone(), self.ledger.clone(), *lease);
        let call = async move {
            let keys = write.entries.iter().map(|(key, _)| *key).collect();
            inner.checkpoint(&lease, write).await?;
            ledger
                .lock()
                .expect("no code panics while it holds the ledger")
                .push((lease, keys));
            Ok(())
        };
        // A call that is under way when another one kills the process may still take effect, on a thread of the store's
        // own: then it must be in the ledger, too.
        let call = async { tokio::spawn(call).await.expect("a checkpoint does not panic") };
        self.around(call).await
    }

    async fn entries(&self, id: &JobId, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.around(self.inner.entries(id, from, limit)).await
    }

    async fn finish(&self, lease: &Lease, end: Finish) -> Result<(), Error> {
        self.around(self.inner.finish(lease, end)).await
    }

    async fn release(&self, lease: &Lease, why: Release) -> Result<(), Error> {
        self.around(self.inner.release(lease, why)).await
    }

    async fn abandon(&self, worker: &str) -> Result<u64, Error> {
        self.around(self.inner.abandon(worker)).await
    }

    async fn cancel(&self, id: &JobId, now: Timestamp) -> Result<bool, Error> {
        self.around(self.inner.cancel(id, now)).await
    }

    async fn pause(&self, id: &JobId, now: Timestamp) -> Result<bool, Error> {
        self.around(self.inner.pause(id, now)).await
    }

    async fn resume(&self, id: &JobId) -> Result<bool, Error> {
        self.around(self.inner.resume(id)).await
    }

    async fn remove(&self, id: &JobId) -> Result<(), Error> {
        self.around(self.inner.remove(id)).await
    }
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the store is made to fail")
}
