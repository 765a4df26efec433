//! A store, a way to run one import on it, and a way to look at everything that is stored.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_bulk::import::{Fetch, ImportHandler, ImportResult, ImportSettings, ImportSpec, submit_import};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::testing::SeededEntropy;
use fhirhose_jobs::{
    Claim, Clock, Finish, Handler, JobContext, JobError, JobId, JobStore, Lease, Outcome, Release,
    StopSignal, Timestamp,
};
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{
    DataFolder, Encoding, Holder, OpenMode, OutputName, ScanRequest, Selection, Sequence, Store,
    StoreSettings,
};
use futures::TryStreamExt;

/// What is stored of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) body: String,
    pub(super) owner: Vec<u8>,
    pub(super) sequence: Sequence,
}

/// Bodies by type and id.
pub(super) type Contents = BTreeMap<(ResourceType, String), Stored>;

/// A clock that moves on by a microsecond at each look, so that a test is the same at any speed.
#[derive(Default)]
pub(super) struct StepClock {
    micros: AtomicI64,
    /// Told at every look: a commit looks once.
    watcher: std::sync::Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl StepClock {
    pub(super) fn new() -> Arc<Self> {
        let clock = Self::default();
        clock.micros.store(1_700_000_000_000_000, Ordering::Relaxed);
        Arc::new(clock)
    }

    pub(super) fn watch(&self, watcher: impl FnMut() + Send + 'static) {
        *self.watcher.lock().unwrap() = Some(Box::new(watcher));
    }

    pub(super) fn unwatch(&self) {
        *self.watcher.lock().unwrap() = None;
    }
}

#[async_trait]
impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        if let Some(watcher) = self.watcher.lock().unwrap().as_mut() {
            watcher();
        }
        Timestamp::from_micros(self.micros.fetch_add(1, Ordering::Relaxed))
    }

    async fn sleep_until(&self, _at: Timestamp) {}
}

/// A store with what a test does to it.
pub(super) struct Bench {
    pub(super) store: Store,
    pub(super) clock: Arc<StepClock>,
    entropy: SeededEntropy,
}

impl Bench {
    pub(super) fn in_memory() -> Self {
        let clock = StepClock::new();
        let store = Store::in_memory(clock.clone(), StoreSettings::default()).unwrap();
        Self {
            store,
            clock,
            entropy: SeededEntropy::new(7),
        }
    }

    pub(super) async fn embedded(folder: &Path) -> Self {
        let clock = StepClock::new();
        let holder = Holder::this_process("test", "now");
        let folder = DataFolder::open(folder, OpenMode::Create, &holder).unwrap();
        let store = Store::open(folder, clock.clone(), StoreSettings::default())
            .await
            .unwrap();
        Self {
            store,
            clock,
            entropy: SeededEntropy::new(8),
        }
    }

    pub(super) async fn submit(&self, spec: ImportSpec) -> JobId {
        submit_import(&self.store, spec, "owner", &self.entropy)
            .await
            .unwrap()
    }

    /// Claims the one job that waits, and makes its context.
    pub(super) async fn claim(&self) -> JobContext {
        let now = self.clock.now();
        let claim = Claim {
            worker: "worker",
            kinds: &["import"],
            now,
            until: now.plus(Duration::from_secs(3_600)),
        };
        let claimed = self
            .store
            .catalog()
            .claim(claim)
            .await
            .unwrap()
            .expect("a job waits");
        let jobs: Arc<dyn JobStore> = self.store.catalog().clone();
        JobContext::new(claimed, jobs, self.clock.clone(), StopSignal::new())
    }

    pub(super) async fn release(&self, lease: &Lease) {
        self.store
            .catalog()
            .release(lease, Release::Shutdown)
            .await
            .unwrap();
    }

    /// Runs one claim of the job, and finishes the job if that succeeds.
    pub(super) async fn attempt(
        &self,
        context: &JobContext,
        settings: &ImportSettings,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> Result<ImportResult, JobError> {
        let result = self.run(context, settings, fetch).await?;
        let now = self.clock.now();
        let end = Finish {
            outcome: Outcome::Succeeded(Vec::new()),
            now,
            expires: now,
        };
        self.store.catalog().finish(context.lease(), end).await.unwrap();
        Ok(result)
    }

    /// Runs one claim of the job.
    pub(super) async fn run(
        &self,
        context: &JobContext,
        settings: &ImportSettings,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> Result<ImportResult, JobError> {
        let handler = ImportHandler::new(self.store.clone(), fetch, settings.clone());
        let bytes = handler.run(context).await?;
        Ok(ImportResult::parse(&bytes).unwrap())
    }

    /// Runs an import from beginning to end.
    pub(super) async fn import(&self, spec: ImportSpec, settings: &ImportSettings) -> ImportResult {
        self.submit(spec).await;
        let context = self.claim().await;
        self.attempt(&context, settings, None).await.unwrap()
    }

    pub(super) async fn contents(&self) -> Contents {
        let snapshot = self.store.catalog().snapshot().await.unwrap();
        let mut contents = Contents::new();
        for resource_type in ResourceType::all() {
            let request = ScanRequest {
                range: KeyRange::of_type(resource_type),
                snapshot: snapshot.sequence,
                after: Sequence::ZERO,
                selection: Selection::All,
            };
            let scan = self.store.scan(request).await.unwrap();
            let rows = tokio::task::spawn_blocking(move || {
                let mut rows = Vec::new();
                scan.for_each(&mut |row| {
                    let body = String::from_utf8(row.body.to_vec()).unwrap();
                    let stored = Stored {
                        body,
                        owner: row.owner_key.to_vec(),
                        sequence: row.sequence,
                    };
                    rows.push(((resource_type, row.id.to_owned()), stored));
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
                rows
            });
            let rows = rows.await.unwrap();
            let (count, before) = (rows.len(), contents.len());
            contents.extend(rows);
            assert_eq!(contents.len(), before + count, "a scan shows each resource once");
        }
        contents
    }

    /// Bodies alone, by `Type/id`.
    pub(super) async fn bodies(&self) -> BTreeMap<String, String> {
        let contents = self.contents().await;
        contents
            .into_iter()
            .map(|((kind, id), stored)| (format!("{kind}/{id}"), stored.body))
            .collect()
    }

    /// The text of a file that a result names.
    pub(super) async fn file(&self, job: JobId, name: &str) -> Vec<u8> {
        let name = OutputName::new(&job.to_string(), name).unwrap();
        let reader = self.store.outputs().open(&name).await.unwrap();
        let pieces: Vec<bytes::Bytes> = reader.stream(Encoding::Identity).try_collect().await.unwrap();
        pieces.concat()
    }
}

/// Settings that make many small chunks.
pub(super) fn small_chunks(threads: usize, chunk_bytes: usize) -> ImportSettings {
    ImportSettings {
        chunk_bytes,
        ..ImportSettings::with_threads(threads)
    }
}

/// The real data that lies beside the repository.
pub(super) fn synthea() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100")
}

/// The lines of a real file, as text.
pub(super) fn synthea_lines(file: &Path) -> Vec<String> {
    let text = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Writes a file of lines into a folder.
pub(super) fn write_lines<S: AsRef<str>>(folder: &Path, name: &str, lines: &[S]) -> PathBuf {
    let path = folder.join(name);
    let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
    std::fs::write(&path, text).unwrap();
    path
}

/// All files of a folder, sorted.
pub(super) fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}
