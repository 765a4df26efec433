//! Fetches one file until it is whole and proven, or cannot be had: connections that break, links that expire, servers that ask to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

use super::event::PullEvent;
use super::gate::Tries;
use super::journal::Record;
use super::kick_off::headers;
use super::lines::Expected;
use super::log::bare;
use super::plan::Planned;
use super::proof::prove;
use super::report::{FileKind, PulledFile};
use super::run::{Run, blocking, held};
use super::sink::{Message, PIECES_WAITING_MAX, Task, Writer, Written, look_at};
use super::source::Body;
use crate::provider::{ManifestPage, Status};
use crate::{Error, ErrorKind, Result};

/// Why an attempt at a file has ended.
enum Failure {
    /// What came is not what was announced; all of it is to come again.
    Wrong(Error),
    /// There is no try left.
    GivenUp(Error),
    /// Nothing goes on: the disk.
    Fatal(Error),
}

/// How one connection has ended.
enum Ended {
    /// With the last byte.
    Whole,
    /// The writer takes nothing more, and will say why.
    WriterGone,
}

/// A file that is being fetched.
struct Fetching {
    index: usize,
    tries: Tries,
    body: Body,
    text_bytes: Arc<AtomicU64>,
    /// The most bytes that ever came of a body: more is progress.
    come_most: u64,
    /// How much of the text has been told.
    text_told: u64,
    /// Whether the link has been made anew since a connection was made with it.
    is_relinked: bool,
}

