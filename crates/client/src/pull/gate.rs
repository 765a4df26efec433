//! Holds all downloads back when a server asks to come later: [`Gate`]. And how often one is tried again: [`Tries`].

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fhirhose_fhir::instant::Instant;

use super::settings::PullSettings;
use crate::clock::Clock;
use crate::provider::Backoff;
use crate::{Error, ErrorKind};

/// Until when nothing is asked for.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Option<Instant>>);

impl Gate {
    /// Lets nothing through for so long from now on, or longer if that was said before.
    pub(super) fn close(&self, now: Instant, wait: Duration) {
        let until = now.after(wait);
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
                Some(until) if now < until => clock.sleep(until.since(now)).await,
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
    backoff: Backoff,
}

impl Tries {
    /// As often as the settings say; by `what` is tried the waits of several differ.
    pub(super) fn new(settings: &PullSettings, what: &str) -> Self {
        let first = Duration::from_millis(settings.backoff_ms_min);
        let most = Duration::from_millis(settings.backoff_ms_max);
        Self {
            left: settings.file_attempts_max.max(1),
            busy_left: settings.file_busy_max.max(1),
            backoff: Backoff::between(first, most, what),
        }
    }

    /// No more often than that, put off or not.
    pub(super) fn at_most(self, tries_max: u32) -> Self {
        Self {
            left: tries_max,
            busy_left: tries_max,
            ..self
        }
    }

    /// How long to wait before the next try; `None` when there is none. To be put off is no failure, and a try that got further is none
    /// either.
    pub(super) fn again(&mut self, error: &Error, got_further: bool) -> Option<Duration> {
        if got_further {
            self.backoff.reset();
        }
        let left = match error.kind() {
            ErrorKind::Forbidden | ErrorKind::Url => return None,
            ErrorKind::Busy => Some(&mut self.busy_left),
            _ if got_further => None,
            _ => Some(&mut self.left),
        };
        if let Some(left) = left {
            *left -= 1;
            if *left == 0 {
                self.left = 0;
                return None;
            }
        }
        Some(self.backoff.wait(error.retry_after()))
    }
}
