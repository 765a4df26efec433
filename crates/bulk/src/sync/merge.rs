//! Works out what a round means for the target: records and ledger, both in the order of `Type/id`, become marks of the lines to be put,
//! Bundles of what is to be deleted, and the ledger as it will be.
//!
//! One resource is decided at a time, purely by what is known of it ([`decide`]). Of several texts the newest by `meta.lastUpdated` counts,
//! of those the last (CL-11); an incomplete one never replaces a complete one (CL-15); a deletion counts for more than a text, for it is
//! applied after it (CL-11). Only what the ledger holds is ever deleted.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fhirhose_fhir::bundle::{DELETED_ENTRIES_MAX, write_deleted_bundles};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use serde::{Deserialize, Serialize};

use super::gather::{Kind, Record};
use super::ledger::{Entry, LedgerReader, LedgerWriter};
use super::records::{Sorted, flush};
use super::settings::Leavers;
use crate::durable;
use crate::{Error, Result};

/// What is known of a round beside its records.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// Everything that the source has was fetched: what is not there is gone.
    pub(super) is_whole: bool,
    /// What is unchanged goes to the target nevertheless.
    pub(super) resends: bool,
    /// The members of the Group, for Group sources.
    pub(super) members: Option<BTreeSet<String>>,
    /// Those of them whose whole data was fetched, for they were no members before.
    pub(super) joiners: BTreeSet<String>,
    /// What becomes of the data of former members.
    pub(super) leavers: Leavers,
}

/// How many resources met which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// New at the target.
    pub created: u64,
    /// Changed since they were brought.
    pub updated: u64,
    /// Brought before with the same content.
    pub same: u64,
    /// Deleted, or gone from the source.
    pub deleted: u64,
    /// Deleted because the filter no longer lets them through, or their patients have left.
    pub withdrawn: u64,
    /// Never taken, by the filter.
    pub filtered: u64,
    /// Incomplete texts that were passed over.
    pub subsetted: u64,
    /// Deletions of what this sync has not brought.
    pub not_brought: u64,
    /// In the ledger after the round.
    pub entries: u64,
}

impl Counts {
    /// What goes to the target.
    pub fn sent(&self) -> u64 {
        self.created + self.updated
    }

    /// What is deleted there.
    pub fn removed(&self) -> u64 {
        self.deleted + self.withdrawn
    }
}

/// What becomes of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    /// The line with this ordinal is put.
    Put,
    /// It stays as it was brought.
    Same,
    /// It is deleted at the target.
    Delete,
    /// It is deleted at the target though the source still has it.
    Withdraw,
    /// It is none of the target's.
    Leave(Left),
}

/// Why something is none of the target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Filtered,
    Subsetted,
    NotBrought,
}

/// All that a round says of one resource.
#[derive(Debug, Default)]
struct Said {
    /// The text that counts.
    best: Option<Record>,
    gone: bool,
    pending_gone: bool,
    /// The source has a text of it that cannot be taken.
    refused: bool,
    /// The target has refused a text of it before.
    pending: bool,
}

impl Said {
    fn hear(&mut self, record: Record) {
        match record.kind {
            Kind::Gone => self.gone = true,
            Kind::PendingGone => self.pending_gone = true,
            Kind::Refused => self.refused = true,
            kind => {
                self.pending |= kind == Kind::Pending;
                let rank = |record: &Record| (!record.is_subsetted(), record.updated, record.ordinal);
                if self.best.as_ref().is_none_or(|best| rank(best) < rank(&record)) {
                    self.best = Some(record);
                }
            }
        }
    }
}

