//! Commits: one sequence, one instant, one atomic batch.
//!
//! The rows of a big commit that are new go in as a sorted ingestion, many times faster than row by row, but not
//! atomically with the batch. So the sequence is first written down as an *intent*; the batch that makes the commit true
//! removes it. An intent that is still there when the catalog is opened marks a commit that never came to be: its rows
//! count as absent. Only rows that had no predecessor are ingested, so nothing is ever overwritten before it is replaced.

use super::kv::{Batch, Durability, Kv, Space};
use super::kv_catalog::{Inner, encode_run, stored_instant};
use super::rows::{self, IdRow};
use super::{
    Commit, Committed, Counts, Expect, Gone, HotAction, HotBody, HotDone, HotResult, HotRow, HotWrite,
    JobWrite, Origin, RowBatch, RunRecord, RunWrite, Snapshot, Stillborn, Write,
};
use crate::{Error, ErrorKind, Result, Sequence};
use fhirhose_fhir::instant::Instant;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// Fewer new rows than this go into the batch itself: an ingestion makes files.
const INGEST_ROWS_MIN: usize = 2_000;

/// What only the writer knows.
pub(super) struct Writer {
    /// The newest commit, and the newest instant that was handed out.
    pub(super) last: Snapshot,
    /// The newest sequence that was ever begun.
    begun: u64,
    /// Types of which there is any `id` row: an empty type needs no look-ups.
    types_present: [bool; 256],
    /// Whether a change was begun and its success not heard of: what is known here may be behind what is stored. Set
    /// before the first write of a change, cleared after the last.
    pub(super) in_doubt: bool,
}

impl Writer {
    pub(super) fn open(kv: &dyn Kv, aborted: &HashSet<u64>) -> Result<Self> {
        let mut last = Snapshot {
            sequence: Sequence::ZERO,
            instant: Instant::from_micros(0),
        };
        if let Some(key) = kv.last_key(Space::Commit)? {
            let value = kv
                .get(Space::Commit, &key)?
                .ok_or_else(|| rows::corrupt("commit"))?;
            last = rows::decode_commit(&key, &value)?;
        }
        if let Some(instant) = stored_instant(kv)? {
            last.instant = last.instant.max(instant);
        }
        let begun = aborted.iter().copied().max().unwrap_or(0).max(last.sequence.0);
        let mut types_present = [false; 256];
        for code in 0..=u8::MAX {
            let to = code.checked_add(1).map(|next| [next]);
            kv.scan(
                Space::Id,
                &[code],
                to.as_ref().map(<[u8; 1]>::as_slice),
                &mut |_, _| {
                    types_present[usize::from(code)] = true;
                    Ok(ControlFlow::Break(()))
                },
            )?;
        }
        Ok(Self {
            last,
            begun,
            types_present,
            in_doubt: false,
        })
    }

    /// Reads anew what is stored, after a change of which nobody knows whether it took place. What was handed out
    /// before is never handed out again.
    pub(super) fn reopen(&mut self, kv: &dyn Kv, aborted: &HashSet<u64>) -> Result<()> {
        let mut stored = Self::open(kv, aborted)?;
        stored.begun = stored.begun.max(self.begun);
        stored.last.instant = stored.last.instant.max(self.last.instant);
        *self = stored;
        Ok(())
    }
}

/// A commit while it is being put together.
struct Draft {
    next: Snapshot,
    batch: Batch,
    counts: Counts,
    hot_rows: u64,
    hot_bytes: u64,
}

impl Inner {
    pub(super) fn commit(&self, commit: Commit) -> Result<Committed> {
        let mut writer = self.lock()?;
        if let Some(job) = &commit.job {
            self.held_job(&job.lease)?;
        }
        let now = Instant::from_micros(self.clock.now().as_micros());
        let next = Snapshot {
            sequence: Sequence(writer.begun + 1),
            instant: now.max(Instant::from_micros(writer.last.instant.micros() + 1)),
        };
        let draft = Draft {
            next,
            batch: Batch::default(),
            counts: Counts::default(),
            hot_rows: 0,
            hot_bytes: 0,
        };
        match commit.write {
            Write::Nothing => self.seal(&mut writer, draft, commit.job, &commit.origin, Vec::new()),
            Write::Run(run) => self.commit_run(&mut writer, draft, run, commit.job, &commit.origin),
            Write::Hot(writes) => self.commit_hot(&mut writer, draft, writes, commit.job, &commit.origin),
        }
    }

