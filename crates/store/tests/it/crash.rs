//! The catalog crashed at every operation of a history, and jobs on it crashed at every call.
//!
//! The history has imports big enough to be ingested, interactive writes, deletions, a flush and compactions. At every
//! change of the key-value store or of the run files, and at its reads, the process dies or is told of a failure; a new
//! one opens what survived, and the step is taken again.

use async_trait::async_trait;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::testing::{Disk, ManualClock, crash_everywhere, simulate};
use fhirhose_jobs::{Checkpoint, Claim, Clock, JobId, JobStore, Lease, NewJob, Timestamp};
use fhirhose_store::catalog::{
    Commit, Committed, Counts, EmbeddedSettings, Expect, FjallKv, HotDone, JobWrite, Kv, KvCatalog, MemoryKv,
    Origin, Snapshot, Write,
};
use fhirhose_store::testing::{
    Fault, FaultPlan, FaultyFiles, FaultyKv, Operation, Rng, Shown, Workload, import_under, shown,
};
use fhirhose_store::{ErrorKind, OutputStore, Result, Sequence, Store, StoreParts, StoreSettings};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

const FAULTS: [Fault; 5] = [
    Fault::DieBefore,
    Fault::DieAfter,
    Fault::DieHalfway,
    Fault::FailBefore,
    Fault::FailAfter,
];

/// What outlives a process.
enum Ground {
    Memory { kv: Arc<MemoryKv>, runs: Arc<InMemory> },
    Disk(tempfile::TempDir),
}

impl Ground {
    fn memory() -> Self {
        Self::Memory {
            kv: Arc::default(),
            runs: Arc::new(InMemory::new()),
        }
    }

    fn disk() -> Self {
        Self::Disk(tempfile::tempdir().unwrap())
    }

    fn kv(&self) -> Arc<dyn Kv> {
        match self {
            Self::Memory { kv, .. } => kv.clone(),
            Self::Disk(folder) => {
                Arc::new(FjallKv::open(&folder.path().join("catalog"), &EmbeddedSettings::default()).unwrap())
            }
        }
    }

    fn runs(&self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Memory { runs, .. } => runs.clone(),
            Self::Disk(folder) => {
                let path = folder.path().join("runs");
                std::fs::create_dir_all(&path).unwrap();
                Arc::new(LocalFileSystem::new_with_prefix(path).unwrap())
            }
        }
    }
}

/// For how long what was replaced is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Longer than the history takes.
    All,
    /// Not at all, but a job holds the first snapshot.
    Held,
    /// Not at all: only the newest snapshot counts.
    Newest,
}

/// What outlives processes, and the process that lives now.
struct World {
    ground: Ground,
    clock: Arc<ManualClock>,
    settings: StoreSettings,
    lease: Lease,
    plan: Arc<FaultPlan>,
}

impl World {
    /// An empty store with a job that writes checkpoints.
    async fn new(ground: Ground, keep: Keep) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        let history_secs = if keep == Keep::All { 24 * 60 * 60 } else { 0 };
        let settings = StoreSettings {
            history_secs,
            ..StoreSettings::default()
        };
        let id = JobId::from_bytes([5; 16]);
        let lease = Lease { job: id, fence: 1 };
        let world = Self {
            ground,
            clock,
            settings,
            lease,
            plan: FaultPlan::none(),
        };
        let store = world.open().await.unwrap();
        let (kind, owner, created) = ("history".to_owned(), String::new(), world.clock.now());
        store
            .catalog()
            .create(NewJob {
                id,
                kind,
                spec: Vec::new(),
                owner,
                created,
            })
            .await
            .unwrap();
        let until = created.plus(Duration::from_secs(1_000_000));
        let claim = Claim {
            worker: "history",
            kinds: &["history"],
            now: created,
            until,
        };
        let (_, given) = store.catalog().claim(claim).await.unwrap().unwrap();
        assert_eq!(given, lease);
        if keep == Keep::Held {
            store
                .catalog()
                .checkpoint(&lease, Checkpoint::new().holds(1))
                .await
                .unwrap();
        }
        world
    }

    /// A new process over what is there.
    async fn open(&self) -> Result<Store> {
        let kv = FaultyKv::new(self.ground.kv(), Arc::clone(&self.plan));
        let catalog = Arc::new(KvCatalog::open(Box::new(kv), self.clock.clone())?);
        let parts = StoreParts {
            catalog,
            runs: Arc::new(FaultyFiles::new(self.ground.runs(), Arc::clone(&self.plan))),
            outputs: OutputStore::new(Arc::new(InMemory::new())),
            scratch: Arc::new(InMemory::new()),
            folder: None,
        };
        let store = Store::of_parts(parts, self.clock.clone(), self.settings.clone());
        store.sweep_unknown_runs().await?;
        Ok(store)
    }

    /// The step whose checkpoint was the last.
    async fn last_checkpoint(&self, store: &Store) -> Result<Option<u8>> {
        let job = store.catalog().job(&self.lease.job).await?.unwrap();
        Ok(job.checkpoint.map(|state| state[0]))
    }
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// One run, under the job.
    Import(Vec<Workload>),
    /// Interactive writes in one commit.
    Put(Vec<Workload>),
    Delete(Vec<Workload>),
    Flush,
    Compact,
    Sweep,
}

