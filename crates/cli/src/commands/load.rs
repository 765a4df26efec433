//! `fhirhose load`: NDJSON files and folders into a store.

use super::{print, say};
use crate::failure::PARTIAL;
use crate::output_key::OutputKeyArgs;
use crate::progress::{self, Bar};
use crate::workspace;
use anyhow::Result;
use clap::Args;
use fhirhose_bulk::import::{
    IMPORT, ImportHandler, ImportResult, ImportSettings, ImportSpec, InputSpec, Location, submit_import,
};
use fhirhose_client::receipt::ATTACHMENTS;
use fhirhose_jobs::{JobId, JobRecord, SystemEntropy};
use fhirhose_store::{OpenMode, Store};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Imports NDJSON files or folders (plain, gzip or zstd, told by content) into a store
///
/// Ids are kept; a resource that is there already is overwritten, or left as it is when it is identical. Lines that are
/// not valid are refused with file, line and reason, and the rest goes on. Interrupted, the same command goes on where it stopped.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  fhirhose load --data store population\n  fhirhose load --data store --source https://ehr.example.org/fhir Patient.ndjson.gz Observation.ndjson"
)]
pub(crate) struct Load {
    /// Data folder; made when absent
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    output_key: OutputKeyArgs,

    /// Where the data comes from; becomes meta.source of resources that have none
    #[arg(long, env = "FHIRHOSE_SOURCE", value_name = "URI")]
    source: Option<String>,

    /// Prints the report as JSON on stdout
    #[arg(long)]
    json: bool,

    /// Threads that check and compress [default: one a core]
    #[arg(long, env = "FHIRHOSE_THREADS", value_name = "N")]
    threads: Option<std::num::NonZeroUsize>,

    /// Text of one chunk, in bytes: one run, one commit
    #[arg(long, env = "FHIRHOSE_CHUNK_BYTES", value_name = "BYTES")]
    chunk_bytes: Option<usize>,

    /// Files, or folders of *.ndjson[.gz|.zst]
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Load {
    /// Imports, prints the report, and says by the exit code whether everything was taken.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let store = workspace::open(&self.data, OpenMode::Create, "load", self.output_key.keys()?).await?;
        let mut settings = ImportSettings::default();
        if let Some(threads) = self.threads {
            settings = ImportSettings::with_threads(threads.get());
        }
        if let Some(bytes) = self.chunk_bytes {
            settings.chunk_bytes = bytes;
        }
        let spec = ImportSpec {
            source: self.source.clone(),
            ..ImportSpec::of_paths(self.absolute_paths()?)
        };
        let began = Instant::now();
        let (job, result) = import(&store, spec, settings).await?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&result)?))?;
        } else {
            print(&table(&result))?;
        }
        say(&summary(&result, began.elapsed().as_secs_f64()));
        self.paths.iter().for_each(|path| warn_of_attachments(path));
        self.copy_reports(&store, job, &result).await?;
        Ok(if result.is_clean() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(PARTIAL)
        })
    }

    /// A job outlives this process's folder, so it must not depend on it.
    fn absolute_paths(&self) -> Result<Vec<PathBuf>> {
        self.paths
            .iter()
            .map(|path| Ok(std::path::absolute(path)?))
            .collect()
    }

    /// Puts the files of the report where a person finds them: in `reports/` of the data folder.
    async fn copy_reports(&self, store: &Store, job: JobId, result: &ImportResult) -> Result<()> {
        let files: Vec<&str> = result.files().map(|file| file.name.as_str()).collect();
        if files.is_empty() {
            return Ok(());
        }
        let folder = self.data.join("reports").join(job.to_string());
        workspace::copy_outputs(store, job, &files, &folder).await?;
        say(&format!(
            "refused lines, reasons and warnings: {}",
            folder.display()
        ));
        Ok(())
    }
}

/// Says that the attachments of a pulled folder stay where they are.
fn warn_of_attachments(path: &Path) {
    let attachments = path.join(ATTACHMENTS);
    if std::fs::read_dir(&attachments).is_ok_and(|mut entries| entries.next().is_some()) {
        say(&format!(
            "warning: the files in {} are not loaded: links to ./{ATTACHMENTS}/… lead nowhere in the store",
            attachments.display()
        ));
    }
}

/// Imports in this process; an unfinished import of the same inputs goes on.
pub(crate) async fn import(
    store: &Store,
    spec: ImportSpec,
    settings: ImportSettings,
) -> Result<(JobId, ImportResult)> {
    let same = |job: &JobRecord| {
        let begun: Result<ImportSpec, _> = serde_json::from_slice(&job.spec);
        begun.is_ok_and(|begun| is_same(&begun, &spec))
    };
    let id = match workspace::unfinished(store, IMPORT, same).await? {
        Some(id) => {
            say("an import of these inputs was interrupted: going on with it");
            id
        }
        None => submit_import(store, spec, "", &SystemEntropy).await?,
    };
    let handler = Arc::new(ImportHandler::new(store.clone(), None, settings));
    let result = workspace::run_job(store, id, handler, Bar::bytes("load")).await?;
    Ok((id, ImportResult::parse(&result)?))
}

/// Whether an import that was begun is of the inputs that are asked for: its folders have been listed since.
fn is_same(begun: &ImportSpec, asked: &ImportSpec) -> bool {
    let lies_in = |each: &InputSpec, path: &InputSpec| match (&each.location, &path.location) {
        (Location::Path(file), Location::Path(path)) => file.starts_with(path),
        (each, path) => each == path,
    };
    begun.source == asked.source
        && begun
            .inputs
            .iter()
            .all(|each| asked.inputs.iter().any(|path| lies_in(each, path)))
        && asked
            .inputs
            .iter()
            .all(|path| begun.inputs.iter().any(|each| lies_in(each, path)))
}

fn table(result: &ImportResult) -> String {
    let mut text = String::from("created\tupdated\tunchanged\trejected\tinput\n");
    for input in &result.inputs {
        let counts = &input.counts;
        let _ = writeln!(
            text,
            "{}\t{}\t{}\t{}\t{}",
            counts.created, counts.updated, counts.unchanged, counts.rejected, input.input_url
        );
    }
    text
}

fn summary(result: &ImportResult, seconds: f64) -> String {
    let counts = result.counts();
    let lines = counts.taken() + counts.rejected;
    let rate = progress::count((lines as f64 / seconds.max(0.001)) as u64);
    let mut text = format!(
        "{} lines, {} in {seconds:.1} s ({rate}/s): {} created, {} updated, {} unchanged, {} refused",
        progress::count(lines),
        progress::bytes(result.text_bytes),
        progress::count(counts.created),
        progress::count(counts.updated),
        progress::count(counts.unchanged),
        progress::count(counts.rejected),
    );
    if result.dangling.references > 0 {
        let (references, targets) = (result.dangling.references, result.dangling.targets);
        let _ = write!(
            text,
            "\nwarning: {} references point at {} resources that are not there (kept as they are)",
            progress::count(references),
            progress::count(targets)
        );
    }
    for input in result.inputs.iter().filter(|input| input.failure.is_some()) {
        let reason = input
            .failure
            .as_ref()
            .map(|failure| failure.message.as_str())
            .unwrap_or_default();
        let _ = write!(
            text,
            "\nwarning: {} was not read to its end: {reason}",
            input.input_url
        );
    }
    text
}
