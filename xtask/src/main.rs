//! Chores of the repository, run as `cargo xtask <chore>`.
//!
//! - `tables` writes the FHIR tables from HL7's published definitions; `tables --check` only compares
//! - `ids` checks that every requirement that is to have a test has one
//! - `tidy` checks what the compiler does not: sizes, words, module docs, dependency arrows

mod ids;
mod tables;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask tables [--check] | ids | tidy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["tables"] => tables::write(),
        ["tables", "--check"] => tables::check(),
        ["ids"] => ids::run(),
        ["tidy"] => tidy::run(),
        _ => bail!(USAGE),
    }
}

/// Prints a line to stderr.
#[expect(
    clippy::print_stderr,
    reason = "chores talk to people on a terminal and have nothing to log to"
)]
fn say(line: &str) {
    eprintln!("{line}");
}
