//! The store: catalog, run files and outputs in one place, with what every reader needs.
//!
//! [`Store::scan`] reads a snapshot, [`Store::read`] one resource, [`Store::put_run`] and [`Catalog::commit`] write.
//! Cloning is cheap; all clones are the same store.

use crate::catalog::{Catalog, KvCatalog, MemoryKv, RunRecord};
use crate::run::{Run, RunSettings};
use crate::scan::{RunHandle, Scan, ScanRequest};
use crate::{DataFolder, Error, OutputKeys, OutputStore, Result, put_durable};
use bytes::Bytes;
use fhirhose_jobs::Clock;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Runs whose footers are read at the same time: each waits for another thread, or for a network.
const OPENING_MAX: usize = 8;

/// What a store may use, and how it keeps its files.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// How runs are cut and compressed.
    pub run: RunSettings,
    /// Footers of runs that are kept in memory, in bytes.
    pub footer_cache_bytes: usize,
    /// The catalog's memory and log.
    pub catalog: crate::catalog::EmbeddedSettings,
    /// For how long versions that were replaced stay readable by a snapshot, in seconds.
    pub history_secs: u64,
    /// The same for Groups, in seconds: who joined or left one since an earlier export is told from its versions.
    pub group_history_secs: u64,
    /// Interactive writes are flushed to a run when they take this many bytes.
    pub hot_bytes_max: u64,
    /// This many runs of similar size are merged into one while no other job runs, at least 2.
    pub compaction_runs: usize,
    /// This many are merged even while other jobs run: bounds the files that a scan merges.
    pub compaction_runs_busy: usize,
    /// Encrypts output files. Default: none, and they are not encrypted.
    pub output_keys: Option<OutputKeys>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            run: RunSettings::default(),
            footer_cache_bytes: 64 << 20,
            catalog: crate::catalog::EmbeddedSettings::default(),
            history_secs: 24 * 60 * 60,
            group_history_secs: 400 * 24 * 60 * 60,
            hot_bytes_max: 32 << 20,
            compaction_runs: 16,
            compaction_runs_busy: 256,
            output_keys: None,
        }
    }
}

/// What a store is put together from.
pub struct StoreParts {
    /// The small rows.
    pub catalog: Arc<dyn Catalog>,
    /// Run files; what was put is durable when the put returns.
    pub runs: Arc<dyn ObjectStore>,
    /// Finished files of jobs.
    pub outputs: OutputStore,
    /// Files that nobody needs after a restart.
    pub scratch: Arc<dyn ObjectStore>,
    /// The data folder that all this lies in, if it is one, held as long as the store is open.
    pub folder: Option<DataFolder>,
}

/// Where resources, jobs and outputs are kept.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) files: Arc<dyn ObjectStore>,
    pub(crate) outputs: OutputStore,
    pub(crate) scratch: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: StoreSettings,
    /// Opened runs by place, least recently used first out. Filled by whoever opens one.
    footers: Mutex<Footers>,
    /// Which run files somebody reads, by place. Held while the list of runs is taken and while files are removed, so
    /// that no file goes between being listed and being pinned.
    pub(crate) pins: tokio::sync::Mutex<HashMap<String, Weak<()>>>,
    /// Held so that no other process opens it; released last. Scans read run files in it without the object store.
    folder: Option<DataFolder>,
}

#[derive(Default)]
struct Footers {
    opened: HashMap<String, (u64, Arc<Run>)>,
    bytes: usize,
    /// Counts uses, to know the least recent one.
    uses: u64,
}

impl Store {
    /// Opens the store in a data folder that this process holds, and sweeps run files that no commit names.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Storage`](crate::ErrorKind::Storage), [`DiskFull`](crate::ErrorKind::DiskFull).
    pub async fn open(folder: DataFolder, clock: Arc<dyn Clock>, settings: StoreSettings) -> Result<Self> {
        let kv = crate::catalog::FjallKv::open(&folder.catalog_path(), &settings.catalog)?;
        let catalog: Arc<dyn Catalog> = Arc::new(KvCatalog::open(Box::new(kv), Arc::clone(&clock))?);
        let parts = StoreParts {
            catalog,
            runs: folder.runs(),
            outputs: folder.outputs(),
            scratch: folder.scratch(),
            folder: Some(folder),
        };
        let store = Self::of_parts(parts, clock, settings);
        store.sweep_unknown_runs().await?;
        Ok(store)
    }