    fn commit_run(
        &self,
        writer: &mut Writer,
        mut draft: Draft,
        write: RunWrite,
        job: Option<JobWrite>,
        origin: &Origin,
    ) -> Result<Committed> {
        let rows = &write.rows;
        let (fresh, stillborn) = self.weigh(writer, &mut draft, rows)?;
        let alive = u64::from(rows.len()) - stillborn.1;
        if alive > 0 {
            let run = RunRecord {
                place: write.place,
                summary: write.summary,
                own: draft.next,
                oldest: draft.next.sequence,
                newest: draft.next.sequence,
                stillborn: stillborn.0.clone(),
            };
            draft
                .batch
                .put(Space::Run, run.place.as_bytes(), encode_run(&run));
            put_memberships(rows, &stillborn.0, &mut draft);
            self.put_fresh(writer, &mut draft, rows, &fresh)?;
        }
        let committed = self.seal(writer, draft, job, origin, Vec::new())?;
        self.runs_changed();
        for row in fresh {
            writer.types_present[usize::from(rows.type_code(row))] = true;
        }
        self.ingesting.store(0, Ordering::Release);
        Ok(Committed {
            run_kept: alive > 0,
            ..committed
        })
    }

    /// Looks up what each row replaces: gives the rows without predecessor, and those that change nothing.
    fn weigh(
        &self,
        writer: &Writer,
        draft: &mut Draft,
        rows: &RowBatch,
    ) -> Result<(Vec<u32>, (Stillborn, u64))> {
        let mut fresh = Vec::with_capacity(rows.len() as usize);
        let (mut stillborn, mut dead_on_arrival) = (Stillborn::default(), 0);
        let mut scratch = Vec::new();
        for &row in rows.by_id() {
            let code = rows.type_code(row);
            let old = match writer.types_present[usize::from(code)] {
                true => self.id_row(code, rows.id(row), &mut scratch)?,
                false => None,
            };
            let Some(old) = old else {
                draft.counts.created += 1;
                fresh.push(row);
                continue;
            };
            if old.deleted {
                draft.counts.created += 1;
            } else if rows.first_hash(row).unwrap_or(rows.hash(row)) == old.hash {
                draft.counts.unchanged += 1;
            } else {
                draft.counts.updated += 1;
            }
            if !old.deleted && old.hash == rows.hash(row) && old.owner == rows.owner(row) {
                stillborn.insert(u64::from(row));
                dead_on_arrival += 1;
                continue;
            }
            let new = new_id_row(rows, row, draft.next.sequence);
            self.put_successor(draft, rows.key(row), rows.id(row), &old, &new)?;
        }
        Ok((fresh, (stillborn, dead_on_arrival)))
    }

    /// Writes the `id` row that replaces `old`, and the end of the old version.
    fn put_successor(
        &self,
        draft: &mut Draft,
        key: &[u8],
        id: &[u8],
        old: &IdRow,
        new: &IdRow,
    ) -> Result<()> {
        let code = key[0];
        if new.subsetted && !old.subsetted && !old.deleted {
            let what = "a resource tagged SUBSETTED would replace a fuller one";
            return Err(Error::new(ErrorKind::Conflict, what));
        }
        let old_key = [&[code], old.owner.as_slice(), id].concat();
        if old.deleted {
            self.put_recreated(draft, &old_key, old.sequence)?;
        } else {
            let dead = rows::encode_dead(draft.next.sequence);
            draft
                .batch
                .put(Space::Dead, rows::versioned(&old_key, old.sequence), dead);
        }
        if old.owner != new.owner {
            self.put_past(code, id, old, &mut draft.batch)?;
        }
        draft.batch.put(Space::Id, [&[code], id].concat(), new.encode(id));
        Ok(())
    }

    /// Notes on a deletion that the resource is there again.
    fn put_recreated(&self, draft: &mut Draft, key: &[u8], gone_at: Sequence) -> Result<()> {
        let gone_key = rows::gone_key(gone_at, key);
        if let Some(value) = self.kv.get(Space::Gone, &gone_key)? {
            let mut gone = rows::decode_gone(&gone_key, &value)?;
            gone.recreated = Some(draft.next.sequence);
            draft.batch.put(Space::Gone, gone_key, rows::encode_gone(&gone));
        }
        Ok(())
    }