/// Imports that are ingested and such that are not, mixed with all else; every kind of step meets what others left.
fn script(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut draw = |count: u64| -> Vec<Workload> {
        let drawn: BTreeMap<_, _> = (0..count)
            .map(|_| Workload::draw(&mut rng))
            .map(|each| (slot(&each), each))
            .collect();
        drawn.into_values().collect()
    };
    let [first, second, third] = [draw(30), draw(30), draw(12)];
    let [some, more, most] = [draw(2), draw(3), draw(4)];
    let deleted = first.iter().take(6).cloned().collect::<Vec<_>>();
    let with = |numbers: std::ops::Range<u64>, value: u64, others: &[Workload]| {
        let mut all: Vec<_> = numbers.map(|number| numbered(number, value)).collect();
        all.extend_from_slice(others);
        all
    };
    vec![
        Step::Put(some.clone()),
        Step::Import(with(0..300, 1, &first)),
        Step::Put(more),
        Step::Delete(deleted.clone()),
        // Enough is new to be ingested; some is changed, some as it was.
        Step::Import(
            [
                with(50..150, 1, &[]),
                with(150..250, 2, &second),
                with(3_000..5_050, 1, &[]),
            ]
            .concat(),
        ),
        Step::Flush,
        // Some come back, as they were or changed.
        Step::Put(deleted.iter().take(3).cloned().collect()),
        Step::Import(with(0..40, 3, &third)),
        Step::Compact,
        Step::Import(with(0..40, 3, &third)),
        Step::Delete(vec![numbered(7, 0), numbered(3_001, 0)]),
        Step::Import([vec![numbered(7, 9)], most].concat()),
        Step::Flush,
        Step::Compact,
        Step::Sweep,
        Step::Put(some),
    ]
}

fn numbered(number: u64, value: u64) -> Workload {
    let (resource_type, owner) = (ResourceType::OBSERVATION, Some(format!("p{}", number % 7)));
    Workload {
        resource_type,
        owner,
        id: format!("many-{number}"),
        value,
    }
}

fn slot(each: &Workload) -> (u8, String) {
    (each.resource_type.code(), each.id.clone())
}

fn gone_slot(key: &[u8]) -> (u8, String) {
    let parts = fhirhose_store::key::decode(key).unwrap();
    (parts.resource_type.code(), parts.id)
}

/// What must be there: all that was acknowledged.
#[derive(Clone)]
struct Model {
    alive: BTreeMap<(u8, String), (Workload, Sequence)>,
    gone: BTreeSet<(Sequence, Vec<u8>)>,
    last: Snapshot,
}

impl Model {
    fn apply(&mut self, step: &Step, at: Sequence) {
        match step {
            Step::Import(resources) | Step::Put(resources) => {
                for each in resources {
                    if self.alive.get(&slot(each)).is_none_or(|(old, _)| old != each) {
                        self.alive.insert(slot(each), (each.clone(), at));
                    }
                }
            }
            Step::Delete(resources) => {
                for each in resources {
                    if let Some((old, _)) = self.alive.remove(&slot(each)) {
                        self.gone.insert((at, old.key()));
                    }
                }
            }
            Step::Flush | Step::Compact | Step::Sweep => {}
        }
    }

