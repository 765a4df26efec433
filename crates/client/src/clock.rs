//! Time as the client sees it: [`Clock`], so that a test waits for weeks in a moment.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;

/// Gives the time and waits.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Returns the present instant. It may step back when the operating system's clock is set.
    fn now(&self) -> Instant;

    /// Waits so long.
    async fn sleep(&self, wait: Duration);
}

/// Is the operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Instant::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}