/// Decides about one resource; `entry` is what was brought of it.
fn decide(said: &Said, entry: Option<&Entry>, terms: &Terms) -> Decision {
    let brought = entry.is_some();
    if said.gone || (said.pending_gone && said.best.is_none()) {
        return match brought || said.pending_gone {
            true => Decision::Delete,
            false => Decision::Leave(Left::NotBrought),
        };
    }
    let Some(best) = &said.best else {
        if said.refused {
            // What was brought is older than what the source has, and better than nothing.
            return Decision::Same;
        }
        return entry.map_or(Decision::Leave(Left::NotBrought), |entry| unseen(entry, terms));
    };
    match (best.kind, entry) {
        // Of an incomplete text nobody knows whether the filter would let the whole one through.
        (Kind::Filtered | Kind::Subsetted, Some(entry)) if best.is_subsetted() && !entry.is_subsetted() => {
            Decision::Leave(Left::Subsetted)
        }
        (Kind::Filtered, Some(_)) => Decision::Withdraw,
        (Kind::Filtered, None) => Decision::Leave(Left::Filtered),
        _ if said.pending => Decision::Put,
        (_, Some(entry)) if entry.hash == best.hash && !terms.resends => Decision::Same,
        _ => Decision::Put,
    }
}

/// Decides about what was brought and is not spoken of.
fn unseen(entry: &Entry, terms: &Terms) -> Decision {
    let mut owners = entry.owners().peekable();
    let (Some(members), true) = (&terms.members, owners.peek().is_some()) else {
        return if terms.is_whole {
            Decision::Delete
        } else {
            Decision::Same
        };
    };
    let owners: Vec<&str> = owners.collect();
    if owners.iter().all(|owner| !members.contains(*owner)) {
        return match terms.leavers {
            Leavers::Keep => Decision::Same,
            Leavers::Remove => Decision::Withdraw,
        };
    }
    let all_fetched = owners.iter().all(|owner| terms.joiners.contains(*owner));
    if terms.is_whole || all_fetched {
        return Decision::Delete;
    }
    Decision::Same
}

/// Which lines are put, by their ordinals.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    pub(super) fn of_lines(lines: u64) -> Self {
        Self(vec![0; usize::try_from(lines / 64 + 1).unwrap_or(usize::MAX)])
    }

    fn set(&mut self, ordinal: u64) {
        if let Some(word) = self.0.get_mut((ordinal / 64) as usize) {
            *word |= 1 << (ordinal % 64);
        }
    }

    pub(super) fn has(&self, ordinal: u64) -> bool {
        let word = self.0.get((ordinal / 64) as usize).copied().unwrap_or(0);
        word >> (ordinal % 64) & 1 == 1
    }
}

/// Where the results of a merge go.
pub(super) struct MergeFiles<'a> {
    pub(super) old_ledger: Option<&'a Path>,
    pub(super) new_ledger: &'a Path,
    pub(super) deletions: &'a Path,
}

/// Merges all records of a round with the ledger.
pub(super) fn merge(
    mut records: Sorted,
    lines: u64,
    terms: &Terms,
    files: &MergeFiles<'_>,
) -> Result<(Marks, Counts)> {
    let mut merge = Merge {
        marks: Marks::of_lines(lines),
        counts: Counts::default(),
        ledger: LedgerWriter::create(files.new_ledger)?,
        deletions: Deletions::create(files.deletions)?,
        terms,
    };
    let mut old = LedgerReader::open(files.old_ledger)?;
    let mut next = records
        .next_line()?
        .map(|line| Record::parse(&line))
        .transpose()?;
    loop {
        let key = match (
            next.as_ref().map(|record| &record.key),
            old.peek().map(|entry| &entry.key),
        ) {
            (None, None) => break,
            (Some(key), None) | (None, Some(key)) => key.clone(),
            (Some(record), Some(entry)) => record.min(entry).clone(),
        };
        let mut said = Said::default();
        while let Some(record) = next.take_if(|record| record.key == key) {
            said.hear(record);
            next = records
                .next_line()?
                .map(|line| Record::parse(&line))
                .transpose()?;
        }
        let entry = match old.peek().is_some_and(|entry| entry.key == key) {
            true => old.take()?,
            false => None,
        };
        merge.settle(key, said, entry)?;
    }
    merge.deletions.finish()?;
    merge.counts.entries = merge.ledger.finish()?;
    Ok((merge.marks, merge.counts))
}

