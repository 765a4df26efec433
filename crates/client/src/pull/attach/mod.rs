//! Attachments: what resources link to is fetched when all files are whole, and their lines then lead to where it lies.
//!
//! [`Run::attach`] has a thread look through the files for URLs ([`scan`]), fetches each once ([`fetch`]), and writes each file anew when all
//! that it links to is there ([`link`]). A content lies in `attachments/` under its SHA-256, so the same one is there once; small ones can be
//! put into their resources instead. [`known`] remembers which URL has which content, through crashes too. A file that links to
//! something that cannot be had stays as it came, and the next run tries again.

mod fetch;
mod keep;
mod known;
mod link;
mod rules;
mod scan;

use std::collections::HashMap;
use std::io::ErrorKind as IoErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::folder::{LINKED_PARTIAL, PullFolder};
use super::journal::{Journal, Record};
use super::past::Past;
use super::report::{AttachmentReport, FileKind, MissingFile, PulledFile};
use super::run::{Run, blocking, held};
use crate::durable::sync_folder;
use crate::receipt::{ATTACHMENTS, ATTACHMENTS_LIST};
use crate::{Error, Result};
use known::{CONTENTS, Known, LEDGER};
use rules::Rules;
use scan::{Scanning, TYPES, scan};

/// How the temporary files of contents are called.
const ATTACHMENT_PARTIAL: &str = "attachment-";

/// How many attachments that were found wait to be fetched.
const WANTED_WAITING_MAX: usize = 64;

/// How many missing attachments are told one by one.
const MISSING_TOLD_MAX: usize = 1_000;

/// What the lines of a file have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::pull) struct Links {
    /// Attachments that lead to a file.
    pub(super) links: u64,
    /// Attachments with their content in the line.
    pub(super) inlined: u64,
    /// Attachments that could not be had and still lead to the server.
    pub(super) ignored: u64,
}

/// What a run knows of its attachments.
#[derive(Debug, Default)]
pub(in crate::pull) struct Attached {
    /// Files whose lines lead to their attachments.
    linked: Mutex<HashMap<String, Links>>,
    missing: Mutex<Vec<MissingFile>>,
    /// Those beyond what is told one by one.
    missing_further: AtomicU64,
    other_size: AtomicU64,
    /// Files in the folder of attachments, and their bytes.
    there: Mutex<(u64, u64)>,
}

impl Attached {
    pub(in crate::pull) fn new(linked: HashMap<String, Links>) -> Self {
        Self {
            linked: Mutex::new(linked),
            ..Self::default()
        }
    }

    /// Notes that a file is there as the server has it, perhaps once more.
    pub(in crate::pull) fn came(&self, name: &str) {
        held(&self.linked).remove(name);
    }

    /// Attachments that could not be had.
    pub(in crate::pull) fn missing(&self) -> Vec<MissingFile> {
        let mut missing = held(&self.missing).clone();
        let further = self.missing_further.load(Ordering::Relaxed);
        if let Some(last) = missing.last_mut().filter(|_| further > 0) {
            last.why = format!("{}; {further} further attachments are missing too", last.why);
        }
        missing
    }

    pub(in crate::pull) fn report(&self) -> AttachmentReport {
        let (files, bytes) = *held(&self.there);
        let linked = held(&self.linked);
        let sum = |count: fn(&Links) -> u64| linked.values().map(count).sum();
        AttachmentReport {
            files,
            bytes,
            links: sum(|links| links.links),
            inlined: sum(|links| links.inlined),
            ignored: sum(|links| links.ignored),
            other_size: self.other_size.load(Ordering::Relaxed),
        }
    }

