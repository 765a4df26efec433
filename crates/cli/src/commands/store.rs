//! `fhirhose store check`: proves a store whole.

use super::{print, say};
use crate::progress::{self, Bar};
use crate::workspace;
use anyhow::Result;
use clap::{Args, Subcommand};
use fhirhose_jobs::Progress;
use fhirhose_store::OpenMode;
use std::path::PathBuf;
use std::process::ExitCode;

/// Looks after a data folder
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    Check(Check),
}

/// Reads everything and verifies every checksum
///
/// Prints a line for each problem, naming file and block; exit code 1 if there is one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose store check --data store")]
pub(crate) struct Check {
    /// Data folder
    #[arg(long, env = "FHIRHOSE_DATA", value_name = "DIR")]
    data: PathBuf,

    /// Prints the report as JSON on stdout
    #[arg(long)]
    json: bool,
}

impl StoreCommand {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match self {
            Self::Check(check) => check.run().await,
        }
    }
}

impl Check {
    async fn run(self) -> Result<ExitCode> {
        let store = workspace::open(&self.data, OpenMode::Existing, "store check", None).await?;
        let total = store
            .catalog()
            .runs()
            .await?
            .iter()
            .map(|run| run.summary.blocks)
            .sum();
        let bar = Bar::pieces("check");
        let report = store
            .check(|report| {
                let note = format!("{} rows", progress::count(report.rows));
                bar.show(&Progress {
                    done: report.blocks,
                    total,
                    note,
                });
            })
            .await?;
        bar.clear();
        if self.json {
            print(&format!("{}\n", serde_json::to_string(&report)?))?;
        } else {
            print(
                &report
                    .problems
                    .iter()
                    .map(|problem| format!("{problem}\n"))
                    .collect::<String>(),
            )?;
        }
        let (rows, text) = (progress::count(report.rows), progress::bytes(report.text_bytes));
        let verdict = if report.problems.is_empty() {
            "all whole"
        } else {
            "DAMAGED"
        };
        say(&format!(
            "{} runs, {} blocks, {rows} rows, {text} of text: {verdict}",
            report.runs, report.blocks
        ));
        Ok(if report.problems.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
