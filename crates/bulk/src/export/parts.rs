//! Makes the parts of an export, several at a time, and writes checkpoints of what is finished.

use std::collections::{BTreeSet, VecDeque};
use std::ops::{ControlFlow, Deref};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhirhose_fhir::export_request::ExportRequest;
use fhirhose_jobs::{Checkpoint, Failure, JobContext, JobError, Progress, StopSignal, Timestamp};
use fhirhose_store::{OutputFile, OutputName, Store};
use tokio::sync::{Semaphore, mpsc};

use super::files::Place;
use super::pages::Pager;
use super::part::run_part;
use super::settings::ExportSettings;
use super::side::{Gathering, SideKind};
use super::spec::ExportSpec;
use super::state::{Next, Part, State, Work};
use super::tally::{Wrote, tallies};
use super::wanted::Wanted;
use crate::Error;
use crate::spill::parts_of;

/// What threads may have told before the coordinator listens.
const EVENTS_MAX: usize = 256;

/// How long an export waits before it is tried again after a thread panicked.
const PANIC_PAUSE: Duration = Duration::from_secs(1);

/// What the threads of one stage of an export share; what all stages share is reached through it.
pub(super) struct Crew {
    order: Arc<Order>,
    /// Which stage; see [`Work::stage`].
    pub(super) stage: usize,
    /// The side files of the stages before.
    sides: Vec<String>,
    /// The number of the claim, which names files: a worker that was thought dead must not write into those of the living one.
    pub(super) fence: u64,
    /// Bounds how many finished files are on their way to their place; never closed.
    pub(super) finishing: Arc<Semaphore>,
    /// Parts that nobody has begun, largest first. Filled before the threads start; they take from the front.
    waiting: Mutex<VecDeque<(usize, Part)>>,
    /// Set by the coordinator when a part has failed.
    failed: AtomicBool,
    /// Set by the runner; the threads look at it themselves.
    stop: StopSignal,
    /// Where threads tell what they did. It is the last field, so that the coordinator hears the end only when all else is gone.
    events: mpsc::Sender<Event>,
}

/// What a thread tells.
pub(super) enum Event {
    /// So much text was written, and so many lines; for progress only.
    Wrote { part: usize, bytes: u64, rows: u64 },
    /// A part got so far; `file` is in its place, and its last block goes on in the next one if it `is_continued`.
    Advanced {
        part: usize,
        file: Option<OutputFile>,
        is_continued: bool,
        /// The side files beside `file`.
        side: Vec<String>,
        next: Next,
    },
    /// Something went wrong for good.
    Failed(Error),
}

/// What all exports of one claim need, made once.
pub(super) struct Order {
    pub(super) store: Store,
    pub(super) place: Place,
    pub(super) spec: ExportSpec,
    pub(super) request: ExportRequest,
    pub(super) wanted: Wanted,
    pub(super) state: State,
    pub(super) file_bytes_max: u64,
    /// The job's id as text, which names its side files.
    pub(super) job: String,
    /// The FHIR base below which attachments are found, if it is known.
    pub(super) base_url: Option<String>,
    /// Text of blocks that one part may gather in memory.
    pub(super) block_bytes: usize,
    /// What is gathered for later stages.
    pub(super) gathering: Gathering,
}

impl Deref for Crew {
    type Target = Order;

    fn deref(&self) -> &Order {
        &self.order
    }
}

