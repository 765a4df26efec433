//! Time as the jobs see it: a [`Timestamp`] and the [`Clock`] that gives it.
//!
//! Nothing in the workspace asks the operating system for the time but [`SystemClock`]; everything else is given a clock, so
//! that a simulation can run hours of leases in milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Is an instant: microseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes an instant from microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the instant that is `duration` later; stays at the last representable one instead of wrapping.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Returns how long it is from `earlier` to this instant; zero when `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

/// Gives the time and waits for it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the present instant. It may step back when the operating system's clock is set.
    fn now(&self) -> Timestamp;

    /// Waits until [`now`](Clock::now) is at or past `at`; returns at once when it already is.
    async fn sleep_until(&self, at: Timestamp);
}

/// Is the operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Bounds one nap, so that a clock that is set forward while somebody waits is noticed within this time.
const NAP_MAX: Duration = Duration::from_secs(60);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is a broken clock; 1970 is as good an answer as any.
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::default().plus(since_1970)
    }

    async fn sleep_until(&self, at: Timestamp) {
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(NAP_MAX)).await;
        }
    }
}