    /// Whether a step changes what is shown.
    fn changes(&self, step: &Step) -> bool {
        match step {
            Step::Import(resources) | Step::Put(resources) => resources
                .iter()
                .any(|each| self.alive.get(&slot(each)).is_none_or(|(old, _)| old != each)),
            Step::Delete(resources) => resources.iter().any(|each| self.alive.contains_key(&slot(each))),
            Step::Flush | Step::Compact | Step::Sweep => false,
        }
    }

    fn counts(&self, resources: &[Workload]) -> Counts {
        let mut counts = Counts::default();
        for each in resources {
            match self.alive.get(&slot(each)) {
                None => counts.created += 1,
                Some((old, _)) if old != each => counts.updated += 1,
                Some(_) => counts.unchanged += 1,
            }
        }
        counts
    }

    fn picture(&self) -> Shown {
        let row = |(each, sequence): &(Workload, Sequence)| {
            let key = (
                each.resource_type.name().to_owned(),
                each.owner.clone(),
                each.id.clone(),
            );
            (key, (*sequence, each.body()))
        };
        self.alive.values().map(row).collect()
    }
}

/// One run of a history through at most one fault.
struct History {
    name: String,
    keep: Keep,
    world: World,
    model: Model,
    /// Snapshots that were given out, and what they showed.
    kept: Vec<(Snapshot, Shown)>,
}

impl History {
    async fn new(name: String, ground: Ground, keep: Keep, plan: &Arc<FaultPlan>) -> Self {
        let mut world = World::new(ground, keep).await;
        world.plan = Arc::clone(plan);
        let last = Snapshot {
            sequence: Sequence::ZERO,
            instant: fhirhose_fhir::instant::Instant::from_micros(0),
        };
        let model = Model {
            alive: BTreeMap::new(),
            gone: BTreeSet::new(),
            last,
        };
        Self {
            name,
            keep,
            world,
            model,
            kept: Vec::new(),
        }
    }

    async fn run(mut self, script: &[Step]) {
        let mut store = None;
        for (number, step) in script.iter().enumerate() {
            // The clock stands still between some commits: instants rise all the same.
            if number % 3 == 0 {
                self.world.clock.advance(Duration::from_millis(10));
            }
            let mut attempts = 0;
            loop {
                match self.attempt(&mut store, (number, attempts), step).await {
                    Ok(()) => break,
                    Err(error) => {
                        assert!(
                            self.world.plan.has_struck(),
                            "{}, step {number}: {}",
                            self.name,
                            chain(&error)
                        );
                        assert_eq!(error.kind(), ErrorKind::Storage, "{}, step {number}", self.name);
                    }
                }
                attempts += 1;
                assert!(
                    attempts < 3,
                    "{}, step {number}: one fault, three failures",
                    self.name
                );
                if self.world.plan.is_dead() {
                    store = None;
                    self.world.plan = FaultPlan::none();
                }
                self.find_out(&mut store, number, step).await;
            }
        }
        // And at the end, once more, what a new process finds.
        drop(store);
        self.world.plan = FaultPlan::none();
        let store = self.world.open().await.unwrap();
        self.check_all(&store).await;
    }

    /// Takes a step, and notes what was acknowledged.
    async fn attempt(
        &mut self,
        store: &mut Option<Store>,
        (number, attempt): (usize, u32),
        step: &Step,
    ) -> Result<()> {
        if store.is_none() {
            *store = Some(self.world.open().await?);
        }
        let store = store.as_ref().expect("it was opened just now");
        // As a job's fence keeps the files of two attempts apart.
        let place = format!("{number}-{attempt}.run");
        match step {
            Step::Import(resources) => self.import(store, number, &place, step, resources).await?,
            Step::Put(resources) | Step::Delete(resources) => {
                self.write(store, number, step, resources).await?
            }
            Step::Flush | Step::Compact => self.rewrite(store, number, &place, step).await?,
            Step::Sweep => {
                store.sweep().await?;
            }
        }
        let snapshot = store.catalog().snapshot().await?;
        assert_eq!(
            snapshot.sequence, self.model.last.sequence,
            "{}, step {number}",
            self.name
        );
        assert!(
            snapshot.instant >= self.model.last.instant,
            "{}, step {number}",
            self.name
        );
        self.model.last = snapshot;
        self.keep(snapshot);
        Ok(())
    }

