//! Pulls that end elsewhere than in a folder: [`DeliveredPull`] takes each file to a [`Destination`], such as a [`Bucket`], as soon as it is whole.
//!
//! The files are pulled and proven in a folder for staging, which holds all of them until the last one is delivered. What has arrived is noted in a
//! journal, so that a run after a crash delivers the rest. Attachments go when the pull has found all of them. `manifest.json` comes last: where it is,
//! everything is.

mod bucket;
mod journal;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use crate::pull::{LOG, Pull, PullEvent, PullReport, Watch, shape_digest};
use crate::receipt::{ATTACHMENTS_LIST, Asked, Attachments, MANIFEST, digest, receipt_in};
use crate::{Error, ErrorKind, Result};

pub use bucket::{Bucket, BucketSettings};
use journal::Journal;

/// Takes whole files to another place.
#[async_trait]
pub trait Destination: std::fmt::Debug + Send + Sync {
    /// Puts a file there under a name such as `deleted/1.Bundle.ndjson`. Nobody sees it there before it is whole; what was there under that
    /// name is replaced.
    ///
    /// # Errors
    /// What ends the pull; the next run delivers the file again.
    async fn deliver(&self, name: &str, file: &std::path::Path) -> Result<()>;

    /// Reads a file there that is not large; `None` if there is none.
    ///
    /// # Errors
    /// As [`deliver`](Self::deliver).
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;
}

/// A pull whose files go to another place.
#[derive(Debug)]
pub struct DeliveredPull {
    /// The pull; its folder is the one for staging, and is removed when everything has arrived.
    pub pull: Pull,
    /// Where the files go.
    pub to: Box<dyn Destination>,
    /// Where it is noted what has arrived; kept.
    pub journal: PathBuf,
    /// Files that are delivered at a time.
    pub parallel: usize,
}

/// What has come of it.
#[derive(Debug)]
pub enum Delivered {
    /// An earlier run has delivered everything, and it is still there.
    AlreadyThere,
    /// What was pulled, all of which has arrived. Only of a whole pull the manifest is there too.
    Pulled(Box<PullReport>),
}

impl DeliveredPull {
    /// Pulls and delivers, going on where an earlier run was.
    ///
    /// # Errors
    /// As [`Pull::run`]; [`ErrorKind::OtherFolder`] where another pull's manifest is there already; what ends a delivery.
    pub async fn run(&self, watch: &dyn Watch) -> Result<Delivered> {
        let journal = Journal::open(&self.journal)?;
        let text = self.to.read(MANIFEST).await?;
        let there = text.as_deref().map(digest);
        match (journal.finished(), there) {
            (Some(own), Some(there)) if own.manifest == there => {
                let is_shaped_alike = own
                    .shape
                    .is_none_or(|shape| shape == shape_digest(&self.pull.settings));
                if !is_shaped_alike || !self.is_asked_in(text.as_deref().unwrap_or_default()) {
                    let problem =
                        "a pull that was asked for otherwise lies there: give this one another place";
                    return Err(Error::new(ErrorKind::OtherFolder, problem));
                }
                self.clear()?;
                return Ok(Delivered::AlreadyThere);
            }
            (None, None) => {}
            (Some(_), None) => journal.forget()?,
            // The manifest may have arrived just before a crash: it is of this pull if it is the one that was made here.
            (_, Some(there)) if self.own_manifest().as_ref() == Some(&there) => {}
            (_, Some(_)) => {
                let problem = "there is another pull already: its manifest.json lies there";
                return Err(Error::new(ErrorKind::OtherFolder, problem));
            }
        }
        let mut report = self.pull_and_deliver(&journal, watch).await?;
        // Those of earlier runs that did not arrive then.
        let rest = stream::iter(report.files.iter().map(Ok));
        rest.try_for_each_concurrent(self.parallel.max(1), |file| {
            self.deliver(&journal, &file.name, &file.sha256)
        })
        .await?;
        self.deliver_attachments(&journal).await?;
        if report.is_whole() {
            self.deliver_end().await?;
            self.delete_job(&mut report, watch).await?;
            self.settle(&journal)?;
        }
        Ok(Delivered::Pulled(Box::new(report)))
    }

    /// Pulls, and delivers beside it. The server keeps its job: nothing may go there before everything is here and at its place.
    async fn pull_and_deliver(&self, journal: &Journal, watch: &dyn Watch) -> Result<PullReport> {
        let (whole, arriving) = mpsc::unbounded_channel();
        let pulling = async move {
            let courier = Courier {
                watch,
                whole,
                sent: Mutex::default(),
            };
            let mut pull = self.pull.clone();
            pull.settings.deletes_job = false;
            pull.run(&courier).await
        };
        let arriving = stream::unfold(arriving, |mut arriving| async {
            let file: (String, String) = arriving.recv().await?;
            Some((file, arriving))
        });
        let delivering = arriving
            .map(Ok)
            .try_for_each_concurrent(self.parallel.max(1), |(name, sha256)| async move {
                self.deliver(journal, &name, &sha256).await
            });
        let (report, ()) = tokio::try_join!(Box::pin(pulling), Box::pin(delivering))?;
        Ok(report)
    }

