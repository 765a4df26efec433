//! Folders as a source: [`FolderSource`]. One pulled folder, a folder of dated pulls, or plain NDJSON.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use fhirhose_client::receipt::{ATTACHMENTS, Asked, ProveSettings, PulledFolder, is_ndjson};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};
use fhirhose_fhir::outcome::{OperationOutcome, Severity};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::super::lines::{Line, Lines};
use super::{Fetched, Source, SourceFile, Wanted};
use crate::{Error, ErrorKind, Result};

const MANIFEST: &str = "manifest.json";
const LINE_BYTES_MAX: usize = 64 << 20;

/// A folder that somebody fills.
///
/// With a `manifest.json` it is one pull; a pull with `_since` counts as what is new, one without as everything. Folders of pulls in it
/// are applied one a round, in the order of their `transactionTime`. Without any manifest its NDJSON files are everything, each time
/// they have changed.
#[derive(Debug, Clone)]
pub struct FolderSource {
    /// The folder.
    pub path: PathBuf,
}

#[async_trait]
impl Source for FolderSource {
    fn name(&self) -> String {
        format!("folder {}", self.path.display())
    }

    fn comes_in_steps(&self) -> bool {
        true
    }

    async fn fetch(&self, wanted: &Wanted, _folder: &Path) -> Result<Option<Fetched>> {
        let (path, cursor) = (self.path.clone(), wanted.cursor.clone());
        let found = tokio::task::spawn_blocking(move || fetch(&path, cursor.as_deref())).await;
        found.map_err(|panic| Error::new(ErrorKind::Storage, "reading a folder").with_source(panic))?
    }
}

/// A pull in a folder.
struct Pulled {
    fetched: Fetched,
    folder: PulledFolder,
    /// Its `transactionTime`, if it is one: there are servers whose is another text (CL-12).
    instant: Option<Instant>,
    /// Its `_since`, if it says what was asked for.
    since: Option<Instant>,
    has_until: bool,
    says_request: bool,
}

fn fetch(path: &Path, cursor: Option<&str>) -> Result<Option<Fetched>> {
    let mut pulls: Vec<Pulled> = read_pull(path)?.into_iter().collect();
    if pulls.is_empty() {
        // A hidden one is not there for others, such as what is being copied. Attachments may have any name.
        let is_passed_over = |entry: &Path| {
            let name = entry.file_name().unwrap_or_default();
            name == ATTACHMENTS || name.as_encoded_bytes().starts_with(b".")
        };
        for entry in entries(path)? {
            if entry.is_dir() && !is_passed_over(&entry) {
                pulls.extend(read_pull(&entry)?);
            }
        }
    }
    if pulls.is_empty() {
        return plain(path, cursor);
    }
    if let Some(pull) = pulls.iter().find(|pull| pull.instant.is_none()) {
        let place = pull.folder.path().display();
        return Err(invalid(format!(
            "the transactionTime of the pull in {place} is no instant: it cannot be told what comes after it"
        )));
    }
    pulls.sort_by_key(|pull| pull.instant);
    let chosen = match cursor.map(Instant::parse) {
        Some(Ok(done)) => next_after(pulls, done)?,
        // The newest that is everything; what came before it is in it.
        _ => {
            let first = pulls.iter().rposition(|pull| pull.since.is_none());
            let first = first.ok_or_else(|| {
                invalid(format!(
                    "no pull in {} is a whole one to begin with",
                    path.display()
                ))
            })?;
            let mut pull = pulls.swap_remove(first);
            pull.fetched.is_whole = true;
            Some(pull)
        }
    };
    chosen.map(held_to_receipt).transpose()
}

/// The first pull after the last one that was applied; there must be no gap between them.
fn next_after(pulls: Vec<Pulled>, done: Instant) -> Result<Option<Pulled>> {
    let Some(mut pull) = pulls.into_iter().find(|pull| pull.instant > Some(done)) else {
        return Ok(None);
    };
    if pull.since.is_some_and(|since| since > done) {
        let problem = format!(
            "the pull in {} begins after the last one that was applied: one between them is missing",
            pull.folder.path().display()
        );
        return Err(invalid(problem));
    }
    // One that does not say what was asked for may be no more than what is new.
    pull.fetched.is_whole = pull.says_request && pull.since.is_none();
    Ok(Some(pull))
}

/// Gives what was fetched, if it is what its receipt says. What is damaged counts as missing, so that nothing of it is applied.
fn held_to_receipt(pull: Pulled) -> Result<Fetched> {
    let Pulled {
        mut fetched,
        folder,
        has_until,
        ..
    } = pull;
    if has_until {
        let problem = format!(
            "the pull in {} ends before its transactionTime (_until): what came after that would be passed over",
            folder.path().display()
        );
        return Err(invalid(problem));
    }
    if fetched.missing.is_empty() && folder.receipt().is_some() {
        // Attachments are not applied, and may well have stayed elsewhere.
        let settings = ProveSettings {
            attachments: false,
            ..ProveSettings::default()
        };
        let proof = folder.prove(&settings, &|_| ())?;
        let damages = proof.damages.into_iter();
        fetched
            .missing
            .extend(damages.map(|damage| (damage.file, damage.why)));
    }
    Ok(fetched)
}

/// What lies in a folder of one pull, as files; `None` where there is no manifest.
pub(in super::super) fn read_folder(path: &Path) -> Result<Fetched> {
    match read_pull(path)? {
        Some(pull) => Ok(pull.fetched),
        None => plain(path, None)?.ok_or_else(|| invalid(format!("{} holds no NDJSON file", path.display()))),
    }
}