    async fn import(
        &mut self,
        store: &Store,
        number: usize,
        place: &str,
        step: &Step,
        resources: &[Workload],
    ) -> Result<()> {
        let state = Checkpoint::new().state(vec![number as u8]);
        let job = JobWrite {
            lease: self.world.lease,
            checkpoint: Box::new(|_| state),
        };
        let committed = import_under(store, place, resources, Some(job)).await?;
        assert_eq!(
            committed.counts,
            self.model.counts(resources),
            "{}, step {number}",
            self.name
        );
        assert_eq!(
            committed.run_kept,
            self.model.changes(step),
            "{}, step {number}",
            self.name
        );
        assert_eq!(
            self.world.last_checkpoint(store).await?,
            Some(number as u8),
            "{}",
            self.name
        );
        self.acknowledge(step, number, &committed);
        Ok(())
    }

    async fn write(
        &mut self,
        store: &Store,
        number: usize,
        step: &Step,
        resources: &[Workload],
    ) -> Result<()> {
        let deletes = matches!(step, Step::Delete(_));
        let write = |each: &Workload| {
            if deletes {
                each.delete()
            } else {
                each.put(Expect::Any)
            }
        };
        let write = Write::Hot(resources.iter().map(write).collect());
        let committed = store
            .catalog()
            .commit(Commit {
                write,
                job: None,
                origin: Origin::default(),
            })
            .await?;
        let idle = if deletes {
            HotDone::Missing
        } else {
            HotDone::Unchanged
        };
        let is_idle = committed.results.iter().all(|result| result.done == idle);
        assert_eq!(is_idle, !self.model.changes(step), "{}, step {number}", self.name);
        self.acknowledge(step, number, &committed);
        Ok(())
    }

    /// Flushes or compacts.
    async fn rewrite(&mut self, store: &Store, number: usize, place: &str, step: &Step) -> Result<()> {
        if matches!(step, Step::Flush) {
            store.flush(place, None).await?;
            assert_eq!(
                store.catalog().stats().await?.hot_rows,
                0,
                "{}, step {number}",
                self.name
            );
            return Ok(());
        }
        let places: Vec<_> = store
            .catalog()
            .runs()
            .await?
            .iter()
            .map(|run| run.place.clone())
            .collect();
        if places.len() > 1 {
            store.compact(&places, place, None, |_| Ok(())).await?;
        }
        assert_eq!(
            store.catalog().runs().await?.len(),
            1,
            "{}, step {number}",
            self.name
        );
        Ok(())
    }

    fn acknowledge(&mut self, step: &Step, number: usize, committed: &Committed) {
        let now = committed.snapshot;
        if self.model.changes(step) {
            assert!(
                now.sequence > self.model.last.sequence,
                "{}, step {number}: sequences rise",
                self.name
            );
            assert!(
                now.instant > self.model.last.instant,
                "{}, step {number}: instants rise",
                self.name
            );
            self.model.apply(step, now.sequence);
            self.model.last = now;
        } else {
            assert_eq!(
                now.sequence, self.model.last.sequence,
                "{}, step {number}",
                self.name
            );
        }
    }

