//! What is measured. A scenario finds what an earlier one left in the folder.

use crate::flood;
use crate::limits;
use crate::measure::{Measured, folder_bytes, measure};
use crate::pull::{self, Way};
use crate::whole_loop;
use anyhow::{Context, Result, bail};
use fhirhose_bulk::export::{
    EXPORT, ExportHandler, ExportResult, ExportSettings, ExportSpec, Target, submit_export,
};
use fhirhose_bulk::generate::{Population, write_population};
use fhirhose_bulk::import::{IMPORT, ImportHandler, ImportResult, ImportSettings, ImportSpec, submit_import};
use fhirhose_fhir::export_request::{ExportLevel, KickOff};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::meta::write_stored;
use fhirhose_jobs::{
    Clock, Handler, JobId, JobState, JobStore, Lane, Leftover, Runner, RunnerSettings, SystemClock,
    SystemEntropy, Turns,
};
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotBody, HotWrite, Origin, Write};
use fhirhose_store::{DataFolder, Holder, OpenMode, Store, StoreSettings};
use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The scenarios that are measured, in an order in which each finds what it needs.
pub(crate) const MEASURED: [&str; 15] = [
    "limit-import",
    "import",
    "limit-export",
    "export",
    "filtered",
    "elements",
    "organized",
    "group",
    "cohort",
    "since",
    // A pull is held against copies: on a shared machine what is compared has to be close in time.
    "copy",
    "pull",
    "synced-copy",
    "quiet",
    "flood",
];

/// Filters on the types that make up most of a population. They let through nearly all, so that a filtered export writes as much as a plain
/// one and what filtering costs comes on top.
const FILTERS: [(&str, &str); 7] = [
    ("_typeFilter", "Observation?status=final&date=ge1900-01-01"),
    ("_typeFilter", "Claim?status=active"),
    ("_typeFilter", "ExplanationOfBenefit?status=active"),
    ("_typeFilter", "Encounter?status=finished&date=ge1900-01-01"),
    ("_typeFilter", "Condition?code:missing=false"),
    ("_typeFilter", "Procedure?status=completed"),
    ("_typeFilter", "MedicationRequest?intent=order"),
];

/// A Group of those who were born in one of a hundred years.
const COHORT: &str = r#"{"resourceType":"Group","id":"bench-cohort","modifierExtension":[{"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{"language":"application/x-fhir-query","expression":"Patient?birthdate=1960"}}],"type":"person","actual":false}"#;

/// The seed of the populations.
const SEED: u64 = 2026;
/// Resources that are changed for the scenario `since`.
const CHANGES: usize = 1_000;

/// The files of one size of population.
pub(crate) struct Folders {
    pub(crate) population: PathBuf,
    pub(crate) blocks: PathBuf,
    pub(crate) store: PathBuf,
    pub(crate) out: PathBuf,
}

impl Folders {
    /// Those of a population of so many resources.
    pub(crate) fn of(dir: &Path, resources: u64) -> Self {
        let base = dir.join(resources.to_string());
        Self {
            population: base.join("population"),
            blocks: base.join("blocks"),
            store: base.join("store"),
            out: base.join("out"),
        }
    }
}

/// Runs one scenario in this process.
pub(crate) fn run(scenario: &str, dir: &Path, resources: u64) -> Result<Measured> {
    let folders = Folders::of(dir, resources);
    match scenario {
        "generate" => generate(&folders, resources),
        "limit-import" => {
            clear(&folders.blocks)?;
            let inputs = inputs(&folders.population)?;
            measure(|| limits::import(&inputs, &folders.blocks))
        }
        "limit-export" => {
            clear(&folders.out)?;
            let measured = measure(|| limits::export(&folders.blocks, &folders.out));
            clear(&folders.out)?;
            Ok(Measured {
                resources,
                ..measured?
            })
        }
        "import" => block_on(import(&folders)),
        "export" => block_on(export(&folders, ExportLevel::System, &[])),
        "filtered" => block_on(export(&folders, ExportLevel::System, &FILTERS)),
        "elements" => {
            let elements = [("_elements", "id,subject,patient,code,status")];
            block_on(export(&folders, ExportLevel::System, &elements))
        }
        "organized" => {
            let by = [("organizeOutputBy", "Patient")];
            block_on(export(&folders, ExportLevel::AllPatients, &by))
        }
        "group" => {
            let group = Id::parse("one-percent").context("an id")?;
            block_on(export(&folders, ExportLevel::Group(group), &[]))
        }
        "cohort" => block_on(cohort(&folders)),
        "since" => block_on(since(&folders)),
        "copy" => block_on(pull::measured(&folders, Way::Copy, dir, resources)),
        "synced-copy" => block_on(pull::measured(&folders, Way::SyncedCopy, dir, resources)),
        "pull" => block_on(pull::measured(&folders, Way::Pull, dir, resources)),
        "loop" => block_on(whole_loop::measured(&folders, dir, resources)),
        "quiet" => block_on(flood::measured(false)),
        "flood" => block_on(flood::measured(true)),
        other => bail!("there is no scenario {other}"),
    }
}

