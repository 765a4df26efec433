//! Imports and exports whose process dies at any change of the store: the next one ends the job as an undisturbed one would.
//!
//! A process is a runner with the real handlers over a store whose key-value store and files go wrong as planned. What
//! survives is below them. Time is tokio's paused one, so that leases and pauses cost nothing.
#![allow(
    clippy::unwrap_used,
    reason = "in a test, what cannot be unwrapped is the failure"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fhirhose_bulk::export::{ExportHandler, ExportResult, ExportSettings, ExportSpec, Target, submit_export};
use fhirhose_bulk::import::{ImportHandler, ImportResult, ImportSettings, ImportSpec, submit_import};
use fhirhose_fhir::export_request::{AssociatedData, ExportLevel, KickOff};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::testing::{PausedClock, SeededEntropy};
use fhirhose_jobs::{
    Clock, Handler, JobId, JobRecord, JobState, JobStore, Lane, Leftover, Runner, RunnerSettings, Timestamp,
    Turns,
};
use fhirhose_store::catalog::{
    Commit, Expect, HotAction, HotWrite, KeyRange, KvCatalog, MemoryKv, Origin, Write,
};
use fhirhose_store::testing::{Fault, FaultPlan, FaultyFiles, FaultyKv, Operation, Rng};
use fhirhose_store::{
    Encoding, OutputName, OutputStore, ScanRequest, Selection, Sequence, Store, StoreParts, StoreSettings,
};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What outlives processes.
struct Ground {
    kv: Arc<MemoryKv>,
    runs: Arc<InMemory>,
    outputs: Arc<InMemory>,
    clock: Arc<PausedClock>,
    entropy: SeededEntropy,
    chunk_bytes: usize,
}

impl Ground {
    fn new(seed: u64, chunk_bytes: usize) -> Self {
        Self {
            chunk_bytes,
            kv: Arc::default(),
            runs: Arc::new(InMemory::new()),
            outputs: Arc::new(InMemory::new()),
            clock: Arc::new(PausedClock::new(Timestamp::from_micros(1_700_000_000_000_000))),
            entropy: SeededEntropy::new(seed),
        }
    }

    /// The store as a process sees it; fails only when something goes wrong while it is being opened.
    async fn open(&self, plan: &Arc<FaultPlan>) -> fhirhose_store::Result<Store> {
        let kv = FaultyKv::new(self.kv.clone(), Arc::clone(plan));
        let catalog = Arc::new(KvCatalog::open(Box::new(kv), self.clock.clone())?);
        let runs = Arc::new(FaultyFiles::new(self.runs.clone(), Arc::clone(plan)));
        let outputs = FaultyFiles::new(self.outputs.clone(), Arc::clone(plan));
        let parts = StoreParts {
            catalog,
            runs,
            outputs: OutputStore::new(Arc::new(outputs)),
            scratch: Arc::new(InMemory::new()),
            folder: None,
        };
        let store = Store::of_parts(parts, self.clock.clone(), StoreSettings::default());
        store.sweep_unknown_runs().await?;
        Ok(store)
    }

    /// The store without anything that goes wrong.
    async fn look(&self) -> Store {
        self.open(&FaultPlan::none()).await.unwrap()
    }

    /// Runs a job through the lives of processes until it has ended. `plan` makes the next life's; says how many died.
    async fn live(&self, job: JobId, mut plan: impl FnMut() -> Arc<FaultPlan>) -> (JobRecord, u64) {
        let mut deaths = 0;
        loop {
            if let Some(ended) = self.one_life(job, &plan()).await {
                return (ended, deaths);
            }
            deaths += 1;
        }
    }