    /// After a failure: the step is there as a whole or not at all, and everything else is as it was.
    async fn find_out(&mut self, store: &mut Option<Store>, number: usize, step: &Step) {
        if store.is_none() {
            *store = Some(self.world.open().await.unwrap());
        }
        let store = store.as_ref().expect("it was opened just now");
        let now = store.catalog().snapshot().await.unwrap();
        if now.sequence > self.model.last.sequence {
            assert!(
                self.model.changes(step),
                "{}, step {number}: a commit of nothing",
                self.name
            );
            let mut after = self.model.clone();
            after.apply(step, now.sequence);
            self.model = after;
            if matches!(step, Step::Import(_)) {
                let checkpoint = self.world.last_checkpoint(store).await.unwrap();
                assert_eq!(
                    checkpoint,
                    Some(number as u8),
                    "{}: data and checkpoint go together",
                    self.name
                );
            }
        } else {
            assert_eq!(
                now.sequence, self.model.last.sequence,
                "{}, step {number}: a commit is lost",
                self.name
            );
            if matches!(step, Step::Import(_)) && self.model.changes(step) {
                let checkpoint = self.world.last_checkpoint(store).await.unwrap();
                assert_ne!(
                    checkpoint,
                    Some(number as u8),
                    "{}: a checkpoint without its data",
                    self.name
                );
            }
        }
        assert!(
            now.instant >= self.model.last.instant,
            "{}, step {number}: instants rise",
            self.name
        );
        self.model.last = now;
        self.keep(now);
        self.check_all(store).await;
    }

    /// Notes what a snapshot shows; of several of the same state the last.
    fn keep(&mut self, snapshot: Snapshot) {
        let last = self.kept.last().map(|(last, _)| last.sequence);
        if self.keep == Keep::Newest {
            self.kept.clear();
        } else if last == Some(snapshot.sequence) {
            self.kept.pop();
        }
        self.kept.push((snapshot, self.model.picture()));
    }

    async fn check_all(&self, store: &Store) {
        let name = &self.name;
        for (number, (snapshot, expected)) in self.kept.iter().enumerate() {
            let now = shown(store, snapshot.sequence, Sequence::ZERO).await.unwrap();
            let lost = expected.iter().find(|(key, row)| now.get(*key) != Some(row));
            assert!(
                lost.is_none(),
                "{name}: snapshot {number} ({snapshot:?}) lost {lost:?}"
            );
            let extra = now.keys().find(|key| !expected.contains_key(*key));
            assert!(
                extra.is_none(),
                "{name}: snapshot {number} ({snapshot:?}) has {extra:?} beside"
            );
            let sequence = store.catalog().sequence_at(snapshot.instant).await.unwrap();
            assert_eq!(
                sequence, snapshot.sequence,
                "{name}: `_since` of snapshot {number} would repeat or lack something"
            );
        }
        let ids: Vec<_> = self
            .model
            .alive
            .values()
            .map(|(each, _)| (each.resource_type, each.id.as_str()))
            .collect();
        let newest = store.catalog().newest(&ids).await.unwrap();
        for ((each, sequence), newest) in self.model.alive.values().zip(newest) {
            let newest = newest.map(|newest| (newest.sequence, newest.owner, newest.hash, newest.deleted));
            assert_eq!(
                newest,
                Some((*sequence, each.owner.clone(), each.hash(), false)),
                "{name}: {each:?}"
            );
        }
        let gone = store
            .catalog()
            .gone(Sequence::ZERO, Sequence(u64::MAX - 1), None, usize::MAX)
            .await
            .unwrap();
        for each in &gone {
            let slot = gone_slot(&each.key);
            let again = gone
                .iter()
                .any(|later| later.sequence > each.sequence && gone_slot(&later.key) == slot);
            let recreated = again || self.model.alive.contains_key(&slot);
            assert_eq!(each.recreated.is_some(), recreated, "{name}: {each:?}");
        }
        let gone: BTreeSet<_> = gone.into_iter().map(|gone| (gone.sequence, gone.key)).collect();
        assert!(gone == self.model.gone, "{name}: the list of deletions differs");
        let report = store.check(|_| ()).await.unwrap();
        assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
        self.check_files(store).await;
    }

    /// After a death, once swept, the run files are those that the catalog names.
    async fn check_files(&self, store: &Store) {
        if self.world.plan.has_struck() {
            return;
        }
        store.sweep().await.unwrap();
        let files: Vec<_> = self.world.ground.runs().list(None).try_collect().await.unwrap();
        let files: BTreeSet<_> = files.into_iter().map(|file| file.location.to_string()).collect();
        let runs = store.catalog().runs().await.unwrap();
        let runs: BTreeSet<_> = runs.iter().map(|run| run.place.clone()).collect();
        assert_eq!(files, runs, "{}: run files and runs", self.name);
    }
}