    /// Writes the `id` rows that have no predecessor: a few into the batch, many as a sorted ingestion.
    fn put_fresh(
        &self,
        writer: &mut Writer,
        draft: &mut Draft,
        rows: &RowBatch,
        fresh: &[u32],
    ) -> Result<()> {
        let sequence = draft.next.sequence;
        let mut pairs = fresh.iter().map(|&row| {
            let id = rows.id(row);
            (
                [&[rows.type_code(row)], id].concat(),
                new_id_row(rows, row, sequence).encode(id),
            )
        });
        if fresh.len() < INGEST_ROWS_MIN {
            for (key, value) in pairs {
                draft.batch.put(Space::Id, key, value);
            }
            return Ok(());
        }
        let mut intent = Batch::default();
        intent.put(Space::Intent, sequence.0.to_be_bytes(), []);
        writer.begun = sequence.0;
        writer.in_doubt = true;
        self.kv.write(intent, Durability::Synced)?;
        draft.batch.remove(Space::Intent, sequence.0.to_be_bytes());
        self.ingesting.store(sequence.0, Ordering::Release);
        self.kv.ingest(Space::Id, &mut pairs)
    }

    fn commit_hot(
        &self,
        writer: &mut Writer,
        mut draft: Draft,
        writes: Vec<HotWrite>,
        job: Option<JobWrite>,
        origin: &Origin,
    ) -> Result<Committed> {
        let mut results = Vec::with_capacity(writes.len());
        let mut codes = Vec::with_capacity(writes.len());
        let mut seen = HashSet::new();
        for write in writes {
            if !seen.insert((write.resource_type, write.id.clone())) {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "writing one resource twice in one commit",
                ));
            }
            codes.push(write.resource_type.code());
            results.push(self.put_hot(&mut draft, write)?);
        }
        let committed = self.seal(writer, draft, job, origin, results)?;
        for code in codes {
            writer.types_present[usize::from(code)] = true;
        }
        Ok(committed)
    }

    fn put_hot(&self, draft: &mut Draft, write: HotWrite) -> Result<HotResult> {
        let mut id = Vec::new();
        crate::key::push_id(&write.id, &mut id);
        let code = write.resource_type.code();
        let old = self.id_row(code, &id, &mut Vec::new())?;
        let alive = old.as_ref().filter(|old| !old.deleted);
        let holds = match write.expect {
            Expect::Any => true,
            Expect::Absent => alive.is_none(),
            Expect::Version(version) => alive.is_some_and(|old| old.sequence == version),
        };
        if !holds {
            return Err(Error::new(
                ErrorKind::Conflict,
                "the resource is not at the version that was expected",
            ));
        }
        match write.action {
            HotAction::Put(body) => self.put_body(draft, code, &id, old, body),
            HotAction::Delete { others } => self.put_deletion(draft, code, &id, old, &others),
        }
    }

    fn put_body(
        &self,
        draft: &mut Draft,
        code: u8,
        id: &[u8],
        old: Option<IdRow>,
        body: HotBody,
    ) -> Result<HotResult> {
        let mut owner = Vec::new();
        crate::key::push_owner(body.owner.as_deref(), &mut owner);
        if let Some(old) = old
            .as_ref()
            .filter(|old| !old.deleted && old.hash == body.hash && old.owner == owner)
        {
            draft.counts.unchanged += 1;
            return Ok(HotResult {
                done: HotDone::Unchanged,
                version: self.version(old.sequence)?,
            });
        }
        let key = [&[code], owner.as_slice(), id].concat();
        let sequence = draft.next.sequence;
        let new = IdRow {
            sequence,
            hash: body.hash,
            owner,
            subsetted: body.subsetted,
            deleted: false,
        };
        let done = match &old {
            Some(old) => {
                self.put_successor(draft, &key, id, old, &new)?;
                if old.deleted {
                    HotDone::Created
                } else {
                    HotDone::Updated
                }
            }
            None => {
                draft.batch.put(Space::Id, [&[code], id].concat(), new.encode(id));
                HotDone::Created
            }
        };
        match done {
            HotDone::Created => draft.counts.created += 1,
            _ => draft.counts.updated += 1,
        }
        draft.put_hot_row(key, body);
        Ok(HotResult {
            done,
            version: draft.next,
        })
    }

    fn put_deletion(
        &self,
        draft: &mut Draft,
        code: u8,
        id: &[u8],
        old: Option<IdRow>,
        others: &[String],
    ) -> Result<HotResult> {
        let Some(old) = old.filter(|old| !old.deleted) else {
            return Ok(HotResult {
                done: HotDone::Missing,
                version: draft.next,
            });
        };
        let sequence = draft.next.sequence;
        let key = [&[code], old.owner.as_slice(), id].concat();
        let new = IdRow {
            sequence,
            hash: 0,
            owner: old.owner.clone(),
            subsetted: false,
            deleted: true,
        };
        self.put_successor(draft, &key, id, &old, &new)?;
        let others = others.iter().map(|other| {
            let mut patient = Vec::new();
            crate::key::push_id(other, &mut patient);
            patient
        });
        let gone = Gone {
            sequence,
            key,
            recreated: None,
            others: others.collect(),
        };
        draft.batch.put(
            Space::Gone,
            rows::gone_key(sequence, &gone.key),
            rows::encode_gone(&gone),
        );
        Ok(HotResult {
            done: HotDone::Deleted,
            version: draft.next,
        })
    }

    /// A version with the instant of its commit.
    fn version(&self, sequence: Sequence) -> Result<Snapshot> {
        let key = sequence.0.to_be_bytes();
        let value = self
            .kv
            .get(Space::Commit, &key)?
            .ok_or_else(|| rows::corrupt("commit"))?;
        rows::decode_commit(&key, &value)
    }

    /// Adds the commit's own row and the checkpoint, writes the batch, and makes it the newest state.
    fn seal(
        &self,
        writer: &mut Writer,
        mut draft: Draft,
        job: Option<JobWrite>,
        origin: &Origin,
        results: Vec<HotResult>,
    ) -> Result<Committed> {
        let changed = !draft.batch.is_empty();
        if let Some(job) = job {
            let checkpoint = (job.checkpoint)(&draft.counts);
            self.put_checkpoint(&job.lease, checkpoint, &mut draft.batch)?;
        }
        if changed {
            let key = draft.next.sequence.0.to_be_bytes();
            draft.batch.put(
                Space::Commit,
                key,
                rows::encode_commit(draft.next.instant, origin),
            );
        }
        if changed {
            writer.begun = draft.next.sequence.0;
            writer.in_doubt = true;
        }
        if !draft.batch.is_empty() {
            self.kv.write(draft.batch, Durability::Synced)?;
        }
        if changed {
            writer.in_doubt = false;
            writer.last = draft.next;
            self.hot_rows.fetch_add(draft.hot_rows, Ordering::Relaxed);
            self.hot_bytes.fetch_add(draft.hot_bytes, Ordering::Relaxed);
        }
        Ok(Committed {
            snapshot: writer.last,
            counts: draft.counts,
            run_kept: false,
            results,
        })
    }
}