    /// Makes a store that is gone with the value, for tests.
    ///
    /// # Errors
    /// None that can happen in memory.
    pub fn in_memory(clock: Arc<dyn Clock>, settings: StoreSettings) -> Result<Self> {
        let catalog = KvCatalog::open(Box::new(MemoryKv::default()), Arc::clone(&clock))?;
        Ok(Self::over(Arc::new(catalog), clock, settings))
    }

    /// Makes a store over any catalog, with files in memory: for tests of catalogs.
    pub fn over(catalog: Arc<dyn Catalog>, clock: Arc<dyn Clock>, settings: StoreSettings) -> Self {
        let parts = StoreParts {
            catalog,
            runs: Arc::new(InMemory::new()),
            outputs: OutputStore::new(Arc::new(InMemory::new())),
            scratch: Arc::new(InMemory::new()),
            folder: None,
        };
        Self::of_parts(parts, clock, settings)
    }

    /// Puts a store together; nothing is swept.
    pub fn of_parts(parts: StoreParts, clock: Arc<dyn Clock>, settings: StoreSettings) -> Self {
        let StoreParts {
            catalog,
            runs,
            outputs,
            scratch,
            folder,
        } = parts;
        let outputs = match &settings.output_keys {
            Some(keys) => outputs.with_keys(keys.clone()),
            None => outputs,
        };
        Self {
            inner: Arc::new(Inner {
                catalog,
                files: runs,
                outputs,
                scratch,
                clock,
                settings,
                footers: Mutex::new(Footers::default()),
                pins: tokio::sync::Mutex::new(HashMap::new()),
                folder,
            }),
        }
    }

