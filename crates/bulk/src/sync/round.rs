//! One round of a sync, from the source to the moved cursor: [`Sync::run_round`].
//!
//! Fetch, plan, put, delete, commit. The state says which of them is next; a process that comes after a crash does that one again, from its
//! beginning, and all of them can be done twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhirhose_client::Clock;
use fhirhose_fhir::outcome::OperationOutcome;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::filter::LocalFilter;
use super::hook::Hook;
use super::lines::count_lines;
use super::merge::{Counts, Terms};
use super::plan::{Plan, Planning};
use super::reports::Reports;
use super::settings::{Leavers, SyncSettings};
use super::source::{Fetched, Source, SourceFile, Wanted};
use super::state::{State, StateFolder, Step, UnderWay};
use super::target::Target;
use crate::durable;
use crate::{Error, ErrorKind, Result};

/// Where a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// It has begun, or goes on.
    Began,
    /// Everything is fetched.
    Fetched,
    /// It is clear what is to be done.
    Planned,
    /// The resources are at the target.
    Put,
    /// The deletions are applied.
    Deleted,
    /// The cursor has moved.
    Committed,
}

/// Goes along with a round, and may end it at any point: it goes on later.
pub trait Guide: Send + std::marker::Sync {
    /// Hears that a point is reached.
    ///
    /// # Errors
    /// Whatever is to end the round here.
    fn reached(&self, point: Point) -> Result<()>;
}

/// Lets every round run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unguided;

impl Guide for Unguided {
    fn reached(&self, _point: Point) -> Result<()> {
        Ok(())
    }
}

