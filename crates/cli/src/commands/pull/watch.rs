//! Who is told what happens during a pull: [`Bars`] on a terminal, [`Lines`] elsewhere, [`Events`] for machines.

use crate::commands::{print, say};
use crate::progress::{bytes, count};
use fhirhose_client::pull::{FileKind, PullEvent, Watch};
use fhirhose_fhir::instant::Instant as Moment;
use fhirhose_jobs::{Clock, SystemClock};
use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often waiting is told where nobody watches.
const LINE_PAUSE: Duration = Duration::from_secs(60);

/// How often bytes are told to machines.
const EVENT_PAUSE: Duration = Duration::from_secs(1);

/// Bars of files that are shown at a time; further ones only count.
const BARS_MAX: usize = 16;

/// Hears of a pull, and of its end.
pub(super) trait Teller: Watch {
    /// Leaves nothing on the screen.
    fn end(&self) {}
}

/// Lets a thing be told at most once in a while.
#[derive(Debug, Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn is_due(&self, pause: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= pause);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// One line a file, and one a minute while waiting, on stderr.
#[derive(Debug, Default)]
pub(super) struct Lines {
    waiting: Pace,
}

impl Teller for Lines {}

impl Watch for Lines {
    fn hear(&self, event: &PullEvent<'_>) {
        match event {
            PullEvent::Waiting { .. } | PullEvent::AttachmentDone { .. }
                if !self.waiting.is_due(LINE_PAUSE) => {}
            event => {
                if let Some(line) = line(event) {
                    say(&line);
                }
            }
        }
    }
}

/// An event as a line; `None` for what would be too many.
fn line(event: &PullEvent<'_>) -> Option<String> {
    Some(match event {
        PullEvent::KickedOff { resumed: false } => "the server has accepted the export".to_owned(),
        PullEvent::KickedOff { resumed: true } => "going on with the export that was begun".to_owned(),
        PullEvent::Waiting { why, wait_ms } => {
            format!("waiting: {why}; asking again in {} s", wait_ms.div_ceil(1_000))
        }
        PullEvent::Manifest { files } => format!("{} files to fetch", count(*files)),
        PullEvent::FileAgain { name, why } => format!("{name}: from its first byte again: {why}"),
        PullEvent::FileDone {
            name,
            kind,
            lines,
            bytes: size,
            ..
        } => format!("{name}: {} {}, {}", count(*lines), noun(*kind), bytes(*size)),
        PullEvent::FileFailed {
            name,
            why,
            attempts_left: 0,
        }
        | PullEvent::AttachmentFailed {
            place: name,
            why,
            attempts_left: 0,
        } => format!("{name}: given up: {why}"),
        PullEvent::AttachmentDone { done, known, .. } => format!("attachments: {}", of_known(*done, *known)),
        PullEvent::FileFailed {
            name,
            why,
            attempts_left,
        } => format!("{name}: {why}; {attempts_left} more tries"),
        _ => return None,
    })
}

/// How many attachments are there of those that are known so far.
fn of_known(done: u64, known: u64) -> String {
    format!("{} of {}", count(done), count(known))
}

fn noun(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Deleted => "bundles of deletions",
        FileKind::Error => "remarks of the server",
        _ => "resources",
    }
}

/// One JSON object an event, on stdout; bytes once a second.
///
/// `{"event":…,"timestamp":…}` with `kicked-off` `resumed`; `waiting` `why`, `waitMs`; `manifest` `files`; `file-begun` `name`,
/// `bytesTotal`, `bytesDone`; `file-again` `name`, `why`; `progress` `bytes`; `file-done` `name`, `kind`, `lines`, `bytes`; `file-failed` `name`, `why`,
/// `attemptsLeft`; `attachments` `done`, `known`, as often as bytes; `attachment-failed` `place`, `why`, `attemptsLeft`; `file-linked` `name`, `bytes`;
/// and at the end `report`.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: AtomicU64,
    progress: Pace,
    attachments: Pace,
}

impl Teller for Events {}

impl Watch for Events {
    fn hear(&self, event: &PullEvent<'_>) {
        let mut told = match event {
            PullEvent::FileBytes { bytes, .. } => {
                let bytes = self.bytes.fetch_add(*bytes, Ordering::Relaxed) + bytes;
                if !self.progress.is_due(EVENT_PAUSE) {
                    return;
                }
                json!({ "event": "progress", "bytes": bytes })
            }
            PullEvent::AttachmentDone { .. } if !self.attachments.is_due(EVENT_PAUSE) => return,
            event => match object(event) {
                Some(object) => object,
                None => return,
            },
        };
        let now = Moment::from_micros(SystemClock.now().as_micros());
        told["timestamp"] = Value::String(now.to_string());
        // Who does not read any more is told at the end, when the report cannot be written.
        let _ = print(&format!("{told}\n"));
    }
}