fn read_pull(path: &Path) -> Result<Option<Pulled>> {
    let file = path.join(MANIFEST);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io(format!("reading {}", file.display()), source)),
    };
    let broken = || invalid(format!("reading {}", file.display()));
    let received = Manifest::receive(&bytes).map_err(|source| broken().with_source(source))?;
    let manifest = received.manifest;
    let mut fetched = Fetched {
        transaction_time: received.transaction_time,
        ..Fetched::default()
    };
    // A manifest lists what is there. What is not, a receipt says; taken for gone it would be deleted at the target.
    let pulled = PulledFolder::open(path)?;
    for missing in pulled.receipt().map_or(&[][..], |receipt| &receipt.missing) {
        fetched.missing.push((missing.name.clone(), missing.why.clone()));
    }
    for (files, is_deletions) in [(&manifest.output, false), (&manifest.deleted, true)] {
        for listed in files {
            match local(path, listed, is_deletions) {
                Ok(found) if is_deletions => fetched.files.push(SourceFile::deletions(found)),
                Ok(found) => fetched.files.push(SourceFile::output(found)),
                Err(name) => fetched.missing.push((name, "it is not in the folder".to_owned())),
            }
        }
    }
    for listed in &manifest.error {
        if let Ok(found) = local(path, listed, false) {
            fetched.source_errors += count_errors(&found)?;
        }
    }
    let request = Url::parse(&manifest.request).ok();
    // A kick-off by POST has it in its body, which the receipt knows. One that cannot be read is no reason to take the pull for a whole one.
    let parameter = |name: &str| {
        let mut pairs = request.as_ref()?.query_pairs();
        Some(pairs.find(|(known, _)| known == name)?.1.into_owned())
    };
    let asked = pulled.asked();
    let since = asked.and_then(|asked| asked.since.clone());
    let since = since.or_else(|| parameter("_since"));
    let since = since.map(|since| Instant::parse(&since)).transpose();
    let since = since.map_err(|source| broken().with_source(source))?;
    let until = asked.and_then(|asked| asked.until.clone());
    fetched.scope = scope(asked, request.as_ref());
    Ok(Some(Pulled {
        fetched,
        instant: received.instant,
        since,
        has_until: until.or_else(|| parameter("_until")).is_some(),
        says_request: request.is_some(),
        folder: pulled,
    }))
}

/// What was asked for, whatever the time. Only a hash, for a request may name patients.
fn scope(asked: Option<&Asked>, request: Option<&Url>) -> Option<String> {
    let text = match asked {
        Some(asked) => {
            let since = None;
            serde_json::to_string(&Asked {
                since,
                ..asked.clone()
            })
            .ok()?
        }
        None => {
            let request = request?;
            let mut pairs: Vec<_> = request.query_pairs().collect();
            pairs.retain(|(name, _)| name != "_since");
            pairs.sort();
            format!("{} {pairs:?}", request.path())
        }
    };
    Some(format!("{:016x}", xxh3_64(text.as_bytes())))
}

/// How many lines of a file tell of errors of the source; what cannot be read may be one.
pub(crate) fn count_errors(path: &Path) -> Result<u64> {
    let is_error = |severity: &Severity| matches!(severity, Severity::Error | Severity::Fatal);
    let mut errors = 0;
    let mut lines = Lines::open(path, LINE_BYTES_MAX)?;
    while let Some(line) = lines.next_line()? {
        let outcome = match line {
            Line::Text(text) => OperationOutcome::parse(text).ok(),
            Line::Overlong => None,
        };
        errors += u64::from(outcome.is_none_or(|outcome| {
            let mut issues = outcome.issues.iter();
            issues.any(|issue| is_error(&issue.severity))
        }));
    }
    Ok(errors)
}

/// Where a file of the manifest lies: under the path that the manifest gives, or under the last part of its URL.
fn local(folder: &Path, file: &ManifestFile, is_deletions: bool) -> Result<PathBuf, String> {
    let place = file.url.split(['?', '#']).next().unwrap_or_default();
    let last = place.rsplit('/').next().unwrap_or(place);
    let below = if is_deletions { "deleted" } else { "error" };
    let relative = Path::new(place);
    let is_inside = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    let mut tried = vec![folder.join(last), folder.join(below).join(last)];
    if is_inside {
        tried.insert(0, folder.join(relative));
    }
    tried
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| last.to_owned())
}

/// Plain NDJSON files: everything, each time one of them has changed.
fn plain(path: &Path, cursor: Option<&str>) -> Result<Option<Fetched>> {
    let mut fetched = Fetched {
        is_whole: true,
        ..Fetched::default()
    };
    let mut seen = String::new();
    for entry in entries(path)? {
        let name = entry
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if !is_ndjson(&name) || !entry.is_file() {
            continue;
        }
        let failed = |source| Error::io(format!("looking at {}", entry.display()), source);
        let found = entry.metadata().map_err(failed)?;
        let changed = found
            .modified()
            .map_err(failed)?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        seen.push_str(&format!("{name} {} {}\n", found.len(), changed.as_nanos()));
        fetched.files.push(SourceFile::output(entry));
    }
    if fetched.files.is_empty() {
        return Err(invalid(format!(
            "{} holds neither a pull nor NDJSON files",
            path.display()
        )));
    }
    // Not one of a pull that is under way: it would seem to be everything.
    PulledFolder::open(path)?;
    fetched.transaction_time = format!("files-{:016x}", xxh3_64(seen.as_bytes()));
    Ok((cursor != Some(fetched.transaction_time.as_str())).then_some(fetched))
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let failed = |source| Error::io(format!("listing {}", path.display()), source);
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut entries = entries
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::Invalid, problem)
}
