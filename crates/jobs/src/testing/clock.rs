//! Clocks that tests turn: [`ManualClock`] by hand, [`PausedClock`] with tokio's paused time.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{sync::watch, time::Instant};

use crate::{Clock, Timestamp};

/// Stands still until a test advances it.
#[derive(Debug)]
pub struct ManualClock {
    /// The present instant. Written by the test; sleepers wait for it to change.
    present: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// Makes a clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            present: watch::Sender::new(start),
        }
    }

    /// Moves the clock and wakes those whose time has come.
    pub fn advance(&self, by: Duration) {
        self.present.send_modify(|present| *present = present.plus(by));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.present.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let reached = self
            .present
            .subscribe()
            .wait_for(|present| *present >= at)
            .await
            .map(|_| ());
        reached.expect("the sender is borrowed, so it lives");
    }
}

/// Goes with tokio's clock: in a runtime whose time is paused it jumps ahead when everybody waits.
#[derive(Debug)]
pub struct PausedClock {
    /// What this clock showed when it was made.
    start: Timestamp,
    /// What tokio's clock showed then.
    origin: Instant,
}

impl PausedClock {
    /// Makes a clock that shows `start` now. Must be called within the runtime.
    pub fn new(start: Timestamp) -> Self {
        Self {
            start,
            origin: Instant::now(),
        }
    }
}

#[async_trait]
impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        self.start.plus(self.origin.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.origin + at.since(self.start)).await;
    }
}
