//! The one thread that writes a trail: it gathers what waits, adds it in one piece, and syncs once for all.
//!
//! A piece is there as a whole or not at all: when adding or syncing fails, the file is cut back to what it was, and all who wait
//! are told. What closes something is never given up; it is owed until it can be written.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, Timestamp};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tracing::{error, warn};

use super::chain::{ChainHead, LineHash, Link, Phase, write_line};
use super::files::{AuditFiles, HEAD, NEWEST, rotated};
use super::recover::{first_number, write_still_open};
use super::trail::{Entry, Event, Trail, TrailSettings};

/// Lines that are written in one piece at most.
const PIECE_LINES_MAX: usize = 1_024;

/// How long the thread waits before it tries again to write what it owes.
const OWED_PAUSE: Duration = Duration::from_secs(1);

pub(super) type Reply<T> = oneshot::Sender<Result<T, io::ErrorKind>>;

/// What the thread is asked for.
pub(super) enum Command {
    /// A line that says that something is about to be done.
    Open {
        event: Event,
        /// Through which it is closed.
        trail: Trail,
        reply: Reply<Entry>,
    },
    /// A line that tells of something as a whole.
    Record {
        event: Event,
        durable: Durable,
        /// Gets the number of the line.
        reply: Option<Reply<u64>>,
    },
    /// The line that ends what was opened.
    Close { number: u64, event: Event },
    /// Everything so far is to be durable.
    Sync { reply: Reply<()> },
}

/// When a line is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    Now,
    Soon,
}

/// A line that is to be written, and whom to tell.
struct Line {
    event: Event,
    answer: Answer,
}

enum Answer {
    Opened(Trail, Reply<Entry>),
    Recorded(Option<Reply<u64>>),
}

impl Answer {
    /// Tells whoever waits. One who has gone meanwhile leaves an entry that closes itself.
    fn give(self, event: Event, written: Result<u64, io::ErrorKind>) {
        match self {
            Self::Opened(trail, reply) => {
                let opened = written.map(|number| Entry::opened(trail, number, event));
                let _ = reply.send(opened);
            }
            Self::Recorded(Some(reply)) => {
                let _ = reply.send(written);
            }
            Self::Recorded(None) => {}
        }
    }
}

/// Writes the lines of one trail, one piece after the other.
pub(super) struct Writer {
    files: Arc<dyn AuditFiles>,
    clock: Arc<dyn Clock>,
    settings: TrailSettings,
    /// The last line that was written.
    head: ChainHead,
    /// The number of the first line of the newest file; `None` while it is empty.
    first: Option<u64>,
    newest_bytes: u64,
    /// Whether the newest file may be longer than that.
    is_torn: bool,
    open: BTreeSet<u64>,
    /// What ends something and could not be written yet.
    owed: Vec<(u64, Event)>,
    /// Since when there are lines that are not durable.
    unsynced: Option<Timestamp>,
    failing: Arc<AtomicBool>,
    durable: watch::Sender<ChainHead>,
}

impl Writer {
    pub(super) fn new(
        files: Arc<dyn AuditFiles>,
        clock: Arc<dyn Clock>,
        settings: TrailSettings,
        head: ChainHead,
        newest_bytes: u64,
    ) -> Self {
        Self {
            files,
            clock,
            settings,
            head,
            first: None,
            newest_bytes,
            is_torn: false,
            open: BTreeSet::new(),
            owed: Vec::new(),
            unsynced: None,
            failing: Arc::default(),
            durable: watch::Sender::new(head),
        }
    }

    /// Says whom to tell how it goes.
    pub(super) fn tell(&mut self, failing: Arc<AtomicBool>, durable: watch::Sender<ChainHead>) {
        (self.failing, self.durable) = (failing, durable);
    }

    /// Takes over something that a process before opened, with what ends it.
    pub(super) fn owe(&mut self, number: u64, event: Event) {
        self.open.insert(number);
        self.owed.push((number, event));
    }

