//! Counts how often each of many does something, so that who does it all the time is told to wait: [`Pace`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fhirhose_jobs::Timestamp;

/// How often somebody may do something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// So often at once …
    pub(crate) burst_max: u32,
    /// … and once more for each such time.
    pub(crate) each: Duration,
}

impl Rate {
    /// So often in a minute, all of it at once if need be.
    pub(crate) fn per_minute(times: u32) -> Self {
        Self {
            burst_max: times,
            each: Duration::from_secs(60) / times.max(1),
        }
    }
}

/// How often each of many did something of late.
///
/// Whoever has done nothing for long may do all at once, so those are forgotten first when there are too many.
pub(crate) struct Pace<K> {
    tracked_max: usize,
    /// At most `tracked_max`. Locked for the length of one call.
    tracked: Mutex<HashMap<K, Tracked>>,
}

#[derive(Clone, Copy)]
struct Tracked {
    /// How often it may be done at once, in parts of one.
    allowed: f64,
    /// When it was tried last, refused or not.
    last: Timestamp,
}

impl<K: Eq + Hash + Clone> Pace<K> {
    pub(crate) fn new(tracked_max: usize) -> Self {
        let tracked = Mutex::default();
        Self { tracked_max, tracked }
    }

    /// Counts that it is done once more. What is refused costs nothing.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn take(&self, who: K, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let mut tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        if !tracked.contains_key(&who) && tracked.len() >= self.tracked_max {
            forget_older_half(&mut tracked);
        }
        let new = Tracked {
            allowed: f64::from(rate.burst_max),
            last: now,
        };
        let known = tracked.entry(who).or_insert(new);
        *known = known.at(rate, now);
        known.ready(rate)?;
        known.allowed -= 1.0;
        Ok(())
    }

    /// Says whether it may be done once more, without counting it.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn check(&self, who: &K, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        tracked
            .get(who)
            .map_or(Ok(()), |known| known.at(rate, now).ready(rate))
    }

    /// Forgets somebody.
    pub(crate) fn forget(&self, who: &K) {
        let mut tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        tracked.remove(who);
    }
}

impl Tracked {
    /// What has been earned until now.
    fn at(self, rate: Rate, now: Timestamp) -> Self {
        let earned = now.since(self.last).as_secs_f64() / rate.each.as_secs_f64();
        Self {
            allowed: (self.allowed + earned).min(f64::from(rate.burst_max)),
            last: now,
        }
    }

    fn ready(self, rate: Rate) -> Result<(), Duration> {
        if self.allowed >= 1.0 {
            return Ok(());
        }
        Err(rate.each.mul_f64(1.0 - self.allowed))
    }
}

/// Half at a time, so that many newcomers do not each look through all.
fn forget_older_half<K: Eq + Hash>(tracked: &mut HashMap<K, Tracked>) {
    let mut times: Vec<Timestamp> = tracked.values().map(|known| known.last).collect();
    let middle = times.len() / 2;
    let (_, &mut median, _) = times.select_nth_unstable(middle);
    let mut kept = 0;
    tracked.retain(|_, known| {
        let is_kept = known.last >= median && kept < middle;
        kept += usize::from(is_kept);
        is_kept
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    fn rate(burst_max: u32) -> Rate {
        let each = SECOND / 2;
        Rate { burst_max, each }
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let pace = Pace::new(10);
        for number in 0..1_000 {
            assert_eq!(pace.take("a", rate(2), at(number * 500)), Ok(()), "{number}");
        }
    }

    #[test]
    fn who_asks_all_the_time_has_to_wait_and_then_may_again() {
        let pace = Pace::new(10);
        let mut taken = 0;
        for millis in 0..900 {
            taken += u32::from(pace.take("a", rate(3), at(millis)).is_ok());
        }
        assert_eq!(taken, 4, "three at once, and one for each half second");
        let told = pace.take("a", rate(3), at(900)).expect_err("it has to wait");
        assert!(told > Duration::ZERO && told <= SECOND / 2, "{told:?}");
        assert_eq!(pace.check(&"a", rate(3), at(900)), Err(told));
        assert_eq!(pace.take("a", rate(3), at(2_000)), Ok(()));
        assert_eq!(
            pace.take("b", rate(3), at(1_000)),
            Ok(()),
            "each is counted by itself"
        );
    }

    #[test]
    fn looking_counts_nothing() {
        let pace = Pace::new(10);
        for _ in 0..100 {
            assert_eq!(pace.check(&"a", rate(1), at(0)), Ok(()));
        }
        assert_eq!(pace.take("a", rate(1), at(0)), Ok(()));
        assert!(pace.check(&"a", rate(1), at(0)).is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let pace = Pace::new(4);
        for number in 0..100 {
            assert_eq!(pace.take(number, rate(1), at(number)), Ok(()));
            assert!(pace.tracked.lock().unwrap().len() <= 4);
        }
        assert!(pace.take(99, rate(1), at(100)).is_err());
        pace.forget(&99);
        assert_eq!(pace.take(99, rate(1), at(100)), Ok(()));
        let one = Pace::new(1);
        for number in 0..3 {
            assert_eq!(one.take(number, rate(1), at(0)), Ok(()), "even a table of one");
        }
    }

    #[test]
    fn a_rate_per_minute_is_spread_over_it() {
        let pace = Pace::new(10);
        let rate = Rate::per_minute(60);
        let burst = (0..100).filter(|_| pace.take("a", rate, at(0)).is_ok()).count();
        assert_eq!(burst, 60);
        assert_eq!(pace.take("a", rate, at(0)), Err(SECOND));
        assert_eq!(pace.take("a", rate, at(1_000)), Ok(()));
    }
}
