//! Changes of the physical layout that change no resource: flushing interactive rows to a run, merging runs.
//!
//! Both write a new run file and then swap it in with one batch of the catalog. A version that ended before the *horizon*
//! (older than the history that is kept, and needed by no live job) is left out of the merged run.
//! What is due is a pure function of the catalog ([`Store::due`]); the job that does it is in `maintenance.rs`.

use crate::catalog::{HotRow, KeyRange, RunRecord, Snapshot, Stillborn, Swap};
use crate::outputs::Upload;
use crate::run::{Row, RowCommit, RunBuilder, RunSummary};
use crate::scan::{From, Merge, RunHandle, StoredRow};
use crate::store::Store;
use crate::{Error, ErrorKind, Result, Sequence, key};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{Checkpoint, Lease};
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Bytes of a run file that are sent at once while it is being written.
const PART_BYTES: usize = 8 << 20;

/// Ends of versions that one compaction clears away at most; more stay for the next one. Bounds memory.
const DROPPED_MAX: usize = 1_000_000;

/// A change of the layout that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chore {
    /// Interactive rows take enough room to become a run.
    Flush,
    /// These runs, by place, are of similar size and become one.
    Compact(Vec<String>),
}

/// Whether jobs other than maintenance are running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// None is.
    AtRest,
    /// Some are.
    AtWork,
}

/// A version that a merge leaves out, by key and sequence, and the commit that ended it.
type Dropped = ((Vec<u8>, Sequence), Sequence);

/// Says from time to time whether to go on; an error stops the chore.
type Checkin<'a> = dyn FnMut(u64) -> Result<()> + Send + 'a;

impl Store {
    /// What is due now, if anything. A merge takes a processor, so beside other jobs it waits for more runs to come together.
    ///
    /// # Errors
    /// What reading the catalog gives.
    pub async fn due(&self, others: Others) -> Result<Option<Chore>> {
        let settings = self.settings();
        if self.catalog().stats().await?.hot_bytes >= settings.hot_bytes_max {
            return Ok(Some(Chore::Flush));
        }
        let wanted = match others {
            Others::AtRest => settings.compaction_runs.max(2),
            Others::AtWork => settings.compaction_runs_busy.max(2),
        };
        let mut tiers: BTreeMap<u32, Vec<Arc<RunRecord>>> = BTreeMap::new();
        for run in self.catalog().runs().await? {
            tiers.entry(tier(run.summary.stored_bytes)).or_default().push(run);
        }
        let full = tiers.into_values().find(|runs| runs.len() >= wanted);
        Ok(full.map(|runs| Chore::Compact(runs.iter().take(wanted).map(|run| run.place.clone()).collect())))
    }

    /// Writes the interactive rows as a run named `place` and swaps it in; returns how many rows.
    ///
    /// # Errors
    /// [`LeaseLost`](ErrorKind::LeaseLost) when `lease` is stale: nothing changed. What writing gives.
    pub async fn flush(&self, place: &str, lease: Option<Lease>) -> Result<u64> {
        let everything = KeyRange {
            from: vec![0],
            to: None,
        };
        let rows = self.catalog().hot(&everything, usize::MAX).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let count = rows.len() as u64;
        let remove_hot = rows.iter().map(|row| (row.key.clone(), row.sequence)).collect();
        let (store, run_place) = (self.clone(), place.to_owned());
        let record = on_thread(move || store.write_hot_run(&run_place, &rows)).await?;
        let swap = Swap {
            remove_hot,
            add: vec![record],
            ..Swap::default()
        };
        self.catalog()
            .swap(swap, lease.map(|lease| (lease, Checkpoint::new())))
            .await?;
        Ok(count)
    }

    fn write_hot_run(&self, place: &str, rows: &[HotRow]) -> Result<RunRecord> {
        let mut output = RunOutput::new(self, place)?;
        for row in rows {
            let parts = key::decode(&row.key).ok_or_else(|| corrupt("an interactive row"))?;
            output.push(Row {
                resource_type: parts.resource_type,
                owner: parts.owner.as_deref(),
                id_at: row.id_at,
                id_len: id_len(&parts.id)?,
                body: &row.body,
                splice: row.splice,
                commit: RowCommit::At {
                    sequence: row.sequence,
                    instant: row.instant,
                },
            })?;
        }
        output.finish()
    }