    /// Gives the job if it ended before the process did.
    async fn one_life(&self, job: JobId, plan: &Arc<FaultPlan>) -> Option<JobRecord> {
        let users = Arc::strong_count(plan);
        let Ok(store) = self.open(plan).await else {
            assert!(plan.has_struck(), "the store does not open");
            return None;
        };
        let handlers: Vec<Arc<dyn Handler>> = vec![
            Arc::new(ImportHandler::new(
                store.clone(),
                None,
                import_settings(self.chunk_bytes),
            )),
            Arc::new(ExportHandler::new(store.clone(), export_settings())),
        ];
        let lane = Lane {
            kinds: vec!["import".to_owned(), "export".to_owned()],
            parallel: 1,
            turns: Turns::Never,
        };
        let settings = RunnerSettings {
            leftover: Leftover::TakeOver,
            attempts_max: 1_000,
            ..RunnerSettings::new("process", vec![lane])
        };
        let jobs: Arc<dyn JobStore> = store.catalog().clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let runner = Runner::new(jobs, clock, handlers, settings).unwrap();
        drop(store);
        let (shut_down, stopped) = oneshot::channel::<()>();
        let mut process = JoinSet::new();
        process.spawn(runner.run(async move { stopped.await.unwrap_or_default() }));
        let ended = tokio::select! {
            biased;
            () = plan.died() => None,
            // It could not free what its last life held, and is started again.
            _ = process.join_next() => None,
            ended = self.watch(job) => Some(ended),
        };
        if ended.is_some() {
            // What is to be told to the store about the end may still go wrong, which changes nothing.
            let _ = shut_down.send(());
            tokio::select! { biased; () = plan.died() => {}, _ = process.join_next() => {} }
        }
        process.shutdown().await;
        // A real death takes the threads along; of these some are still in the middle of a call.
        while Arc::strong_count(plan) > users {
            tokio::task::yield_now().await;
            std::thread::yield_now();
        }
        ended
    }

