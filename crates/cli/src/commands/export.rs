//! `fhirhose export`: from a store straight to files, without HTTP.

use super::{print, say};
use crate::output_key::OutputKeyArgs;
use crate::progress::{self, Bar};
use crate::receipt_key::ReceiptKeyArgs;
use crate::workspace;
use anyhow::{Context, Result, bail};
use clap::Args;
use fhirhose_bulk::export::{
    EXPORT, Estimate, ExportHandler, ExportResult, ExportSettings, ExportSpec, FileKind, Rate, Target,
    estimate, submit_export,
};
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff, Wire};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::prefer::{Handling, Preferences};
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
  fhirhose export --data store --out nightly --since 2026-11-20T02:00:00Z
  fhirhose export --data store --out finals --patients --type-filter 'Observation?status=final'
  fhirhose export --data store --out charts --patients --organize-output-by Patient
  fhirhose export --data store --group demo-diabetes --plan")]
pub(crate) struct Export {
    /// Data folder
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    #[command(flatten)]
    output_key: OutputKeyArgs,

    #[command(flatten)]
    receipt_key: ReceiptKeyArgs,

    /// Folder for the files; must be absent or empty
    #[arg(
        long,
        env = "FHIRHOSE_OUT",
        value_name = "DIR",
        required_unless_present = "plan"
    )]
    out: Option<PathBuf>,

    /// Only the patients of this Group
    #[arg(long, value_name = "ID", conflicts_with = "patients")]
    group: Option<String>,

    /// Only this patient; given more than once or with --group, only these
    #[arg(long = "patient", value_name = "ID")]
    patient: Vec<String>,

    /// Only what belongs to patients
    #[arg(long)]
    patients: bool,

    /// Only these types
    #[arg(long = "type", value_name = "TYPE,…")]
    types: Vec<String>,

    /// Of a type only what a search finds; several for one type are alternatives
    #[arg(long, value_name = "TYPE?SEARCH")]
    type_filter: Vec<String>,

    /// Only what changed after this instant, with deletions
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,

    /// Only what changed before this instant, as it is now
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,

    /// Only these elements, as `Type.element` or `element`
    #[arg(long, value_name = "ELEMENT,…")]
    elements: Vec<String>,

    /// Adds LatestProvenanceResources or RelevantProvenanceResources, in place of all Provenance
    #[arg(long, value_name = "CODE")]
    include_associated_data: Vec<String>,

    /// Leaves out what patients' resources refer to: practitioners, organizations, locations, medications, devices
    #[arg(long)]
    no_helper_resources: bool,

    /// Puts what belongs to one Patient, or to one Group, together, in blocks
    #[arg(long, value_name = "TYPE")]
    organize_output_by: Option<String>,

    /// The most text that a file holds, in bytes
    #[arg(long, env = "FHIRHOSE_FILE_BYTES_MAX", value_name = "BYTES")]
    file_bytes_max: Option<u64>,

    /// Leaves only the last file of a type shorter than this, in bytes
    #[arg(long, value_name = "BYTES")]
    file_bytes_min: Option<u64>,

    /// Leaves out what cannot be honoured, and says so in an OperationOutcome, where it would refuse
    #[arg(long)]
    lenient: bool,

    /// Prints what the export would come to, without making it
    #[arg(long)]
    plan: bool,

    /// Prints the manifest, or the plan, as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl Export {
    /// Exports and prints what was written.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let store =
            workspace::open(&self.data, OpenMode::Existing, "export", self.output_key.keys()?).await?;
        let now = Instant::from_micros(store.clock().now().as_micros());
        let request = self.request(now)?;
        match &self.out {
            Some(out) if !self.plan => {
                let target = Target::Folder(std::path::absolute(out)?);
                self.export(&store, &self.spec(request, target)).await
            }
            _ => self.show_plan(&store, &self.spec(request, Target::Outputs)).await,
        }
    }

    fn spec(&self, request: ExportRequest, target: Target) -> ExportSpec {
        let mut spec = ExportSpec::new(request, target);
        spec.helper_resources = !self.no_helper_resources;
        if let Some(bytes) = self.file_bytes_max {
            spec.file_bytes_max = bytes;
        }
        spec
    }

    async fn export(&self, store: &Store, spec: &ExportSpec) -> Result<ExitCode> {
        let settings = ExportSettings {
            receipt_key: self.receipt_key.key()?.map(Arc::new),
            ..ExportSettings::default()
        };
        let result = export(store, spec, settings).await?;
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
        let lines = match spec.request.organize_output_by {
            Some(_) => "lines",
            None => "resources",
        };
        let at = result.transaction_time;
        let out = self.out.as_ref().context("--out is missing")?.display();
        say(&format!("{rows} {lines}, {bytes}, as of {at}, in {out}"));
        Ok(ExitCode::SUCCESS)
    }

    async fn show_plan(&self, store: &Store, spec: &ExportSpec) -> Result<ExitCode> {
        let plan = estimate(store, spec).await?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&plan)?))?;
        } else {
            print(&plan_table(&plan))?;
        }
        let at_most = if plan.is_exact { "" } else { "at most " };
        let (rows, bytes) = (progress::count(plan.rows), progress::bytes(plan.bytes));
        let rate = progress::bytes(plan.bytes_per_second);
        let from = match plan.rate {
            Rate::Measured => "as measured",
            Rate::Assumed => "assumed",
        };
        say(&format!(
            "{at_most}{rows} resources, at most {bytes}; about {:.1} s at {rate}/s, {from}",
            plan.seconds
        ));
        if plan.is_filtered {
            say("what --until, --type-filter and --elements leave out only makes it less");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The flags as the parameters of a kick-off, so that both are read by the same rules.
    fn request(&self, now: Instant) -> Result<ExportRequest> {
        let id = |text: &String| Id::parse(text).ok_or_else(|| anyhow::anyhow!("`{text}` is not an id"));
        let (level, patients) = match (&self.group, &self.patient[..]) {
            (Some(group), patients) => (ExportLevel::Group(id(group)?), patients),
            (None, [one]) if !self.patients => (ExportLevel::Patient(id(one)?), &[][..]),
            (None, []) if !self.patients => (ExportLevel::System, &[][..]),
            (None, patients) => (ExportLevel::AllPatients, patients),
        };
        let patients = patients
            .iter()
            .map(|patient| Ok(format!("Patient/{}", id(patient)?)));
        let patients: Vec<String> = patients.collect::<Result<_>>()?;
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let file_bytes_min = self.file_bytes_min.map(|bytes| bytes.to_string());
        let lists = [
            ("_type", self.types.clone()),
            ("_elements", self.elements.clone()),
            ("_since", one(&self.since)),
            ("_until", one(&self.until)),
            ("_typeFilter", self.type_filter.clone()),
            ("patient", patients),
            ("includeAssociatedData", self.include_associated_data.clone()),
            ("organizeOutputBy", one(&self.organize_output_by)),
            ("_minimumFileSize", one(&file_bytes_min)),
        ];
        let pairs = lists
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (*name, value.as_str())));
        let handling = match self.lenient {
            true => Handling::Lenient,
            false => Handling::Strict,
        };
        let kick_off = KickOff {
            preferences: Preferences {
                handling,
                ..Preferences::default()
            },
            ..KickOff::new(level, now)
        };
        match kick_off.read_pairs(pairs) {
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
async fn export(store: &Store, spec: &ExportSpec, settings: ExportSettings) -> Result<ExportResult> {
    let text = serde_json::to_vec(spec)?;
    let same = |job: &JobRecord| job.spec == text;
    let id = match workspace::unfinished(store, EXPORT, same).await? {
        Some(id) => {
            say("this export was interrupted: going on with it");
            id
        }
        None => submit_export(store, spec, "", &SystemEntropy).await?,
    };
    let handler = Arc::new(ExportHandler::new(store.clone(), settings));
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

fn plan_table(plan: &Estimate) -> String {
    let mut text = String::from("resources\tbytes\ttype\n");
    for each in &plan.types {
        let at_most = if each.is_exact { "" } else { "≤" };
        let _ = writeln!(
            text,
            "{at_most}{}\t≤{}\t{}",
            each.rows, each.bytes, each.resource_type
        );
    }
    text
}