impl Crew {
    fn new(
        order: &Arc<Order>,
        parts: &[Part],
        stage: usize,
        context: &JobContext,
        settings: &ExportSettings,
    ) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let mut waiting: Vec<(usize, Part)> = parts
            .iter()
            .cloned()
            .enumerate()
            .filter(|(_, part)| part.next != Next::Done && part.work.stage() == stage)
            .collect();
        let before = parts.iter().filter(|part| part.work.stage() < stage);
        // The largest first: at the end all threads have something to do.
        waiting.sort_by_key(|(number, part)| (std::cmp::Reverse(part.text_bytes_max), *number));
        let crew = Self {
            order: Arc::clone(order),
            stage,
            sides: before.flat_map(|part| part.side.iter().cloned()).collect(),
            fence: context.lease().fence,
            finishing: Arc::new(Semaphore::new(settings.files_finishing_max.max(1))),
            waiting: Mutex::new(waiting.into()),
            failed: AtomicBool::new(false),
            stop: context.stop_signal().clone(),
            events,
        };
        (Arc::new(crew), inbox)
    }

    /// Says whether to go on: cheap.
    pub(super) fn go_on(&self) -> ControlFlow<()> {
        match self.stop.stopping().is_some() || self.failed.load(Ordering::Relaxed) || self.events.is_closed()
        {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Says whether to go on within a file: one that is nearly done is ended when there is time for that.
    pub(super) fn go_on_in_file(&self) -> ControlFlow<()> {
        match self.stop.stopping() {
            Some(reason) if reason.can_wait() && !self.failed.load(Ordering::Relaxed) => {
                ControlFlow::Continue(())
            }
            _ => self.go_on(),
        }
    }

    /// The runner's signal.
    pub(super) fn stop_signal(&self) -> &StopSignal {
        &self.stop
    }

    /// Tells the coordinator; when it is gone nobody wants to know. From a blocking thread.
    pub(super) fn tell(&self, event: Event) {
        let _ = self.events.blocking_send(event);
    }

    /// Tells that text was written, unless the coordinator has enough to do.
    pub(super) fn wrote(&self, part: usize, bytes: u64, rows: u64) {
        let _ = self.events.try_send(Event::Wrote { part, bytes, rows });
    }

    /// The name at rest of a part's file.
    pub(super) fn file_name(&self, part: usize, file: usize, type_name: &str) -> String {
        format!("{part}-{file}-{fence}.{type_name}.ndjson", fence = self.fence)
    }

    /// The side files of a kind that the stages before have left.
    pub(super) fn sides(&self, kind: SideKind) -> crate::Result<Vec<OutputName>> {
        let of_kind = self.sides.iter().filter(|name| kind.names(name));
        let names = of_kind.map(|name| OutputName::new(&parts_of(&self.job), name));
        Ok(names.collect::<Result<_, _>>()?)
    }

    fn waiting_parts(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take_part(&self) -> Option<(usize, Part)> {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }

    /// Makes parts until there are none or the export is to stop.
    fn work(self: &Arc<Self>) {
        while self.go_on().is_continue() {
            let Some((number, part)) = self.take_part() else {
                return;
            };
            if let Err(error) = run_part(self, number, &part) {
                self.tell(Event::Failed(error));
            }
        }
    }
}

/// Makes all parts that are not done; `parts` says afterwards what they came to.
///
/// # Errors
/// A stop, after a checkpoint of what was finished; the first failure. All threads have ended when it returns.
pub(super) async fn make_all(
    order: Order,
    parts: &mut [Part],
    pager: Option<&mut Pager>,
    context: &JobContext,
    settings: &ExportSettings,
) -> Result<(), JobError> {
    for part in parts
        .iter_mut()
        .filter(|part| part.work == Work::Deletions && part.next != Next::Done)
    {
        part.restart();
    }
    let open = parts.iter().filter(|part| part.next != Next::Done);
    let stages: BTreeSet<usize> = open.map(|part| part.work.stage()).collect();
    let order = Arc::new(order);
    let mut desk = Desk::new(parts, pager, context, settings.checkpoint_millis);
    for stage in stages {
        make_stage(&order, &mut desk, stage, settings).await?;
    }
    // Side files go now; nobody may come back to a part that would need them.
    let has_sides = desk.parts.iter().any(|part| !part.side.is_empty());
    if has_sides && !desk.changed.is_empty() {
        desk.write().await?;
    }
    Ok(())
}

async fn make_stage(
    order: &Arc<Order>,
    desk: &mut Desk<'_>,
    stage: usize,
    settings: &ExportSettings,
) -> Result<(), JobError> {
    let (crew, inbox) = Crew::new(order, desk.parts, stage, desk.context, settings);
    let threads = settings.parts_parallel.clamp(1, crew.waiting_parts().max(1));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let crew = Arc::clone(&crew);
            tokio::task::spawn_blocking(move || crew.work())
        })
        .collect();
    let listened = desk.listen(inbox, crew).await;
    for worker in workers {
        // A panic shows as a part that is not done.
        let _ = worker.await;
    }
    // Even then: what was finished on the way to a shutdown is written down.
    let concluded = desk.conclude(stage).await;
    listened.and(concluded)
}

/// Keeps what is known of the parts, and writes it down from time to time.
struct Desk<'a> {
    parts: &'a mut [Part],
    /// Makes pages of the finished files, if clients may see them before the end.
    pager: Option<&'a mut Pager>,
    context: &'a JobContext,
    /// What each part wrote so far.
    wrote: Vec<Wrote>,
    /// Parts that changed since the last checkpoint.
    changed: Vec<usize>,
    pause: Duration,
    written_at: Timestamp,
}

impl<'a> Desk<'a> {
    fn new(
        parts: &'a mut [Part],
        pager: Option<&'a mut Pager>,
        context: &'a JobContext,
        checkpoint_millis: u64,
    ) -> Self {
        Self {
            wrote: parts.iter().map(Wrote::of).collect(),
            changed: Vec::new(),
            pause: Duration::from_millis(checkpoint_millis),
            written_at: context.clock().now(),
            parts,
            pager,
            context,
        }
    }

