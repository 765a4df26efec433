//! One run of a pull, from the lock to the report: [`Run`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use url::Url;

use super::Pull;
use super::attach::{Attached, clear_attachments, settle_links};
use super::event::{PullEvent, Watch};
use super::folder::PullFolder;
use super::gate::{Gate, Tries};
use super::journal::{Identity, Journal, Record};
use super::kick_off::{self, KickedOff};
use super::lines::LongLines;
use super::log::Log;
use super::past::{Past, Resume};
use super::plan::{Plan, Planned};
use super::report::{MissingFile, PullReport, PulledFile};
use super::source::Body;
use crate::{Error, ErrorKind, Result};

/// How often the server is told that its files can go.
const DELETE_TRIES_MAX: u32 = 3;

/// Files that are whole, by name, with the issues in them.
type Done = HashMap<String, (PulledFile, BTreeMap<String, u64>)>;

/// What all parts of a run share. Locks are held for moments, never over an await.
pub(super) struct Run<'a> {
    pub(super) pull: &'a Pull,
    pub(super) watch: &'a dyn Watch,
    pub(super) folder: PullFolder,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) log: Log,
    /// Grows while pages come; links in it are made anew.
    pub(super) plan: Mutex<Plan>,
    pub(super) done: Mutex<Done>,
    pub(super) missing: Mutex<BTreeMap<String, MissingFile>>,
    pub(super) attached: Attached,
    /// What an earlier run knew of bodies that it had begun; each is taken once.
    resumes: Mutex<HashMap<String, Resume>>,
    pub(super) gate: Gate,
    pub(super) long_lines: LongLines,
    /// Held by the one who makes links anew.
    pub(super) relinking: tokio::sync::Mutex<()>,
    /// Whether the server knows nothing of the export any more.
    pub(super) is_gone: AtomicBool,
    pub(super) retries: AtomicU64,
    pub(super) received: AtomicU64,
    begun: Instant,
    pub(super) kicked_off: KickedOff,
    is_resumed: bool,
}

/// Pulls to the end.
pub(super) async fn run(pull: &Pull, watch: &dyn Watch) -> Result<PullReport> {
    let begun = pull.provider.clock().now();
    let root = pull.folder.clone();
    let folder = blocking(move || PullFolder::open(&root)).await?;
    let (mut journal, records) = Journal::open(&folder, pull.settings.journal_bytes_max)?;
    let identity = Identity::of(pull);
    let mut past = Past::read(records, &identity, &folder, pull.settings.page_folders)?;
    if past.is_lost {
        past = past.discard(&folder, pull.settings.page_folders)?;
    }
    if past.is_new {
        journal.rewrite(&[Record::Pull(identity.clone())])?;
    }
    let owes_delete = |report: &PullReport| {
        pull.settings.deletes_job && !report.job_deleted && report.delete_problem.is_none()
    };
    match past.finished.take() {
        // Of a run that was to leave the job to this one.
        Some(report) if owes_delete(&report) => past.written = Some(report),
        Some(report) => return Ok(already_whole(report, begun, pull)),
        None => {}
    }
    let log = Log::open(folder.root().to_owned(), pull.settings.log)?;
    let ran = Box::pin(async {
        settle_links(&mut past, &folder, &mut journal).await?;
        let is_resumed = past.kicked_off.is_some();
        let kicked_off = kick_off::kick_off(pull, watch, &past, &mut journal, &log).await?;
        let run = Run {
            pull,
            watch,
            folder,
            journal: Arc::new(Mutex::new(journal)),
            log: log.clone(),
            plan: Mutex::new(past.plan),
            done: Mutex::new(past.done),
            missing: Mutex::default(),
            attached: Attached::new(past.linked),
            resumes: Mutex::new(past.resumes),
            gate: Gate::default(),
            long_lines: LongLines::default(),
            relinking: tokio::sync::Mutex::default(),
            is_gone: AtomicBool::new(false),
            retries: AtomicU64::new(0),
            received: AtomicU64::new(0),
            begun,
            kicked_off,
            is_resumed,
        };
        let report = match past.written {
            Some(report) => {
                run.log_end(&report)?;
                already_whole(report, begun, pull)
            }
            None => run.fetch_all().await?,
        };
        run.finish(report, &identity).await
    })
    .await;
    if let Err(error) = &ran {
        let detail = serde_json::json!({ "error": error.chain() });
        // The error itself matters more than a log that cannot be written.
        let _ = log.write(pull.provider.clock().now(), "client_error", detail);
    }
    ran
}

/// A pull that an earlier run has finished.
fn already_whole(report: PullReport, begun: Instant, pull: &Pull) -> PullReport {
    PullReport {
        already_whole: true,
        resumed: true,
        retries: 0,
        bytes_received: 0,
        ms: millis(pull.provider.clock().now().since(begun)),
        ..report
    }
}

