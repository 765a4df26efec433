//! `fhirhose sync`: keeps a target in step with a source.

mod both;
mod ends;
mod metrics;
mod status;
mod table;

use super::{AGAIN, interruptible, print, say};
use crate::failure::{PARTIAL, usage};
use crate::provider_args::{ProviderArgs, is_url};
use crate::typed::Typed;
use anyhow::{Context, Result};
use both::{BothArgs, BothSync};
use clap::{Args, Subcommand, ValueEnum};
use ends::{SourceKind, TargetArgs};
use fhirhose_bulk::sync::{
    Daemon, Hook, Leavers, LocalFilter, RoundReport, Schedule, StateFolder, Sync as Syncing, SyncSettings,
    Unguided,
};
use fhirhose_client::SystemClock;
use metrics::MetricsArgs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Keeps a store or a FHIR server in step with a Bulk Data server, or with folders: first everything, then what changed
///
/// Each round pulls what is new since the last `transactionTime`, puts the resources, applies the deletions, and only then moves on.
/// Interrupted or killed anywhere, the same command goes on. Only what this sync has brought is ever deleted at the target.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub(crate) struct Sync {
    #[command(flatten)]
    typed: Typed,

    #[command(subcommand)]
    action: Option<Action>,

    /// FHIR base URL of a Bulk Data server, or a folder: of one pull, of dated pulls, or of NDJSON
    #[arg(value_name = "SOURCE", required = true)]
    source: Option<String>,

    #[command(flatten)]
    target: TargetArgs,

    #[command(flatten)]
    both: BothArgs,

    /// Folder of what the sync remembers [default: sync in the data folder of a store]
    #[arg(long, env = "FHIRHOSE_SYNC_STATE", value_name = "DIR")]
    state: Option<PathBuf>,

    #[command(flatten)]
    what: WhatArgs,

    #[command(flatten)]
    when: WhenArgs,

    #[command(flatten)]
    metrics: MetricsArgs,

    #[command(flatten)]
    provider: ProviderArgs,

    /// Prints the report of each round as a line of JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What can be done beside syncing.
#[derive(Debug, Subcommand)]
enum Action {
    Status(status::Status),
    Resolve(both::Resolve),
}

/// What of the source is taken.
#[derive(Debug, Args)]
#[command(next_help_heading = "What")]
struct WhatArgs {
    /// Group whose members are followed; new ones come with their past
    #[arg(short = 'g', long, value_name = "ID", conflicts_with = "global")]
    group: Option<String>,

    /// Everything that the server has, and not only the patients' [default: all patients]
    #[arg(long)]
    global: bool,

    /// Takes these types only
    #[arg(short = 't', long = "type", value_delimiter = ',', value_name = "TYPE")]
    types: Vec<String>,

    /// Takes what matches, for instance `Observation?category=laboratory`; applied here. What no longer matches is deleted at the target
    #[arg(long = "type-filter", value_name = "QUERY")]
    type_filters: Vec<String>,

    /// Shell command between source and target, NDJSON in and out, such as one that de-identifies
    #[arg(long, value_name = "COMMAND")]
    through: Option<String>,

    /// What becomes of the data of patients who have left the Group
    #[arg(long, value_enum, default_value = "keep", value_name = "WHAT")]
    leavers: LeaversArg,

    /// Fetches everything each time and finds out itself what changed: for a server without a `_since` to rely upon
    #[arg(long)]
    full: bool,

    /// Lets one round delete more than half of what was brought
    #[arg(long)]
    allow_mass_deletion: bool,
}

/// What becomes of the data of patients who have left a Group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LeaversArg {
    /// It stays.
    Keep,
    /// It is deleted at the target.
    Remove,
}

/// When rounds run.
#[derive(Debug, Args)]
#[command(next_help_heading = "When")]
struct WhenArgs {
    /// Runs until nothing is new, and ends (with --both: one round); also the default
    #[arg(long, conflicts_with_all = ["every", "cron"])]
    once: bool,

    /// Runs again and again, such as every 24h, 15m or 90s
    #[arg(long, value_parser = duration, value_name = "TIME", conflicts_with = "cron")]
    every: Option<Duration>,

    /// Runs by a cron expression of five fields, in the machine's time zone
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<String>,

    /// Begins each round up to so much later
    #[arg(long, value_parser = duration, value_name = "TIME", default_value = "0s")]
    jitter: Duration,
}

const EXAMPLES: &str = "\
Examples:
  fhirhose sync https://ehr.example.org/fhir --to store:replica --once
  fhirhose sync https://ehr.example.org/fhir --group diabetes --to store:replica --cron '0 2 * * *' --jitter 15m
  fhirhose sync https://ehr.example.org/fhir --to https://fhir.example.org/fhir --state sync --every 24h
  fhirhose sync pulls --to store:replica --type Patient,Observation
  fhirhose sync status --state replica/sync
  fhirhose sync https://ehr.example.org/fhir --both https://product.example.org/fhir --global --state both
  fhirhose sync resolve --state both --use source Patient/p1

Exit codes: 0 in step; 1 failed; 2 wrong usage; 3 not everything: files are missing, lines were refused, or conflicts are
held; 4 another process syncs with this state; 5 no space left on the disk. After 1, 3 and 5 the same command goes on.";