/// Runs to the end what wants a runtime.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

pub(crate) fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes the population, or finds it; tells how much it came to.
pub(crate) fn generate(folders: &Folders, resources: u64) -> Result<Measured> {
    let threads = NonZeroUsize::new(2).context("two")?;
    let done = folders.population.join("done.json");
    if let Ok(text) = std::fs::read(&done) {
        return Ok(serde_json::from_slice(&text)?);
    }
    clear(&folders.population)?;
    let population = Population::for_resources(SEED, resources);
    let measured = measure(|| {
        let summary = write_population(&population, &folders.population, threads, &|_| ())?;
        Ok((summary.resources(), summary.bytes(), 0))
    })?;
    std::fs::write(&done, serde_json::to_vec(&measured)?)?;
    Ok(measured)
}

fn inputs(population: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(population)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) async fn open(folders: &Folders) -> Result<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let folder = DataFolder::open(
        &folders.store,
        OpenMode::Create,
        &Holder::this_process("bench", "now"),
    )?;
    Ok(Store::open(folder, clock, StoreSettings::default()).await?)
}

async fn import(folders: &Folders) -> Result<Measured> {
    import_from(folders, &folders.population).await
}

/// Imports a folder into a new store.
pub(crate) async fn import_from(folders: &Folders, population: &Path) -> Result<Measured> {
    clear(&folders.store)?;
    let store = open(folders).await?;
    let spec = ImportSpec::of_paths([population.to_owned()]);
    let handler = Arc::new(ImportHandler::new(store.clone(), None, ImportSettings::default()));
    let running = Running::start(&store, handler)?;
    let began = std::time::Instant::now();
    let id = submit_import(&store, spec, "", &SystemEntropy).await?;
    running.wake.signal();
    let result = ImportResult::parse(&finished(&store, id, IMPORT).await?)?;
    let wall_secs = began.elapsed().as_secs_f64();
    running.end().await?;
    let counts = result.counts();
    anyhow::ensure!(
        result.is_clean() && counts.updated == 0,
        "the population is valid and new"
    );
    drop(store);
    let after = measure(|| Ok((counts.created, result.text_bytes, folder_bytes(&folders.store)?)))?;
    Ok(Measured {
        wall_secs,
        cpu_secs: process_cpu()?,
        ..after
    })
}

async fn export(folders: &Folders, level: ExportLevel, parameters: &[(&str, &str)]) -> Result<Measured> {
    clear(&folders.out)?;
    let store = open(folders).await?;
    let measured = export_from(&store, folders, level, parameters).await;
    clear(&folders.out)?;
    measured
}

/// Exports everything, and leaves the files.
pub(crate) async fn export_all(folders: &Folders) -> Result<Measured> {
    let store = open(folders).await?;
    export_from(&store, folders, ExportLevel::System, &[]).await
}

async fn export_from(
    store: &Store,
    folders: &Folders,
    level: ExportLevel,
    parameters: &[(&str, &str)],
) -> Result<Measured> {
    let now = Instant::from_micros(store.clock().now().as_micros());
    let request = KickOff::new(level, now).read_pairs(parameters.iter().copied());
    let request = request.map_err(|outcome| anyhow::anyhow!(outcome.to_json()))?;
    let spec = ExportSpec::new(request, Target::Folder(folders.out.clone()));
    let handler = Arc::new(ExportHandler::new(store.clone(), ExportSettings::default()));
    let running = Running::start(store, handler)?;
    let began = std::time::Instant::now();
    let id = submit_export(store, &spec, "", &SystemEntropy).await?;
    running.wake.signal();
    let result = ExportResult::parse(&finished(store, id, EXPORT).await?)?;
    let wall_secs = began.elapsed().as_secs_f64();
    running.end().await?;
    let rows = result.files.iter().map(|file| file.count).sum();
    let bytes = result.files.iter().map(|file| file.bytes).sum();
    // Opening the store has cleared away what the import's last merges left: this is what it takes at rest.
    let after = measure(|| Ok((rows, bytes, folder_bytes(&folders.store)?)))?;
    Ok(Measured {
        wall_secs,
        cpu_secs: process_cpu()?,
        ..after
    })
}