fn object(event: &PullEvent<'_>) -> Option<Value> {
    Some(match event {
        PullEvent::KickedOff { resumed } => json!({ "event": "kicked-off", "resumed": resumed }),
        PullEvent::Waiting { why, wait_ms } => json!({ "event": "waiting", "why": why, "waitMs": wait_ms }),
        PullEvent::Manifest { files } => json!({ "event": "manifest", "files": files }),
        PullEvent::FileBegun {
            name,
            bytes_total,
            bytes_done,
        } => {
            json!({ "event": "file-begun", "name": name, "bytesTotal": bytes_total, "bytesDone": bytes_done })
        }
        PullEvent::FileAgain { name, why } => json!({ "event": "file-again", "name": name, "why": why }),
        PullEvent::FileDone {
            name,
            kind,
            lines,
            bytes,
            ..
        } => json!({ "event": "file-done", "name": name, "kind": kind, "lines": lines, "bytes": bytes }),
        PullEvent::FileFailed {
            name,
            why,
            attempts_left,
        } => json!({ "event": "file-failed", "name": name, "why": why, "attemptsLeft": attempts_left }),
        PullEvent::AttachmentDone { done, known, .. } => {
            json!({ "event": "attachments", "done": done, "known": known })
        }
        PullEvent::AttachmentFailed {
            place,
            why,
            attempts_left,
        } => {
            json!({ "event": "attachment-failed", "place": place, "why": why, "attemptsLeft": attempts_left })
        }
        PullEvent::FileLinked { name, bytes, .. } => {
            json!({ "event": "file-linked", "name": name, "bytes": bytes })
        }
        _ => return None,
    })
}

/// A bar a file, one for all, and above them what the server says while it is waited for.
pub(super) struct Bars {
    screen: MultiProgress,
    waiting: ProgressBar,
    overall: ProgressBar,
    /// The present wait, in milliseconds; the waiting line counts down from it.
    wait_ms: Arc<AtomicU64>,
    state: Mutex<BarsState>,
}

#[derive(Default)]
struct BarsState {
    running: HashMap<String, Running>,
    files_total: u64,
    files_done: u64,
    /// Text of the files that are done, those of earlier runs too: they are told of as if they had come at once.
    bytes_done: u64,
}

struct Running {
    bar: Option<ProgressBar>,
    bytes_done: u64,
    bytes_total: Option<u64>,
}

impl BarsState {
    /// What all files have and will have come to, taking those whose size is not known to be like the others; `None` where no size is
    /// known yet.
    fn totals(&self) -> (u64, Option<u64>) {
        // What a server says of sizes may be anything.
        let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        let running = || self.running.values();
        let done = self.bytes_done + running().map(|file| file.bytes_done).sum::<u64>();
        let sizes = || running().filter_map(|file| Some(file.bytes_total?.max(file.bytes_done)));
        let known = self.bytes_done.saturating_add(sum(&mut sizes()));
        let known_files = self.files_done + sizes().count() as u64;
        let Some(mean) = known.checked_div(known_files) else {
            return (done, None);
        };
        let unsized_files = running().filter(|file| file.bytes_total.is_none());
        let guessed = sum(&mut unsized_files.map(|file| file.bytes_done.max(mean)));
        let begun = self.files_done + self.running.len() as u64;
        let rest = mean.saturating_mul(self.files_total.saturating_sub(begun));
        (done, Some(known.saturating_add(guessed).saturating_add(rest)))
    }
}

