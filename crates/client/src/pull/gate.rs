//! Holds all downloads back when a server asks to come later: [`Gate`]. And how often one is tried again: [`Tries`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fhirhose_fhir::instant::Instant;

use super::settings::PullSettings;
use crate::clock::Clock;
use crate::{Error, ErrorKind};

/// Until when nothing is asked for.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Lets nothing through for so long from now on, or longer if that was said before.
    pub(super) fn close(&self, now: Instant, wait: Duration) {
        let until = later(now, wait);
        let mut closed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.is_none_or(|known| known < until) {
            *closed = Some(until);
        }
    }

    /// Waits until something may be asked for.
    pub(super) async fn pass(&self, clock: &dyn Clock) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.now();
            match until {
                Some(until) if now < until => clock.sleep(between(now, until)).await,
                _ => return,
            }
        }
    }
}

/// How often a file is tried still, and how long it is waited before.
#[derive(Debug)]
pub(super) struct Tries {
    pub(super) left: u32,
    busy_left: u32,
    wait: Duration,
    wait_min: Duration,
    wait_max: Duration,
}

impl Tries {
    pub(super) fn new(settings: &PullSettings) -> Self {
        let wait_min = Duration::from_millis(settings.backoff_ms_min);
        Self {
            left: settings.file_attempts_max.max(1),
            busy_left: settings.file_busy_max.max(1),
            wait: wait_min,
            wait_min,
            wait_max: Duration::from_millis(settings.backoff_ms_max).max(wait_min),
        }
    }

    /// How long to wait before the next try; `None` when there is none. To be put off is no failure, and a try that got further is none
    /// either.
    pub(super) fn again(&mut self, error: &Error, got_further: bool) -> Option<Duration> {
        if got_further {
            self.wait = self.wait_min;
        }
        let left = match error.kind() {
            ErrorKind::Forbidden | ErrorKind::Url => return None,
            ErrorKind::Busy => &mut self.busy_left,
            _ if got_further => return Some(self.wait),
            _ => &mut self.left,
        };
        *left -= 1;
        if *left == 0 {
            self.left = 0;
            return None;
        }
        let wait = self.wait;
        self.wait = (self.wait * 2).min(self.wait_max);
        Some(error.retry_after().map_or(wait, |asked| asked.max(self.wait_min)))
    }
}

pub(super) fn later(now: Instant, wait: Duration) -> Instant {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Instant::from_micros(now.micros().saturating_add(micros))
}

/// How long it is from one instant to another; nothing if that is past.
pub(super) fn between(from: Instant, to: Instant) -> Duration {
    let micros = to.micros().saturating_sub(from.micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