/// Changes some resources, spread over all patients, and exports what changed.
async fn since(folders: &Folders) -> Result<Measured> {
    clear(&folders.out)?;
    let store = open(folders).await?;
    let before = store.catalog().snapshot().await?.instant;
    let file = std::fs::File::open(folders.population.join("Observation.ndjson"))?;
    let lines: Vec<String> = std::io::BufReader::new(file)
        .lines()
        .step_by(101)
        .take(CHANGES)
        .collect::<Result<_, _>>()?;
    for batch in lines.chunks(100) {
        let writes = batch
            .iter()
            .map(|line| changed(line))
            .collect::<Result<Vec<_>>>()?;
        store
            .catalog()
            .commit(Commit {
                write: Write::Hot(writes),
                job: None,
                origin: Origin::default(),
            })
            .await?;
    }
    let cpu_before = process_cpu()?;
    let (system, before) = (ExportLevel::System, before.to_string());
    let measured = export_from(&store, folders, system, &[("_since", &before)]).await;
    clear(&folders.out)?;
    let measured = measured?;
    anyhow::ensure!(
        measured.resources == lines.len() as u64,
        "the changes are exported, all and alone"
    );
    Ok(Measured {
        cpu_secs: measured.cpu_secs - cpu_before,
        ..measured
    })
}

/// Exports a Group whose members are found by a filter.
async fn cohort(folders: &Folders) -> Result<Measured> {
    clear(&folders.out)?;
    let store = open(folders).await?;
    store
        .catalog()
        .commit(Commit {
            write: Write::Hot(vec![written(COHORT)?]),
            job: None,
            origin: Origin::default(),
        })
        .await?;
    let group = Id::parse("bench-cohort").context("an id")?;
    let measured = export_from(&store, folders, ExportLevel::Group(group), &[]).await;
    clear(&folders.out)?;
    measured
}

/// The resource of a line with another content each time.
fn changed(line: &str) -> Result<HotWrite> {
    let stamp = SystemClock.now().as_micros();
    written(&format!(
        r#"{},"language":"x-{stamp}"}}"#,
        line.trim_end_matches('}').to_owned() + &"}".repeat(closing(line) - 1)
    ))
}

/// An interactive write of a line.
fn written(line: &str) -> Result<HotWrite> {
    let mut checker = LineChecker::new(LineLimits {
        line_bytes_max: 64 << 20,
        depth_max: 100,
    });
    let checked = checker
        .check(line.as_bytes(), None)
        .map_err(|refusal| anyhow::anyhow!(refusal.message.clone()))?;
    let mut body = Vec::new();
    let stored = write_stored(line.as_bytes(), &checked, None, &mut body);
    let body = HotBody {
        owner: checked.owner.map(str::to_owned),
        others: checked.other_patients.iter().map(str::to_owned).collect(),
        hash: xxhash_rust::xxh3::xxh3_64(&body),
        splice: stored.splice,
        id_at: stored.id_at,
        subsetted: checked.subsetted,
        body,
    };
    let (resource_type, id) = (checked.resource_type, checked.id.to_owned());
    Ok(HotWrite {
        resource_type,
        id,
        expect: Expect::Any,
        action: HotAction::Put(body),
    })
}

/// How many braces end the line.
fn closing(line: &str) -> usize {
    line.len() - line.trim_end_matches('}').len()
}

/// A runner of jobs of one kind.
struct Running {
    wake: fhirhose_jobs::Wake,
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), fhirhose_jobs::Error>>,
}

impl Running {
    fn start(store: &Store, handler: Arc<dyn Handler>) -> Result<Self> {
        let lanes = vec![Lane {
            kinds: vec![handler.kind().to_owned()],
            parallel: 1,
            turns: Turns::Never,
        }];
        let settings = RunnerSettings {
            leftover: Leftover::TakeOver,
            ..RunnerSettings::new("bench", lanes)
        };
        let jobs: Arc<dyn JobStore> = store.catalog().clone();
        let runner = Runner::new(jobs, store.clock().clone(), vec![handler], settings)?;
        let wake = runner.wake();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(runner.run(async move {
            let _ = stopped.await;
        }));
        Ok(Self { wake, stop, task })
    }

    /// Ends it, so that it holds the store no longer.
    async fn end(self) -> Result<()> {
        self.stop.send(()).ok();
        Ok(self.task.await??)
    }
}

async fn finished(store: &Store, id: JobId, kind: &str) -> Result<Vec<u8>> {
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(1));
    loop {
        looks.tick().await;
        let job = store.catalog().job(&id).await?.context("the job is gone")?;
        match (job.state, job.result, job.failure) {
            (JobState::Succeeded, Some(result), _) => return Ok(result),
            (JobState::Failed, _, Some(failure)) => bail!("the {kind} failed: {}", failure.message),
            _ => {}
        }
    }
}

fn process_cpu() -> Result<f64> {
    crate::measure::cpu_secs()
}
