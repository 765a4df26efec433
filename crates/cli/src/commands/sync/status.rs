//! `fhirhose sync status`: how far a sync is.

use crate::commands::print;
use anyhow::Result;
use clap::Args;
use fhirhose_bulk::sync::{State, StateFolder};
use fhirhose_client::{Clock, SystemClock};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Says how far a sync is: cursor, last round, how far it is behind; also while it runs
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Folder of what the sync remembers
    #[arg(long, env = "FHIRHOSE_SYNC_STATE", value_name = "DIR")]
    state: PathBuf,

    /// Prints everything as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let state = StateFolder::look(&self.state)?;
        match self.json {
            true => print(&format!("{}\n", serde_json::to_string(&state)?))?,
            false => print(&text(&state))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn text(state: &State) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name}\t{value}");
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none yet".to_owned());
    line("source", state.source.clone());
    line("target", state.target.clone());
    line("transactionTime", or_none(state.cursor.clone()));
    line(
        "behind",
        or_none(state.lag_secs(SystemClock.now()).map(|secs| format!("{secs} s"))),
    );
    line(
        "last success",
        or_none(state.last_success.map(|at| at.to_string())),
    );
    line(
        "rounds",
        format!("{}, {} failed tries", state.totals.rounds, state.totals.failures),
    );
    line("resources", state.entries.to_string());
    line("refused by the target, tried again", state.pending.to_string());
    if let Some(round) = &state.under_way {
        line(
            "under way",
            format!("round {} since {}", round.round, round.began),
        );
    }
    text
}