    /// Hears the threads out, until the last one has ended.
    async fn listen(&mut self, mut inbox: mpsc::Receiver<Event>, crew: Arc<Crew>) -> Result<(), JobError> {
        // Only threads may hold the crew now: when the last one ends, so does the inbox.
        let weak = Arc::downgrade(&crew);
        drop(crew);
        let mut outcome = Ok(());
        while let Some(event) = inbox.recv().await {
            let advanced = match event {
                Event::Failed(error) if outcome.is_ok() => Err(JobError::from(error)),
                Event::Failed(_) => Ok(()),
                told => self.note(told).await,
            };
            if let Err(error) = advanced {
                let ends_files = matches!(&error, JobError::Stop(reason) if reason.can_wait());
                if let Some(crew) = weak.upgrade().filter(|_| !ends_files) {
                    crew.failed.store(true, Ordering::Relaxed);
                }
                if outcome.is_ok() {
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    /// Takes an event over, and writes a checkpoint when it is time.
    async fn note(&mut self, event: Event) -> Result<(), JobError> {
        match event {
            Event::Wrote { part, bytes, rows } => {
                self.wrote[part].bytes += bytes;
                self.wrote[part].rows += rows;
            }
            Event::Advanced {
                part,
                file,
                is_continued,
                side,
                next,
            } => {
                self.parts[part].side.extend(side);
                if let Some(file) = file {
                    self.keep(part, file, is_continued);
                }
                self.parts[part].next = next;
                self.changed.push(part);
            }
            Event::Failed(error) => return Err(error.into()),
        }
        let now = self.context.clock().now();
        let is_due = now.since(self.written_at) >= self.pause;
        // With a pause of zero only what changed something is worth a checkpoint.
        if is_due && !(self.pause.is_zero() && self.changed.is_empty()) {
            self.written_at = now;
            return self.write().await;
        }
        Ok(())
    }

    fn keep(&mut self, number: usize, file: OutputFile, is_continued: bool) {
        let part = &mut self.parts[number];
        if is_continued {
            part.continued.push(part.files.len());
        }
        part.files.push(file.clone());
        if let Some(pager) = &mut self.pager {
            pager.add(number, &part.work, file, is_continued);
        }
        // Some of what was told on the way may have been dropped.
        let (told, finished) = (self.wrote[number], Wrote::of(part));
        self.wrote[number] = Wrote {
            rows: told.rows.max(finished.rows),
            bytes: told.bytes.max(finished.bytes),
        };
    }

    async fn write(&mut self) -> Result<(), JobError> {
        let tallies = tallies(self.parts, &self.wrote, &self.context.record().tallies);
        let mut checkpoint = Checkpoint::new().progress(self.progress()).tallies(tallies);
        self.changed.sort_unstable();
        self.changed.dedup();
        for &number in &self.changed {
            checkpoint = self.parts[number].save(number, checkpoint);
        }
        self.changed.clear();
        if let Some(pager) = &mut self.pager {
            checkpoint = pager.save(checkpoint);
        }
        self.context.checkpoint(checkpoint).await
    }

    /// Says what the threads came to, once they have ended.
    async fn conclude(&mut self, stage: usize) -> Result<(), JobError> {
        match self.context.stopping() {
            Some(reason) if reason.keeps_job() && !self.changed.is_empty() => return self.write().await,
            Some(reason) => return Err(JobError::Stop(reason)),
            None => {}
        }
        let mut made = self.parts.iter().filter(|part| part.work.stage() <= stage);
        if made.any(|part| part.next != Next::Done) {
            let cause = Failure::new("panic", "a thread of the export panicked");
            return Err(JobError::Retry {
                after: PANIC_PAUSE,
                cause,
            });
        }
        Ok(())
    }

    /// Each part counts as much as it reads; when it is done, all of that.
    fn progress(&self) -> Progress {
        let shares = self
            .parts
            .iter()
            .zip(&self.wrote)
            .map(|(part, wrote)| match part.next {
                Next::Done => part.text_bytes_max,
                Next::Start | Next::Key(_) | Next::Line { .. } => wrote.bytes.min(part.text_bytes_max),
            });
        let rows: u64 = self.parts.iter().map(|part| Wrote::of(part).rows).sum();
        let files: usize = self.parts.iter().map(|part| part.files.len()).sum();
        Progress {
            done: shares.sum(),
            total: self.parts.iter().map(|part| part.text_bytes_max).sum(),
            note: format!("{rows} resources in {files} files"),
        }
    }
}