impl Bars {
    /// Bars on stderr.
    pub(super) fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        let wait_ms = Arc::new(AtomicU64::new(0));
        let left = Arc::clone(&wait_ms);
        let style = style("{spinner} {wide_msg} {left}").with_key(
            "left",
            move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let wait = Duration::from_millis(left.load(Ordering::Relaxed));
                if !wait.is_zero() {
                    let seconds = wait.saturating_sub(state.elapsed()).as_secs();
                    // It is written into a string, which takes everything.
                    let _ = write!(out, "asking again in {seconds} s");
                }
            },
        );
        let waiting = screen.add(ProgressBar::new_spinner().with_style(style));
        waiting.enable_steady_tick(Duration::from_millis(250));
        let overall = screen.add(ProgressBar::no_length().with_style(style_of_all()));
        Self {
            screen,
            waiting,
            overall,
            wait_ms,
            state: Mutex::default(),
        }
    }

    fn wait(&self, why: &str, wait_ms: u64) {
        self.wait_ms.store(wait_ms, Ordering::Relaxed);
        self.waiting.reset_elapsed();
        self.waiting.set_message(why.to_owned());
    }

    fn begin(&self, state: &mut BarsState, name: &str, bytes_done: u64, bytes_total: Option<u64>) {
        let bar = (state.running.len() < BARS_MAX).then(|| {
            let bar = match bytes_total {
                Some(total) => ProgressBar::new(total).with_style(style_of_file()),
                None => ProgressBar::no_length().with_style(style_of_unsized_file()),
            };
            let bar = self.screen.insert_before(&self.overall, bar);
            bar.set_prefix(name.to_owned());
            bar.set_position(bytes_done);
            bar.reset_eta();
            bar
        });
        let running = Running {
            bar,
            bytes_done,
            bytes_total,
        };
        // A file that is begun again replaces its bar.
        if let Some(before) = state.running.insert(name.to_owned(), running) {
            clear(before);
        }
    }

    fn more(&self, state: &mut BarsState, name: &str, bytes: u64) {
        let Some(file) = state.running.get_mut(name) else {
            return;
        };
        file.bytes_done += bytes;
        if let Some(bar) = &file.bar {
            if let Some(total) = file.bytes_total {
                bar.set_length(total.max(file.bytes_done));
            }
            bar.set_position(file.bytes_done);
        }
    }

    fn finish(&self, state: &mut BarsState, name: &str, bytes: u64) {
        if let Some(file) = state.running.remove(name) {
            clear(file);
        }
        state.files_done += 1;
        state.bytes_done += bytes;
    }

    fn show(&self, state: &BarsState) {
        let (done, total) = state.totals();
        match total {
            Some(total) => self.overall.set_length(total),
            None => self.overall.unset_length(),
        }
        self.overall.set_position(done);
        self.overall
            .set_prefix(format!("{}/{} files", state.files_done, state.files_total));
    }
}

impl Teller for Bars {
    fn end(&self) {
        // Bars that are left on a closed terminal are nobody's concern.
        let _ = self.screen.clear();
    }
}

impl Watch for Bars {
    fn hear(&self, event: &PullEvent<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            PullEvent::KickedOff { .. } => self.wait(&line(event).unwrap_or_default(), 0),
            PullEvent::Waiting { why, wait_ms } => self.wait(why, *wait_ms),
            PullEvent::Manifest { files } => {
                state.files_total = *files;
                self.wait("downloading", 0);
            }
            PullEvent::FileBegun {
                name,
                bytes_total,
                bytes_done,
            } => self.begin(&mut state, name, *bytes_done, *bytes_total),
            PullEvent::FileBytes { name, bytes } => self.more(&mut state, name, *bytes),
            PullEvent::FileDone { name, bytes, .. } => self.finish(&mut state, name, *bytes),
            PullEvent::AttachmentDone { done, known, .. } => {
                self.wait(
                    &format!("downloading attachments: {}", of_known(*done, *known)),
                    0,
                );
            }
            PullEvent::AttachmentFailed { attempts_left: 0, .. } => {
                let _ = self.screen.println(line(event).unwrap_or_default());
            }
            PullEvent::FileAgain { name, .. } => {
                if let Some(file) = state.running.get_mut(*name) {
                    file.bytes_done = 0;
                }
                let _ = self.screen.println(line(event).unwrap_or_default());
            }
            PullEvent::FileFailed { name, .. } => {
                if let Some(file) = state.running.remove(*name) {
                    clear(file);
                }
                let _ = self.screen.println(line(event).unwrap_or_default());
            }
            _ => {}
        }
        self.show(&state);
    }
}

fn clear(file: Running) {
    if let Some(bar) = file.bar {
        bar.finish_and_clear();
    }
}

fn style_of_file() -> ProgressStyle {
    style("{prefix:>28} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// A bar that stays empty: the server does not say how long the file is.
fn style_of_unsized_file() -> ProgressStyle {
    style("{prefix:>28} [{bar:24}] {bytes} {bytes_per_sec}")
}

fn style_of_all() -> ProgressStyle {
    let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        if state.len().is_some() {
            // It is written into a string, which takes everything.
            let _ = write!(out, "about {:#} left", HumanDuration(state.eta()));
        }
    };
    style("{prefix:>28} [{bar:24}] {bytes} {bytes_per_sec} {left}").with_key("left", left)
}

fn style(template: &str) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(template).expect("the templates are literals that are tested by use");
    style.progress_chars("=> ")
}
