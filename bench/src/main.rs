//! Measures fhirhose: every figure as a ratio to a limit that is taken in the same run on the same machine.
//!
//! Each scenario runs in a process of its own, so that its processor time and peak memory are its own. The parent prints
//! one table and says which targets are missed. `bench/README.md` says what each limit is.

#![allow(clippy::print_stdout, reason = "the table is the program's output")]

mod flood;
mod limits;
mod measure;
mod pull;
mod scenarios;
mod table;
mod whole_loop;

use anyhow::{Context, Result};
use clap::Parser;
use measure::Measured;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Measures imports, exports and pulls against limits of this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder for populations and stores; some 10 GB for the default sizes. Populations are kept for the next run.
    #[arg(long, default_value = "/tmp/fhirhose-bench")]
    dir: PathBuf,

    /// Resources of the small population
    #[arg(long, default_value_t = 1_000_000)]
    resources: u64,

    /// Resources of the large population; 0 leaves it out
    #[arg(long, default_value_t = 5_000_000)]
    scale: u64,

    /// Runs of each scenario; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,

    /// Runs one scenario in this process and prints its figures as JSON
    #[arg(long, hide = true)]
    scenario: Option<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.scenario.as_deref() == Some("serve") {
        let folders = scenarios::Folders::of(&arguments.dir, arguments.resources);
        scenarios::block_on(pull::serve(&folders))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(scenario) = &arguments.scenario {
        let measured = scenarios::run(scenario, &arguments.dir, arguments.resources)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(ExitCode::SUCCESS);
    }
    let small = measure_all(&arguments, arguments.resources, arguments.runs)?;
    let large = match arguments.scale {
        0 => None,
        scale => Some(measure_all(&arguments, scale, 1)?),
    };
    let (text, missed) = table::render(&small, large.as_ref());
    println!("{text}");
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(3)
    })
}

/// The medians of all scenarios on a population of this size.
fn measure_all(arguments: &Arguments, resources: u64, runs: usize) -> Result<table::Figures> {
    let population = child(arguments, "generate", resources)?;
    let mut figures = table::Figures {
        population,
        ..Default::default()
    };
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); scenarios::MEASURED.len()];
    for round in 0..runs {
        for (number, scenario) in scenarios::MEASURED.iter().enumerate() {
            eprint_step(resources, round, scenario);
            rounds[number].push(child(arguments, scenario, resources)?);
        }
    }
    for (scenario, mut round) in scenarios::MEASURED.iter().zip(rounds) {
        round.sort_by(|a, b| a.wall_secs.total_cmp(&b.wall_secs));
        let peak = round.iter().map(|each| each.peak_bytes).max().unwrap_or_default();
        let median = round.swap_remove(round.len() / 2);
        figures.scenarios.push((
            (*scenario).to_owned(),
            Measured {
                peak_bytes: peak,
                ..median
            },
        ));
    }
    Ok(figures)
}

#[allow(clippy::print_stderr, reason = "progress of a long run")]
fn eprint_step(resources: u64, round: usize, scenario: &str) {
    eprintln!("{resources} resources, run {}: {scenario}", round + 1);
}

fn child(arguments: &Arguments, scenario: &str, resources: u64) -> Result<Measured> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command
        .arg("--scenario")
        .arg(scenario)
        .arg("--resources")
        .arg(resources.to_string());
    command.arg("--dir").arg(&arguments.dir).stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("running scenario {scenario}"))?;
    anyhow::ensure!(
        output.status.success(),
        "scenario {scenario} failed: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("reading the figures of {scenario}"))
}