impl Sync {
    /// Runs once or by the schedule.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        match &self.action {
            Some(Action::Status(status)) => return status.run(),
            Some(Action::Resolve(resolve)) => return resolve.run(),
            None => {}
        }
        let schedule = self.when.schedule()?;
        if schedule.is_none() && (self.metrics.listens() || !self.when.jitter.is_zero()) {
            return Err(usage("--metrics-listen and --jitter are for --every and --cron"));
        }
        if let Some(target) = self.both.target() {
            return interruptible(self.run_both(target, schedule), AGAIN).await?;
        }
        let sync = self.sync().await?;
        match schedule {
            None => {
                let ended = interruptible(sync.catch_up(&Unguided), AGAIN).await?;
                self.metrics.write(&sync)?;
                self.tell(&ended?)
            }
            Some(schedule) => self.run_daemon(&sync, schedule).await,
        }
    }

    async fn run_daemon(&self, sync: &Syncing, schedule: Schedule) -> Result<ExitCode> {
        let daemon = Daemon { sync, schedule };
        let heard = |ended: &fhirhose_bulk::Result<Vec<RoundReport>>, next| {
            match ended {
                Ok(reports) => {
                    if let Err(error) = self.tell(reports) {
                        say(&format!("warning: {error}"));
                    }
                }
                Err(error) => say(&format!("error: {}", chain(error))),
            }
            say(&format!("the next round begins at {next}"));
            if let Err(error) = self.metrics.write(sync) {
                say(&format!("warning: the metrics could not be written: {error}"));
            }
        };
        let serving = self.metrics.serve(sync);
        let running = async {
            tokio::select! {
                ended = daemon.run(u64::MAX, &Unguided, &heard) => ended.map_err(anyhow::Error::from),
                ended = serving => ended,
            }
        };
        interruptible(running, AGAIN).await??;
        Ok(ExitCode::SUCCESS)
    }

    /// Keeps both servers in step in both directions.
    async fn run_both(&self, target: &str, schedule: Option<Schedule>) -> Result<ExitCode> {
        let source = self.source.as_deref().context("the source is missing")?;
        if !is_url(source) || !is_url(target) {
            return Err(usage("--both keeps two FHIR servers in step, by their URLs"));
        }
        let what = &self.what;
        let is_one_way = !what.type_filters.is_empty() || what.through.is_some() || what.full;
        if is_one_way
            || what.allow_mass_deletion
            || what.leavers == LeaversArg::Remove
            || what.group.is_some()
        {
            return Err(usage(
                "--both goes with --global and --type only: what is left out on the way would look deleted",
            ));
        }
        let state = self.state.as_deref();
        let state =
            state.ok_or_else(|| usage("--state DIR is missing: what the sync remembers needs a place"))?;
        self.provider.check(&self.typed)?;
        self.target.check_server(&self.typed)?;
        let sync = BothSync {
            source: Box::pin(self.provider.clone().for_writing().provider(source)).await?,
            target: Box::pin(self.target.provider(target, &self.provider)).await?,
            parameters: ends::parameters(what)?,
            batch_entries: self.target.batch_entries(),
            state,
            schedule: schedule.as_ref(),
            json: self.json,
        };
        self.both.run(sync).await
    }

    async fn sync(&self) -> Result<Syncing> {
        let source = self.source.as_deref().context("the source is missing")?;
        let is_server = is_url(source);
        let what = &self.what;
        if !is_server && (what.group.is_some() || what.global || what.full) {
            return Err(usage("--group, --global and --full are for a server as source"));
        }
        let base = if is_server {
            source
        } else {
            "http://localhost/fhir"
        };
        if what.leavers == LeaversArg::Remove && what.group.is_none() {
            return Err(usage("--leavers is for --group: nobody leaves anything else"));
        }
        let filter = LocalFilter::new(&what.types, &what.type_filters, base)?;
        let to = self.target.parse()?;
        let from = match is_server {
            true => SourceKind::Server,
            false => SourceKind::Folder,
        };
        self.target.check(&self.typed, (from, &to))?;
        self.provider.check(&self.typed)?;
        let state = match (&self.state, to.data_folder()) {
            (Some(state), _) => state.clone(),
            (None, Some(data)) => data.join("sync"),
            (None, None) => {
                return Err(usage(
                    "--state DIR is missing: what the sync remembers needs a place",
                ));
            }
        };
        let source = match is_server {
            true => ends::server_source(source, what, &self.provider).await?,
            false => ends::folder_source(source)?,
        };
        // The store before the state: it makes its folder and wants it empty.
        let opened = Box::pin(self.target.open(&to, &self.provider)).await?;
        let folder = StateFolder::open(&state)?;
        let target = opened.target(&folder)?;
        let hook = what.through.clone().map(|command| Hook { command });
        let mut settings = SyncSettings {
            leavers: match what.leavers {
                LeaversArg::Keep => Leavers::Keep,
                LeaversArg::Remove => Leavers::Remove,
            },
            ..SyncSettings::default()
        };
        if what.allow_mass_deletion {
            settings.deletions_share_max = 1.0;
        }
        Ok(Syncing::new(
            source,
            target,
            (filter, hook),
            settings,
            (folder, Arc::new(SystemClock)),
        ))
    }

    /// Prints what rounds came to; the exit code says whether that is everything.
    fn tell(&self, reports: &[RoundReport]) -> Result<ExitCode> {
        for report in reports {
            if self.json {
                print(&format!("{}\n", serde_json::to_string(report)?))?;
            } else {
                print(&table::round(report))?;
            }
        }
        Ok(match reports.iter().all(RoundReport::is_clean) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(PARTIAL),
        })
    }
}

impl WhenArgs {
    fn schedule(&self) -> Result<Option<Schedule>> {
        let schedule = match (self.every, &self.cron) {
            (Some(every), _) => Schedule::every(every)?,
            (None, Some(cron)) => Schedule::local_cron(cron)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(schedule.with_jitter(self.jitter)))
    }
}

/// Reads `24h`, `15m`, `90s`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time such as 24h, 15m or 90s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let secs = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    number
        .checked_mul(secs)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}
