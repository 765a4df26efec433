//! Looks through files for attachments: [`scan`].

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use fhirhose_fhir::attachment::look;
use fhirhose_fhir::line::Glancer;
use tokio::sync::mpsc;
use url::Url;

use super::known::{Known, UrlKey};
use super::rules::{Rules, key};
use crate::pull::folder::PullFolder;
use crate::pull::report::PulledFile;
use crate::pull::run::held;
use crate::{Error, ErrorKind, Result};

/// Resources whose attachments are fetched.
pub(super) const TYPES: [&str; 3] = ["DocumentReference", "DiagnosticReport", "Media"];

/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// An attachment that is to be fetched.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) key: UrlKey,
    pub(super) url: Url,
    pub(super) content_type: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) hash: Option<String>,
    /// Where it stands first.
    pub(super) file: Arc<PulledFile>,
    pub(super) line: u64,
}

/// What is looked through.
pub(super) struct Scanning {
    pub(super) folder: PullFolder,
    pub(super) files: Vec<PulledFile>,
    pub(super) rules: Arc<Rules>,
    pub(super) known: Arc<Mutex<Known>>,
}

/// Sends each attachment that is not there, once for each URL, and gives the files that have attachments. Blocks the thread.
///
/// # Errors
/// The disk; more attachments than there may be.
pub(super) fn scan(scanning: &Scanning, sender: &mpsc::Sender<Wanted>) -> Result<Vec<PulledFile>> {
    let mut linking = Vec::new();
    for file in &scanning.files {
        let path = scanning.folder.path(&file.name);
        let file = Arc::new(file.clone());
        let mut has_attachments = false;
        each_line(&path, scanning.rules.line_bytes_max, |line| {
            let Some(resource) = line.resource else {
                return Ok(());
            };
            let found = found(&scanning.rules, &file, line.number, resource);
            has_attachments |= !found.is_empty();
            for wanted in found {
                if !held(&scanning.known).meet(wanted.key)? {
                    continue;
                }
                if sender.blocking_send(wanted).is_err() {
                    // Nobody listens: who has fetched says why.
                    return Err(Error::new(
                        ErrorKind::Unreachable,
                        "attachments are not fetched any more",
                    ));
                }
            }
            Ok(())
        })?;
        if has_attachments {
            linking.push((*file).clone());
        }
    }
    Ok(linking)
}

fn found(rules: &Rules, file: &Arc<PulledFile>, line: u64, resource: &[u8]) -> Vec<Wanted> {
    let mut found = Vec::new();
    look(resource, |attachment| {
        if let Some(url) = rules.url(attachment) {
            found.push(Wanted {
                key: key(&url),
                url,
                content_type: attachment.content_type.as_deref().map(str::to_owned),
                size: attachment.size,
                hash: attachment.hash.as_deref().map(str::to_owned),
                file: Arc::clone(file),
                line,
            });
        }
    });
    found
}

/// A line of a file.
pub(super) struct Line<'l> {
    /// From 1, blank lines left out: as many as the file is said to have.
    pub(super) number: u64,
    /// All of it, with its line break.
    pub(super) text: &'l [u8],
    /// The resource in it, if it is one that may have attachments.
    pub(super) resource: Option<&'l [u8]>,
}

/// Reads a file that has been found to be whole, line by line.
///
/// # Errors
/// The disk; [`ErrorKind::Corrupt`] for a line that is longer than it may be; those of `see`.
pub(super) fn each_line(
    path: &Path,
    line_bytes_max: usize,
    mut see: impl FnMut(&Line<'_>) -> Result<()>,
) -> Result<()> {
    let failed = |source| Error::disk("reading", path, source);
    let file = File::open(path).map_err(failed)?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut glancer, mut text, mut number) = (Glancer::default(), Vec::new(), 0);
    let text_bytes_max = line_bytes_max.saturating_add(BYTE_ORDER_MARK.len() + 2);
    let mut is_first = true;
    loop {
        text.clear();
        let mut limited = Read::take(&mut reader, text_bytes_max as u64);
        if limited.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            return Ok(());
        }
        if text.len() >= text_bytes_max && !text.ends_with(b"\n") {
            let problem = format!(
                "{} has a line of more than {line_bytes_max} bytes",
                path.display()
            );
            return Err(Error::new(ErrorKind::Corrupt, problem));
        }
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let mark = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first);
        let line = mark.unwrap_or(line);
        is_first = false;
        number += u64::from(!line.trim_ascii().is_empty());
        let glance = glancer.glance(line).ok();
        let is_looked_at = glance.is_some_and(|glance| TYPES.iter().any(|name| glance.is_of_type(name)));
        let resource = is_looked_at.then_some(line);
        see(&Line {
            number,
            text: &text,
            resource,
        })?;
    }
}
