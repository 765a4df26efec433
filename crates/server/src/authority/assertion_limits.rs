//! What assertions of clients may cost: [`AssertionLimits`].

use fhirhose_jobs::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::settings::SmartSettings;
use crate::floods::throttled;
use crate::pace::{Pace, Rate};
use crate::problem::Problem;

/// Clients whose tokens are counted at a time; then the older half is forgotten.
const CLIENTS_TRACKED_MAX: usize = 10_000;

/// Bounds how many signatures are checked at a time, and how many tokens a client gets.
pub(super) struct AssertionLimits {
    /// A permit for each check that may run; the others wait in the order of their coming.
    checks: Semaphore,
    tokens: Pace<String>,
    rate: Rate,
}

impl AssertionLimits {
    pub(super) fn new(settings: &SmartSettings) -> Self {
        Self {
            checks: Semaphore::new(settings.checks_parallel.max(1)),
            tokens: Pace::new(CLIENTS_TRACKED_MAX),
            rate: Rate::per_minute(settings.client_tokens_per_minute_max),
        }
    }

    /// Waits for the turn to check a signature. It takes a millisecond, so however many come, most of the processor is left for
    /// others.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let permit = self.checks.acquire().await;
        permit.expect("nobody closes the semaphore")
    }

    /// Counts an assertion whose signature was good: by a name that was not proved anybody could have its owner refused.
    ///
    /// # Errors
    /// 429 for a client that had too many.
    pub(super) fn count(&self, client: &str, now: Timestamp) -> Result<(), Problem> {
        let counted = self.tokens.take(client.to_owned(), self.rate, now);
        counted.map_err(|wait| throttled("this client asks for too many tokens", wait))
    }
}
