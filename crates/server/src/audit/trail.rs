//! A trail that is written: [`Trail`] hands lines to the one thread that writes them, [`Entry`] is one that is still open.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use fhirhose_jobs::Clock;
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};

use super::chain::ChainHead;
use super::files::AuditFiles;
use super::recover::recover;
use super::writer::{Command, Durable, Reply, Writer};

/// An AuditEvent that has neither id nor place in the chain yet.
pub type Event = Map<String, Value>;

/// How a trail is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailSettings {
    /// A file that has so many bytes is not added to any more. Default: 64 MiB.
    pub file_bytes_max: u64,
    /// How long a line that nobody waits for may be kept from the disk, in milliseconds. Default: 500.
    pub sync_millis: u64,
}

impl Default for TrailSettings {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            sync_millis: 500,
        }
    }
}

/// What a process found of the trail when it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resumed {
    /// The line that it goes on behind.
    pub head: ChainHead,
    /// What was open, closed now as interrupted.
    pub interrupted: Vec<u64>,
    /// Bytes of a line that was being written, cut off.
    pub cut_bytes: u64,
    /// Lines that must have been there and are not.
    pub damage: Option<String>,
}

/// Writes lines through one thread, so that all that wait at a time wait for one sync. Cloning is cheap; all clones are one trail.
#[derive(Clone)]
pub struct Trail {
    commands: mpsc::Sender<Command>,
    /// Set by the thread while it cannot write.
    failing: Arc<AtomicBool>,
    /// The newest line that is durable; changed by the thread.
    durable: watch::Receiver<ChainHead>,
}

impl Trail {
    /// Goes on with a trail and closes what its last process left open. `known` is a line that is known from elsewhere. Blocks.
    ///
    /// # Errors
    /// When the files cannot be read or the closing lines not be written.
    pub fn start(
        files: Arc<dyn AuditFiles>,
        clock: Arc<dyn Clock>,
        settings: TrailSettings,
        known: ChainHead,
    ) -> io::Result<(Self, Resumed)> {
        let recovered = recover(&*files, known)?;
        let resumed = Resumed {
            head: recovered.head,
            interrupted: recovered.open.keys().copied().collect(),
            cut_bytes: recovered.cut_bytes,
            damage: recovered.damage.clone(),
        };
        let failing = Arc::new(AtomicBool::new(false));
        let (told, durable) = watch::channel(recovered.head);
        let mut writer = Writer::new(files, clock, settings, recovered.head, recovered.newest_bytes);
        writer.tell(Arc::clone(&failing), told);
        for (number, event) in recovered.open {
            writer.owe(number, failed(event, "the process ended before this did"));
        }
        writer.write_owed()?;
        let (commands, queue) = mpsc::channel();
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&queue))?;
        let trail = Self {
            commands,
            failing,
            durable,
        };
        Ok((trail, resumed))
    }

    /// Writes that something is about to be done; durable when it returns, and only then it may be done.
    ///
    /// # Errors
    /// Why it could not be written.
    pub async fn open(&self, event: Event) -> Result<Entry, io::ErrorKind> {
        self.ask(|reply| Command::Open {
            event,
            trail: self.clone(),
            reply,
        })
        .await
    }

    /// Writes something that is told as a whole; durable when it returns.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub async fn record(&self, event: Event) -> Result<u64, io::ErrorKind> {
        self.record_when(event, Durable::Now).await
    }

    /// The same, and returns when no end of this process can take it any more; only a power cut within `sync_millis`.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub async fn record_soon(&self, event: Event) -> Result<u64, io::ErrorKind> {
        self.record_when(event, Durable::Soon).await
    }

    /// The same, and waits for nothing.
    pub fn tell(&self, event: Event) {
        // A thread that is gone has said so; requests are refused then.
        let _ = self.commands.send(Command::Record {
            event,
            durable: Durable::Soon,
            reply: None,
        });
    }

    /// Returns once lines can be written: at once, unless the last ones could not.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub async fn ready(&self) -> Result<(), io::ErrorKind> {
        if !self.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync().await
    }

    /// Makes all lines durable that were written so far.
    ///
    /// # Errors
    /// As [`Trail::open`].
    pub async fn sync(&self) -> Result<(), io::ErrorKind> {
        self.ask(|reply| Command::Sync { reply }).await
    }

    /// Tells the newest line that is durable, again whenever there is a newer one.
    pub fn durable(&self) -> watch::Receiver<ChainHead> {
        self.durable.clone()
    }

    async fn record_when(&self, event: Event, durable: Durable) -> Result<u64, io::ErrorKind> {
        self.ask(|reply| Command::Record {
            event,
            durable,
            reply: Some(reply),
        })
        .await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, io::ErrorKind> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        answer.await.unwrap_or(Err(io::ErrorKind::BrokenPipe))
    }
}

/// Something that was opened and has not ended. Dropping it closes it as failed.
pub struct Entry {
    trail: Trail,
    number: u64,
    /// As it was opened; taken when it is closed.
    event: Option<Event>,
}

impl Entry {
    pub(super) fn opened(trail: Trail, number: u64, event: Event) -> Self {
        let event = Some(event);
        Self { trail, number, event }
    }

    /// The number of the line that opened it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Tells how it ended, in the event as it is now. Waits for nothing: what a crash takes is closed as interrupted.
    pub fn close(mut self, event: Event) {
        self.event = None;
        self.send(event);
    }

    fn send(&self, event: Event) {
        // A thread that is gone leaves it open, to be closed by the next process.
        let _ = self.trail.commands.send(Command::Close {
            number: self.number,
            event,
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.send(failed(event, "it was given up before its end"));
        }
    }
}

/// Makes of an event one that failed for a reason of the server's own.
fn failed(mut event: Event, text: &str) -> Event {
    event.insert("outcome".to_owned(), json!("8"));
    event.insert("outcomeDesc".to_owned(), json!(format!("interrupted: {text}")));
    event
}