    fn miss(&self, missing: MissingFile) {
        let mut told = held(&self.missing);
        if told.len() < MISSING_TOLD_MAX {
            told.push(missing);
        } else {
            self.missing_further.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Run<'_> {
    /// Fetches the attachments of the files that are there, and has their lines lead to them, if that was asked for.
    ///
    /// # Errors
    /// The disk; more attachments than there may be; a file that is not as it came.
    pub(super) async fn attach(&self) -> Result<()> {
        let Some(settings) = self.pull.settings.attachments.clone() else {
            return Ok(());
        };
        let rules = Arc::new(Rules {
            base: self.pull.provider.base().to_string(),
            line_bytes_max: self.pull.settings.line_bytes_max,
            settings,
        });
        let (folder, max) = (self.folder.clone(), rules.settings.attachments_max);
        let known = blocking(move || Known::open(folder, max)).await?;
        let known = Arc::new(Mutex::new(known));
        let (sender, receiver) = mpsc::channel(WANTED_WAITING_MAX);
        let scanning = Scanning {
            folder: self.folder.clone(),
            files: self.with_attachments(),
            rules: Arc::clone(&rules),
            known: Arc::clone(&known),
        };
        let scanning = blocking(move || scan(&scanning, &sender));
        let fetching = self.fetch_attachments(receiver, &rules, &known);
        let (linking, ()) = tokio::try_join!(scanning, Box::pin(fetching))?;
        for file in linking {
            self.link(file, &rules, &known).await?;
        }
        let other_size = held(&known).other_size();
        self.attached.other_size.store(other_size, Ordering::Relaxed);
        let root = self.folder.path(ATTACHMENTS);
        *held(&self.attached.there) = blocking(move || count(&root)).await?;
        Ok(())
    }

    /// Files that may have attachments, and do not lead to them yet, in the order of the manifest.
    fn with_attachments(&self) -> Vec<PulledFile> {
        let linked = held(&self.attached.linked);
        let done = held(&self.done);
        let plan = held(&self.plan);
        let files = plan.files.iter().filter_map(|file| done.get(&file.name));
        let files = files.map(|(file, _)| file).filter(|file| {
            let may_have = (file.resource_type.as_deref()).is_none_or(|name| TYPES.contains(&name));
            file.kind == FileKind::Output && may_have && !linked.contains_key(&file.name)
        });
        files.cloned().collect()
    }
}

/// Finds out of files that were about to be replaced whether they have been: a crash came between the two records.
///
/// # Errors
/// The disk.
pub(in crate::pull) async fn settle_links(
    past: &mut Past,
    folder: &PullFolder,
    journal: &mut Journal,
) -> Result<()> {
    for (name, (file, links)) in std::mem::take(&mut past.linking) {
        let path = folder.path(&name);
        if blocking(move || link::sha256(&path)).await? == Some(file.sha256.clone()) {
            journal.note(&Record::Linked { file: name })?;
            past.link(file, links);
        }
    }
    Ok(())
}

/// Removes the attachments of an export that is lost.
///
/// # Errors
/// The disk.
pub(in crate::pull) fn discard_attachments(folder: &PullFolder) -> Result<()> {
    let removed = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(source) if source.kind() != IoErrorKind::NotFound => Err(Error::disk("removing", path, source)),
        _ => Ok(()),
    };
    for path in [folder.hidden(LEDGER), folder.path(ATTACHMENTS_LIST)] {
        removed(&path, std::fs::remove_file(&path))?;
    }
    for path in [folder.hidden(CONTENTS), folder.path(ATTACHMENTS)] {
        removed(&path, std::fs::remove_dir_all(&path))?;
    }
    Ok(())
}

/// Removes what nobody needs when the pull is whole.
pub(in crate::pull) fn clear_attachments(folder: &PullFolder) {
    // What stays after a failure is in nobody's way.
    let _ = std::fs::remove_file(folder.hidden(LEDGER));
    let _ = std::fs::remove_dir_all(folder.hidden(CONTENTS));
    let left = std::fs::read_dir(folder.hidden(""))
        .into_iter()
        .flatten()
        .flatten();
    // What a crash has cut off, and nobody has gone on with since.
    let is_cut = |name: &str| name.starts_with(ATTACHMENT_PARTIAL) || name.ends_with(LINKED_PARTIAL);
    for entry in left.filter(|entry| is_cut(&entry.file_name().to_string_lossy())) {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// The files of a folder and their bytes; makes their names last.
fn count(root: &Path) -> Result<(u64, u64)> {
    let failed = |source| Error::disk("listing", root, source);
    let entries = match std::fs::read_dir(root) {
        Err(source) if source.kind() == IoErrorKind::NotFound => return Ok((0, 0)),
        entries => entries.map_err(failed)?,
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        files += 1;
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
    }
    sync_folder(root).map_err(failed)?;
    Ok((files, bytes))
}
