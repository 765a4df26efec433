//! The one binary, `fhirhose`: parse, run, report, exit code. Everything it can do lies in the crates below.

mod arguments;
mod commands;
mod failure;
mod logging;
mod progress;
mod settings_file;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::parse() {
        Ok(arguments) => arguments,
        Err(exit_code) => return exit_code,
    };
    logging::start(arguments.log_level());
    match commands::run(arguments.command) {
        Ok(exit_code) => exit_code,
        Err(error) => failure::report(&error),
    }
}