    /// Writes what is owed, durably.
    pub(super) fn write_owed(&mut self) -> io::Result<()> {
        if self.owed.is_empty() {
            return Ok(());
        }
        self.add(&[], true).map(|_| ())
    }

    /// Writes until nobody can ask any more.
    pub(super) fn run(mut self, queue: &mpsc::Receiver<Command>) {
        loop {
            let first = match self.wait(queue) {
                Ok(first) => first,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.do_all(Vec::new(), true);
                    continue;
                }
            };
            let mut commands = vec![first];
            commands.extend(queue.try_iter().take(PIECE_LINES_MAX - 1));
            self.do_all(commands, false);
        }
        self.do_all(Vec::new(), true);
    }

    fn wait(&self, queue: &mpsc::Receiver<Command>) -> Result<Command, mpsc::RecvTimeoutError> {
        let soon = Duration::from_millis(self.settings.sync_millis);
        let left = |since| soon.saturating_sub(self.clock.now().since(since));
        match self.unsynced.map(left) {
            Some(left) => queue.recv_timeout(left),
            None if !self.owed.is_empty() => queue.recv_timeout(OWED_PAUSE),
            None => queue
                .recv()
                .map_err(|mpsc::RecvError| mpsc::RecvTimeoutError::Disconnected),
        }
    }

    /// Does what was asked for, in its order, and answers.
    fn do_all(&mut self, commands: Vec<Command>, sync: bool) {
        let (mut lines, mut syncs, mut durable) = (Vec::new(), Vec::new(), sync || self.is_due());
        for command in commands {
            match command {
                Command::Open { event, trail, reply } => {
                    durable = true;
                    let answer = Answer::Opened(trail, reply);
                    lines.push(Line { event, answer });
                }
                Command::Record {
                    event,
                    durable: when,
                    reply,
                } => {
                    durable |= when == Durable::Now;
                    let answer = Answer::Recorded(reply);
                    lines.push(Line { event, answer });
                }
                Command::Close { number, event } => self.owed.push((number, event)),
                Command::Sync { reply } => syncs.push(reply),
            }
        }
        durable |= !syncs.is_empty();
        let added = self.add(&lines, durable);
        self.note(&added);
        let mut number = added.map_err(|error| error.kind());
        for line in lines {
            number = number.map(|number| number + 1);
            line.answer.give(line.event, number);
        }
        for reply in syncs {
            let _ = reply.send(number.map(|_| ()));
        }
    }

    /// Whether a line has waited for the disk long enough.
    fn is_due(&self) -> bool {
        let soon = Duration::from_millis(self.settings.sync_millis);
        self.unsynced
            .is_some_and(|since| self.clock.now().since(since) >= soon)
    }

    /// Tells and logs when writing begins to fail, and when it works again.
    fn note(&self, added: &io::Result<u64>) {
        let was_failing = self.failing.swap(added.is_err(), Ordering::AcqRel);
        match added {
            Err(cause) if !was_failing => error!(
                error = cause as &dyn StdError,
                "the audit trail cannot be written: requests are refused until it can"
            ),
            Ok(_) if was_failing => warn!("the audit trail can be written again"),
            _ => {}
        }
    }

    /// Adds what is owed, then new lines, in one piece; gives the number before the first new line.
    fn add(&mut self, lines: &[Line], sync: bool) -> io::Result<u64> {
        if self.is_torn {
            self.files.cut(NEWEST, self.newest_bytes)?;
            self.is_torn = false;
        }
        // After a failure only a line that is written proves that lines can be.
        let is_proof = sync && self.failing.load(Ordering::Acquire);
        if self.owed.is_empty() && lines.is_empty() && !is_proof {
            if sync && self.unsynced.is_some() {
                self.files.sync(NEWEST)?;
                self.synced();
            }
            return Ok(self.head.number);
        }
        self.rotate_if_full()?;
        let mut piece = Piece::behind(self.head, Instant::from_micros(self.clock.now().as_micros()));
        let is_new = self.newest_bytes == 0 && self.head.number > 0;
        if is_new || is_proof && lines.is_empty() {
            piece.push(&continued(&self.open), Phase::Single);
        }
        for (number, event) in &self.owed {
            piece.push(event, Phase::Closed(*number));
        }
        let before = piece.head.number;
        let mut opened = Vec::new();
        for line in lines {
            match line.answer {
                Answer::Opened(..) => opened.push(piece.push(&line.event, Phase::Opened)),
                Answer::Recorded(_) => {
                    piece.push(&line.event, Phase::Single);
                }
            }
        }
        self.put(&piece.bytes, sync)?;
        if self.newest_bytes == 0 {
            self.first = Some(self.head.number + 1);
        }
        self.newest_bytes += piece.bytes.len() as u64;
        self.head = piece.head;
        for (number, _) in self.owed.drain(..) {
            self.open.remove(&number);
        }
        self.open.extend(opened);
        if sync {
            self.synced();
        } else if self.unsynced.is_none() {
            self.unsynced = Some(self.clock.now());
        }
        Ok(before)
    }

    fn put(&mut self, bytes: &[u8], sync: bool) -> io::Result<()> {
        let put = self.files.append(NEWEST, bytes);
        let put = match sync {
            true => put.and_then(|()| self.files.sync(NEWEST)),
            false => put,
        };
        if put.is_err() {
            // Nobody was told of these lines. What cannot be cut off now is cut off before the next ones.
            self.is_torn = self.files.cut(NEWEST, self.newest_bytes).is_err();
        }
        put
    }

    /// Tells that all lines so far are durable.
    fn synced(&mut self) {
        self.unsynced = None;
        let text = format!("{:020}:{}\n", self.head.number, self.head.hash);
        if let Err(cause) = self.files.put(HEAD, text.as_bytes()) {
            warn!(
                error = &cause as &dyn StdError,
                "the head of the audit trail cannot be written"
            );
        }
        self.durable.send_replace(self.head);
    }

    fn rotate_if_full(&mut self) -> io::Result<()> {
        if self.newest_bytes < self.settings.file_bytes_max {
            return Ok(());
        }
        let first = match self.first {
            Some(first) => first,
            None => first_number(&*self.files, NEWEST)?.unwrap_or(self.head.number),
        };
        self.first = Some(first);
        let name = rotated(first);
        // Its name was given already if only the folder could not be synced then.
        if !self.files.list()?.contains(&name) {
            self.files.sync(NEWEST)?;
            self.synced();
            self.files.rename(NEWEST, &name)?;
        }
        (self.newest_bytes, self.first) = (0, None);
        Ok(())
    }
}

/// Lines that are being put together.
struct Piece {
    head: ChainHead,
    bytes: Vec<u8>,
    recorded: Instant,
}

impl Piece {
    fn behind(head: ChainHead, recorded: Instant) -> Self {
        Self {
            head,
            bytes: Vec::new(),
            recorded,
        }
    }

    /// Adds a line and gives its number.
    fn push(&mut self, event: &Event, phase: Phase) -> u64 {
        let number = self.head.number + 1;
        let link = Link {
            number,
            phase,
            previous: self.head.hash,
        };
        let line = write_line(event, link, self.recorded);
        self.head = ChainHead {
            number,
            hash: LineHash::of(&line),
        };
        self.bytes.extend(line);
        self.bytes.push(b'\n');
        number
    }
}

/// Makes the first line of a file that goes on with another.
fn continued(open: &BTreeSet<u64>) -> Event {
    let mut event = super::shape::of_the_trail_itself();
    event.insert("extension".to_owned(), write_still_open(open.iter().copied()));
    event.insert("outcome".to_owned(), json!("0"));
    event
}
