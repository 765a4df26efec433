//! How a running job learns that it must stop: [`StopSignal`].

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::Notify;

/// Says why a running job must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The process shuts down: write a checkpoint, then stop. The job goes on later.
    Shutdown,
    /// Others wait for the place: finish what is nearly done, write a checkpoint, then stop. The job goes on after them.
    Yield,
    /// The operator paused the job: as with `Yield`, but it goes on when the operator says so.
    Pause,
    /// The job was cancelled: stop, nobody wants the result.
    Cancelled,
    /// The lease is lost: stop, somebody else may be doing the work. Writes are refused.
    LeaseLost,
}

impl StopReason {
    /// Tells whether the job goes on later from its checkpoint, so that what is finished is to be written down.
    pub fn keeps_job(self) -> bool {
        matches!(self, Self::Shutdown | Self::Yield | Self::Pause)
    }

    /// Tells whether there is time to end a piece of work, such as a file, that would otherwise be made again.
    pub fn can_wait(self) -> bool {
        matches!(self, Self::Yield | Self::Pause)
    }
}

/// Is told once why a job must stop, and tells everybody who works on it. Clones share the signal.
#[derive(Clone, Debug, Default)]
pub struct StopSignal {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// 0 while the job may go on, else the reason's number. Written once, by whoever hears first (the renewing task, a
    /// refused checkpoint, the shutdown, the rotation of places); read by all workers, blocking threads too.
    reason: AtomicU8,
    /// Wakes those who wait in `stopped`; notified right after `reason` is written.
    changed: Notify,
}

impl StopSignal {
    /// Makes a signal that says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells to stop. The first reason stays.
    pub fn stop(&self, reason: StopReason) {
        // Failing to exchange means that a reason is there already, which is what is wanted.
        let first =
            self.shared
                .reason
                .compare_exchange(0, number(reason), Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.shared.changed.notify_waiters();
        }
    }

    /// Returns why to stop, or `None` to go on. One atomic read: cheap enough for every block of a loop.
    pub fn stopping(&self) -> Option<StopReason> {
        match self.shared.reason.load(Ordering::Acquire) {
            1 => Some(StopReason::Shutdown),
            2 => Some(StopReason::Cancelled),
            3 => Some(StopReason::LeaseLost),
            4 => Some(StopReason::Yield),
            5 => Some(StopReason::Pause),
            _ => None,
        }
    }

    /// Waits until there is a reason to stop.
    pub async fn stopped(&self) -> StopReason {
        loop {
            // Made before looking: `notify_waiters` reaches every future that exists when it is called.
            let changed = self.shared.changed.notified();
            if let Some(reason) = self.stopping() {
                return reason;
            }
            changed.await;
        }
    }
}

fn number(reason: StopReason) -> u8 {
    match reason {
        StopReason::Shutdown => 1,
        StopReason::Cancelled => 2,
        StopReason::LeaseLost => 3,
        StopReason::Yield => 4,
        StopReason::Pause => 5,
    }
}