impl Run<'_> {
    /// Follows the export and fetches its files beside, then writes the manifest.
    async fn fetch_all(&self) -> Result<PullReport> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let following = async {
            let followed = self.follow(&sender).await;
            drop(sender);
            followed
        };
        let fetching = Box::pin(self.fetch_arriving(receiver));
        tokio::try_join!(Box::pin(following), fetching)?;
        Box::pin(self.attach()).await?;
        self.conclude()
    }

    /// Fetches what arrives, so many files at a time. The futures' type is named, so that a whole pull may go to another thread.
    async fn fetch_arriving(&self, mut arriving: mpsc::UnboundedReceiver<usize>) -> Result<()> {
        let quirks = self.pull.provider.quirks();
        let parallel = quirks.parallel(self.pull.settings.parallel_downloads);
        let mut fetches: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !fetches.is_empty() {
            tokio::select! {
                index = arriving.recv(), if is_open && fetches.len() < parallel => match index {
                    Some(index) => fetches.push(Box::pin(self.fetch(index))),
                    None => is_open = false,
                },
                Some(fetched) = fetches.next(), if !fetches.is_empty() => fetched?,
            }
        }
        Ok(())
    }

    /// Says where a body of an earlier run can be gone on with.
    pub(super) fn resume(&self, file: &Planned, text_bytes: u64) -> Body {
        let resume = held(&self.resumes).remove(&file.name);
        let resume = resume.filter(|_| text_bytes > 0);
        resume.map(|resume| resume.body(text_bytes)).unwrap_or_default()
    }

    pub(super) fn planned(&self, index: usize) -> Planned {
        held(&self.plan).files[index].clone()
    }

    pub(super) fn now(&self) -> Instant {
        self.pull.provider.clock().now()
    }

    /// Ends an export that takes too long.
    pub(super) fn check_time(&self) -> Result<()> {
        let secs_max = self.pull.settings.export_secs_max;
        if self.now().since(self.kicked_off.at) <= Duration::from_secs(secs_max) {
            return Ok(());
        }
        let problem = format!("the export has taken more than {secs_max} s and is given up");
        Err(Error::new(ErrorKind::Unreachable, problem))
    }

    /// What this run has come to so far.
    pub(super) fn report(&self) -> PullReport {
        let (plan, done, missing) = (held(&self.plan), held(&self.done), held(&self.missing));
        let not_had = |file: &Planned| match missing.get(&file.name) {
            Some(missing) => Some(missing.clone()),
            None if done.contains_key(&file.name) => None,
            None => Some(file.missing("it was not fetched".to_owned())),
        };
        let mut issues = BTreeMap::new();
        for (severity, count) in done.values().flat_map(|(_, issues)| issues) {
            *issues.entry(severity.clone()).or_default() += count;
        }
        PullReport {
            transaction_time: plan.transaction_time.clone(),
            files: (plan.files.iter())
                .filter_map(|file| Some(done.get(&file.name)?.0.clone()))
                .collect(),
            missing: (plan.files.iter().filter_map(not_had))
                .chain(self.attached.missing())
                .collect(),
            resumed: self.is_resumed,
            already_whole: false,
            retries: self.retries.load(Ordering::Relaxed),
            bytes_received: self.received.load(Ordering::Relaxed),
            ms: millis(self.now().since(self.begun)),
            attachments: self
                .pull
                .settings
                .attachments
                .as_ref()
                .map(|_| self.attached.report()),
            issues,
            job_deleted: false,
            delete_problem: None,
        }
    }

    /// How long the export has taken, over all runs.
    pub(super) fn duration_ms(&self) -> u64 {
        millis(self.now().since(self.kicked_off.at))
    }

    /// Tells the server that nothing is needed any more, after everything is safe (CL-13).
    async fn finish(&self, mut report: PullReport, identity: &Identity) -> Result<PullReport> {
        if !report.is_whole() {
            return Ok(report);
        }
        clear_attachments(&self.folder);
        let mut is_settled = true;
        if self.pull.settings.deletes_job {
            match self.delete(&self.kicked_off.status_url).await {
                Ok(()) => report.job_deleted = true,
                Err(error) => {
                    // A server that refuses will refuse again, and a place that is not trusted will not be either.
                    is_settled = matches!(error.kind(), ErrorKind::Refused | ErrorKind::Forbidden);
                    report.delete_problem = Some(error.chain());
                }
            }
        }
        report.ms = millis(self.now().since(self.begun));
        if is_settled {
            let kicked_off = self.kicked_off.record();
            let finished = Record::Finished {
                report: report.clone(),
            };
            held(&self.journal).rewrite(&[Record::Pull(identity.clone()), kicked_off, finished])?;
        }
        Ok(report)
    }

    async fn delete(&self, status_url: &Url) -> Result<()> {
        let mut tries = Tries::new(&self.pull.settings, status_url.as_str()).at_most(DELETE_TRIES_MAX);
        loop {
            let error = match self.pull.provider.delete(status_url).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let passes = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable);
            match tries.again(&error, false).filter(|_| passes) {
                Some(wait) => {
                    let (why, wait_ms) = (error.chain(), millis(wait));
                    self.watch.hear(&PullEvent::Waiting { why: &why, wait_ms });
                    self.pull.provider.clock().sleep(wait).await;
                }
                None => return Err(error),
            }
        }
    }
}

/// Locks; what a thread that panicked has left is still whole.
pub(super) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does work that blocks, in a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|source| {
        Err(Error::new(ErrorKind::Disk, "a thread that writes files has ended").caused_by(source))
    })
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
