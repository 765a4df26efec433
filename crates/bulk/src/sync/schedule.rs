//! When rounds begin: [`Schedule`].

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use fhirhose_fhir::instant::Instant;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, ErrorKind, Result};

/// The shortest time between two rounds of a schedule.
const EVERY_MIN: Duration = Duration::from_secs(10);

/// When rounds begin, the first at once.
#[derive(Debug, Clone)]
pub struct Schedule {
    kind: Kind,
    jitter: Duration,
}

#[derive(Debug, Clone)]
enum Kind {
    Every(Duration),
    Cron(Box<Cron>, TimeZone),
}

impl Schedule {
    /// So long after the beginning of the round before.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for less than 10 seconds.
    pub fn every(interval: Duration) -> Result<Self> {
        if interval < EVERY_MIN {
            return Err(Error::new(ErrorKind::Invalid, "a sync runs every 10 s at most"));
        }
        Ok(Self {
            kind: Kind::Every(interval),
            jitter: Duration::ZERO,
        })
    }

    /// By a cron expression: minute, hour, day of the month, month, day of the week; in this time zone.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no such expression.
    pub fn cron(expression: &str, zone: TimeZone) -> Result<Self> {
        let cron = Cron::from_str(expression).map_err(|source| {
            Error::new(ErrorKind::Invalid, "reading a cron expression").with_source(source)
        })?;
        Ok(Self {
            kind: Kind::Cron(Box::new(cron), zone),
            jitter: Duration::ZERO,
        })
    }

    /// As [`cron`](Self::cron), in the time zone of this machine.
    ///
    /// # Errors
    /// As [`cron`](Self::cron).
    pub fn local_cron(expression: &str) -> Result<Self> {
        Self::cron(expression, TimeZone::system())
    }

    /// Adds a time from nothing to `jitter` to each round, so that many syncs do not ask one server at one moment.
    #[must_use]
    pub fn with_jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// When the round after one that began at `began` begins; `seed` tells syncs apart.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the expression never matches again.
    pub fn next(&self, began: Instant, seed: &str) -> Result<Instant> {
        let next = match &self.kind {
            Kind::Every(interval) => plus(began, *interval),
            Kind::Cron(cron, zone) => {
                let never = || Error::new(ErrorKind::Invalid, "the cron expression matches no time any more");
                let began = Timestamp::from_microsecond(began.micros())
                    .map_err(|source| never().with_source(source))?;
                let found = cron
                    .find_next_occurrence(&Zoned::new(began, zone.clone()), false)
                    .map_err(|source| never().with_source(source))?;
                Instant::from_micros(found.timestamp().as_microsecond())
            }
        };
        let jitter = u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX);
        let drawn = xxh3_64(format!("{seed} {}", next.micros()).as_bytes()) % jitter.max(1);
        Ok(plus(next, Duration::from_micros(drawn)))
    }
}

fn plus(instant: Instant, time: Duration) -> Instant {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    Instant::from_micros(instant.micros().saturating_add(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        Instant::parse(text).unwrap()
    }

    #[test]
    fn cron_and_intervals_name_the_next_round() {
        let nightly = Schedule::cron("0 2 * * *", TimeZone::UTC).unwrap();
        let next = nightly.next(at("2026-11-21T02:00:00Z"), "a").unwrap();
        assert_eq!(next, at("2026-11-22T02:00:00Z"));
        let daily = Schedule::every(Duration::from_secs(86_400)).unwrap();
        assert_eq!(
            daily.next(at("2026-11-21T05:00:01Z"), "a").unwrap(),
            at("2026-11-22T05:00:01Z")
        );
        assert!(Schedule::cron("whenever", TimeZone::UTC).is_err());
        assert!(Schedule::every(Duration::from_secs(1)).is_err());
    }

    #[test]
    fn jitter_is_bounded_and_differs_between_syncs() {
        let nightly = Schedule::cron("0 2 * * *", TimeZone::UTC).unwrap();
        let nightly = nightly.with_jitter(Duration::from_secs(900));
        let (first, last) = (at("2026-11-22T02:00:00Z"), at("2026-11-22T02:15:00Z"));
        let drawn: std::collections::BTreeSet<i64> = (0..50)
            .map(|n| {
                let next = nightly.next(at("2026-11-21T02:00:00Z"), &format!("{n}")).unwrap();
                assert!(next >= first && next < last);
                next.micros()
            })
            .collect();
        assert!(drawn.len() > 40);
    }
}
