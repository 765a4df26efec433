//! The catalog over an ordered key-value store: opening it, and all that is read.
//!
//! Writing lives in `commit.rs`, jobs in `jobs.rs`. One process has the store open (the data folder's lock), one writer
//! at a time changes it; readers never wait for the writer.

use super::commit::Writer;
use super::kv::{Durability, Kv, Space};
use super::rows::{self, IdRow};
use super::{
    Batch, Catalog, CatalogStats, Commit, Committed, Dead, Ended, Gone, HotRow, KeyRange, Membership, Newest,
    Record, RecordExpect, RecordKind, Retired, RunRecord, Snapshot, Stillborn, Swap,
};
use crate::{Error, ErrorKind, Result, Sequence};
use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, Clock, Lease, Timestamp};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// A [`Catalog`] over a [`Kv`].
#[derive(Clone)]
pub struct KvCatalog {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) kv: Box<dyn Kv>,
    pub(super) clock: Arc<dyn Clock>,
    /// Held by whoever changes the catalog, from the first look to the end of the batch.
    pub(super) writer: Mutex<Writer>,
    /// Sequences of commits that were begun and never came to be: their `id` rows are as good as absent.
    /// Filled when the catalog is opened and by commits that fail half-way; never shrinks.
    pub(super) aborted: RwLock<HashSet<u64>>,
    /// The sequence whose `id` rows are being ingested right now, or 0. Set by the writer before the first row and
    /// cleared after the batch that makes the commit true.
    pub(super) ingesting: AtomicU64,
    /// The list of runs as last read; emptied by the writer when it changed.
    runs: Mutex<Option<Vec<Arc<RunRecord>>>>,
    /// Interactive rows and their bytes, kept by the writer.
    pub(super) hot_rows: AtomicU64,
    pub(super) hot_bytes: AtomicU64,
}

const INSTANT: &[u8] = b"instant";

impl KvCatalog {
    /// Opens the catalog that lies in `kv`, or a new one if it is empty.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) when a row that must be read is not what was written.
    pub fn open(kv: Box<dyn Kv>, clock: Arc<dyn Clock>) -> Result<Self> {
        let aborted = read_intents(&*kv)?;
        let (hot_rows, hot_bytes) = count_hot(&*kv)?;
        let writer = Writer::open(&*kv, &aborted)?;
        let inner = Inner {
            kv,
            clock,
            writer: Mutex::new(writer),
            aborted: RwLock::new(aborted),
            ingesting: AtomicU64::new(0),
            runs: Mutex::new(None),
            hot_rows: AtomicU64::new(hot_rows),
            hot_bytes: AtomicU64::new(hot_bytes),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Runs a change on a thread that may wait for the disk.
    pub(super) async fn change<T, F>(&self, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || change(&inner)).await;
        done.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Storage, "changing the catalog").with_source(panic))
        })
    }
}

