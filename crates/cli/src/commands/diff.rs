//! `fhirhose diff`: what two full pulls differ in, as an incremental export.

use super::{print, say};
use crate::progress::{self, Bar};
use crate::receipt_key::ReceiptKeyArgs;
use anyhow::Result;
use clap::Args;
use fhirhose_bulk::diff::{DiffReport, DiffSettings, TypeDiff, diff_folders};
use fhirhose_client::{Clock, SystemClock};
use fhirhose_jobs::Progress;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes what is new, changed and gone between two full pulls
///
/// For servers without `_since`: the result has the shape of an incremental export, files of resources and `deleted` Bundles, and can be
/// loaded or synced like one. Whether a resource has changed decides its content: another meta.versionId, lastUpdated or source alone is no
/// change. What the newer folder was not asked for is left out, and told; folders that cannot be compared are refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose diff monday tuesday --out changes
  fhirhose diff monday tuesday --out changes --type Patient,Observation --json")]
pub(crate) struct Diff {
    /// The older folder
    #[arg(value_name = "A")]
    older: PathBuf,

    /// The newer folder
    #[arg(value_name = "B")]
    newer: PathBuf,

    /// Folder for the result; must be absent or empty
    #[arg(long, env = "FHIRHOSE_OUT", value_name = "DIR")]
    out: PathBuf,

    /// Only these types
    #[arg(long = "type", value_name = "TYPE,…", value_delimiter = ',')]
    types: Vec<String>,

    /// Takes another version, time or source in meta for a change, too
    #[arg(long)]
    strict: bool,

    /// Takes folders with parts of resources (_elements); a part never replaces a whole
    #[arg(long)]
    subsetted: bool,

    /// Of when the newer folder is, where it does not say so itself
    #[arg(long, value_name = "INSTANT")]
    transaction_time: Option<String>,

    /// Memory for sorting, in bytes, for each folder [default: 64 MiB]
    #[arg(long, env = "FHIRHOSE_SORT_BYTES", value_name = "BYTES")]
    sort_bytes: Option<usize>,

    #[command(flatten)]
    receipt_key: ReceiptKeyArgs,

    /// Prints the counts as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl Diff {
    /// Compares, writes and prints the counts by type.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut settings = DiffSettings {
            strict: self.strict,
            subsetted: self.subsetted,
            types: self.types,
            transaction_time: self.transaction_time,
            receipt_key: self.receipt_key.key()?.map(Arc::new),
            ..DiffSettings::default()
        };
        if let Some(bytes) = self.sort_bytes {
            settings.sort_bytes = bytes;
        }
        let (bar, done) = (Bar::bytes("diff"), AtomicU64::new(0));
        let heard = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            bar.show(&Progress {
                done,
                ..Progress::default()
            });
        };
        let now = SystemClock.now();
        let report = diff_folders(&self.older, &self.newer, &self.out, &settings, now, &heard);
        bar.clear();
        let report = report?;
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&report)?))?;
        } else {
            print(&table(&report))?;
        }
        for note in &report.notes {
            say(&format!("note: {note}"));
        }
        let since = report.since.as_deref().unwrap_or("an unknown time");
        let (until, out) = (&report.transaction_time, self.out.display());
        say(&format!(
            "changes from {since} to {until}, {} files, in {out}",
            progress::count(report.files)
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn table(report: &DiffReport) -> String {
    let mut text = String::from("added\tchanged\tremoved\tsame\ttype\n");
    for each in &report.types {
        let TypeDiff {
            resource_type,
            added,
            changed,
            removed,
            same,
        } = each;
        let _ = writeln!(text, "{added}\t{changed}\t{removed}\t{same}\t{resource_type}");
    }
    text
}