    /// Delivers a file, unless it has arrived as it is now: an export that was begun anew has other files under the same names.
    async fn deliver(&self, journal: &Journal, name: &str, sha256: &str) -> Result<()> {
        if journal.has(name, sha256) {
            return Ok(());
        }
        self.to.deliver(name, &self.pull.folder.join(name)).await?;
        journal.arrived(name, sha256)
    }

    /// Delivers what lies in `attachments/`, but for what earlier runs have delivered: their names tell their content.
    async fn deliver_attachments(&self, journal: &Journal) -> Result<()> {
        let folder = &self.pull.folder;
        let there = Attachments::find(folder)?;
        let names = there.names().iter().filter(|name| !journal.has_attachment(name));
        let deliveries = stream::iter(names.map(Ok));
        deliveries
            .try_for_each_concurrent(self.parallel.max(1), |name| async move {
                self.to.deliver(&name.path(), &folder.join(name.path())).await?;
                journal.attachment_arrived(name)
            })
            .await
    }

    /// Delivers what tells of the files, the manifest last.
    async fn deliver_end(&self) -> Result<()> {
        let folder = &self.pull.folder;
        for name in [ATTACHMENTS_LIST, LOG] {
            if folder.join(name).exists() {
                self.to.deliver(name, &folder.join(name)).await?;
            }
        }
        if self.pull.settings.page_folders {
            self.deliver_pages().await?;
        }
        self.to.deliver(MANIFEST, &folder.join(MANIFEST)).await
    }

    /// Has the pull run once more, which fetches nothing, so that it tells the server that its files can go (CL-13).
    async fn delete_job(&self, report: &mut PullReport, watch: &dyn Watch) -> Result<()> {
        if !self.pull.settings.deletes_job {
            return Ok(());
        }
        let told = self.pull.run(watch).await?;
        report.job_deleted = told.job_deleted;
        report.delete_problem = told.delete_problem;
        Ok(())
    }

    /// Notes that nothing is left to do, and removes what is not needed any more.
    fn settle(&self, journal: &Journal) -> Result<()> {
        let manifest = self.own_manifest();
        let manifest = manifest.ok_or_else(|| Error::new(ErrorKind::Disk, "the manifest is gone"))?;
        journal.finish(&manifest, &shape_digest(&self.pull.settings))?;
        self.clear()
    }

    /// Delivers the manifest of each page, which lies in the page's folder.
    async fn deliver_pages(&self) -> Result<()> {
        for page in 0_u64.. {
            let name = format!("{page}/{MANIFEST}");
            let file = self.pull.folder.join(&name);
            if !file.exists() {
                break;
            }
            self.to.deliver(&name, &file).await?;
        }
        Ok(())
    }

    /// Removes what was staged.
    fn clear(&self) -> Result<()> {
        let folder = &self.pull.folder;
        match std::fs::remove_dir_all(folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let problem = format!("removing {}", folder.display());
                Err(Error::new(ErrorKind::Disk, problem).caused_by(source))
            }
            _ => Ok(()),
        }
    }

    /// Whether a manifest is of an export that was asked for as this one is. Of one that was kicked off elsewhere that is not known.
    fn is_asked_in(&self, manifest: &[u8]) -> bool {
        let receipt = receipt_in(manifest);
        let told = receipt
            .as_ref()
            .map(|receipt| (receipt.source.as_deref(), receipt.asked.as_ref()));
        let base = self.pull.provider.base().as_str().trim_end_matches('/');
        match told {
            Some((source, Some(asked))) => {
                source.is_none_or(|source| source.trim_end_matches('/') == base)
                    && *asked == Asked::from(&self.pull.parameters)
            }
            _ => true,
        }
    }

    fn own_manifest(&self) -> Option<String> {
        let text = std::fs::read(self.pull.folder.join(MANIFEST)).ok()?;
        Some(digest(&text))
    }
}

/// Hears of files that are whole.
struct Courier<'a> {
    watch: &'a dyn Watch,
    /// Name and SHA-256.
    whole: mpsc::UnboundedSender<(String, String)>,
    /// Names that were sent. One that becomes whole twice, of an export that was begun anew, is delivered at the end: two deliveries under
    /// one name at a time might leave either there.
    sent: Mutex<HashSet<String>>,
}

impl Watch for Courier<'_> {
    fn hear(&self, event: &PullEvent<'_>) {
        if let PullEvent::FileDone { name, sha256, .. } = event
            && self
                .sent
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert((*name).to_owned())
        {
            // Nobody listens when a delivery has failed: then the pull ends too.
            let _ = self.whole.send(((*name).to_owned(), (*sha256).to_owned()));
        }
        self.watch.hear(event);
    }
}
