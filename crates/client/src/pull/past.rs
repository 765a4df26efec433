//! What earlier runs have left: [`Past`], read from the journal.

use std::collections::{BTreeMap, HashMap};

use fhirhose_fhir::instant::Instant;
use url::Url;

use super::attach::{Links, discard_attachments};
use super::folder::PullFolder;
use super::journal::{Identity, Record};
use super::kick_off::KickedOff;
use super::plan::Plan;
use super::report::{PullReport, PulledFile};
use super::source::Body;
use crate::decode::{Coding, RestartPoint};
use crate::provider::ManifestPage;
use crate::{Error, ErrorKind, Result};

/// The state at the end of the journal.
pub(super) struct Past {
    /// Whether there was no journal.
    pub(super) is_new: bool,
    pub(super) kicked_off: Option<KickedOff>,
    pub(super) plan: Plan,
    pub(super) done: HashMap<String, (PulledFile, BTreeMap<String, u64>)>,
    pub(super) resumes: HashMap<String, Resume>,
    /// Files that were about to take the place of those that came: whether they have is seen by their digests.
    pub(super) linking: HashMap<String, (PulledFile, Links)>,
    /// Files that lead to their attachments.
    pub(super) linked: HashMap<String, Links>,
    /// Whether the export is gone at the server, so that nothing of it can be gone on with.
    pub(super) is_lost: bool,
    /// All is on the disk, and the server may not know.
    pub(super) written: Option<PullReport>,
    /// Nothing is left to do.
    pub(super) finished: Option<PullReport>,
}

/// What is known of a body that was begun.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    etag: Option<String>,
    coding: Coding,
    points: Vec<RestartPoint>,
}

impl Resume {
    /// The body as far as its text is there: one without a coding goes on at the very byte, others at the last restart point before it.
    pub(super) fn body(&self, text_bytes: u64) -> Body {
        let restart = if self.coding == Coding::Identity {
            RestartPoint {
                encoded: text_bytes,
                decoded: text_bytes,
            }
        } else {
            let before = self.points.iter().rfind(|point| point.decoded <= text_bytes);
            before.copied().unwrap_or_default()
        };
        Body {
            etag: self.etag.clone(),
            coding: self.coding,
            restart,
            next: None,
        }
    }
}

impl Past {
    /// Replays a journal.
    ///
    /// # Errors
    /// [`ErrorKind::OtherFolder`] for the journal of another pull; [`ErrorKind::Corrupt`] when a finished pull's files have changed.
    pub(super) fn read(
        records: Vec<Record>,
        identity: &Identity,
        folder: &PullFolder,
        page_folders: bool,
    ) -> Result<Self> {
        let mut past = Self::nothing(page_folders);
        past.is_new = records.is_empty();
        for record in records {
            past.replay(record, identity, folder)?;
        }
        if let Some(report) = past.finished.as_ref().or(past.written.as_ref()) {
            check_lengths(report, folder)?;
        }
        Ok(past)
    }

    /// Throws away what came of an export that is lost, so that nothing of it is taken for a part of the next.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`].
    pub(super) fn discard(self, folder: &PullFolder, page_folders: bool) -> Result<Self> {
        for file in &self.plan.files {
            for path in [folder.path(&file.name), folder.partial(&file.name)] {
                match std::fs::remove_file(&path) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Error::disk("removing", &path, source));
                    }
                    _ => {}
                }
            }
        }
        discard_attachments(folder)?;
        // It tells of files that are not there any more.
        let manifest = folder.path("manifest.json");
        match std::fs::remove_file(&manifest) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::disk("removing", &manifest, source))
            }
            _ => Ok(Self::nothing(page_folders)),
        }
    }

    fn nothing(page_folders: bool) -> Self {
        Self {
            is_new: true,
            kicked_off: None,
            plan: Plan::new(page_folders),
            done: HashMap::new(),
            resumes: HashMap::new(),
            linking: HashMap::new(),
            linked: HashMap::new(),
            is_lost: false,
            written: None,
            finished: None,
        }
    }

    /// Takes it that a file leads to its attachments; files with attachments have no issues.
    pub(super) fn link(&mut self, file: PulledFile, links: Links) {
        self.linked.insert(file.name.clone(), links);
        self.done.insert(file.name.clone(), (file, BTreeMap::new()));
    }

    fn replay(&mut self, record: Record, identity: &Identity, folder: &PullFolder) -> Result<()> {
        match record {
            Record::Pull(known) => {
                if let Some(difference) = known.difference(identity) {
                    let root = folder.root().display();
                    let problem = format!("{root} holds another pull: {difference}");
                    return Err(Error::new(ErrorKind::OtherFolder, problem));
                }
            }
            Record::KickedOff {
                status_url,
                at_micros,
                has_separate_status,
            } => {
                self.kicked_off = Some(KickedOff {
                    status_url: parsed(&status_url)?,
                    at: Instant::from_micros(at_micros),
                    has_separate_status,
                });
            }
            Record::Page {
                index,
                url,
                is_complete,
                json,
            } => {
                let url = parsed(&url)?;
                let page = ManifestPage::read(json.as_bytes(), &url)?;
                self.plan.take(index, &url, &page, is_complete);
            }
            Record::Begun { file, etag, coding } => {
                let points = Vec::new();
                self.resumes.insert(file, Resume { etag, coding, points });
            }
            Record::Restart { file, point } => {
                if let Some(resume) = self.resumes.get_mut(&file) {
                    resume.points.push(point);
                }
            }
            Record::Done { file, issues } => {
                self.resumes.remove(&file.name);
                self.linking.remove(&file.name);
                self.linked.remove(&file.name);
                self.done.insert(file.name.clone(), (file, issues));
            }
            Record::Linking { file, links } => {
                self.linking.insert(file.name.clone(), (file, links));
            }
            Record::Linked { file } => {
                if let Some((file, links)) = self.linking.remove(&file) {
                    self.link(file, links);
                }
            }
            Record::Lost => self.is_lost = true,
            Record::Written { report } => self.written = Some(report),
            Record::Finished { report } => self.finished = Some(report),
        }
        Ok(())
    }
}

/// Sees that the files of a finished pull are still there, and as long as they were.
fn check_lengths(report: &PullReport, folder: &PullFolder) -> Result<()> {
    for file in &report.files {
        let length = std::fs::metadata(folder.path(&file.name)).map(|metadata| metadata.len());
        if length.ok() != Some(file.bytes) {
            let problem = format!(
                "the pull into {} was finished, but {} is not there as it was",
                folder.root().display(),
                file.name
            );
            return Err(Error::new(ErrorKind::Corrupt, problem));
        }
    }
    Ok(())
}

fn parsed(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|source| Error::new(ErrorKind::Corrupt, "a URL of the journal").caused_by(source))
}