impl Draft {
    /// Writes the body of an interactive write, and the further compartments it sits in.
    fn put_hot_row(&mut self, key: Vec<u8>, body: HotBody) {
        let Snapshot { sequence, instant } = self.next;
        for other in &body.others {
            let mut member = Vec::new();
            crate::key::push_id(other, &mut member);
            member.extend_from_slice(&key);
            self.batch
                .put(Space::Membership, rows::versioned(&member, sequence), []);
        }
        let row = HotRow {
            key,
            sequence,
            instant,
            splice: body.splice,
            id_at: body.id_at,
            body: body.body,
        };
        let value = rows::encode_hot(&row);
        self.hot_rows += 1;
        self.hot_bytes += value.len() as u64;
        self.batch
            .put(Space::Hot, rows::versioned(&row.key, sequence), value);
    }
}

fn new_id_row(rows: &RowBatch, row: u32, sequence: Sequence) -> IdRow {
    IdRow {
        sequence,
        hash: rows.hash(row),
        owner: rows.owner(row).to_vec(),
        subsetted: rows.subsetted(row),
        deleted: false,
    }
}

fn put_memberships(rows: &RowBatch, stillborn: &Stillborn, draft: &mut Draft) {
    for (row, patient) in rows.others() {
        if !stillborn.contains(u64::from(*row)) {
            let key = [patient.as_slice(), rows.key(*row)].concat();
            draft
                .batch
                .put(Space::Membership, rows::versioned(&key, draft.next.sequence), []);
        }
    }
}
