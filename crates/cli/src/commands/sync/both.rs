//! `fhirhose sync A --both B` and `fhirhose sync resolve`: both directions, and the conflicts that are held.

use crate::commands::{print, say};
use crate::failure::{PARTIAL, usage};
use crate::progress::count;
use anyhow::Result;
use clap::{Args, ValueEnum};
use fhirhose_bulk::sync::both::{
    Both, BothReport, BothSettings, CONFLICTS_FILE, Carried, ConflictKind, ConflictPolicy, FhirPeer, Ledger,
    Pair, Peer, Side,
};
use fhirhose_bulk::sync::{Schedule, retry_at};
use fhirhose_client::pull::PullSettings;
use fhirhose_client::{Clock, DataProvider, ExportParameters, SystemClock};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// The other server of a two-way sync.
#[derive(Debug, Args)]
#[command(next_help_heading = "Both directions")]
pub(super) struct BothArgs {
    /// Keeps this server and SOURCE in step in both directions
    #[arg(long, value_name = "URL", conflicts_with_all = ["to", "import_path", "metrics_file", "metrics_listen"])]
    both: Option<String>,

    /// Who wins where both changed a resource differently
    #[arg(long, value_name = "POLICY", default_value = "newest", requires = "both")]
    on_conflict: Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Policy {
    /// The version with the greater meta.lastUpdated; the source where that does not decide; an edit wins against a deletion
    Newest,
    /// The source's
    Source,
    /// That of the server behind --both
    Target,
    /// Nobody: both stay as they are until `fhirhose sync resolve`
    Hold,
}

impl Policy {
    fn policy(self) -> ConflictPolicy {
        match self {
            Self::Newest => ConflictPolicy::Newest,
            Self::Source => ConflictPolicy::Source,
            Self::Target => ConflictPolicy::Target,
            Self::Hold => ConflictPolicy::Hold,
        }
    }
}

/// What a two-way sync needs beside its own flags.
pub(super) struct BothSync<'a> {
    /// The servers.
    pub(super) source: DataProvider,
    pub(super) target: DataProvider,
    /// What is kept in step.
    pub(super) parameters: ExportParameters,
    pub(super) state: &'a Path,
    /// Entries of one batch Bundle.
    pub(super) batch_entries: usize,
    /// When rounds begin; `None` for one round.
    pub(super) schedule: Option<&'a Schedule>,
    pub(super) json: bool,
}

impl BothArgs {
    /// The other server, where there is to be one.
    pub(super) fn target(&self) -> Option<&str> {
        self.both.as_deref()
    }

    /// Runs one round, or rounds by a schedule until the process is told to stop, which it may be at any moment.
    pub(super) async fn run(&self, sync: BothSync<'_>) -> Result<ExitCode> {
        let peer = |provider: &DataProvider| -> Arc<dyn Peer> {
            let parameters = sync.parameters.clone();
            Arc::new(FhirPeer::new(
                provider.clone(),
                parameters,
                PullSettings::default(),
            ))
        };
        let peers = Pair {
            source: peer(&sync.source),
            target: peer(&sync.target),
        };
        let settings = BothSettings {
            policy: self.on_conflict.policy(),
            batch_entries: sync.batch_entries,
            ..BothSettings::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut both = Both::open(sync.state, peers, settings, Arc::clone(&clock))?;
        let Some(schedule) = sync.schedule else {
            let report = Box::pin(both.round()).await?;
            tell(&report, &sync)?;
            return Ok(match report.is_whole() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(PARTIAL),
            });
        };
        let mut failures = 0_u32;
        loop {
            let began = clock.now();
            let mut next = schedule.next(began, &sync.state.display().to_string())?;
            match Box::pin(both.round()).await {
                Ok(report) => {
                    failures = 0;
                    tell(&report, &sync)?;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    next = next.min(retry_at(clock.now(), failures));
                    let error = anyhow::Error::from(error);
                    say(&format!(
                        "the round failed: {error:#}; the next one begins at {next}"
                    ));
                }
            }
            let wait = next.micros().saturating_sub(clock.now().micros());
            clock
                .sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0)))
                .await;
        }
    }
}

