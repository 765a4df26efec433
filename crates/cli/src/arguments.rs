//! The command line: flags win over environment variables, these over the settings file.

use crate::commands::{
    audit, client, demo, diff, doctor, export, generate, jobs, load, pull, reconcile, serve, store, sync,
    verify,
};
use crate::settings_file;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// The bulk FHIR engine: import, keep and export whole patient populations.
#[derive(Debug, Parser)]
#[command(name = "fhirhose", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Settings file; a table per command, keys as the flags without dashes; for pull also a config.json or config.js of bulk-data-client
    /// [default: fhirhose.toml, if there is one]
    #[arg(long, global = true, env = "FHIRHOSE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Says more on stderr; twice says most (logs never hold resource content)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Arguments {
    /// A server tells of each request; commands that a person watches tell of trouble only, unless asked for more.
    pub(crate) fn log_level(&self) -> &'static str {
        match (self.verbose, &self.command) {
            (0, Command::Serve(_)) => "info",
            (0, _) => "warn",
            (1, _) => "info",
            (2, _) => "debug",
            _ => "trace",
        }
    }
}

/// What fhirhose can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Demo),
    Generate(generate::Generate),
    Load(load::Load),
    Export(export::Export),
    Pull(Box<pull::Pull>),
    Sync(Box<sync::Sync>),
    Doctor(Box<doctor::DoctorCommand>),
    Reconcile(Box<reconcile::Reconcile>),
    Verify(verify::Verify),
    Diff(diff::Diff),
    Serve(Box<serve::Serve>),
    #[command(subcommand)]
    Client(client::ClientCommand),
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Store(store::StoreCommand),
}

const EXAMPLES: &str = "\
Examples:
  fhirhose demo                                        the whole story in under a minute
  fhirhose generate --patients 1000 --out population   a synthetic population as NDJSON
  fhirhose load --data store population                into a store, with a report
  fhirhose serve --data store                          Bulk Data over HTTP at http://127.0.0.1:8080/fhir
  fhirhose export --data store --out files             straight to files, without HTTP
  fhirhose pull https://ehr.example.org/fhir --out files   from any Bulk Data server, through crashes
  fhirhose doctor https://ehr.example.org/fhir             how a server differs, and what a pull does about it
  fhirhose sync https://ehr.example.org/fhir --to store:replica   keeps a replica in step, deletions included
  fhirhose verify files                                proves that they are whole and unchanged
  fhirhose jobs list                                   the jobs of a running server
  fhirhose client list --data store                    who may come in
  fhirhose audit verify --data store                   proves that nothing is missing from the audit trail

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but not everything: lines were refused, files are missing or damaged,
conflicts are held, or two sides differ; 4 the folder is held by another process; 5 no space left on the disk.";

/// Parses the command line; what is missing is looked up in the settings file.
pub(crate) fn parse() -> Result<Arguments, ExitCode> {
    let given: Vec<_> = std::env::args_os().collect();
    let completed = settings_file::complete(Arguments::command(), given)
        .map_err(|error| crate::failure::report(&error))?;
    let parsed = Arguments::command()
        .try_get_matches_from(completed.line)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let parsed = parsed.map(|mut arguments| {
        if let Command::Pull(pull) = &mut arguments.command {
            pull.take_secrets(completed.secrets);
        }
        arguments
    });
    parsed.map_err(|error| {
        // Failing to print help to a closed pipe is nobody's concern.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    })
}
