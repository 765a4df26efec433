//! Counts requests that are refused, so that a flood of them does not become one of the trail: [`Refusals`].

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fhirhose_jobs::Timestamp;

use super::shape::{Told, Who};

/// Who was refused what, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sort {
    /// The client, or the address of one whom nobody knows.
    who: String,
    pattern: &'static str,
    status: u16,
}

struct Seen {
    since: Timestamp,
    /// Those that are not told yet.
    count: u64,
    last: Told,
}

/// The first refusal of a sort is told at once; those that follow within a window are told together at its end.
///
/// What there is no room for is one sort. So a window brings no more than two events for each sort that is tracked.
pub(super) struct Refusals {
    window: Duration,
    tracked_max: usize,
    /// At most `tracked_max` and the one of all others. Locked for the length of one call.
    tracked: Mutex<HashMap<Sort, Seen>>,
}

impl Refusals {
    pub(super) fn new(window: Duration, tracked_max: usize) -> Self {
        Self {
            window,
            tracked_max,
            tracked: Mutex::default(),
        }
    }

    /// Takes a refusal; gives what is to be told now.
    pub(super) fn take(&self, now: Timestamp, pattern: &'static str, told: Told) -> Option<Told> {
        let mut tracked = self.lock();
        let mut sort = Sort {
            who: name(&told.who),
            pattern,
            status: told.status.as_u16(),
        };
        if !tracked.contains_key(&sort) && tracked.len() >= self.tracked_max {
            sort = Sort {
                who: String::new(),
                pattern: "",
                status: 0,
            };
        }
        match tracked.get_mut(&sort) {
            Some(seen) => {
                seen.count += 1;
                seen.last = told;
                None
            }
            None => {
                let seen = Seen {
                    since: now,
                    count: 0,
                    last: told.clone(),
                };
                tracked.insert(sort, seen);
                Some(told)
            }
        }
    }

    /// Gives what the windows that are over have gathered, and forgets them.
    pub(super) fn due(&self, now: Timestamp) -> Vec<Told> {
        self.end(|seen| now.since(seen.since) >= self.window)
    }

    /// Gives all that was gathered.
    pub(super) fn all(&self) -> Vec<Told> {
        self.end(|_| true)
    }

    fn end(&self, is_over: impl Fn(&Seen) -> bool) -> Vec<Told> {
        let mut gathered = Vec::new();
        self.lock().retain(|sort, seen| {
            let is_over = is_over(seen);
            if is_over && seen.count > 0 {
                gathered.push(together(sort, seen));
            }
            !is_over
        });
        gathered
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Sort, Seen>> {
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn together(sort: &Sort, seen: &Seen) -> Told {
    let mut told = seen.last.clone();
    if sort.status == 0 {
        // Of many, and of one only the last would be named.
        told.who = Who::default();
        told.details.retain(|(name, _)| *name != "route");
    }
    told.with("requests", seen.count)
}

fn name(who: &Who) -> String {
    match (&who.client, who.address) {
        (client, Some(address)) if client.is_empty() => address.to_string(),
        (client, _) => client.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::act::Act;
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_micros(secs * 1_000_000)
    }

    fn by(client: &str) -> Told {
        Told::new(Act::Refused, Who::owner(client))
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let refusals = Refusals::new(Duration::from_secs(60), 10);
        assert!(refusals.take(at(0), "/a", by("x")).is_some());
        for secs in 1..50 {
            assert!(refusals.take(at(secs), "/a", by("x")).is_none());
        }
        assert!(refusals.take(at(50), "/b", by("x")).is_some(), "another route");
        assert!(refusals.take(at(50), "/a", by("y")).is_some(), "another client");
        assert!(refusals.due(at(59)).is_empty());
        let told = refusals.due(at(60));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].details, [("requests", "49".to_owned())]);
        assert!(refusals.take(at(61), "/a", by("x")).is_some(), "a new window");
    }

    #[test]
    fn a_flood_of_many_names_is_one_sort() {
        let refusals = Refusals::new(Duration::from_secs(60), 5);
        let told = (0..1_000).filter_map(|number| refusals.take(at(0), "/a", by(&format!("c{number}"))));
        assert_eq!(told.count(), 6);
        let rest = refusals.all();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].details, [("requests", "994".to_owned())]);
        assert_eq!(rest[0].who, Who::default());
    }
}
