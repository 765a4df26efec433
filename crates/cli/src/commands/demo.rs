//! `fhirhose demo`: the whole story on a generated population, on loopback.

use super::generate::cores;
use super::{load, print, say};
use crate::progress::{self, Bar};
use crate::workspace::{self, WORKER};
use anyhow::{Context, Result, ensure};
use clap::Args;
use fhirhose_bulk::export::{ExportResult, ExportSpec, Target, submit_export};
use fhirhose_bulk::generate::{GROUP_DIABETES, Generated, Population, write_population};
use fhirhose_bulk::import::{ImportSettings, ImportSpec};
use fhirhose_client::pull::{Pull, PullSettings, PulledFile, Quiet};
use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings};
use fhirhose_fhir::export_request::{ExportLevel, KickOff};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Progress, SystemEntropy};
use fhirhose_server::audit::FolderFiles;
use fhirhose_server::{Components, ServerSettings};
use fhirhose_store::{OpenMode, Store};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant as Moment};
use tokio::sync::oneshot;

/// Generates a population, loads it, serves it, pulls a Group over HTTP and proves every file
///
/// Everything happens in one folder and on 127.0.0.1, and takes less than a minute.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose demo --patients 1000 --dir demo")]
pub(crate) struct Demo {
    /// How many patients
    #[arg(long, default_value_t = 300, value_name = "N")]
    patients: u32,

    /// Seed of the population
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,

    /// Folder for population, store and downloads; must be absent or empty [default: fhirhose-demo-… in the temporary folder, kept]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What one step took.
struct Step {
    what: &'static str,
    done: String,
    took: Duration,
}

/// A file of the export, as it arrived and as the store has it.
struct Proof {
    arrived: PulledFile,
    whole: bool,
}

impl Demo {
    /// Tells the story.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let dir = self.folder()?;
        let mut steps = vec![self.generate(&dir)?];
        let store = workspace::open(&dir.join("store"), OpenMode::Create, "demo", None).await?;
        steps.push(load_population(&store, &dir).await?);
        let settings = ServerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            worker: WORKER.to_owned(),
            ..ServerSettings::default()
        };
        let bound = fhirhose_server::bind(settings).await?;
        let base_url = bound.base_url().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let components = Components {
            store: store.clone(),
            fetch: None,
            http: None,
            entropy: Arc::new(SystemEntropy),
            audit: Arc::new(FolderFiles::open(&dir.join("store").join("audit"))?),
        };
        let serving = tokio::spawn(bound.serve(components, async move {
            // Sent or dropped: either way the story is over.
            let _ = stopped.await;
        }));
        let told = pull_over_http(&store, &dir, &base_url, &mut steps).await;
        let _ = stop.send(());
        serving.await.context("serving")??;
        let proofs = told?;
        print(&table(&steps, &proofs, &base_url))?;
        let all_whole = proofs.iter().all(|proof| proof.whole);
        ensure!(all_whole, "a file that arrived is not what the store holds");
        say(&go_on(&dir));
        Ok(ExitCode::SUCCESS)
    }

    fn folder(&self) -> Result<PathBuf> {
        match &self.dir {
            Some(dir) => {
                let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
                ensure!(empty, "folder {} is not empty", dir.display());
                std::fs::create_dir_all(dir).with_context(|| format!("making folder {}", dir.display()))?;
                Ok(std::path::absolute(dir)?)
            }
            None => Ok(tempfile::Builder::new()
                .prefix("fhirhose-demo-")
                .tempdir()
                .context("making a folder")?
                .keep()),
        }
    }

    fn generate(&self, dir: &Path) -> Result<Step> {
        let (began, bar) = (Moment::now(), Bar::pieces("generate"));
        let population = Population {
            seed: self.seed,
            patients: self.patients,
        };
        let total = u64::from(self.patients);
        let summary = write_population(
            &population,
            &dir.join("population"),
            cores(),
            &|done: Generated| {
                bar.show(&Progress {
                    done: done.patients,
                    total,
                    note: String::new(),
                });
            },
        )?;
        bar.clear();
        let (resources, bytes) = (
            progress::count(summary.resources()),
            progress::bytes(summary.bytes()),
        );
        let done = format!("{} patients, {resources} resources, {bytes}", self.patients);
        Ok(Step {
            what: "generate",
            done,
            took: began.elapsed(),
        })
    }
}

async fn load_population(store: &Store, dir: &Path) -> Result<Step> {
    let began = Moment::now();
    let spec = ImportSpec::of_paths([dir.join("population")]);
    let (_, result) = load::import(store, spec, ImportSettings::default()).await?;
    ensure!(result.is_clean(), "the generated population was not taken whole");
    let took = began.elapsed();
    let rate = result.counts().taken() as f64 / took.as_secs_f64().max(0.001);
    let done = format!(
        "{} resources checked and stored ({}/s)",
        progress::count(result.counts().taken()),
        progress::count(rate as u64)
    );
    Ok(Step {
        what: "load",
        done,
        took,
    })
}