    /// The catalog, which is also where jobs are kept.
    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.inner.catalog
    }

    /// Where finished files of jobs are kept.
    pub fn outputs(&self) -> &OutputStore {
        &self.inner.outputs
    }

    /// Where jobs keep files that nobody else sees, by job; whoever makes them removes them.
    pub fn scratch(&self) -> &Arc<dyn ObjectStore> {
        &self.inner.scratch
    }

    /// The settings that the store was opened with.
    pub fn settings(&self) -> &StoreSettings {
        &self.inner.settings
    }

    /// The clock of the store.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Writes a run file durably at its place. It is part of the store only when a commit names it.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorKind::DiskFull), [`Storage`](crate::ErrorKind::Storage).
    pub async fn put_run(&self, place: &str, bytes: Bytes) -> Result<()> {
        put_durable(&*self.inner.files, &Path::from(place), bytes).await
    }

    /// Removes a run file that no commit names.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn remove_run(&self, place: &str) -> Result<()> {
        match self.inner.files.delete(&Path::from(place)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::object(format!("removing run {place}"), source)),
        }
    }

    /// Prepares a scan; run it with [`Scan::for_each`] on a blocking thread.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a range that is not within one type; what reading gives.
    pub async fn scan(&self, request: ScanRequest) -> Result<Scan> {
        let files = Arc::clone(&self.inner.files);
        let (range, snapshot, after) = (request.range.clone(), request.snapshot, request.after);
        Scan::prepare(&*self.inner.catalog, files, request, || {
            self.layout(move |run| run.oldest <= snapshot && run.newest > after && holds_range(run, &range))
        })
        .await
    }

    /// The runs that now hold the store and that are wanted, open and pinned.
    pub(crate) async fn layout(&self, wanted: impl Fn(&RunRecord) -> bool) -> Result<Vec<RunHandle>> {
        let pinned: Vec<_> = {
            let mut pins = self.inner.pins.lock().await;
            let mut pinned = Vec::new();
            for record in self
                .inner
                .catalog
                .runs()
                .await?
                .into_iter()
                .filter(|run| wanted(run))
            {
                let pin = pins
                    .get(&record.place)
                    .and_then(Weak::upgrade)
                    .unwrap_or_default();
                pins.insert(record.place.clone(), Arc::downgrade(&pin));
                pinned.push((record, pin));
            }
            pinned
        };
        let opening = futures::stream::iter(pinned).map(|(record, pin)| self.open_pinned(record, pin));
        opening.buffered(OPENING_MAX).try_collect().await
    }

    async fn open_pinned(&self, record: Arc<RunRecord>, pin: Arc<()>) -> Result<RunHandle> {
        let path = Path::from(record.place.as_str());
        let run = self.open_run(&record, &path).await?;
        let folder = self.inner.folder.as_ref();
        let local = folder.map(|folder| folder.run_path(&path));
        Ok(RunHandle {
            record,
            run,
            path,
            local,
            _pin: pin,
        })
    }

    async fn open_run(&self, record: &RunRecord, path: &Path) -> Result<Arc<Run>> {
        if let Some(run) = self.footers().used(&record.place) {
            return Ok(run);
        }
        let run = Arc::new(Run::open(&*self.inner.files, path, record.summary.stored_bytes).await?);
        self.footers()
            .add(&record.place, &run, self.inner.settings.footer_cache_bytes);
        Ok(run)
    }

    fn footers(&self) -> impl std::ops::DerefMut<Target = Footers> {
        self.inner.footers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the files of runs that were replaced and that nobody reads any more; says how many.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn sweep(&self) -> Result<u64> {
        let mut pins = self.inner.pins.lock().await;
        let mut gone = Vec::new();
        for retired in self.inner.catalog.retired().await? {
            if pins.get(&retired.place).is_some_and(|pin| pin.strong_count() > 0) {
                continue;
            }
            self.remove_run(&retired.place).await?;
            pins.remove(&retired.place);
            self.footers().remove(&retired.place);
            gone.push(retired.place);
        }
        if !gone.is_empty() {
            self.inner.catalog.forget(&gone).await?;
        }
        Ok(gone.len() as u64)
    }

    /// Removes the run files that no commit names, which a crash may have left; says how many.
    ///
    /// Only for one who has just opened the store and shares it with no other process: a run that is about to be committed
    /// looks the same.
    ///
    /// # Errors
    /// [`Storage`](crate::ErrorKind::Storage).
    pub async fn sweep_unknown_runs(&self) -> Result<u64> {
        let catalog = self.catalog();
        let mut known: HashSet<String> = HashSet::new();
        known.extend(catalog.runs().await?.iter().map(|run| run.place.clone()));
        known.extend(catalog.retired().await?.into_iter().map(|retired| retired.place));
        let files: Vec<_> = self
            .inner
            .files
            .list(None)
            .try_collect()
            .await
            .map_err(|source| Error::object("listing the run files", source))?;
        let mut swept = 0;
        for file in files {
            let place = file.location.as_ref();
            if !known.contains(place) {
                tracing::info!(run.place = place, "removing a run file that no commit names");
                self.remove_run(place).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Footers {
    fn used(&mut self, place: &str) -> Option<Arc<Run>> {
        self.uses += 1;
        let (used, run) = self.opened.get_mut(place)?;
        *used = self.uses;
        Some(Arc::clone(run))
    }

    fn add(&mut self, place: &str, run: &Arc<Run>, bytes_max: usize) {
        if self
            .opened
            .insert(place.to_owned(), (self.uses, Arc::clone(run)))
            .is_none()
        {
            self.bytes += run.memory_bytes();
        }
        while self.bytes > bytes_max && self.opened.len() > 1 {
            let oldest = self
                .opened
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(place, _)| place.clone());
            self.remove(&oldest.expect("there is more than one"));
        }
    }

    fn remove(&mut self, place: &str) {
        if let Some((_, run)) = self.opened.remove(place) {
            self.bytes -= run.memory_bytes();
        }
    }
}

fn holds_range(run: &RunRecord, range: &crate::catalog::KeyRange) -> bool {
    run.summary
        .types
        .iter()
        .any(|count| Some(&count.resource_type.code()) == range.from.first())
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

/// Fails a read of something that the catalog names and no file has.
pub(crate) fn missing(what: &str) -> Error {
    Error::new(
        crate::ErrorKind::Corrupt,
        format!("reading {what}: the catalog names it but no run has it"),
    )
}