    /// Merges the runs at `places` into one named `place` and swaps it in; returns how many rows it has.
    /// `checkin` hears of rows done, now and then, and may stop the work.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when one of the runs is no longer part of the store. Else as [`flush`](Self::flush).
    pub async fn compact(
        &self,
        places: &[String],
        place: &str,
        lease: Option<Lease>,
        mut checkin: impl FnMut(u64) -> Result<()> + Send + 'static,
    ) -> Result<u64> {
        let settings = self.settings();
        let horizon = self.horizon(settings.history_secs).await?;
        let of_groups = settings.group_history_secs.max(settings.history_secs);
        let of_groups = self.horizon(of_groups).await?;
        let handles = self.layout(|run| places.contains(&run.place)).await?;
        if handles.len() != places.len() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "merging runs: one of them is no longer part of the store",
            ));
        }
        let mut types: Vec<u8> = Vec::new();
        for handle in &handles {
            types.extend(
                handle
                    .record
                    .summary
                    .types
                    .iter()
                    .map(|count| count.resource_type.code()),
            );
        }
        types.sort_unstable();
        types.dedup();
        let ended = self.ended(&types, horizon, of_groups).await?;
        let (store, run_place) = (self.clone(), place.to_owned());
        let merge = move || store.merge_runs(&run_place, &handles, &types, &ended, &mut checkin);
        let (record, dropped) = on_thread(merge).await?;
        let (dropped, ends): (Vec<_>, Vec<_>) = dropped.into_iter().unzip();
        let rows = record.as_ref().map_or(0, |record| record.summary.rows);
        let swap = Swap {
            remove_runs: places.to_vec(),
            dropped,
            forgotten: ends.into_iter().max().unwrap_or_default(),
            add: record.into_iter().collect(),
            ..Swap::default()
        };
        self.catalog()
            .swap(swap, lease.map(|lease| (lease, Checkpoint::new())))
            .await?;
        self.sweep().await?;
        Ok(rows)
    }

    /// Versions that ended at or before this are needed by nobody.
    async fn horizon(&self, history_secs: u64) -> Result<Sequence> {
        let kept = i64::try_from(history_secs.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let oldest = self.clock().now().as_micros().saturating_sub(kept);
        let horizon = self.catalog().sequence_at(Instant::from_micros(oldest)).await?;
        Ok(self
            .catalog()
            .oldest_held()
            .await?
            .map_or(horizon, |held| held.min(horizon)))
    }

    /// Versions of these types that ended at or before the horizon (that of Groups is their own), at most [`DROPPED_MAX`].
    async fn ended(
        &self,
        types: &[u8],
        horizon: Sequence,
        of_groups: Sequence,
    ) -> Result<HashMap<Vec<u8>, Sequence>> {
        let mut ended = HashMap::new();
        for &code in types {
            let range = KeyRange::of_prefix(vec![code]);
            let horizon = match code == ResourceType::GROUP.code() {
                true => of_groups,
                false => horizon,
            };
            let left = DROPPED_MAX.saturating_sub(ended.len());
            for dead in self.catalog().dead(&range, left).await? {
                if dead.dead_at <= horizon {
                    ended.insert(
                        [dead.key.as_slice(), &dead.sequence.0.to_be_bytes()].concat(),
                        dead.dead_at,
                    );
                }
            }
        }
        Ok(ended)
    }

    fn merge_runs(
        &self,
        place: &str,
        handles: &[RunHandle],
        types: &[u8],
        ended: &HashMap<Vec<u8>, Sequence>,
        checkin: &mut Checkin<'_>,
    ) -> Result<(Option<RunRecord>, Vec<Dropped>)> {
        let mut output = RunOutput::new(self, place)?;
        let (mut dropped, mut seen) = (Vec::new(), 0u64);
        for &code in types {
            let resource_type = ResourceType::from_code(code).ok_or_else(|| corrupt("a run's types"))?;
            let chosen = handles
                .iter()
                .map(|handle| (handle.clone(), handle.run.blocks_of(resource_type).collect()));
            let records: Vec<Arc<RunRecord>> =
                handles.iter().map(|handle| Arc::clone(&handle.record)).collect();
            let mut owner = OwnerText::default();
            Merge::new(chosen.collect(), Vec::new(), &self.inner.files)?.for_each(&mut |from, row| {
                seen += 1;
                if seen % 4096 == 0 {
                    checkin(seen)?;
                }
                let From::Run { run, ordinal } = from else {
                    return Ok(ControlFlow::Continue(()));
                };
                if records[run].stillborn.contains(ordinal) {
                    return Ok(ControlFlow::Continue(()));
                }
                if !ended.is_empty() {
                    let key = row_key(code, &row);
                    let version = [key.as_slice(), &row.sequence.0.to_be_bytes()].concat();
                    if let Some(ended_at) = ended.get(&version) {
                        dropped.push(((key, row.sequence), *ended_at));
                        return Ok(ControlFlow::Continue(()));
                    }
                }
                output.push(Row {
                    resource_type,
                    owner: owner.of(row.owner_key)?,
                    id_at: row.id_at,
                    id_len: id_len(row.id)?,
                    body: row.body,
                    splice: row.splice,
                    commit: RowCommit::At {
                        sequence: row.sequence,
                        instant: row.instant,
                    },
                })?;
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok((
            if output.rows > 0 {
                Some(output.finish()?)
            } else {
                None
            },
            dropped,
        ))
    }
}

/// A run file that is being written in a stream.
struct RunOutput {
    place: String,
    builder: RunBuilder,
    upload: Upload,
    rows: u64,
}

impl RunOutput {
    fn new(store: &Store, place: &str) -> Result<Self> {
        let upload = Upload::new(Arc::clone(&store.inner.files), Path::from(place), PART_BYTES)?;
        let builder = RunBuilder::new(store.settings().run)?;
        Ok(Self {
            place: place.to_owned(),
            builder,
            upload,
            rows: 0,
        })
    }

    fn push(&mut self, row: Row<'_>) -> Result<()> {
        self.rows += 1;
        self.builder.push(row)?;
        if self.builder.pending_bytes() >= PART_BYTES {
            self.upload.write(&self.builder.drain())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RunRecord> {
        let (bytes, summary) = self.builder.finish()?;
        self.upload.write(&bytes)?;
        self.upload.finish()?;
        Ok(record_of(self.place, summary))
    }
}

/// The record of a run whose rows all carry their own sequences.
fn record_of(place: String, summary: RunSummary) -> RunRecord {
    let (oldest, newest) = (
        summary.oldest.unwrap_or_default(),
        summary.newest.unwrap_or_default(),
    );
    let own = Snapshot {
        sequence: newest,
        instant: Instant::from_micros(0),
    };
    RunRecord {
        place,
        summary,
        own,
        oldest,
        newest,
        stillborn: Stillborn::default(),
    }
}

/// Turns encoded owners into text, once per patient.
#[derive(Default)]
struct OwnerText {
    key: Vec<u8>,
    text: Option<String>,
}

impl OwnerText {
    fn of(&mut self, owner_key: &[u8]) -> Result<Option<&str>> {
        if self.key != owner_key {
            let (text, _) = key::split_owner(owner_key).ok_or_else(|| corrupt("an owner"))?;
            self.key = owner_key.to_vec();
            self.text = text;
        }
        Ok(self.text.as_deref())
    }
}

/// Runs within a factor of four of each other are of similar size.
fn tier(stored_bytes: u64) -> u32 {
    (stored_bytes >> 20).max(1).ilog2() / 2
}

fn row_key(code: u8, row: &StoredRow<'_>) -> Vec<u8> {
    let mut key = vec![code];
    key.extend_from_slice(row.owner_key);
    key::push_id(row.id, &mut key);
    key
}

fn id_len(id: &str) -> Result<u8> {
    u8::try_from(id.len()).map_err(|_| corrupt("an id"))
}

fn corrupt(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("rewriting runs: {what} is not what was written"),
    )
}

async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Error::new(ErrorKind::Storage, "rewriting runs").with_source(panic)))
}