/// Pulls the Group over HTTP and compares every file with the store.
async fn pull_over_http(
    store: &Store,
    dir: &Path,
    base_url: &str,
    steps: &mut Vec<Step>,
) -> Result<Vec<Proof>> {
    let http = Http::new(&HttpSettings::default())?;
    let began = Moment::now();
    let pull = Pull {
        provider: DataProvider::new(&http, base_url)?,
        parameters: ExportParameters::new(ExportLevel::Group(diabetes()?)),
        folder: dir.join("download"),
        settings: PullSettings::default(),
    };
    let report = pull.run(&Quiet).await?;
    ensure!(report.is_whole(), "not every file could be had");
    let bytes: u64 = report.files.iter().map(|file| file.bytes).sum();
    steps.push(Step {
        what: "pull",
        done: format!(
            "202, polled, {} files, {}, as of {}",
            report.files.len(),
            progress::bytes(bytes),
            report.transaction_time
        ),
        took: began.elapsed(),
    });
    let began = Moment::now();
    let proofs = prove(store, dir, report.files).await?;
    let done = "lines and SHA-256 of each file against the store".to_owned();
    steps.push(Step {
        what: "verify",
        done,
        took: began.elapsed(),
    });
    Ok(proofs)
}

/// Exports the same Group straight from the store, without HTTP, and compares.
async fn prove(store: &Store, dir: &Path, arrived: Vec<PulledFile>) -> Result<Vec<Proof>> {
    let now = Instant::from_micros(store.clock().now().as_micros());
    let request = KickOff::new(ExportLevel::Group(diabetes()?), now).read_query("");
    let request = request.map_err(|outcome| anyhow::anyhow!(outcome.to_json()))?;
    let spec = ExportSpec::new(request, Target::Folder(dir.join("expected")));
    let id = submit_export(store, &spec, "demo", &SystemEntropy).await?;
    let expected = ExportResult::parse(&result_of(store, id).await?)?;
    ensure!(
        expected.files.len() == arrived.len(),
        "other files arrived than the store has"
    );
    let proofs = arrived.into_iter().map(|arrived| {
        let stored = expected.file(&arrived.name);
        let whole = stored.is_some_and(|stored| {
            stored.count == arrived.lines && stored.sha256.as_deref() == Some(arrived.sha256.as_str())
        });
        Proof { arrived, whole }
    });
    Ok(proofs.collect())
}

/// The Group that is pulled.
fn diabetes() -> Result<Id> {
    Id::parse(GROUP_DIABETES).context("the Group's id")
}

/// Waits for a job that the server's own runner does.
async fn result_of(store: &Store, id: fhirhose_jobs::JobId) -> Result<Vec<u8>> {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let job = store.catalog().job(&id).await?.context("the job is gone")?;
        if job.state.is_ended() {
            let reason = job.failure.map(|failure| failure.message).unwrap_or_default();
            return job.result.with_context(|| format!("the export failed: {reason}"));
        }
    }
}

fn table(steps: &[Step], proofs: &[Proof], base_url: &str) -> String {
    let mut text = String::from("\nstep        seconds  what happened\n");
    for step in steps {
        let _ = writeln!(
            text,
            "{:<10} {:>8.2}  {}",
            step.what,
            step.took.as_secs_f64(),
            step.done
        );
    }
    let _ = writeln!(text, "\nGET {base_url}/Group/{GROUP_DIABETES}/$export\n");
    let _ = writeln!(
        text,
        "{:<34} {:>9} {:>11}  {:<14} verdict",
        "file", "lines", "bytes", "sha-256"
    );
    for Proof { arrived, whole } in proofs {
        let (lines, bytes) = (progress::count(arrived.lines), progress::bytes(arrived.bytes));
        let verdict = if *whole { "whole" } else { "DIFFERS" };
        let short = arrived.sha256.get(..12).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<34} {lines:>9} {bytes:>11}  {short}…  {verdict}",
            arrived.name
        );
    }
    text
}

fn go_on(dir: &Path) -> String {
    let (dir, program) = (dir.display(), program());
    format!(
        "
Everything is in {dir}. Go on with:
  {program} serve --data {dir}/store
  {program} pull http://127.0.0.1:8080/fhir --group {GROUP_DIABETES} --out pulled
  {program} export --data {dir}/store --out everything
  zstd -dc {dir}/store/runs/*.run | head -1        the store is plain NDJSON inside"
    )
}

/// How this program was called, so that the next command can be copied.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "fhirhose".to_owned())
}