fn tell(report: &BothReport, sync: &BothSync<'_>) -> Result<()> {
    if sync.json {
        return print(&format!("{}\n", serde_json::to_string(report)?));
    }
    say(&format!(
        "round {}: to the target {} written, {} deleted; to the source {} written, {} deleted; {} echoes, {} found equal",
        report.round,
        count(report.written.target),
        count(report.deleted.target),
        count(report.written.source),
        count(report.deleted.source),
        count(report.echoes),
        count(report.agreed),
    ));
    tell_conflicts(report);
    if !report.conflicts.is_empty() {
        let path = sync.state.join(CONFLICTS_FILE);
        say(&format!(
            "both versions of each conflict are in {}",
            path.display()
        ));
    }
    for (number, what) in [
        (
            report.held,
            "conflicts are held; `fhirhose sync resolve` decides them",
        ),
        (
            report.behind,
            "resources changed meanwhile; the next round has them",
        ),
        (
            report.refused,
            "resources are refused by a side; they are tried again in each round",
        ),
        (
            report.unusable_lines,
            "lines were no whole resources and were left out",
        ),
        (
            report.source_errors,
            "errors are told of by the servers' own exports; what changed there is asked for again in the next round",
        ),
    ] {
        if number > 0 {
            say(&format!("{} {what}", count(number)));
        }
    }
    if report.refused_creates > 0 {
        say(
            "hint: a server that creates no resources under ids that it is given (updateCreate) cannot be synced in both \
             directions; allow client-assigned ids there, or sync one way from it",
        );
    }
    Ok(())
}

fn tell_conflicts(report: &BothReport) {
    for (group, found) in &report.conflicts {
        let kind = match group.kind {
            ConflictKind::EditEdit => "changed on both sides",
            ConflictKind::DeleteEdit => "deleted on one side and changed on the other",
        };
        let outcome = match (group.winner, group.is_tie) {
            (Some(winner), true) => format!("the {winner} wins, the times being equal"),
            (Some(winner), false) => format!("the {winner} wins"),
            (None, _) => "held".to_owned(),
        };
        say(&format!(
            "conflict: {} {} {kind}: {outcome}",
            count(*found),
            group.resource_type
        ));
    }
}

/// Lists the conflicts that a two-way sync holds, or decides them
///
/// The next round does what was decided, unless a side has changed again since.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fhirhose sync resolve --state sync                        lists what is held
  fhirhose sync resolve --state sync --use source --all
  fhirhose sync resolve --state sync --use target Patient/p1")]
pub(super) struct Resolve {
    /// Folder with the state of the sync
    #[arg(long, env = "FHIRHOSE_SYNC_STATE", value_name = "DIR")]
    state: PathBuf,

    /// Whose version stays
    #[arg(long = "use", value_name = "SIDE")]
    winner: Option<Winner>,

    /// Decides all that is held
    #[arg(long, requires = "winner", conflicts_with = "names")]
    all: bool,

    /// Prints the list as JSON, a line each
    #[arg(long, conflicts_with = "winner")]
    json: bool,

    /// Resources to decide, as Type/id
    #[arg(value_name = "TYPE/ID", requires = "winner")]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Winner {
    Source,
    Target,
}

impl Resolve {
    /// Runs the command.
    pub(super) fn run(&self) -> Result<ExitCode> {
        let mut ledger = Ledger::open_existing(&self.state)?;
        let Some(winner) = self.winner else {
            return self.list(&ledger);
        };
        let winner = match winner {
            Winner::Source => Side::Source,
            Winner::Target => Side::Target,
        };
        if !self.all && self.names.is_empty() {
            return Err(usage("which conflicts? Name them as Type/id, or say --all"));
        }
        let names = (!self.all).then_some(self.names.as_slice());
        let decided = ledger.resolve(names, winner)?;
        say(&format!(
            "{} conflicts are decided for the {winner}; the next round does it",
            count(decided)
        ));
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, ledger: &Ledger) -> Result<ExitCode> {
        let mut text = String::new();
        for (name, carried) in ledger.carried() {
            let Carried::Held { contents, winner } = carried else {
                continue;
            };
            let has = |side: Side| match contents.of(side) {
                Some(_) => "changed",
                None => "deleted",
            };
            let (source, target) = (has(Side::Source), has(Side::Target));
            text.push_str(&match self.json {
                true => {
                    let line = json!({ "resource": name, "source": source, "target": target, "use": winner });
                    format!("{line}\n")
                }
                false => {
                    let decided =
                        winner.map_or_else(String::new, |winner| format!(", decided for the {winner}"));
                    format!("{name}: source {source}, target {target}{decided}\n")
                }
            });
        }
        print(&text)?;
        if text.is_empty() {
            say("no conflicts are held");
        }
        Ok(ExitCode::SUCCESS)
    }
}
