//! The members of an exported Group, and who joined or left it since `_since` (G-03 to G-06).

use std::collections::BTreeSet;

use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::StopSignal;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{Sequence, Store};

use super::notes::Notes;
use super::roster::{Groups, Reading, read_roster};
use super::spec::{ExportSpec, GroupJoiners};
use super::state::State;
use crate::{Error, ErrorKind, Result};

/// Whose compartments a Group export takes.
pub(super) struct Members {
    pub(super) patients: BTreeSet<Id>,
    /// Those of them who come with their whole history.
    pub(super) joined: BTreeSet<Id>,
}

impl Members {
    /// Finds them out, and notes what is to be told.
    pub(super) async fn find(
        store: &Store,
        spec: &ExportSpec,
        state: &State,
        stop: &StopSignal,
        group: &Id,
        notes: &mut Notes,
    ) -> Result<Self> {
        let reading = Reading {
            store,
            at: state.snapshot,
            base_url: spec.base_url.as_deref().unwrap_or_default(),
            stop,
        };
        let Some(roster) = read_roster(reading, group).await? else {
            let problem = "the Group that is to be exported was deleted before the export began";
            return Err(Error::new(ErrorKind::NotFound, problem));
        };
        notes.add(&roster);
        let mut patients = roster.patients;
        let mut joined = BTreeSet::new();
        if let Some(since) = spec.request.since {
            match before(reading, state, since, group).await? {
                Some(before) => {
                    joined = patients.difference(&before).cloned().collect();
                    notes.left = before.difference(&patients).cloned().collect();
                }
                None => notes.members_forgotten = true,
            }
        }
        if let Some(only) = &spec.request.patients {
            let only: BTreeSet<Id> = only.iter().cloned().collect();
            notes.strangers = only.difference(&patients).count() as u64;
            notes.left.retain(|id| only.contains(id));
            for ids in [&mut patients, &mut joined] {
                ids.retain(|id| only.contains(id));
            }
        }
        if spec.group_joiners == GroupJoiners::ChangesOnly {
            joined.clear();
        }
        notes.joined = joined.len() as u64;
        Ok(Self { patients, joined })
    }
}

/// Who was a member at `_since`; `None` if that is not known any more.
async fn before(
    reading: Reading<'_>,
    state: &State,
    since: Instant,
    group: &Id,
) -> Result<Option<BTreeSet<Id>>> {
    let at = Snapshot {
        sequence: state.after,
        instant: since,
    };
    if at.sequence < oldest_groups(reading, state).await? {
        return Ok(None);
    }
    let reading = Reading { at, ..reading };
    let Some(groups) = Groups::read(reading, group).await? else {
        // The Group came later, and with it all its members.
        return Ok(Some(BTreeSet::new()));
    };
    if groups.have_filters() && at.sequence < state.forgotten {
        return Ok(None);
    }
    Ok(Some(groups.resolve(reading).await?.patients))
}

/// The oldest state at which all Groups are known as they were.
async fn oldest_groups(reading: Reading<'_>, state: &State) -> Result<Sequence> {
    let kept = reading
        .store
        .settings()
        .group_history_secs
        .saturating_mul(1_000_000);
    let kept = i64::try_from(kept).unwrap_or(i64::MAX);
    let oldest = Instant::from_micros(state.snapshot.instant.micros().saturating_sub(kept));
    let oldest = reading.store.catalog().sequence_at(oldest).await?;
    // What is kept for longer than Groups are is never forgotten, them included.
    Ok(oldest.min(state.forgotten))
}
