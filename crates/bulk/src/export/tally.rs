//! How much of each type an export has written so far: for people, and for the operator's view of a job.

use std::collections::BTreeMap;

use fhirhose_jobs::Tally;

use super::names::series;
use super::state::Part;

/// What a part wrote so far, that of an unfinished file included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wrote {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Wrote {
    /// What the finished files of a part hold.
    pub(super) fn of(part: &Part) -> Self {
        Self {
            rows: part.files.iter().map(|file| file.rows).sum(),
            bytes: part.files.iter().map(|file| file.bytes).sum(),
        }
    }
}

/// Sums up by type, never below what was told `before`: a worker that takes over makes unfinished files anew, and nothing is less done
/// for that.
pub(super) fn tallies(parts: &[Part], wrote: &[Wrote], before: &[Tally]) -> Vec<Tally> {
    let mut by_type: BTreeMap<&str, Tally> = BTreeMap::new();
    for (part, wrote) in parts.iter().zip(wrote) {
        let name = series(&part.work).1.unwrap_or("output");
        let tally = by_type.entry(name).or_default();
        tally.rows += wrote.rows;
        tally.bytes += wrote.bytes;
        tally.files += part.files.len() as u64;
    }
    for told in before {
        let tally = by_type.entry(&told.name).or_default();
        tally.rows = tally.rows.max(told.rows);
        tally.bytes = tally.bytes.max(told.bytes);
        tally.files = tally.files.max(told.files);
    }
    let named = |(name, tally): (&str, Tally)| Tally {
        name: name.to_owned(),
        ..tally
    };
    let any = |tally: &Tally| tally.rows > 0 || tally.files > 0;
    by_type.into_iter().map(named).filter(any).collect()
}