/// What a round came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoundReport {
    /// Its number.
    pub round: u64,
    /// The source has nothing new.
    pub nothing_new: bool,
    /// The `transactionTime` that was applied.
    pub transaction_time: Option<String>,
    /// Everything was fetched, and not only what is new.
    pub is_whole: bool,
    /// How many resources met which end.
    pub counts: Counts,
    /// Lines of the source that cannot be taken.
    pub refused: u64,
    /// Lines and deletions that the target refuses.
    pub refused_by_target: u64,
    /// Lines that the command kept back.
    pub dropped: u64,
    /// Members of the Group that are new.
    pub joiners: u64,
    /// Members who have left it.
    pub leavers: u64,
    /// Errors that the source itself tells of.
    pub source_errors: u64,
    /// Files that could not be had, and why. With any, nothing was applied and the cursor stays.
    pub missing: Vec<(String, String)>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl RoundReport {
    /// Whether what was fetched is at the target.
    pub fn is_applied(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether nothing was missing and nothing refused.
    pub fn is_clean(&self) -> bool {
        self.is_applied() && self.refused == 0 && self.refused_by_target == 0 && self.source_errors == 0
    }
}

/// A one-way sync: source, rules, target, and what it remembers.
#[derive(Debug)]
pub struct Sync {
    source: Box<dyn Source>,
    target: Box<dyn Target>,
    rules: Arc<Rules>,
    folder: StateFolder,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct Rules {
    filter: LocalFilter,
    hook: Option<Hook>,
    settings: SyncSettings,
}

impl Rules {
    /// A hash of what decides which content goes over.
    fn fingerprint(&self) -> String {
        let command = self.hook.as_ref().map_or("", |hook| hook.command.as_str());
        format!(
            "{:016x}",
            xxh3_64(format!("{}|{command}", self.filter.fingerprint()).as_bytes())
        )
    }
}

impl Sync {
    /// Puts a sync together.
    pub fn new(
        source: Box<dyn Source>,
        target: Box<dyn Target>,
        (filter, hook): (LocalFilter, Option<Hook>),
        settings: SyncSettings,
        (folder, clock): (StateFolder, Arc<dyn Clock>),
    ) -> Self {
        Self {
            source,
            target,
            rules: Arc::new(Rules {
                filter,
                hook,
                settings,
            }),
            folder,
            clock,
        }
    }

    /// Its state folder.
    pub fn folder(&self) -> &StateFolder {
        &self.folder
    }

    /// Its clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What it remembers.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when the folder is of another source or target; [`ErrorKind::Corrupt`].
    pub fn state(&self) -> Result<State> {
        let (source, target) = (self.source.name(), self.target.name());
        let Some(state) = self.folder.load()? else {
            return Ok(State::new(source, target, self.rules.fingerprint()));
        };
        for (what, is, was) in [
            ("source", &source, &state.source),
            ("target", &target, &state.target),
        ] {
            if is != was {
                let place = self.folder.path().display();
                let problem =
                    format!("the state in {place} is of another sync: its {what} is {was}, not {is}");
                return Err(Error::new(ErrorKind::Invalid, problem));
            }
        }
        Ok(state)
    }

    /// Runs rounds until the source has nothing new; one round for a source that gives all of it at once.
    ///
    /// # Errors
    /// As [`run_round`](Self::run_round).
    pub async fn catch_up(&self, guide: &dyn Guide) -> Result<Vec<RoundReport>> {
        let mut reports = Vec::new();
        loop {
            let report = self.run_round(guide).await?;
            let goes_on = self.source.comes_in_steps() && report.is_applied() && !report.nothing_new;
            if !report.nothing_new || reports.is_empty() {
                reports.push(report);
            }
            if !goes_on {
                return Ok(reports);
            }
        }
    }

    /// Runs one round, or goes on with the one that was interrupted.
    ///
    /// # Errors
    /// What ended it; the next run goes on. Files that could not be had are told in the report.
    pub async fn run_round(&self, guide: &dyn Guide) -> Result<RoundReport> {
        let mut state = self.state()?;
        let ended = self.round(&mut state, guide).await;
        let failed = match &ended {
            Err(error) => !matches!(error.kind(), ErrorKind::Stopped(_)),
            Ok(report) => !report.is_applied(),
        };
        if let Err(error) = &ended
            && error.kind() == ErrorKind::TooManyDeletions
        {
            // What was fetched would be refused for ever: the source is asked again, for it may have been at fault.
            state.under_way = None;
        }
        if failed {
            state.failures_in_row += 1;
            state.totals.failures += 1;
            // The failure is told in any case; that it could not be counted is the lesser trouble.
            if let Err(error) = self.folder.save(&state) {
                tracing::warn!(%error, "a failed round could not be counted");
            }
        }
        ended
    }

    async fn round(&self, state: &mut State, guide: &dyn Guide) -> Result<RoundReport> {
        let mut under_way = self.begin(state)?;
        guide.reached(Point::Began)?;
        let work = self.folder.work(under_way.round);
        let planned = match Planned::load(&work)? {
            Some(planned) => planned,
            None => {
                let fetched = match self.fetch(state, &under_way, &work).await? {
                    None => return self.end_without_news(state, &under_way),
                    Some(fetched) if !fetched.missing.is_empty() => return Ok(missing(&under_way, fetched)),
                    Some(fetched) => fetched,
                };
                guide.reached(Point::Fetched)?;
                self.plan(state, &under_way, fetched, work.clone()).await?
            }
        };
        guide.reached(Point::Planned)?;
        if under_way.step == Step::Fetch {
            self.step(state, &mut under_way, Step::Put)?;
        }
        let reports = self.folder.reports(under_way.round);
        let refused_max = self.rules.settings.refused_max;
        if under_way.step == Step::Put {
            let put = Reports::begin(&reports, "put", refused_max)?;
            under_way.refused = self.target.put(&planned.plan.put, &put).await?.refused;
            put.check(under_way.refused)?;
            put.sync()?;
            self.step(state, &mut under_way, Step::Delete)?;
        }
        guide.reached(Point::Put)?;
        let delete = Reports::begin(&reports, "delete", refused_max)?;
        let refused = self.target.delete(&planned.plan.delete, &delete).await?.refused;
        delete.check(refused)?;
        guide.reached(Point::Deleted)?;
        let report = self.commit(state, &under_way, planned, refused)?;
        guide.reached(Point::Committed)?;
        self.folder.sweep(state, self.rules.settings.reports_kept)?;
        Ok(report)
    }

    /// Begins a round, or finds the one that was interrupted.
    fn begin(&self, state: &mut State) -> Result<UnderWay> {
        self.folder.sweep(state, self.rules.settings.reports_kept)?;
        let settings = self.rules.fingerprint();
        if let Some(under_way) = &state.under_way
            && (under_way.settings == settings || under_way.step != Step::Fetch)
        {
            return Ok(under_way.clone());
        }
        let under_way = UnderWay {
            round: state.round + 1,
            began: self.clock.now(),
            step: Step::Fetch,
            resends: state.cursor.is_some() && state.settings != settings,
            settings,
            refused: 0,
        };
        // What was fetched by other rules must not be gone on with.
        durable::remove(&self.folder.work(under_way.round))?;
        durable::create_folder(&self.folder.work(under_way.round))?;
        if under_way.resends {
            tracing::info!("filter or command have changed: everything is fetched and sent anew");
        }
        state.under_way = Some(under_way.clone());
        self.folder.save(state)?;
        Ok(under_way)
    }

    fn step(&self, state: &mut State, under_way: &mut UnderWay, step: Step) -> Result<()> {
        under_way.step = step;
        state.under_way = Some(under_way.clone());
        self.folder.save(state)
    }

    async fn fetch(&self, state: &State, under_way: &UnderWay, work: &Path) -> Result<Option<Fetched>> {
        let wanted = Wanted {
            cursor: state.cursor.clone().filter(|_| !under_way.resends),
            members: self.folder.read_members(state.round)?,
        };
        let mut fetched = self.source.fetch(&wanted, work).await?;
        if let Some(fetched) = &mut fetched {
            let pending = self.folder.pending(state.round);
            if pending.exists() {
                fetched.files.insert(0, SourceFile::output(pending).pending());
            }
            let pending = self.folder.pending_deletions(state.round);
            if pending.exists() {
                fetched.files.insert(0, SourceFile::deletions(pending).pending());
            }
        }
        Ok(fetched)
    }

    /// Works out what to do; reads everything that was fetched.
    async fn plan(
        &self,
        state: &State,
        under_way: &UnderWay,
        fetched: Fetched,
        work: PathBuf,
    ) -> Result<Planned> {
        let before = self.folder.read_members(state.round)?;
        let left: Vec<String> = match (&before, &fetched.members) {
            (Some(before), Some(now)) => before.difference(now).cloned().collect(),
            _ => Vec::new(),
        };
        let reports = self.folder.reports(under_way.round);
        report_leavers(&reports, &left)?;
        if let Some(members) = &fetched.members {
            self.folder.write_members(under_way.round, members)?;
        }
        let is_same_scope = state.round == 0 || state.scope == fetched.scope;
        if fetched.is_whole && !is_same_scope {
            tracing::warn!(
                "other resources were asked for than in the first round: none counts as gone because it is not there"
            );
        }
        let is_whole = fetched.is_whole && is_same_scope;
        let facts = Facts {
            transaction_time: fetched.transaction_time.clone(),
            scope: fetched.scope.clone(),
            is_whole,
            joiners: fetched.joiners.len() as u64,
            leavers: left.len() as u64,
            source_errors: fetched.source_errors,
        };
        let terms = Terms {
            is_whole: is_whole && fetched.source_errors == 0,
            resends: under_way.resends,
            members: fetched.members.clone(),
            joiners: fetched.joiners.clone(),
            leavers: match fetched.source_errors {
                0 => self.rules.settings.leavers,
                _ => Leavers::Keep,
            },
        };
        let old_ledger = (state.round > 0).then(|| self.folder.ledger(state.round));
        let (new_ledger, entries) = (self.folder.ledger(under_way.round), state.entries);
        let rules = Arc::clone(&self.rules);
        let planning = tokio::task::spawn_blocking(move || {
            let planning = Planning {
                filter: &rules.filter,
                hook: rules.hook.as_ref(),
                settings: &rules.settings,
                terms: &terms,
                reports: &Reports::begin(&reports, "source", rules.settings.refused_max)?,
                old_ledger: old_ledger.as_deref(),
                new_ledger: &new_ledger,
                entries,
                folder: &work,
            };
            let plan = planning.make(&fetched)?;
            let planned = Planned { plan, facts };
            planned.save(&work)?;
            Ok(planned)
        });
        let planned = planning.await;
        planned.map_err(|panic| Error::new(ErrorKind::Storage, "planning a round").with_source(panic))?
    }

    /// Moves the cursor: from here on the round has been.
    fn commit(
        &self,
        state: &mut State,
        under_way: &UnderWay,
        planned: Planned,
        refused: u64,
    ) -> Result<RoundReport> {
        let Planned { plan, facts } = planned;
        let mut pending = 0;
        // What a command made of a line must not go through it again.
        if self.rules.hook.is_none() {
            let reports = self.folder.reports(under_way.round);
            let kept = self.folder.pending(under_way.round);
            pending += keep(&Reports::lines_of(&reports, "put"), &kept)?;
            let kept = self.folder.pending_deletions(under_way.round);
            pending += keep(&Reports::lines_of(&reports, "delete"), &kept)?;
        }
        let now = self.clock.now();
        let report = RoundReport {
            round: under_way.round,
            nothing_new: false,
            transaction_time: Some(facts.transaction_time.clone()),
            is_whole: facts.is_whole,
            counts: plan.counts,
            refused: plan.refused,
            refused_by_target: under_way.refused + refused,
            dropped: plan.dropped,
            joiners: facts.joiners,
            leavers: facts.leavers,
            source_errors: facts.source_errors,
            missing: Vec::new(),
            duration_ms: u64::try_from((now.micros() - under_way.began.micros()) / 1_000).unwrap_or(0),
        };
        if state.round == 0 {
            state.scope = facts.scope;
        }
        state.cursor = Some(facts.transaction_time);
        state.round = under_way.round;
        state.settings = under_way.settings.clone();
        state.entries = plan.counts.entries;
        state.pending = pending;
        state.under_way = None;
        state.last_success = Some(now);
        state.failures_in_row = 0;
        state.totals.rounds += 1;
        state.totals.put += plan.counts.sent();
        state.totals.deleted += plan.counts.removed();
        state.totals.refused += report.refused + report.refused_by_target;
        state.last = Some(report.clone());
        self.folder.save(state)?;
        Ok(report)
    }

    fn end_without_news(&self, state: &mut State, under_way: &UnderWay) -> Result<RoundReport> {
        state.under_way = None;
        state.last_success = Some(self.clock.now());
        state.failures_in_row = 0;
        self.folder.save(state)?;
        Ok(RoundReport {
            round: under_way.round,
            nothing_new: true,
            ..RoundReport::default()
        })
    }
}

/// A plan, and what must be known at the round's end.
#[derive(Debug, Serialize, Deserialize)]
struct Planned {
    plan: Plan,
    facts: Facts,
}

#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    transaction_time: String,
    #[serde(default)]
    scope: Option<String>,
    is_whole: bool,
    joiners: u64,
    leavers: u64,
    source_errors: u64,
}

const PLAN: &str = "plan.json";

impl Planned {
    /// Reads a plan that is there.
    fn load(work: &Path) -> Result<Option<Self>> {
        let path = work.join(PLAN);
        match std::fs::read(&path) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io(format!("reading {}", path.display()), source)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| {
                Error::new(ErrorKind::Corrupt, "reading the plan of a round").with_source(source)
            }),
        }
    }

    fn save(&self, work: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|source| {
            Error::new(ErrorKind::Storage, "writing the plan of a round").with_source(source)
        })?;
        durable::write(&work.join(PLAN), &bytes)
    }
}

/// The report of a round that lacks files.
fn missing(under_way: &UnderWay, fetched: Fetched) -> RoundReport {
    RoundReport {
        round: under_way.round,
        is_whole: fetched.is_whole,
        missing: fetched.missing,
        ..RoundReport::default()
    }
}

/// Writes down who has left the Group (G-05).
fn report_leavers(reports: &Path, left: &[String]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    durable::create_folder(reports)?;
    let mut text = String::new();
    for patient in left {
        let outcome =
            OperationOutcome::information(format!("Patient/{patient} is no member of the Group any more"));
        text.push_str(&outcome.to_json());
        text.push('\n');
    }
    durable::write(&reports.join("leavers.ndjson"), text.as_bytes())
}

/// Keeps refused lines for the next round; gives how many there are.
fn keep(refused: &Path, to: &Path) -> Result<u64> {
    let text = match std::fs::read(refused) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(Error::io(format!("reading {}", refused.display()), source)),
    };
    durable::write(to, &text)?;
    count_lines(to, usize::MAX - 2)
}
