//! `fhirhose export`: from a store straight to files, without HTTP.

use super::{print, say};
use crate::progress::{self, Bar};
use crate::workspace;
use anyhow::{Result, bail};
use clap::Args;
use fhirhose_bulk::export::{
    EXPORT, ExportHandler, ExportResult, ExportSettings, ExportSpec, FileKind, Target, submit_export,
};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff, Wire};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{JobRecord, SystemEntropy};
use fhirhose_store::{OpenMode, Store};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Exports from a store to NDJSON files with a manifest
///
/// The files are a snapshot: the same rows whatever else happens. Without a level, everything in the store is exported.
/// Interrupted, the same command goes on where it stopped.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose export --data store --out files
  fhirhose export --data store --out diabetes --group demo-diabetes --type Patient,Observation
  fhirhose export --data store --out nightly --since 2026-11-20T02:00:00Z")]
pub(crate) struct Export {
    /// Data folder
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Folder for the files; must be absent or empty
    #[arg(long, env = "FHIRHOSE_OUT", value_name = "DIR")]
    out: PathBuf,

    /// Only the patients of this Group
    #[arg(long, value_name = "ID", conflicts_with_all = ["patient", "patients"])]
    group: Option<String>,

    /// Only this patient
    #[arg(long, value_name = "ID", conflicts_with = "patients")]
    patient: Option<String>,

    /// Only what belongs to patients
    #[arg(long)]
    patients: bool,

    /// Only these types
    #[arg(long = "type", value_name = "TYPE,…")]
    types: Vec<String>,

    /// Only what changed after this instant, with deletions
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,

    /// Only these elements, as `Type.element` or `element`
    #[arg(long, value_name = "ELEMENT,…")]
    elements: Vec<String>,

    /// The most text that a file holds, in bytes
    #[arg(long, env = "FHIRHOSE_FILE_BYTES_MAX", value_name = "BYTES")]
    file_bytes_max: Option<u64>,

    /// Prints the manifest as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Exports and prints what was written.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let store = workspace::open(&self.data, OpenMode::Existing, "export").await?;
        let now = Instant::from_micros(store.clock().now().as_micros());
        let mut spec = ExportSpec::new(
            self.request(now)?,
            Target::Folder(std::path::absolute(&self.out)?),
        );
        if let Some(bytes) = self.file_bytes_max {
            spec.file_bytes_max = bytes;
        }
        let result = export(&store, &spec).await?;
        if self.json {
            print(&format!(
                "{}\n",
                result
                    .manifest(false, |file| file.name.clone())
                    .to_json(Wire::Stu3)
            ))?;
        } else {
            print(&table(&result))?;
        }
        let rows: u64 = result
            .files
            .iter()
            .filter(|file| file.kind == FileKind::Output)
            .map(|file| file.count)
            .sum();
        let bytes: u64 = result.files.iter().map(|file| file.bytes).sum();
        let (rows, bytes) = (progress::count(rows), progress::bytes(bytes));
        let (out, at) = (self.out.display(), result.transaction_time);
        say(&format!("{rows} resources, {bytes}, as of {at}, in {out}"));
        Ok(ExitCode::SUCCESS)
    }

    /// The flags as the parameters of a kick-off, so that both are read by the same rules.
    fn request(&self, now: Instant) -> Result<ExportRequest> {
        let id = |text: &String| Id::parse(text).ok_or_else(|| anyhow::anyhow!("`{text}` is not an id"));
        let level = match (&self.group, &self.patient) {
            (Some(group), _) => ExportLevel::Group(id(group)?),
            (_, Some(patient)) => ExportLevel::Patient(id(patient)?),
            _ if self.patients => ExportLevel::AllPatients,
            _ => ExportLevel::System,
        };
        let since = self.since.iter().cloned().collect();
        let lists: [(&str, &Vec<String>); 3] = [
            ("_type", &self.types),
            ("_elements", &self.elements),
            ("_since", &since),
        ];
        let pairs = lists
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (*name, value.as_str())));
        match KickOff::new(level, now).read_pairs(pairs) {
            Ok(request) => Ok(request),
            Err(outcome) => {
                let details: Vec<&str> = outcome
                    .issues
                    .iter()
                    .map(|issue| issue.details.as_str())
                    .collect();
                bail!("{}", details.join("; "))
            }
        }
    }
}

/// Exports in this process; an unfinished export that was asked for in the same words goes on.
async fn export(store: &Store, spec: &ExportSpec) -> Result<ExportResult> {
    let text = serde_json::to_vec(spec)?;
    let same = |job: &JobRecord| job.spec == text;
    let id = match workspace::unfinished(store, EXPORT, same).await? {
        Some(id) => {
            say("this export was interrupted: going on with it");
            id
        }
        None => submit_export(store, spec, "", &SystemEntropy).await?,
    };
    let handler = Arc::new(ExportHandler::new(store.clone(), ExportSettings::default()));
    let result = workspace::run_job(store, id, handler, Bar::bytes("export")).await?;
    Ok(ExportResult::parse(&result)?)
}

fn table(result: &ExportResult) -> String {
    let mut text = String::from("resources\tbytes\tfile\n");
    for file in &result.files {
        let _ = writeln!(text, "{}\t{}\t{}", file.count, file.bytes, file.name);
    }
    text
}
