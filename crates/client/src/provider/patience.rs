//! How long a server is borne with: [`Patience`], and who hears of each wait: [`Waiting`].

use std::time::Duration;

use crate::Error;

/// The limits of waiting for a server. All of it is by the provider's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// How often a kick-off is tried that meets trouble which passes.
    pub kick_off_attempts_max: u32,
    /// How long it is tried, in seconds.
    pub kick_off_secs_max: u64,
    /// The first wait, and the shortest between two questions, in milliseconds.
    pub wait_millis_min: u64,
    /// The longest wait where the server does not say how long, in seconds; waits double up to it.
    pub backoff_secs_max: u64,
    /// How long polls may meet nothing but trouble, in seconds, before the export is given up. To be asked to slow down is no trouble.
    pub trouble_secs_max: u64,
    /// How long polls may meet nothing but 4xx with pages of HTML, in seconds.
    pub stray_answers_secs_max: u64,
    /// How long an export may take, in seconds.
    pub export_secs_max: u64,
    /// How many pages a manifest may have.
    pub pages_max: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            kick_off_attempts_max: 10,
            kick_off_secs_max: 60 * 60,
            wait_millis_min: 500,
            backoff_secs_max: 120,
            trouble_secs_max: 6 * 60 * 60,
            stray_answers_secs_max: 10 * 60,
            // Waits of weeks are known of live EHRs.
            export_secs_max: 30 * 24 * 60 * 60,
            pages_max: 100_000,
        }
    }
}

/// A wait that begins.
#[derive(Debug, Clone, Copy)]
pub struct Pause<'a> {
    /// What the server says of its progress, if it is at work.
    pub progress: Option<&'a str>,
    /// What went wrong, if something did.
    pub trouble: Option<&'a Error>,
    /// How long it is waited.
    pub wait: Duration,
}

/// Hears of waits. Must not wait itself.
pub trait Waiting: Send + Sync {
    /// Hears that a wait begins.
    fn pause(&self, pause: &Pause<'_>);
}

impl<F: Fn(&Pause<'_>) + Send + Sync> Waiting for F {
    fn pause(&self, pause: &Pause<'_>) {
        self(pause);
    }
}

/// Waits that double, each up to a quarter shorter by what is waited for, so that many who wait do not come at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
    first: Duration,
    most: Duration,
    /// The seed of the jitter.
    seed: u64,
}

impl Backoff {
    pub(super) fn new(patience: &Patience, what: &str) -> Self {
        let first = Duration::from_millis(patience.wait_millis_min);
        Self::between(first, Duration::from_secs(patience.backoff_secs_max), what)
    }

    /// Begins with `first` and goes up to `most`, which is no less.
    pub(crate) fn between(first: Duration, most: Duration, what: &str) -> Self {
        // FNV-1a: any hash will do.
        let seed = what.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            next: first,
            first,
            most: most.max(first),
            seed,
        }
    }

    /// The next wait: what the server asks for, but no less than the least, or one that is longer than the last.
    pub(crate) fn wait(&mut self, retry_after: Option<Duration>) -> Duration {
        if let Some(asked) = retry_after {
            return asked.max(self.first);
        }
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let quarter = wait / 4;
        wait - quarter.mul_f64((self.seed >> 40) as f64 / f64::from(1 << 24))
    }

    /// Begins anew, after something went well.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_most_and_are_not_the_same_for_all_cl_05() {
        let patience = Patience::default();
        let mut backoff = Backoff::new(&patience, "https://a.example.org/status/1");
        let waits: Vec<u128> = (0..12).map(|_| backoff.wait(None).as_millis()).collect();
        for (number, wait) in waits.iter().enumerate() {
            let most = (500 << number).min(120_000);
            assert!((most * 3 / 4..=most).contains(wait), "{waits:?}");
        }
        let mut other = Backoff::new(&patience, "https://a.example.org/status/2");
        assert_ne!(other.wait(None), Duration::from_millis(waits[0] as u64));
        let second = Duration::from_secs(1);
        assert_eq!(backoff.wait(Some(second)), second);
        assert_eq!(backoff.wait(Some(Duration::ZERO)), Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.wait(None) <= Duration::from_millis(500));
    }
}