impl Run<'_> {
    /// Fetches a file, unless it is there. What cannot be had is noted as missing.
    ///
    /// # Errors
    /// What ends the whole pull: the disk.
    pub(super) async fn fetch(&self, index: usize) -> Result<()> {
        if self.is_there(index).await? {
            return Ok(());
        }
        let file = self.planned(index);
        let detail = json!({
            "fileUrl": bare(&file.url), "itemType": file.kind, "resourceType": file.resource_type,
        });
        self.log.write(self.now(), "download_request", detail)?;
        let mut fetching = Fetching {
            index,
            tries: Tries::new(&self.pull.settings, &file.name),
            body: Body::default(),
            text_bytes: Arc::default(),
            come_most: 0,
            text_told: 0,
            is_relinked: false,
        };
        let mut keeps = true;
        loop {
            match self.attempt(&mut fetching, keeps).await {
                Ok(written) => return self.done(index, written),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::GivenUp(error)) => return self.missing(index, &error),
                Err(Failure::Wrong(error)) => {
                    keeps = false;
                    match fetching.tries.again(&error, false) {
                        Some(wait) => self.wait(index, &error, wait, fetching.tries.left).await?,
                        None => {
                            // What is there is wrong, and nothing to go on with.
                            let _ = std::fs::remove_file(self.folder.partial(&file.name));
                            return self.missing(index, &error);
                        }
                    }
                }
            }
        }
    }

    /// Fetches a file as often as connections break, writing on behind what is there; then proves it.
    async fn attempt(&self, fetching: &mut Fetching, keeps: bool) -> Result<Written, Failure> {
        let file = self.planned(fetching.index);
        let task = self.task(&file, &fetching.text_bytes);
        let opened = blocking(move || Writer::open(task, keeps)).await;
        let writer = opened.map_err(Failure::Fatal)?;
        let text_bytes = writer.text_bytes();
        fetching.text_told = text_bytes;
        fetching.body = self.resume(&file, text_bytes);
        fetching.come_most = fetching.come_most.max(fetching.body.come());
        self.watch.hear(&PullEvent::FileBegun {
            name: &file.name,
            bytes_total: file.file_size,
            bytes_done: text_bytes,
        });
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let writing = blocking(move || writer.run(receiver));
        let feeding = async {
            let fed = self.feed(fetching, &sender).await;
            if fed.is_ok() {
                // A writer that is gone says why.
                let _ = sender.send(Message::End).await;
            }
            drop(sender);
            fed
        };
        let (fed, written) = tokio::join!(feeding, writing);
        match (fed, written) {
            (_, Err(error)) if is_fatal(&error) => Err(Failure::Fatal(error)),
            (Err(failure), _) => Err(failure),
            (Ok(()), Err(error)) => Err(Failure::Wrong(error)),
            (Ok(()), Ok(written)) => match prove(&file, &written, &self.pull.settings) {
                Ok(()) => Ok(written),
                Err(why) => Err(Failure::Wrong(Error::new(ErrorKind::Corrupt, why))),
            },
        }
    }

    /// Feeds the writer until the last byte, over as many connections as it takes.
    async fn feed(&self, fetching: &mut Fetching, sender: &mpsc::Sender<Message>) -> Result<(), Failure> {
        loop {
            self.gate.pass(&**self.pull.provider.clock()).await;
            self.check_time().map_err(Failure::GivenUp)?;
            let file = self.planned(fetching.index);
            let error = match self.connection(&file, fetching, sender).await {
                Ok(Ended::Whole | Ended::WriterGone) => return Ok(()),
                Err(error) if is_fatal(&error) => return Err(Failure::Fatal(error)),
                Err(error) => self.pull.parameters.redacted(error),
            };
            if is_link(&error) && !fetching.is_relinked {
                fetching.is_relinked = true;
                if self.relink(&file).await {
                    continue;
                }
            }
            fetching.is_relinked = false;
            if error.kind() == ErrorKind::Changed {
                fetching.body.forget();
            }
            let come = fetching.body.come();
            let got_further = come > fetching.come_most;
            fetching.come_most = fetching.come_most.max(come);
            let Some(wait) = fetching.tries.again(&error, got_further) else {
                return Err(Failure::GivenUp(error));
            };
            let left = fetching.tries.left;
            self.wait(fetching.index, &error, wait, left)
                .await
                .map_err(Failure::Fatal)?;
        }
    }

    /// Asks for the rest of a file and passes on what comes.
    async fn connection(
        &self,
        file: &Planned,
        fetching: &mut Fetching,
        sender: &mpsc::Sender<Message>,
    ) -> Result<Ended> {
        let mut opened = fetching.body.open(&self.pull.provider, file).await?;
        fetching.is_relinked = false;
        let meeting = fetching.body.meet(&file.name, &opened)?;
        if meeting.is_anew {
            self.begun_anew(file, fetching, meeting.throws_away);
        }
        for message in meeting.messages {
            if sender.send(message).await.is_err() {
                return Ok(Ended::WriterGone);
            }
        }
        let mut at = opened.from;
        while let Some(bytes) = opened.stream.next().await {
            let bytes = bytes?;
            let length = bytes.len() as u64;
            if sender.send(Message::Bytes(bytes)).await.is_err() {
                return Ok(Ended::WriterGone);
            }
            at += length;
            fetching.body.next = Some(at);
            self.received.fetch_add(length, Ordering::Relaxed);
            self.tell_bytes(file, fetching);
        }
        // One that is shorter than announced has been an error.
        Ok(Ended::Whole)
    }

    /// Notes that a body begins from its first byte, and throws away what was there.
    fn begun_anew(&self, file: &Planned, fetching: &mut Fetching, throws_away: bool) {
        if throws_away {
            let why = "it cannot be gone on with: the server gives no part of it, or it has changed";
            self.watch.hear(&PullEvent::FileAgain {
                name: &file.name,
                why,
            });
        }
        fetching.text_told = 0;
    }

    fn tell_bytes(&self, file: &Planned, fetching: &mut Fetching) {
        let text_bytes = fetching.text_bytes.load(Ordering::Relaxed);
        if text_bytes > fetching.text_told {
            let bytes = text_bytes - fetching.text_told;
            fetching.text_told = text_bytes;
            self.watch.hear(&PullEvent::FileBytes {
                name: &file.name,
                bytes,
            });
        }
    }

    /// Tells of a failure and waits; a server that asks to wait is left alone by all. Trouble with one file is not: others may be had.
    async fn wait(&self, index: usize, error: &Error, wait: Duration, left: u32) -> Result<()> {
        let file = self.planned(index);
        let why = error.chain();
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.watch.hear(&PullEvent::FileFailed {
            name: &file.name,
            why: &why,
            attempts_left: left,
        });
        self.log_failure(&file.url, error)?;
        self.hold(error, wait).await;
        Ok(())
    }

    /// Waits before another try: by itself, or with all others.
    pub(super) async fn hold(&self, error: &Error, wait: Duration) {
        let clock = self.pull.provider.clock();
        if asks_to_wait(error) {
            self.gate.close(clock.now(), wait);
        } else {
            clock.sleep(wait).await;
        }
    }

    /// Gets a new link for a file from its page; false if there is none to be had.
    async fn relink(&self, file: &Planned) -> bool {
        let _one = self.relinking.lock().await;
        let (url, generation) = {
            let plan = held(&self.plan);
            let Some(page) = plan.pages.get(file.page) else {
                return false;
            };
            (page.url.clone(), page.generation)
        };
        if generation > file.generation {
            // Another file of the page has asked already.
            return true;
        }
        match self.page_again(&url).await {
            Ok(Some(page)) => {
                held(&self.plan).renew(file.page, &page);
                true
            }
            Ok(None) => false,
            Err(error) => {
                let status = error.answer().map(|answer| answer.status);
                if matches!(status, Some(404 | 410)) {
                    self.is_gone.store(true, Ordering::Relaxed);
                }
                tracing::info!(%error, "links could not be made anew");
                false
            }
        }
    }

    /// Asks for a page that was there before.
    async fn page_again(&self, url: &Url) -> Result<Option<ManifestPage>> {
        let mut tries = Tries::new(&self.pull.settings, url.as_str());
        loop {
            let error = match self.pull.provider.status(url).await {
                Ok(Status::Complete(page)) => return Ok(Some(page)),
                Ok(Status::Running { partial, .. }) => return Ok(partial),
                Err(error) => error,
            };
            let passes = matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable);
            let Some(wait) = tries.again(&error, false).filter(|_| passes) else {
                return Err(error);
            };
            self.pull.provider.clock().sleep(wait).await;
        }
    }

    /// Whether the file lies whole in the folder: as an earlier run has noted, or as it proves now.
    async fn is_there(&self, index: usize) -> Result<bool> {
        let file = self.planned(index);
        let path = self.folder.path(&file.name);
        let Ok(metadata) = std::fs::metadata(&path) else {
            held(&self.done).remove(&file.name);
            return Ok(false);
        };
        let noted = held(&self.done).get(&file.name).cloned();
        if let Some((noted, _)) = noted.filter(|(noted, _)| noted.bytes == metadata.len()) {
            self.watch.hear(&PullEvent::FileDone {
                name: &noted.name,
                kind: noted.kind,
                sha256: &noted.sha256,
                lines: noted.lines,
                bytes: noted.bytes,
            });
            return Ok(true);
        }
        let task = self.task(&file, &Arc::default());
        let looked = blocking(move || look_at(&task, &path)).await;
        match looked {
            Ok(written) if prove(&file, &written, &self.pull.settings).is_ok() => {
                self.note_done(&file, written)?;
                Ok(true)
            }
            Err(error) if is_fatal(&error) => Err(error),
            _ => Ok(false),
        }
    }

    fn done(&self, index: usize, written: Written) -> Result<()> {
        let file = self.planned(index);
        self.folder.publish(&file.name)?;
        let detail = json!({
            "fileUrl": bare(&file.url), "resourceCount": written.seen.lines, "fileSize": written.bytes,
        });
        self.log.write(self.now(), "download_complete", detail)?;
        self.note_done(&file, written)
    }

    fn note_done(&self, file: &Planned, written: Written) -> Result<()> {
        let done = PulledFile {
            name: file.name.clone(),
            kind: file.kind,
            resource_type: file.resource_type.clone(),
            lines: written.seen.lines,
            bytes: written.bytes,
            sha256: written.sha256,
        };
        let issues = written.seen.issues;
        held(&self.journal).note(&Record::Done {
            file: done.clone(),
            issues: issues.clone(),
        })?;
        self.watch.hear(&PullEvent::FileDone {
            name: &done.name,
            kind: done.kind,
            sha256: &done.sha256,
            lines: done.lines,
            bytes: done.bytes,
        });
        self.attached.came(&done.name);
        held(&self.done).insert(done.name.clone(), (done, issues));
        Ok(())
    }

    fn missing(&self, index: usize, error: &Error) -> Result<()> {
        let file = self.planned(index);
        let mut why = error.chain();
        if is_link(error) && self.is_gone.load(Ordering::Relaxed) {
            // The next run would ask for the same in vain, for ever.
            held(&self.journal).keep(&Record::Lost)?;
            why = format!("{why}; the export is gone, the same command begins another");
        }
        self.watch.hear(&PullEvent::FileFailed {
            name: &file.name,
            why: &why,
            attempts_left: 0,
        });
        self.log_failure(&file.url, error)?;
        held(&self.missing).insert(file.name.clone(), file.missing(why));
        Ok(())
    }

    pub(super) fn log_failure(&self, url: &str, error: &Error) -> Result<()> {
        let detail = json!({
            "fileUrl": bare(url),
            // What object stores answer can hold signatures.
            "body": Value::Null,
            "code": error.answer().map(|answer| answer.status),
            "message": error.chain(),
            "responseHeaders": headers(error.answer()),
        });
        self.log.write(self.now(), "download_error", detail)
    }

    fn task(&self, file: &Planned, text_bytes: &Arc<AtomicU64>) -> Task {
        let is_checked = self.pull.settings.type_is_binding || file.kind != FileKind::Output;
        Task {
            name: file.name.clone(),
            expected: Expected {
                kind: file.kind,
                resource_type: file.resource_type.clone().filter(|_| is_checked),
                line_bytes_max: self.pull.settings.line_bytes_max,
            },
            has_sha256: file.sha256.is_some(),
            long_lines: self.long_lines.clone(),
            folder: self.folder.clone(),
            journal: Arc::clone(&self.journal),
            text_bytes: Arc::clone(text_bytes),
        }
    }
}

pub(super) fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Disk | ErrorKind::DiskFull)
}

/// Whether it is the server that wants to be left alone, and not one file that has trouble.
fn asks_to_wait(error: &Error) -> bool {
    let status = error.answer().map(|answer| answer.status);
    error.kind() == ErrorKind::Busy && (error.retry_after().is_some() || matches!(status, Some(429 | 503)))
}

/// Whether another link may help.
fn is_link(error: &Error) -> bool {
    error.kind() == ErrorKind::LinkExpired
}