impl Inner {
    /// Takes the writer's lock, and makes sure that the writer knows what is stored.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Writer>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.in_doubt {
            self.settle(&mut writer)?;
        }
        Ok(writer)
    }

    /// Finds out what became of a change that failed or panicked: it is there whole, or its intent says that it is not.
    fn settle(&self, writer: &mut Writer) -> Result<()> {
        let begun = read_intents(&*self.kv)?;
        let (hot_rows, hot_bytes) = count_hot(&*self.kv)?;
        writer.reopen(&*self.kv, &begun)?;
        self.hot_rows.store(hot_rows, Ordering::Relaxed);
        self.hot_bytes.store(hot_bytes, Ordering::Relaxed);
        self.aborted
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(begun);
        // Only now: until here the rows of the change counted as absent.
        self.ingesting.store(0, Ordering::Release);
        self.runs_changed();
        Ok(())
    }

    /// The newest version of an id as the row has it; rows of commits that are not true (yet) count as absent.
    pub(super) fn id_row(&self, type_code: u8, id: &[u8], scratch: &mut Vec<u8>) -> Result<Option<IdRow>> {
        scratch.clear();
        scratch.push(type_code);
        scratch.extend_from_slice(id);
        let Some(value) = self.kv.get(Space::Id, scratch)? else {
            return Ok(None);
        };
        let row = IdRow::decode(id, &value)?;
        Ok(self.is_true(row.sequence).then_some(row))
    }

    pub(super) fn is_true(&self, sequence: Sequence) -> bool {
        self.ingesting.load(Ordering::Acquire) != sequence.0
            && !self
                .aborted
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&sequence.0)
    }

    /// The store as it is, with an instant that no later commit will fall below.
    fn snapshot(&self) -> Result<Snapshot> {
        let mut writer = self.lock()?;
        let now = Instant::from_micros(self.clock.now().as_micros());
        let instant = now.max(writer.last.instant);
        writer.last.instant = instant;
        let mut batch = Batch::default();
        batch.put(Space::Meta, INSTANT, instant.micros().to_le_bytes());
        self.kv.write(batch, Durability::Buffered)?;
        Ok(writer.last)
    }

    fn sequence_at(&self, instant: Instant) -> Result<Sequence> {
        let (mut found, mut low, mut high) = (Sequence::ZERO, 0, self.lock()?.last.sequence.0);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.commit_at_or_before(middle, low)? {
                Some(commit) if commit.instant > instant => high = commit.sequence.0 - 1,
                Some(commit) => (found, low) = (commit.sequence, middle),
                // No commit came to be from here to there: what is sought lies above, if anywhere.
                None => low = middle,
            }
        }
        Ok(found)
    }

    /// The newest commit in `(above, sequence]`; sequences of commits that never came to be have no row.
    fn commit_at_or_before(&self, sequence: u64, above: u64) -> Result<Option<Snapshot>> {
        for each in (above + 1..=sequence).rev() {
            let key = each.to_be_bytes();
            if let Some(value) = self.kv.get(Space::Commit, &key)? {
                return rows::decode_commit(&key, &value).map(Some);
            }
        }
        Ok(None)
    }

    fn runs(&self) -> Result<Vec<Arc<RunRecord>>> {
        let mut known = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runs) = known.as_ref() {
            return Ok(runs.clone());
        }
        let mut runs = Vec::new();
        self.kv.scan(Space::Run, &[], None, &mut |_, value| {
            runs.push(Arc::new(decode_run(value)?));
            Ok(ControlFlow::Continue(()))
        })?;
        runs.sort_by(|a: &Arc<RunRecord>, b| (a.oldest, &a.place).cmp(&(b.oldest, &b.place)));
        *known = Some(runs.clone());
        Ok(runs)
    }

    /// Makes the next reader read the list of runs anew; called after the batch that changed it.
    pub(super) fn runs_changed(&self) {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn swap(&self, swap: Swap, job: Option<(Lease, Checkpoint)>) -> Result<()> {
        let mut writer = self.lock()?;
        let mut batch = Batch::default();
        if let Some((lease, checkpoint)) = job {
            self.put_checkpoint(&lease, checkpoint, &mut batch)?;
        }
        let now = self.clock.now();
        for place in swap.remove_runs {
            batch.remove(Space::Run, place.as_bytes());
            batch.put(Space::Retired, place, now.as_micros().to_le_bytes());
        }
        for run in &swap.add {
            batch.put(Space::Run, run.place.as_bytes(), encode_run(run));
        }
        self.prune_past(&swap.dropped, &mut batch)?;
        self.put_forgotten(swap.forgotten, &mut batch)?;
        for (key, sequence) in swap.dropped {
            batch.remove(Space::Dead, rows::versioned(&key, sequence));
        }
        let (mut hot_rows, mut hot_bytes) = (0, 0);
        for (key, sequence) in swap.remove_hot {
            let key = rows::versioned(&key, sequence);
            if let Some(value) = self.kv.get(Space::Hot, &key)? {
                hot_rows += 1;
                hot_bytes += value.len() as u64;
            }
            batch.remove(Space::Hot, key);
        }
        writer.in_doubt = true;
        self.kv.write(batch, Durability::Synced)?;
        writer.in_doubt = false;
        self.runs_changed();
        self.hot_rows.fetch_sub(hot_rows, Ordering::Relaxed);
        self.hot_bytes.fetch_sub(hot_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Decodes the rows of a range until there are `limit`.
    pub(super) fn gather<T>(
        &self,
        space: Space,
        (from, to): (&[u8], Option<&[u8]>),
        limit: usize,
        decode: impl Fn(&[u8], &[u8]) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.kv.scan(space, from, to, &mut |key, value| {
            found.push(decode(key, value)?);
            Ok(if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(found)
    }

    fn gone(&self, after: Sequence, upto: Sequence, from: Option<&Gone>, limit: usize) -> Result<Vec<Gone>> {
        let from = match from {
            Some(last) => [rows::gone_key(last.sequence, &last.key), vec![0]].concat(),
            None => after.0.saturating_add(1).to_be_bytes().to_vec(),
        };
        let to = upto.0.checked_add(1).map(u64::to_be_bytes);
        self.gather(
            Space::Gone,
            (&from, to.as_ref().map(<[u8; 8]>::as_slice)),
            limit,
            rows::decode_gone,
        )
    }

    fn hot(&self, range: &KeyRange, bytes_max: usize) -> Result<Vec<HotRow>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        self.kv
            .scan(Space::Hot, &range.from, range.to.as_deref(), &mut |key, value| {
                let row = rows::decode_hot(key, value)?;
                bytes += row.body.len();
                found.push(row);
                Ok(if bytes < bytes_max {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
        Ok(found)
    }
}

#[async_trait]
impl Catalog for KvCatalog {
    async fn snapshot(&self) -> Result<Snapshot> {
        self.change(Inner::snapshot).await
    }

    async fn sequence_at(&self, instant: Instant) -> Result<Sequence> {
        self.change(move |inner| inner.sequence_at(instant)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.change(move |inner| inner.commit(commit)).await
    }

    async fn runs(&self) -> Result<Vec<Arc<RunRecord>>> {
        self.inner.runs()
    }

    async fn swap(&self, swap: Swap, job: Option<(Lease, Checkpoint)>) -> Result<()> {
        self.change(move |inner| inner.swap(swap, job)).await
    }

    async fn retired(&self) -> Result<Vec<Retired>> {
        self.inner
            .gather(Space::Retired, (&[], None), usize::MAX, |key, value| {
                let since = value.first_chunk::<8>().ok_or_else(|| rows::corrupt("retired"))?;
                let place = String::from_utf8(key.to_vec()).map_err(|_| rows::corrupt("retired"))?;
                Ok(Retired {
                    place,
                    since: Timestamp::from_micros(i64::from_le_bytes(*since)),
                })
            })
    }

    async fn forget(&self, places: &[String]) -> Result<()> {
        let mut batch = Batch::default();
        for place in places {
            batch.remove(Space::Retired, place.as_bytes());
        }
        self.change(move |inner| inner.kv.write(batch, Durability::Buffered))
            .await
    }

    async fn newest(&self, ids: &[(ResourceType, &str)]) -> Result<Vec<Option<Newest>>> {
        let (mut id, mut scratch) = (Vec::new(), Vec::new());
        let mut found = Vec::with_capacity(ids.len());
        for (resource_type, text) in ids {
            id.clear();
            crate::key::push_id(text, &mut id);
            let row = self.inner.id_row(resource_type.code(), &id, &mut scratch)?;
            found.push(row.map(IdRow::newest).transpose()?);
        }
        Ok(found)
    }

    async fn ids(
        &self,
        resource_type: ResourceType,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Newest)>> {
        self.inner.ids(resource_type.code(), after, limit)
    }

    async fn ended(
        &self,
        (resource_type, id): (ResourceType, &str),
        before: Sequence,
        limit: usize,
    ) -> Result<Vec<Ended>> {
        let mut key = Vec::new();
        crate::key::push_id(id, &mut key);
        self.inner.ended(resource_type.code(), &key, before, limit)
    }

    async fn forgotten(&self) -> Result<Sequence> {
        self.inner.forgotten()
    }

    async fn instant_of(&self, sequence: Sequence) -> Result<Option<Instant>> {
        self.inner.instant_of(sequence)
    }

    async fn dead(&self, range: &KeyRange, limit: usize) -> Result<Vec<Dead>> {
        self.inner.gather(
            Space::Dead,
            (&range.from, range.to.as_deref()),
            limit,
            rows::decode_dead,
        )
    }

    async fn gone(
        &self,
        after: Sequence,
        upto: Sequence,
        from: Option<&Gone>,
        limit: usize,
    ) -> Result<Vec<Gone>> {
        self.inner.gone(after, upto, from, limit)
    }

    async fn memberships(&self, patient: &str) -> Result<Vec<Membership>> {
        let mut prefix = Vec::new();
        crate::key::push_id(patient, &mut prefix);
        let range = KeyRange::of_prefix(prefix);
        let skip = range.from.len();
        self.inner.gather(
            Space::Membership,
            (&range.from, range.to.as_deref()),
            usize::MAX,
            |key, _| {
                let (key, sequence) = rows::split_versioned(&key[skip..])?;
                Ok(Membership {
                    key: key.to_vec(),
                    sequence,
                })
            },
        )
    }

    async fn memberships_between(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Membership)>> {
        self.inner.gather(Space::Membership, (from, to), limit, |key, _| {
            let cut = crate::key::split_id(key).map(|(_, rest)| key.len() - rest.len());
            let cut = cut.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading a membership"))?;
            let (patient, rest) = key.split_at(cut);
            let (key, sequence) = rows::split_versioned(rest)?;
            let membership = Membership {
                key: key.to_vec(),
                sequence,
            };
            Ok((patient.to_vec(), membership))
        })
    }

    async fn hot(&self, range: &KeyRange, bytes_max: usize) -> Result<Vec<HotRow>> {
        self.inner.hot(range, bytes_max)
    }

    async fn oldest_held(&self) -> Result<Option<Sequence>> {
        self.inner.oldest_held()
    }

    async fn stats(&self) -> Result<CatalogStats> {
        Ok(CatalogStats {
            hot_rows: self.inner.hot_rows.load(Ordering::Relaxed),
            hot_bytes: self.inner.hot_bytes.load(Ordering::Relaxed),
            disk_bytes: self.inner.kv.disk_bytes()?,
        })
    }

    async fn record(&self, kind: RecordKind, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.record(kind, name)
    }

    async fn records(&self, kind: RecordKind, after: Option<&[u8]>, limit: usize) -> Result<Vec<Record>> {
        self.inner.list_records(kind, after, limit)
    }

    async fn put_record(
        &self,
        kind: RecordKind,
        name: &[u8],
        value: &[u8],
        expect: RecordExpect<'_>,
    ) -> Result<bool> {
        let (name, value) = (name.to_vec(), value.to_vec());
        let expected = match expect {
            RecordExpect::Value(value) => Some(value.to_vec()),
            RecordExpect::Any | RecordExpect::Absent => None,
        };
        let is_any = expect == RecordExpect::Any;
        self.change(move |inner| {
            let expect = match &expected {
                Some(value) => RecordExpect::Value(value),
                None if is_any => RecordExpect::Any,
                None => RecordExpect::Absent,
            };
            inner.put_record(kind, &name, &value, expect)
        })
        .await
    }

    async fn remove_records(&self, kind: RecordKind, names: &[Vec<u8>]) -> Result<()> {
        let names = names.to_vec();
        self.change(move |inner| inner.remove_records(kind, &names)).await
    }
}

/// A run record as bytes: length of the JSON, the JSON, the set of stillborn rows.
pub(super) fn encode_run(run: &RunRecord) -> Vec<u8> {
    let json = serde_json::to_vec(run).expect("a run record is plain data");
    let mut out = Vec::with_capacity(json.len() + 8);
    rows::push_varint(json.len() as u64, &mut out);
    out.extend_from_slice(&json);
    out.extend_from_slice(run.stillborn.as_bytes());
    out
}

fn decode_run(value: &[u8]) -> Result<RunRecord> {
    let (length, rest) = rows::split_varint(value).ok_or_else(|| rows::corrupt("run"))?;
    let (json, stillborn) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| rows::corrupt("run"))?;
    let mut run: RunRecord =
        serde_json::from_slice(json).map_err(|source| rows::corrupt("run").with_source(source))?;
    run.stillborn = Stillborn::from_bytes(stillborn);
    Ok(run)
}

/// The sequences of commits that were begun and never came to be.
fn read_intents(kv: &dyn Kv) -> Result<HashSet<u64>> {
    let mut begun = HashSet::new();
    kv.scan(Space::Intent, &[], None, &mut |key, _| {
        let sequence = key.first_chunk::<8>().ok_or_else(|| rows::corrupt("intent"))?;
        begun.insert(u64::from_be_bytes(*sequence));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(begun)
}

/// The number of interactive rows, and their bytes.
fn count_hot(kv: &dyn Kv) -> Result<(u64, u64)> {
    let (mut rows, mut bytes) = (0, 0);
    kv.scan(Space::Hot, &[], None, &mut |_, value| {
        rows += 1;
        bytes += value.len() as u64;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((rows, bytes))
}

/// The newest instant that was ever handed out, from a catalog that is being opened.
pub(super) fn stored_instant(kv: &dyn Kv) -> Result<Option<Instant>> {
    let Some(value) = kv.get(Space::Meta, INSTANT)? else {
        return Ok(None);
    };
    let micros = value.first_chunk::<8>().ok_or_else(|| rows::corrupt("meta"))?;
    Ok(Some(Instant::from_micros(i64::from_le_bytes(*micros))))
}
