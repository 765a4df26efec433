//! Rounds by a schedule, again and again: [`Daemon`].

use std::time::Duration;

use fhirhose_fhir::instant::Instant;

use super::round::{Guide, RoundReport, Sync};
use super::schedule::Schedule;
use crate::Result;

/// After a failure it is tried again after this time, and each time after twice as long, up to [`RETRY_MAX`]; never later than the schedule
/// says.
const RETRY_MIN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// Hears how a try has ended, and when the next one comes.
pub type Heard<'a> = dyn Fn(&Result<Vec<RoundReport>>, Instant) + Send + std::marker::Sync + 'a;

/// A sync with its schedule. It ends only with an error of the schedule; to stop it, drop its future: whatever it does goes on later.
#[derive(Debug)]
pub struct Daemon<'a> {
    /// What is run.
    pub sync: &'a Sync,
    /// When.
    pub schedule: Schedule,
}

/// When it is tried again after so many failures in a row, unless the schedule says sooner.
pub fn retry_at(now: Instant, failures: u32) -> Instant {
    let doubled = RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let micros = i64::try_from(doubled.min(RETRY_MAX).as_micros()).unwrap_or(i64::MAX);
    Instant::from_micros(now.micros().saturating_add(micros))
}

impl Daemon<'_> {
    /// Runs `tries_max` times; `heard` hears of each end, and when the next try comes.
    ///
    /// # Errors
    /// When the schedule has no next time.
    pub async fn run(&self, tries_max: u64, guide: &dyn Guide, heard: &Heard<'_>) -> Result<()> {
        let clock = self.sync.clock();
        let mut failures = 0;
        for tries in 1..=tries_max {
            let began = clock.now();
            let ended = self.sync.catch_up(guide).await;
            let seed = self.sync.folder().path().display().to_string();
            let mut next = self.schedule.next(began, &seed)?;
            let went_well = ended
                .as_ref()
                .is_ok_and(|reports| reports.iter().all(RoundReport::is_applied));
            failures = if went_well { 0 } else { failures + 1 };
            if failures > 0 {
                next = next.min(retry_at(clock.now(), failures));
            }
            heard(&ended, next);
            if tries == tries_max {
                break;
            }
            let wait = u64::try_from(next.micros().saturating_sub(clock.now().micros())).unwrap_or(0);
            clock.sleep(Duration::from_micros(wait)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_after_a_minute_then_after_twice_as_long_up_to_an_hour() {
        let now = Instant::from_micros(0);
        let minutes = |failures| retry_at(now, failures).micros() / 60_000_000;
        assert_eq!([1, 2, 3, 6, 7, u32::MAX].map(minutes), [1, 2, 4, 32, 60, 60]);
    }
}