    async fn watch(&self, job: JobId) -> JobRecord {
        loop {
            // A view of its own: a look must not count as an operation of the process.
            let kv = FaultyKv::new(self.kv.clone(), FaultPlan::none());
            let catalog = KvCatalog::open(Box::new(kv), self.clock.clone()).unwrap();
            let job = catalog.job(&job).await.unwrap().expect("a job stays");
            if job.state.is_ended() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a job of this specification undisturbed, and counts the changes it takes.
    async fn undisturbed(&self, job: JobId) -> (JobRecord, u64) {
        let plan = FaultPlan::none();
        let (ended, _) = self.live(job, || Arc::clone(&plan)).await;
        (ended, plan.count(Operation::Change))
    }

    /// The bodies of all resources, by type, owner and id; asserts that none is shown twice.
    async fn bodies(&self) -> BTreeMap<(&'static str, Vec<u8>, String), String> {
        let store = self.look().await;
        let snapshot = store.catalog().snapshot().await.unwrap();
        let mut bodies = BTreeMap::new();
        for resource_type in ResourceType::all() {
            let range = KeyRange::of_type(resource_type);
            let (after, selection) = (Sequence::ZERO, Selection::All);
            let request = ScanRequest {
                range,
                snapshot: snapshot.sequence,
                after,
                selection,
            };
            let scan = store.scan(request).await.unwrap();
            let rows = tokio::task::spawn_blocking(move || {
                let mut rows = Vec::new();
                scan.for_each(&mut |row| {
                    rows.push((row.owner_key.to_vec(), row.id.to_owned(), row.body.to_vec()));
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap();
                rows
            });
            for (owner, id, body) in rows.await.unwrap() {
                let body = String::from_utf8(body).unwrap();
                let twice = bodies.insert((resource_type.name(), owner, id), body);
                assert!(twice.is_none(), "a scan shows each resource once");
            }
        }
        let report = store.check(|_| ()).await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        bodies
    }

    /// The text of every file that lies in the outputs, by name.
    async fn outputs(&self, job: JobId) -> BTreeMap<String, Vec<u8>> {
        let store = self.look().await;
        let mut texts = BTreeMap::new();
        for file in self.outputs.list(None).try_collect::<Vec<_>>().await.unwrap() {
            let place = file.location.to_string();
            let Some(name) = place.strip_prefix(&format!("{job}/")) else {
                assert!(!place.starts_with(&job.to_string()), "{place} is left over");
                continue;
            };
            let opened = store
                .outputs()
                .open(&OutputName::new(&job.to_string(), name).unwrap())
                .await;
            let pieces: Vec<bytes::Bytes> = opened
                .unwrap()
                .stream(Encoding::Identity)
                .try_collect()
                .await
                .unwrap();
            texts.insert(name.to_owned(), pieces.concat());
        }
        texts
    }

    /// Once a process has opened the store after the death, the run files are those that the catalog names.
    async fn check_runs(&self) {
        let store = self.look().await;
        let runs = store.catalog().runs().await.unwrap();
        let files: Vec<_> = self.runs.list(None).try_collect().await.unwrap();
        assert_eq!(
            files.len(),
            runs.len(),
            "run files beside those that the catalog names"
        );
    }

    async fn submit_import(&self, inputs: &[PathBuf]) -> JobId {
        let spec = ImportSpec::of_paths(inputs);
        submit_import(&self.look().await, spec, "owner", &self.entropy)
            .await
            .unwrap()
    }

    async fn submit_export(&self, spec: &ExportSpec) -> JobId {
        submit_export(&self.look().await, spec, "owner", &self.entropy)
            .await
            .unwrap()
    }
}

fn import_settings(chunk_bytes: usize) -> ImportSettings {
    ImportSettings {
        chunk_bytes,
        line_bytes_max: 8 << 10,
        ..ImportSettings::with_threads(2)
    }
}

fn export_settings() -> ExportSettings {
    ExportSettings {
        parts_parallel: 2,
        part_bytes: 12_000,
        checkpoint_millis: 0,
        ..ExportSettings::default()
    }
}

/// Three files of some hundred lines: several types, refused lines of several kinds, one too long for a chunk, repeats
/// within a file and across them, and references to what is not there.
fn write_inputs(folder: &Path) -> Vec<PathBuf> {
    let patient = |n: usize, name: &str| {
        format!(r#"{{"resourceType":"Patient","id":"p{n}","name":[{{"family":"{name} {n}"}}]}}"#)
    };
    let observation = |n: usize, value: usize| {
        format!(
            r#"{{"resourceType":"Observation","id":"o{n}","status":"final","subject":{{"reference":"Patient/p{}"}},"encounter":{{"reference":"Encounter/e{}"}},"valueQuantity":{{"value":{value}.00}}}}"#,
            n % 40,
            n % 3
        )
    };
    let mut first: Vec<String> = (0..30).map(|n| patient(n, "First")).collect();
    first.extend((0..60).map(|n| observation(n, 1)));
    first.insert(7, "{\"resourceType\":\"Patient\"}".to_owned());
    first.insert(50, "not json".to_owned());
    first.insert(
        51,
        format!(
            r#"{{"resourceType":"Patient","id":"long","x":"{}"}}"#,
            "y".repeat(20_000)
        ),
    );
    let mut second: Vec<String> = (40..150).map(|n| observation(n, 2)).collect();
    second.extend((0..20).map(|n| observation(n, 1)));
    second.insert(3, r#"{"resourceType":"Nothing","id":"n"}"#.to_owned());
    let mut third: Vec<String> = (0..40).map(|n| patient(n, "Third")).collect();
    third.extend((0..10).map(|n| patient(n, "Last")));
    third.push(r#"{"resourceType":"Patient","id":"p1","id":"p2"}"#.to_owned());
    let write = |(name, lines): (&str, Vec<String>)| {
        let path = folder.join(name);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        path
    };
    [("1.ndjson", first), ("2.ndjson", second), ("3.ndjson", third)]
        .map(write)
        .to_vec()
}

/// A file with enough new resources in a chunk of 128 KiB that the catalog ingests them, which is not atomic with the commit.
fn write_big_input(folder: &Path) -> PathBuf {
    let path = folder.join("big.ndjson");
    let lines = (0..9_000).map(|n| format!("{{\"resourceType\":\"Basic\",\"id\":\"b{n}\"}}\n"));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

/// All that a user can see of an import.
#[derive(Debug, PartialEq)]
struct Imported {
    bodies: BTreeMap<(&'static str, Vec<u8>, String), String>,
    result: serde_json::Value,
    files: BTreeMap<String, Vec<u8>>,
}

async fn imported(ground: &Ground, job: &JobRecord) -> Imported {
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let result = ImportResult::parse(job.result.as_ref().unwrap()).unwrap();
    let files = ground.outputs(job.id).await;
    let mut named: Vec<_> = result.files().map(|file| file.name.clone()).collect();
    named.sort();
    assert_eq!(
        named,
        files.keys().cloned().collect::<Vec<_>>(),
        "the files are those of the result"
    );
    let mut result = serde_json::to_value(result).unwrap();
    result["transaction_time"].take();
    ground.check_runs().await;
    Imported {
        bodies: ground.bodies().await,
        result,
        files,
    }
}

/// A store that has a part of what will be imported, some of it other.
async fn begun(inputs: &[PathBuf]) -> Ground {
    let ground = Ground::new(1, 5 << 10);
    let job = ground.submit_import(&inputs[1..2]).await;
    let (job, _) = ground.undisturbed(job).await;
    assert_eq!(job.state, JobState::Succeeded);
    ground
}

/// A plan for the first life; nothing goes wrong in those after it.
fn once(plan: &Arc<FaultPlan>) -> impl FnMut() -> Arc<FaultPlan> {
    let mut plan = Some(Arc::clone(plan));
    move || plan.take().unwrap_or_else(FaultPlan::none)
}

async fn crash_import_everywhere(inputs: &[PathBuf], make_ground: impl AsyncFn() -> Ground) {
    let ground = make_ground().await;
    let (job, changes) = ground.undisturbed(ground.submit_import(inputs).await).await;
    let expected = imported(&ground, &job).await;
    for fault in [Fault::DieBefore, Fault::DieAfter, Fault::DieHalfway] {
        let (mut runs, mut struck) = (0, 0);
        for number in 0..changes {
            let ground = make_ground().await;
            let job = ground.submit_import(inputs).await;
            let plan = FaultPlan::at(Operation::Change, number, fault);
            let (job, _) = ground.live(job, once(&plan)).await;
            assert!(
                imported(&ground, &job).await == expected,
                "{fault:?} at change {number}: another result"
            );
            runs += 1;
            struck += u64::from(plan.has_struck());
        }
        // The number of renewals and the like varies a little from run to run.
        assert!(
            runs > 3 && struck * 10 >= runs * 8,
            "{fault:?}: {struck} of {runs} runs were struck"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_whose_process_dies_at_any_change_ends_like_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    crash_import_everywhere(&inputs, async || begun(&inputs).await).await;
}

#[tokio::test(start_paused = true)]
async fn an_import_whose_ingestion_is_cut_off_ends_like_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = [write_big_input(folder.path())];
    crash_import_everywhere(&inputs, async || Ground::new(2, 128 << 10)).await;
}

#[tokio::test(start_paused = true)]
async fn an_import_whose_processes_die_again_and_again_ends_like_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let ground = begun(&inputs).await;
    let (job, _) = ground.undisturbed(ground.submit_import(&inputs).await).await;
    let expected = imported(&ground, &job).await;
    let (seeds, mut deaths_in_all) = (20, 0);
    for seed in 0..seeds {
        let ground = begun(&inputs).await;
        let job = ground.submit_import(&inputs).await;
        let mut rng = Rng::new(seed);
        let faults = [Fault::DieBefore, Fault::DieAfter, Fault::DieHalfway];
        let next = || {
            let fault = faults[usize::try_from(rng.below(3)).unwrap()];
            FaultPlan::at(Operation::Change, 3 + rng.below(20), fault)
        };
        let (job, deaths) = ground.live(job, next).await;
        deaths_in_all += deaths;
        assert!(
            imported(&ground, &job).await == expected,
            "seed {seed}: another result"
        );
    }
    // How many changes a life makes varies with the threads, and with it how many lives one seed takes.
    assert!(
        deaths_in_all > 3 * seeds,
        "only {deaths_in_all} deaths of {seeds} seeds"
    );
}

/// The job fails and says why, or its end came through; the same import once more brings what is missing.
#[tokio::test(start_paused = true)]
async fn an_import_whose_store_fails_at_any_change_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let ground = begun(&inputs).await;
    let (job, changes) = ground.undisturbed(ground.submit_import(&inputs).await).await;
    let expected = imported(&ground, &job).await;
    for fault in [Fault::FailBefore, Fault::FailAfter] {
        for number in 0..changes {
            let ground = begun(&inputs).await;
            let job = ground.submit_import(&inputs).await;
            let plan = FaultPlan::at(Operation::Change, number, fault);
            let (ended, deaths) = ground.live(job, once(&plan)).await;
            if let Some(failure) = &ended.failure {
                let known = ["storage", "store"].contains(&failure.code.as_str());
                assert!(known, "{fault:?} at change {number}: {failure:?}");
            }
            assert!(
                ended.state == JobState::Succeeded || ended.failure.is_some(),
                "{:?}",
                ended.state
            );
            assert!(
                deaths <= 1,
                "{fault:?} at change {number}: a process that is told of a failure lives on"
            );
            let again = ground.submit_import(&inputs).await;
            let (again, _) = ground.undisturbed(again).await;
            assert_eq!(again.state, JobState::Succeeded);
            assert!(
                ground.bodies().await == expected.bodies,
                "{fault:?} at change {number}"
            );
            ground.check_runs().await;
        }
    }
}

/// A store with several runs, changes after an instant, and deletions; and that instant.
async fn filled(inputs: &[PathBuf]) -> (Ground, Instant) {
    let ground = begun(inputs).await;
    let (job, _) = ground.undisturbed(ground.submit_import(inputs).await).await;
    assert_eq!(job.state, JobState::Succeeded);
    let store = ground.look().await;
    let since = store.catalog().snapshot().await.unwrap().instant;
    let deleted = (0..25).map(|n| HotWrite {
        resource_type: ResourceType::OBSERVATION,
        id: format!("o{}", n * 5),
        expect: Expect::Any,
        action: HotAction::Delete { others: Vec::new() },
    });
    let write = Write::Hot(deleted.collect());
    store
        .catalog()
        .commit(Commit {
            write,
            job: None,
            origin: Origin::default(),
        })
        .await
        .unwrap();
    let (job, _) = ground.undisturbed(ground.submit_import(&inputs[..1]).await).await;
    assert_eq!(job.state, JobState::Succeeded);
    (ground, since)
}

fn export_spec(query: &str, target: Target) -> ExportSpec {
    let url = format!("http://localhost/fhir/$export?{query}");
    let kick_off = KickOff {
        request_url: &url,
        ..KickOff::new(ExportLevel::System, Instant::MAX)
    };
    let request = kick_off.read_query(query).unwrap();
    ExportSpec {
        file_bytes_max: 4_000,
        ..ExportSpec::new(request, target)
    }
}

/// Name and text of each file of an export, and what its result says of them.
async fn exported(ground: &Ground, job: &JobRecord, target: &Target) -> Vec<(String, u64, Vec<u8>)> {
    assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
    let result = ExportResult::parse(job.result.as_ref().unwrap()).unwrap();
    let outputs = ground.outputs(job.id).await;
    let mut files = Vec::new();
    for file in &result.files {
        let text = match target {
            Target::Outputs => outputs[&file.stored_name].clone(),
            Target::Folder(folder) => std::fs::read(folder.join(&file.name)).unwrap(),
        };
        assert_eq!(text.len() as u64, file.bytes, "{}", file.name);
        files.push((file.name.clone(), file.count, text));
    }
    if let Target::Folder(folder) = target {
        assert_eq!(
            files_below(folder),
            result.files.len() + 1,
            "files beside those of the manifest"
        );
    }
    files
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

async fn crash_export_everywhere(into_folder: bool) {
    let folder = tempfile::tempdir().unwrap();
    let (ground, since) = filled(&write_inputs(folder.path())).await;
    let mut exports = 0;
    let mut target = || {
        exports += 1;
        match into_folder {
            true => Target::Folder(folder.path().join(format!("out-{exports}"))),
            false => Target::Outputs,
        }
    };
    for query in [String::new(), format!("_since={since}")] {
        crash_at_each_change(&ground, &export_spec(&query, Target::Outputs), &mut target).await;
    }
}

/// Exports to what `target` gives, undisturbed and then with a death at each change; all come to the same.
async fn crash_at_each_change(ground: &Ground, spec: &ExportSpec, target: &mut impl FnMut() -> Target) {
    let to = |target: &Target| ExportSpec {
        target: target.clone(),
        ..spec.clone()
    };
    let place = target();
    let job = ground.submit_export(&to(&place)).await;
    let (job, changes) = ground.undisturbed(job).await;
    let expected = exported(ground, &job, &place).await;
    assert!(expected.len() > 3, "several files");
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        let (mut runs, mut struck) = (0, 0);
        for number in 0..changes {
            let place = target();
            let job = ground.submit_export(&to(&place)).await;
            let plan = FaultPlan::at(Operation::Change, number, fault);
            let (job, _) = ground.live(job, once(&plan)).await;
            let files = exported(ground, &job, &place).await;
            assert!(files == expected, "{fault:?} at change {number}: other files");
            runs += 1;
            struck += u64::from(plan.has_struck());
        }
        assert!(
            runs > 3 && struck * 10 >= runs * 7,
            "{fault:?}: {struck} of {runs} runs were struck"
        );
    }
}

/// Encounters with what they refer to, and Provenance about them.
fn write_encounters(folder: &Path) -> PathBuf {
    let mut lines = Vec::new();
    for n in 0..12 {
        lines.push(format!(
            r#"{{"resourceType":"Encounter","id":"e{n}","subject":{{"reference":"Patient/p{n}"}},"serviceProvider":{{"reference":"Organization/g{}"}},"participant":[{{"individual":{{"reference":"Practitioner/d{}"}}}}]}}"#,
            n % 5,
            n % 7
        ));
        lines.push(format!(
            r#"{{"resourceType":"Provenance","id":"v{n}","recorded":"2020-01-01T00:00:00Z","target":[{{"reference":"Encounter/e{n}"}}]}}"#
        ));
        lines.push(format!(r#"{{"resourceType":"Organization","id":"g{n}"}}"#));
        lines.push(format!(r#"{{"resourceType":"Practitioner","id":"d{n}"}}"#));
    }
    let path = folder.join("encounters.ndjson");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

#[tokio::test(start_paused = true)]
async fn later_stages_of_an_export_whose_process_dies_at_any_change_end_with_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let ground = begun(&write_inputs(folder.path())).await;
    let encounters = [write_encounters(folder.path())];
    let (job, _) = ground.undisturbed(ground.submit_import(&encounters).await).await;
    assert_eq!(job.state, JobState::Succeeded);
    let mut spec = export_spec("_type=Encounter,Practitioner,Organization", Target::Outputs);
    spec.request.level = ExportLevel::AllPatients;
    spec.request.associated_data = AssociatedData::RelevantProvenance;
    spec.file_bytes_max = 1_200;
    crash_at_each_change(&ground, &spec, &mut || Target::Outputs).await;
}

#[tokio::test(start_paused = true)]
async fn an_export_whose_process_dies_at_any_change_ends_with_the_same_files() {
    crash_export_everywhere(false).await;
}

#[tokio::test(start_paused = true)]
async fn an_export_to_a_folder_whose_process_dies_at_any_change_ends_with_the_same_files() {
    crash_export_everywhere(true).await;
}
