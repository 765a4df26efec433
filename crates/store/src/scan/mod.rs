//! Reads a snapshot: the rows of a key range that were true at a sequence, in the order of the store.
//!
//! A scan takes what it needs in an order that makes it right beside every writer, without a lock: first the interactive
//! rows, then the ends of versions, last the list of runs. A flush or a compaction in between can show a row twice (and
//! the scan drops the second), never hide one.

mod merge;

pub use merge::StoredRow;
pub(crate) use merge::{From, Merge};

use crate::catalog::{Catalog, HotRow, KeyRange, RunRecord};
use crate::run::Run;
use crate::{Error, ErrorKind, Result, Sequence};
use object_store::ObjectStore;
use object_store::path::Path;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// What a scan is to show.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    /// Keys of one resource type.
    pub range: KeyRange,
    /// The state that is shown.
    pub snapshot: Sequence,
    /// Only versions that were written after this; zero for all.
    pub after: Sequence,
    /// Which rows of the range.
    pub selection: Selection,
}

/// Which rows of a range a scan shows.
#[derive(Debug, Clone)]
pub enum Selection {
    /// All.
    All,
    /// Those of some patients: by owner, and rows of other owners by key.
    Cohort(Arc<CohortRows>),
}

/// The rows of a group of patients, within one resource type.
#[derive(Debug, Default)]
pub struct CohortRows {
    /// Encoded owners, sorted: all their rows.
    pub owners: Arc<Vec<Vec<u8>>>,
    /// Encoded keys (type ‖ owner ‖ id) of rows whose owner is not among them, sorted.
    pub keys: Vec<Vec<u8>>,
}

/// A run that is open for reading; its file stays while this lives.
#[derive(Clone)]
pub(crate) struct RunHandle {
    pub(crate) record: Arc<RunRecord>,
    pub(crate) run: Arc<Run>,
    pub(crate) path: Path,
    /// Where the file is on this machine's disk, if it is on one: threads that may wait read it there themselves.
    pub(crate) local: Option<PathBuf>,
    /// Held by readers; the file of a replaced run goes when nobody holds it.
    pub(crate) _pin: Arc<()>,
}

/// A scan that is ready to run.
pub struct Scan {
    request: ScanRequest,
    files: Arc<dyn ObjectStore>,
    runs: Vec<RunHandle>,
    hot: Vec<HotRow>,
    /// key ‖ sequence → the sequence at which that version ended, of the versions of the range that ended.
    dead: HashMap<Vec<u8>, Sequence>,
}

/// How many ends of versions are read in one call.
const DEAD_BATCH: usize = 50_000;

impl Scan {
    /// Takes interactive rows and ends of versions; `runs` is called last.
    pub(crate) async fn prepare<F>(
        catalog: &dyn Catalog,
        files: Arc<dyn ObjectStore>,
        request: ScanRequest,
        runs: impl FnOnce() -> F,
    ) -> Result<Self>
    where
        F: Future<Output = Result<Vec<RunHandle>>>,
    {
        if request.range.from.is_empty() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "scanning a range that is not within one type",
            ));
        }
        let mut hot = catalog.hot(&request.range, usize::MAX).await?;
        hot.retain(|row| row.sequence <= request.snapshot);
        let dead = load_dead(catalog, &request).await?;
        let runs = runs().await?;
        Ok(Self {
            request,
            files,
            runs,
            hot,
            dead,
        })
    }

    /// Shows the rows in the order of the store until `visit` breaks. Waits for the disk: for blocking threads only,
    /// inside a runtime.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt) naming the run file and block; `visit`'s own.
    pub fn for_each(self, visit: &mut dyn FnMut(StoredRow<'_>) -> Result<ControlFlow<()>>) -> Result<()> {
        let Self {
            request,
            files,
            runs,
            hot,
            dead,
        } = self;
        let mut filter = Filter::new(&request, &dead, !hot.is_empty());
        let chosen: Vec<(RunHandle, Vec<usize>)> = runs
            .into_iter()
            .map(|handle| (choose_blocks(&handle, &request), handle))
            .filter(|(blocks, _)| !blocks.is_empty())
            .map(|(blocks, handle)| (handle, blocks))
            .collect();
        let records: Vec<Arc<RunRecord>> = chosen
            .iter()
            .map(|(handle, _)| Arc::clone(&handle.record))
            .collect();
        Merge::new(chosen, hot, &files)?.for_each(&mut |from, row| {
            let stillborn = match from {
                From::Run { run, ordinal } => records[run].stillborn.contains(ordinal),
                From::Hot => false,
            };
            if stillborn || !filter.shows(&row) {
                return Ok(ControlFlow::Continue(()));
            }
            visit(row)
        })
    }
}

async fn load_dead(catalog: &dyn Catalog, request: &ScanRequest) -> Result<HashMap<Vec<u8>, Sequence>> {
    let mut dead = HashMap::new();
    if catalog.dead(&request.range, 1).await?.is_empty() {
        return Ok(dead);
    }
    match &request.selection {
        Selection::Cohort(cohort) if cohort.owners.len() + cohort.keys.len() <= DEAD_BATCH => {
            let code = request.range.from[0];
            for owner in cohort.owners.iter() {
                let prefix = [&[code], owner.as_slice()].concat();
                load_dead_range(catalog, KeyRange::of_prefix(prefix), &mut dead).await?;
            }
            for key in &cohort.keys {
                load_dead_range(catalog, KeyRange::of_prefix(key.clone()), &mut dead).await?;
            }
        }
        _ => load_dead_range(catalog, request.range.clone(), &mut dead).await?,
    }
    Ok(dead)
}

