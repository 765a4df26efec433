//! How a runner behaves: [`RunnerSettings`].

use std::time::Duration;

use crate::{Error, ErrorKind};

/// Is a number of places for jobs of certain kinds, so that long ones of one kind do not keep all others waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// The kinds that it takes, in the order of [`next_job`](crate::next_job) whatever their kind.
    pub kinds: Vec<String>,
    /// How many jobs it runs at a time.
    pub parallel: usize,
    /// Whether jobs that run long give their places to those that wait.
    pub turns: Turns,
}

/// Says for whom a job that has had its turn gives its place back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// For nobody: a job runs to its end.
    Never,
    /// For jobs of other clients. The jobs of one client keep their order: what came in later is written later.
    BetweenClients,
    /// For any job that waits, so that a small one is not stuck behind a huge one.
    Always,
}

/// Says what is known at the start about jobs that are still leased to this worker's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// Nobody else lives under this name: they are those of a crashed predecessor, and go on at once.
    TakeOver,
    /// The name proves nothing: they go on when their leases are over.
    WaitForLease,
}

/// Says how a runner behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerSettings {
    /// This process's name among those that share the store.
    pub worker: String,
    /// What to do about jobs that this name still holds at the start.
    pub leftover: Leftover,
    /// Which jobs run, and how many at a time.
    pub lanes: Vec<Lane>,
    /// How long a claim or renewal holds; a third of it passes between renewals.
    pub lease_secs: u64,
    /// How long an idle place waits before it looks again; a signal comes earlier.
    pub poll_secs: u64,
    /// How long the reaper waits between rounds; a signal comes earlier.
    pub reap_secs: u64,
    /// How long a handler that was told to stop may take before it is dropped where it stands.
    pub drain_secs: u64,
    /// How often a job is tried without moving forward before it fails.
    pub attempts_max: u32,
    /// How long an ended job and its files are kept.
    pub retention_secs: u64,
    /// How long a job runs before it gives its place to one that waits, in lanes with turns. Doubled with each time, so that
    /// a huge job does not spend its time with beginning again, up to `turn_secs_max`.
    pub turn_secs: u64,
    /// The longest turn.
    pub turn_secs_max: u64,
}

impl RunnerSettings {
    /// Makes the default settings for a worker that shares its store with others.
    pub fn new(worker: impl Into<String>, lanes: Vec<Lane>) -> Self {
        Self {
            worker: worker.into(),
            leftover: Leftover::WaitForLease,
            lanes,
            lease_secs: 30,
            poll_secs: 1,
            reap_secs: 60,
            drain_secs: 30,
            attempts_max: 5,
            retention_secs: 24 * 60 * 60,
            turn_secs: 5,
            turn_secs_max: 60,
        }
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_secs)
    }

    pub(super) fn poll(&self) -> Duration {
        Duration::from_secs(self.poll_secs)
    }

    pub(super) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }

    /// How long the turn of a job is that has given its place back so often.
    pub(super) fn turn(&self, yields: u64) -> Duration {
        let doublings = u32::try_from(yields).unwrap_or(u32::MAX);
        let secs = self.turn_secs.saturating_mul(2_u64.saturating_pow(doublings));
        Duration::from_secs(secs.min(self.turn_secs_max.max(self.turn_secs)))
    }

    pub(super) fn check(&self, has_handler: impl Fn(&str) -> bool) -> Result<(), Error> {
        let invalid = |what: String| Err(Error::new(ErrorKind::Invalid, what));
        for lane in &self.lanes {
            if lane.parallel == 0 || lane.kinds.is_empty() {
                return invalid(format!("the lane for {:?} runs nothing", lane.kinds));
            }
            if let Some(kind) = lane.kinds.iter().find(|kind| !has_handler(kind)) {
                return invalid(format!("no handler runs jobs of kind {kind}"));
            }
        }
        let at_least_one = [
            ("lease_secs", self.lease_secs),
            ("poll_secs", self.poll_secs),
            ("reap_secs", self.reap_secs),
            ("attempts_max", u64::from(self.attempts_max)),
            ("turn_secs", self.turn_secs),
        ];
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => invalid(format!("{name} is 0")),
            None => Ok(()),
        }
    }
}