struct Merge<'a> {
    marks: Marks,
    counts: Counts,
    ledger: LedgerWriter,
    deletions: Deletions,
    terms: &'a Terms,
}

impl Merge<'_> {
    fn settle(&mut self, key: String, said: Said, entry: Option<Entry>) -> Result<()> {
        let counts = &mut self.counts;
        match (decide(&said, entry.as_ref(), self.terms), said.best) {
            (Decision::Put, Some(best)) => {
                let count = if entry.is_some() {
                    &mut counts.updated
                } else {
                    &mut counts.created
                };
                *count += 1;
                self.marks.set(best.ordinal);
                self.ledger.push(&Entry {
                    key,
                    hash: best.hash,
                    owners: best.owners,
                })
            }
            (Decision::Same, best) => {
                counts.same += u64::from(best.is_some());
                self.keep(entry)
            }
            (Decision::Delete | Decision::Put, _) => {
                counts.deleted += 1;
                self.deletions.push(&key)
            }
            (Decision::Withdraw, _) => {
                counts.withdrawn += 1;
                self.deletions.push(&key)
            }
            (Decision::Leave(why), _) => {
                *match why {
                    Left::Filtered => &mut counts.filtered,
                    Left::Subsetted => &mut counts.subsetted,
                    Left::NotBrought => &mut counts.not_brought,
                } += 1;
                self.keep(entry)
            }
        }
    }

    fn keep(&mut self, entry: Option<Entry>) -> Result<()> {
        entry.map_or(Ok(()), |entry| self.ledger.push(&entry))
    }
}

/// Writes deletions as lines of Bundles (M-31).
struct Deletions {
    out: BufWriter<std::fs::File>,
    path: PathBuf,
    some: Vec<(ResourceType, Id)>,
}

