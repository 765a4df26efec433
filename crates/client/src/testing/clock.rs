//! A clock that jumps: [`SimulatedClock`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;
use tokio::sync::Notify;

use crate::clock::Clock;

/// How often others may go on before time jumps, so that those who are about to sleep do.
const YIELDS: usize = 8;
/// How long a jump waits for a server that is answering, in real time: a client that sleeps while it does not read would wait for itself.
const PATIENCE: Duration = Duration::from_millis(50);

/// Time that passes only while somebody sleeps, and then at once. Who sleeps shorter wakes first; clones share the time.
#[derive(Debug, Clone)]
pub struct SimulatedClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Told whenever a sleeper comes, goes, or the last answer is out.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    now_micros: i64,
    /// When who wakes: time, then number of the sleeper.
    sleepers: BTreeSet<(i64, u64)>,
    slept: u64,
    /// Answers that are being given.
    busy: usize,
}

/// Keeps time from jumping while it lives.
#[derive(Debug)]
pub(super) struct Busy(SimulatedClock);

/// One who sleeps; taken off the list when it wakes, or when it is dropped.
struct Sleeper<'a>(&'a SimulatedClock, (i64, u64));

impl Default for SimulatedClock {
    /// Begins at the time of the operating system, for some of what is checked is signed by that.
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                now_micros: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
                sleepers: BTreeSet::new(),
                slept: 0,
                busy: 0,
            }),
            changed: Notify::new(),
        }))
    }
}

impl SimulatedClock {
    /// Lets time pass without anybody sleeping.
    pub fn advance(&self, by: Duration) {
        self.lock().now_micros += micros(by);
        self.0.changed.notify_waiters();
    }

    pub(super) fn busy(&self) -> Busy {
        self.lock().busy += 1;
        Busy(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0
            .state
            .lock()
            .expect("no code panics while it holds the clock")
    }

    /// Whether nobody wakes earlier; then time is what it was to be.
    fn wakes(&self, sleeper: &Sleeper<'_>, is_patient: bool) -> bool {
        let mut state = self.lock();
        let is_due = sleeper.1.0 <= state.now_micros;
        let is_first = state.sleepers.first() == Some(&sleeper.1) && (state.busy == 0 || !is_patient);
        if is_first {
            state.now_micros = state.now_micros.max(sleeper.1.0);
        }
        is_due || is_first
    }
}

#[async_trait]
impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.lock().now_micros)
    }

    async fn sleep(&self, wait: Duration) {
        let sleeper = {
            let mut state = self.lock();
            state.slept += 1;
            let place = (state.now_micros.saturating_add(micros(wait)), state.slept);
            state.sleepers.insert(place);
            Sleeper(self, place)
        };
        let mut is_patient = true;
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
            if self.wakes(&sleeper, is_patient) {
                return;
            }
            is_patient = tokio::time::timeout(PATIENCE, changed).await.is_ok();
        }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.lock().sleepers.remove(&self.1);
        self.0.0.changed.notify_waiters();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.0.changed.notify_waiters();
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