fn chain(error: &fhirhose_store::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Runs a history once for each fault at each `step`-th operation; returns how often.
async fn crash_history_everywhere(seed: u64, keep: Keep, step: usize, ground: impl Fn() -> Ground) -> u64 {
    let script = script(seed);
    let undisturbed = FaultPlan::none();
    let name = format!("seed {seed}, {keep:?}");
    History::new(format!("{name}, undisturbed"), ground(), keep, &undisturbed)
        .await
        .run(&script)
        .await;
    let mut runs = 0;
    for operation in [Operation::Change, Operation::Read] {
        for number in (0..undisturbed.count(operation)).step_by(step) {
            for fault in FAULTS {
                // A read has no effect: it fails or it does not.
                if operation == Operation::Read && !matches!(fault, Fault::DieBefore | Fault::FailBefore) {
                    continue;
                }
                let plan = FaultPlan::at(operation, number, fault);
                let name = format!("{name}, {fault:?} at {operation:?} {number}");
                History::new(name.clone(), ground(), keep, &plan)
                    .await
                    .run(&script)
                    .await;
                assert!(plan.has_struck(), "{name}: nothing happened");
                runs += 1;
            }
        }
    }
    runs
}

/// The environment's step, 1 for every operation, or the default for quick runs.
fn step(default: usize) -> usize {
    std::env::var("FHIRHOSE_CRASH_STEP")
        .ok()
        .and_then(|step| step.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_crashes_at_any_operation_keeps_what_it_acknowledged() {
    let runs = crash_history_everywhere(1, Keep::All, step(8), Ground::memory).await;
    assert!(runs > 300 / step(8) as u64, "only {runs} runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_during_a_compaction_that_drops_versions_loses_none_that_a_job_holds() {
    crash_history_everywhere(2, Keep::Held, step(12), Ground::memory).await;
    crash_history_everywhere(3, Keep::Newest, step(12), Ground::memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_catalog_crashed_and_opened_again_keeps_what_it_acknowledged() {
    crash_history_everywhere(4, Keep::All, step(40), Ground::disk).await;
}

/// A folder that each new process opens, or memory that processes share.
struct CatalogDisk {
    ground: Ground,
    /// The one that is open, for a folder has one process at a time.
    open: Mutex<Weak<dyn Kv>>,
}

impl CatalogDisk {
    fn over(ground: Ground) -> Arc<dyn Disk> {
        let none: Weak<MemoryKv> = Weak::new();
        Arc::new(Self {
            ground,
            open: Mutex::new(none),
        })
    }
}

#[async_trait]
impl Disk for CatalogDisk {
    async fn open(&self) -> Arc<dyn JobStore> {
        if matches!(self.ground, Ground::Disk(_)) {
            // The last call of a dead process may still be under way on a thread of its own.
            while self.open.lock().unwrap().strong_count() > 0 {
                std::thread::yield_now();
            }
        }
        let kv = self.ground.kv();
        *self.open.lock().unwrap() = Arc::downgrade(&kv);
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
        let kv = FaultyKv::new(kv, FaultPlan::none());
        Arc::new(KvCatalog::open(Box::new(kv), clock).unwrap())
    }
}

#[test]
fn a_job_on_the_memory_catalog_survives_every_fault_at_every_call() {
    let runs = crash_everywhere(step(1), || CatalogDisk::over(Ground::memory()));
    assert!(runs > 100 / step(1) as u64, "only {runs} runs");
    for seed in 0..50 {
        simulate(seed, CatalogDisk::over(Ground::memory()));
    }
}

#[test]
fn a_job_on_the_embedded_catalog_survives_every_fault_with_the_folder_opened_again() {
    let runs = crash_everywhere(step(40), || CatalogDisk::over(Ground::disk()));
    assert!(runs > 5, "only {runs} runs");
    for seed in 0..2 {
        simulate(seed, CatalogDisk::over(Ground::disk()));
    }
}
