//! Fetches attachments, each until it is there or cannot be had.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::keep::{Keeping, Piece, keep};
use super::known::{Content, Known};
use super::rules::{FHIR_JSON, Rules, accept};
use super::scan::Wanted;
use crate::http::ByteStream;
use crate::provider::FileRequest;
use crate::pull::event::PullEvent;
use crate::pull::fetch::is_fatal;
use crate::pull::gate::Tries;
use crate::pull::log::bare;
use crate::pull::report::MissingFile;
use crate::pull::run::{Run, blocking, held};
use crate::pull::sink::PIECES_WAITING_MAX;
use crate::{Error, Result};

/// How often something is asked for that the server says is not there: nothing makes another link of it.
const GONE_TRIES_MAX: u32 = 2;

/// What all fetches share.
struct Fetching<'a> {
    rules: &'a Arc<Rules>,
    known: &'a Mutex<Known>,
    /// Held by the one who takes a Binary apart.
    binaries: Arc<Mutex<()>>,
}

impl Run<'_> {
    /// Fetches what arrives, as many at a time as files.
    ///
    /// # Errors
    /// The disk.
    pub(super) async fn fetch_attachments(
        &self,
        mut arriving: mpsc::Receiver<Wanted>,
        rules: &Arc<Rules>,
        known: &Mutex<Known>,
    ) -> Result<()> {
        let quirks = self.pull.provider.quirks();
        let parallel = quirks.parallel(self.pull.settings.parallel_downloads);
        let fetching = Fetching {
            rules,
            known,
            binaries: Arc::default(),
        };
        let mut fetches: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
        let mut is_open = true;
        while is_open || !fetches.is_empty() {
            tokio::select! {
                wanted = arriving.recv(), if is_open && fetches.len() < parallel => match wanted {
                    Some(wanted) => fetches.push(Box::pin(self.fetch_attachment(wanted, &fetching))),
                    None => is_open = false,
                },
                Some(fetched) = fetches.next(), if !fetches.is_empty() => fetched?,
            }
        }
        Ok(())
    }

    async fn fetch_attachment(&self, wanted: Wanted, fetching: &Fetching<'_>) -> Result<()> {
        let detail = json!({
            "fileUrl": bare(wanted.url.as_str()), "itemType": "attachment", "resourceType": wanted.file.resource_type,
        });
        self.log.write(self.now(), "download_request", detail)?;
        let mut tries = Tries::new(&self.pull.settings, &crate::receipt::hex(&wanted.key));
        let mut accepted = accept(wanted.content_type.as_deref(), &wanted.url);
        loop {
            self.gate.pass(&**self.pull.provider.clock()).await;
            let error = match self.attachment(&wanted, &accepted, fetching).await {
                Ok(content) => return self.had(&wanted, content, fetching),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => self.pull.parameters.redacted(error),
            };
            let status = error.answer().map(|answer| answer.status);
            if matches!(status, Some(404 | 410)) {
                tries.left = tries.left.min(GONE_TRIES_MAX);
            }
            if status == Some(406) {
                FHIR_JSON.clone_into(&mut accepted);
            }
            let wait = tries.again(&error, false);
            let Some(wait) = wait.filter(|_| self.check_time().is_ok()) else {
                return self.not_had(&wanted, &error, fetching);
            };
            self.retries.fetch_add(1, Ordering::Relaxed);
            self.tell_failed(&wanted, &error, tries.left)?;
            self.hold(&error, wait).await;
        }
    }

    /// Asks for an attachment once.
    async fn attachment(&self, wanted: &Wanted, accept: &str, fetching: &Fetching<'_>) -> Result<Content> {
        let request = FileRequest {
            accept,
            // As everything of the server's; other origins see none.
            ..FileRequest::new(wanted.url.as_str(), true)
        };
        let opened = self.pull.provider.open(&request).await?;
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let keeping = Keeping {
            folder: self.folder.clone(),
            wanted: wanted.clone(),
            rules: Arc::clone(fetching.rules),
            coding: opened.coding,
            answered_type: opened.content_type,
            binaries: Arc::clone(&fetching.binaries),
        };
        let keeping = blocking(move || keep(&keeping, receiver));
        let feeding = async {
            let fed = self.feed_attachment(opened.stream, &sender).await;
            drop(sender);
            fed
        };
        let (fed, kept) = tokio::join!(feeding, keeping);
        match (fed, kept) {
            (_, Err(error)) if is_fatal(&error) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(()), kept) => kept,
        }
    }

    async fn feed_attachment(&self, mut stream: ByteStream, sender: &mpsc::Sender<Piece>) -> Result<()> {
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if sender.send(Piece::Bytes(bytes)).await.is_err() {
                // Who does not listen any more says why.
                return Ok(());
            }
        }
        let _ = sender.send(Piece::End).await;
        Ok(())
    }

    fn had(&self, wanted: &Wanted, content: Content, fetching: &Fetching<'_>) -> Result<()> {
        let bytes = content.bytes;
        let (done, known) = held(fetching.known).had(wanted.key, content)?;
        let detail = json!({
            "fileUrl": bare(wanted.url.as_str()), "resourceCount": Value::Null, "fileSize": bytes,
        });
        self.log.write(self.now(), "download_complete", detail)?;
        self.watch.hear(&PullEvent::AttachmentDone { done, known, bytes });
        Ok(())
    }

    fn not_had(&self, wanted: &Wanted, error: &Error, fetching: &Fetching<'_>) -> Result<()> {
        held(fetching.known).failed(wanted.key);
        self.tell_failed(wanted, error, 0)?;
        if !fetching.rules.settings.ignores_errors {
            self.attached.miss(MissingFile {
                name: wanted.place(),
                kind: wanted.file.kind,
                resource_type: wanted.file.resource_type.clone(),
                why: error.chain(),
            });
        }
        Ok(())
    }

    fn tell_failed(&self, wanted: &Wanted, error: &Error, attempts_left: u32) -> Result<()> {
        self.watch.hear(&PullEvent::AttachmentFailed {
            place: &wanted.place(),
            why: &error.chain(),
            attempts_left,
        });
        self.log_failure(wanted.url.as_str(), error)
    }
}

impl Wanted {
    /// Where it stands, for people.
    fn place(&self) -> String {
        format!("attachment in line {} of {}", self.line, self.file.name)
    }
}
