//! The one binary, `fhirhose`: parse, run, report, exit code. Everything it can do lies in the crates below.

mod arguments;
mod commands;
mod export_args;
mod failure;
mod logging;
mod operator_access;
mod output_key;
mod progress;
mod provider_args;
mod receipt_key;
mod secret;
mod settings_file;
mod state_folder;
mod typed;
mod waiting_lines;
mod workspace;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Whatever a command makes is for its user alone; files that are to be shared are given away afterwards, knowingly.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    allow_many_files();
    let arguments = match arguments::parse() {
        Ok(arguments) => arguments,
        Err(exit_code) => return exit_code,
    };
    logging::start(arguments.log_level());
    let exit_code = commands::run(arguments.command).unwrap_or_else(|error| failure::report(&error));
    logging::end();
    exit_code
}

/// Raises the number of files that may be open to what the system allows: shells and service managers give few, and a server
/// with all its connections needs more. Where it cannot be raised, what there is has to do.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
