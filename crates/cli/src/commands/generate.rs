//! `fhirhose generate`: a synthetic population as NDJSON.

use super::{print, say};
use crate::progress::{self, Bar};
use anyhow::Result;
use clap::Args;
use fhirhose_bulk::generate::{Generated, Population, write_population};
use fhirhose_jobs::Progress;
use std::fmt::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes a plausible synthetic population as NDJSON, one file a type
///
/// The same seed and number of patients give the same bytes. Nobody real is in it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  fhirhose generate --patients 1000 --out population --seed 7")]
pub(crate) struct Generate {
    /// How many patients (a patient has some hundred resources)
    #[arg(long, env = "FHIRHOSE_PATIENTS", value_name = "N")]
    patients: u32,

    /// Folder for the files; made when absent
    #[arg(long, env = "FHIRHOSE_OUT", value_name = "DIR")]
    out: PathBuf,

    /// Seed of all choices
    #[arg(long, env = "FHIRHOSE_SEED", default_value_t = 1, value_name = "S")]
    seed: u64,

    /// Threads [default: one a core]
    #[arg(long, env = "FHIRHOSE_THREADS", value_name = "N")]
    threads: Option<NonZeroUsize>,
}

impl Generate {
    /// Writes the population and prints a line a type.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let threads = self.threads.unwrap_or_else(cores);
        let bar = Bar::pieces("generate");
        let total = u64::from(self.patients);
        let population = Population {
            seed: self.seed,
            patients: self.patients,
        };
        let summary = write_population(&population, &self.out, threads, &|done: Generated| {
            let note = progress::bytes(done.bytes);
            bar.show(&Progress {
                done: done.patients,
                total,
                note,
            });
        })?;
        bar.clear();
        let mut table = String::new();
        for each in &summary.types {
            let _ = writeln!(
                table,
                "{}\t{}\t{}",
                each.resource_type, each.resources, each.bytes
            );
        }
        print(&table)?;
        let (resources, bytes) = (
            progress::count(summary.resources()),
            progress::bytes(summary.bytes()),
        );
        say(&format!(
            "{resources} resources of {} patients, {bytes}, in {}",
            self.patients,
            self.out.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

/// The cores that this process may use.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