impl Deletions {
    fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            out: BufWriter::new(durable::create(path)?),
            path: path.to_owned(),
            some: Vec::new(),
        })
    }

    fn push(&mut self, key: &str) -> Result<()> {
        let parsed = key
            .split_once('/')
            .and_then(|(name, id)| Some((ResourceType::parse(name)?, Id::parse(id)?)));
        self.some.extend(parsed);
        if self.some.len() == DELETED_ENTRIES_MAX {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let mut lines = Vec::new();
        let some = self.some.drain(..).collect::<Vec<_>>();
        write_deleted_bundles(some.iter().map(|(name, id)| (*name, id)), &mut lines);
        let written = self.out.write_all(&lines);
        written.map_err(|source| Error::io(format!("writing {}", self.path.display()), source))
    }

    fn finish(mut self) -> Result<()> {
        self.write()?;
        flush(self.out, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, updated: i64, ordinal: u64) -> Record {
        let mark = if kind == Kind::Subsetted { "s" } else { "" };
        Record {
            key: "Patient/p1".to_owned(),
            kind,
            updated,
            ordinal,
            hash: format!("{mark}{updated}"),
            owners: String::new(),
        }
    }

    fn entry(hash: &str) -> Entry {
        Entry {
            key: "Patient/p1".to_owned(),
            hash: hash.to_owned(),
            owners: "p1".to_owned(),
        }
    }

    fn check(records: Vec<Record>, brought: Option<&str>, terms: &Terms, expected: Decision) {
        let mut said = Said::default();
        for record in records.clone() {
            said.hear(record);
        }
        let entry = brought.map(entry);
        assert_eq!(
            decide(&said, entry.as_ref(), terms),
            expected,
            "{records:?} {brought:?}"
        );
    }

    #[test]
    fn a_deletion_counts_for_more_than_a_text_and_touches_only_what_was_brought_cl_11() {
        let terms = Terms::default();
        let (text, gone) = (record(Kind::Taken, 1, 0), record(Kind::Gone, 0, 0));
        check(
            vec![text.clone(), gone.clone()],
            Some("1"),
            &terms,
            Decision::Delete,
        );
        check(vec![gone.clone()], Some("1"), &terms, Decision::Delete);
        check(vec![gone], None, &terms, Decision::Leave(Left::NotBrought));
        check(
            vec![text, record(Kind::PendingGone, 0, 0)],
            None,
            &terms,
            Decision::Put,
        );
        check(
            vec![record(Kind::PendingGone, 0, 0)],
            None,
            &terms,
            Decision::Delete,
        );
    }

    #[test]
    fn the_newest_text_counts_and_of_equals_the_last_cl_11() {
        let mut said = Said::default();
        for (updated, ordinal) in [(5, 0), (9, 1), (7, 2), (9, 3)] {
            said.hear(record(Kind::Taken, updated, ordinal));
        }
        assert_eq!(said.best.unwrap().ordinal, 3);
    }

    #[test]
    fn an_incomplete_text_never_replaces_a_complete_one_cl_15() {
        let terms = Terms::default();
        let incomplete = record(Kind::Subsetted, 9, 1);
        check(
            vec![incomplete.clone()],
            Some("1"),
            &terms,
            Decision::Leave(Left::Subsetted),
        );
        check(vec![incomplete.clone()], Some("s1"), &terms, Decision::Put);
        check(vec![incomplete.clone()], None, &terms, Decision::Put);
        let mut said = Said::default();
        said.hear(record(Kind::Taken, 1, 0));
        said.hear(incomplete);
        assert_eq!(said.best.unwrap().kind, Kind::Taken);
    }

    #[test]
    fn an_incomplete_text_that_the_filter_refuses_withdraws_nothing_complete_cl_15() {
        let terms = Terms::default();
        let incomplete = Record {
            hash: "s9".to_owned(),
            ..record(Kind::Filtered, 9, 1)
        };
        let leave = Decision::Leave(Left::Subsetted);
        check(vec![incomplete.clone()], Some("1"), &terms, leave);
        check(vec![incomplete.clone()], Some("s1"), &terms, Decision::Withdraw);
        // A complete text beside it counts, though it is older.
        let complete = record(Kind::Taken, 2, 0);
        check(vec![complete, incomplete], Some("1"), &terms, Decision::Put);
    }

    #[test]
    fn what_the_filter_no_longer_lets_through_is_withdrawn_cl_14() {
        let terms = Terms::default();
        let filtered = record(Kind::Filtered, 3, 0);
        check(vec![filtered.clone()], Some("1"), &terms, Decision::Withdraw);
        check(
            vec![filtered.clone()],
            None,
            &terms,
            Decision::Leave(Left::Filtered),
        );
        let older = record(Kind::Taken, 2, 1);
        check(vec![filtered, older], Some("1"), &terms, Decision::Withdraw);
    }

    #[test]
    fn what_was_not_spoken_of_goes_only_when_everything_was_fetched() {
        let whole = Terms {
            is_whole: true,
            ..Terms::default()
        };
        check(vec![], Some("1"), &Terms::default(), Decision::Same);
        check(vec![], Some("1"), &whole, Decision::Delete);
        for brought in [Some("1"), None] {
            check(vec![record(Kind::Refused, 0, 0)], brought, &whole, Decision::Same);
        }
        check(vec![record(Kind::Taken, 1, 0)], Some("1"), &whole, Decision::Same);
        let resends = Terms {
            resends: true,
            ..whole
        };
        check(
            vec![record(Kind::Taken, 1, 0)],
            Some("1"),
            &resends,
            Decision::Put,
        );
    }

    #[test]
    fn data_of_former_members_follows_the_policy_g_05() {
        let members = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for is_whole in [false, true] {
            for (leavers, expected) in [
                (Leavers::Keep, Decision::Same),
                (Leavers::Remove, Decision::Withdraw),
            ] {
                let terms = Terms {
                    is_whole,
                    members: members(&["p2"]),
                    leavers,
                    ..Terms::default()
                };
                check(vec![], Some("1"), &terms, expected);
            }
        }
        let joined = Terms {
            members: members(&["p1"]),
            joiners: ["p1".to_owned()].into(),
            ..Terms::default()
        };
        check(vec![], Some("1"), &joined, Decision::Delete);
    }
}
