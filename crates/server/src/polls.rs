//! Counts how often clients poll, so that one that asks all the time is told to wait (S-04): [`Polls`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fhirhose_jobs::{JobId, Timestamp};

/// The polls of each client and job.
///
/// Each pair may ask `burst_max` times at once, and once more for every half of the `Retry-After` that it was given: who does
/// as told is never refused, nor is who asks right after the kick-off or twice as often as told. A poll that is refused
/// costs nothing, and changes nothing of the job.
pub(crate) struct Polls {
    burst_max: u32,
    tracked_max: usize,
    /// By client and job; at most `tracked_max`. Locked for the length of one call.
    tracked: Mutex<HashMap<(String, JobId), Tracked>>,
}

#[derive(Clone, Copy)]
struct Tracked {
    /// Polls that may come at once, in parts of one.
    allowed: f64,
    /// The last poll, refused or not.
    last: Timestamp,
}

impl Polls {
    pub(crate) fn new(burst_max: u32, tracked_max: usize) -> Self {
        let tracked = Mutex::default();
        Self {
            burst_max,
            tracked_max,
            tracked,
        }
    }

    /// Counts a poll of a job that is told to be asked again after `retry_after`.
    ///
    /// # Errors
    /// How long the client has to wait, when it asks too often.
    pub(crate) fn count(
        &self,
        client: &str,
        job: JobId,
        now: Timestamp,
        retry_after: Duration,
    ) -> Result<(), Duration> {
        let mut tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.to_owned(), job);
        if !tracked.contains_key(&key) && tracked.len() >= self.tracked_max {
            forget_oldest(&mut tracked);
        }
        let burst = f64::from(self.burst_max);
        let new = Tracked {
            allowed: burst,
            last: now,
        };
        let pair = tracked.entry(key).or_insert(new);
        let each = (retry_after / 2).as_secs_f64().max(0.1);
        let earned = now.since(pair.last).as_secs_f64() / each;
        (pair.allowed, pair.last) = ((pair.allowed + earned).min(burst), now);
        if pair.allowed >= 1.0 {
            pair.allowed -= 1.0;
            return Ok(());
        }
        let missing = Duration::from_secs_f64((1.0 - pair.allowed) * each);
        Err(missing.max(retry_after))
    }

    /// Forgets a job that has ended.
    pub(crate) fn forget(&self, client: &str, job: JobId) {
        let mut tracked = self.tracked.lock().unwrap_or_else(PoisonError::into_inner);
        tracked.remove(&(client.to_owned(), job));
    }
}

fn forget_oldest(tracked: &mut HashMap<(String, JobId), Tracked>) {
    let oldest = tracked.iter().min_by_key(|(_, pair)| pair.last);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        tracked.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    fn job(number: u8) -> JobId {
        JobId::from_bytes([number; 16])
    }

    #[test]
    fn who_asks_as_told_or_twice_as_often_is_never_refused_s_04() {
        let polls = Polls::new(2, 10);
        for number in 0..1_000 {
            assert_eq!(
                polls.count("a", job(1), at(number * 500), SECOND),
                Ok(()),
                "{number}"
            );
        }
    }

    #[test]
    fn who_asks_all_the_time_has_to_wait_and_then_may_again_s_04() {
        let polls = Polls::new(3, 10);
        let mut taken = 0;
        for millis in 0..900 {
            taken += u32::from(polls.count("a", job(1), at(millis), SECOND).is_ok());
        }
        assert_eq!(taken, 4, "three at once, and one for each half second");
        let told = polls.count("a", job(1), at(900), SECOND);
        assert_eq!(told, Err(SECOND), "never sooner than it was told first");
        assert_eq!(polls.count("a", job(1), at(2_000), SECOND), Ok(()));
        assert_eq!(
            polls.count("b", job(1), at(1_000), SECOND),
            Ok(()),
            "clients are told apart"
        );
        assert_eq!(polls.count("a", job(2), at(1_000), SECOND), Ok(()), "and jobs");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_is_forgotten() {
        let polls = Polls::new(1, 3);
        for number in 0..100 {
            let now = at(i64::from(number));
            assert_eq!(polls.count("a", job(number), now, SECOND), Ok(()));
            assert!(polls.tracked.lock().unwrap().len() <= 3);
        }
        assert!(polls.count("a", job(99), at(100), SECOND).is_err());
        polls.forget("a", job(99));
        assert_eq!(polls.count("a", job(99), at(100), SECOND), Ok(()));
    }
}