async fn load_dead_range(
    catalog: &dyn Catalog,
    mut range: KeyRange,
    dead: &mut HashMap<Vec<u8>, Sequence>,
) -> Result<()> {
    loop {
        let batch = catalog.dead(&range, DEAD_BATCH).await?;
        let more = batch.len() == DEAD_BATCH;
        for row in batch {
            let key = versioned(&row.key, row.sequence);
            if more {
                range.from = [key.as_slice(), &[0]].concat();
            }
            dead.insert(key, row.dead_at);
        }
        if !more {
            return Ok(());
        }
    }
}

fn versioned(key: &[u8], sequence: Sequence) -> Vec<u8> {
    [key, &sequence.0.to_be_bytes()].concat()
}

/// The blocks of a run that may hold a row of the request.
pub(crate) fn choose_blocks(handle: &RunHandle, request: &ScanRequest) -> Vec<usize> {
    let record = &handle.record;
    if record.oldest > request.snapshot || record.newest <= request.after {
        return Vec::new();
    }
    let run = &handle.run;
    run.blocks_between(&request.range.from, request.range.to.as_deref())
        .filter(|&at| run.blocks()[at].newest(record.own.sequence) > request.after)
        .filter(|&at| match &request.selection {
            Selection::All => true,
            Selection::Cohort(cohort) => may_hold(run, at, cohort),
        })
        .collect()
}

/// Whether a block may hold a row of the cohort, by its first and last key and the fingerprints of its owners.
fn may_hold(run: &Run, at: usize, cohort: &CohortRows) -> bool {
    let (first, last) = (run.first_key(at), run.last_key(at));
    let from = cohort.owners.partition_point(|owner| {
        let first_owner = &first[1..];
        owner.as_slice() < first_owner && !first_owner.starts_with(owner)
    });
    let holds_owner = cohort.owners[from..]
        .iter()
        .take_while(|owner| owner.as_slice() <= &last[1..])
        .any(|owner| run.may_hold_owner(at, owner));
    let from = cohort.keys.partition_point(|key| key.as_slice() < first);
    holds_owner || cohort.keys.get(from).is_some_and(|key| key.as_slice() <= last)
}

/// Decides row by row what belongs to the snapshot and the selection.
struct Filter<'a> {
    request: &'a ScanRequest,
    dead: &'a HashMap<Vec<u8>, Sequence>,
    /// Whether the key of a row whose owner is selected decides anything: not when a whole type is read that nobody changed.
    needs_key: bool,
    /// The owner that was asked about last, and whether all its rows are selected: rows of one owner come together.
    owner: (Vec<u8>, bool),
    /// key ‖ sequence of the row at hand.
    key: Vec<u8>,
    /// key ‖ sequence of the row that was shown last, when interactive rows take part: a flush in between shows one of
    /// them a second time, right after the first.
    last: Option<Vec<u8>>,
}

impl<'a> Filter<'a> {
    fn new(request: &'a ScanRequest, dead: &'a HashMap<Vec<u8>, Sequence>, has_hot: bool) -> Self {
        let whole_type = request.range == KeyRange::of_prefix(vec![request.range.from[0]]);
        Self {
            request,
            dead,
            needs_key: has_hot || !whole_type || !dead.is_empty(),
            owner: (Vec::new(), false),
            key: Vec::new(),
            last: has_hot.then(Vec::new),
        }
    }

    fn shows(&mut self, row: &StoredRow<'_>) -> bool {
        if row.sequence > self.request.snapshot || row.sequence <= self.request.after {
            return false;
        }
        match &self.request.selection {
            Selection::All => !self.needs_key || self.key_is_shown(row, &[]),
            Selection::Cohort(cohort) if self.owns(cohort, row.owner_key) => {
                !self.needs_key || self.key_is_shown(row, &[])
            }
            Selection::Cohort(cohort) => !cohort.keys.is_empty() && self.key_is_shown(row, &cohort.keys),
        }
    }

    /// Whether the cohort has all rows of an owner.
    fn owns(&mut self, cohort: &CohortRows, owner_key: &[u8]) -> bool {
        if self.owner.0 != owner_key {
            self.owner.0.clear();
            self.owner.0.extend_from_slice(owner_key);
            let found = cohort
                .owners
                .binary_search_by(|owner| owner.as_slice().cmp(owner_key));
            self.owner.1 = found.is_ok();
        }
        self.owner.1
    }

    /// Decides by the whole key, which must be one of `keys` where there are any.
    fn key_is_shown(&mut self, row: &StoredRow<'_>, keys: &[Vec<u8>]) -> bool {
        self.key.clear();
        self.key.push(self.request.range.from[0]);
        self.key.extend_from_slice(row.owner_key);
        crate::key::push_id(row.id, &mut self.key);
        if !self.request.range.contains(&self.key)
            || !(keys.is_empty() || keys.binary_search(&self.key).is_ok())
        {
            return false;
        }
        self.key.extend_from_slice(&row.sequence.0.to_be_bytes());
        let ended = self.dead.get(&self.key);
        if ended.is_some_and(|dead_at| *dead_at <= self.request.snapshot) {
            return false;
        }
        let Some(last) = &mut self.last else { return true };
        let repeated = *last == self.key;
        last.clone_from(&self.key);
        !repeated
    }
}
