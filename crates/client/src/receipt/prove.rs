//! Holds a folder to its receipt: [`PulledFolder::prove`].

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::attachments::{ATTACHMENTS_LIST, Attachments};
use super::files::{self, FolderFile};
use super::folder::{LISTS, MANIFEST, PulledFolder};
use super::scan::{Look, Scanned, scan};
use super::seal;
use crate::pull::FileKind;
use crate::{Error, Result};

/// How thoroughly a folder is proved.
#[derive(Debug, Clone)]
pub struct ProveSettings {
    /// Files that are read at a time.
    pub jobs: NonZeroUsize,
    /// Whether each line must be a JSON resource of the file's type. Without a receipt it must in any case.
    pub deep: bool,
    /// Whether `attachments/` is proved, and whether what the lines link to is there.
    pub attachments: bool,
    /// Thumbprints (RFC 7638, SHA-256), one of which the key of the signature must have; none are asked for where it is empty.
    pub signers: Vec<String>,
}

impl Default for ProveSettings {
    /// As many files as there are cores, not deep, with the attachments, any signer.
    fn default() -> Self {
        Self {
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            deep: false,
            attachments: true,
            signers: Vec::new(),
        }
    }
}

/// What binds the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sealed {
    /// A signature by the key with this thumbprint.
    By(String),
    /// A bare digest: proves the absence of accidents, not of people.
    Digest,
    /// There is a receipt, and it is damaged.
    Broken,
    /// There is no receipt.
    Nothing,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// The file's path in the folder.
    pub file: String,
    /// The first line that is wrong, from 1, if it can be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong, without anything of the file.
    pub why: String,
}

/// A file that nobody has named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extra {
    /// The file's path in the folder.
    pub file: String,
    /// Whether readers of the folder would take it for data, or it lies among the attachments of the receipt: then the folder is not whole.
    pub is_data: bool,
}

/// What a folder was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What binds the manifest.
    pub sealed: Sealed,
    /// Files that were read.
    pub files: u64,
    /// Their lines.
    pub lines: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Attachments that were read.
    pub attachments: u64,
    /// Their bytes.
    pub attachment_bytes: u64,
    /// What is wrong, in the order of the manifest, with the attachments last.
    pub damages: Vec<Damage>,
    /// Files that nobody has named.
    pub extra: Vec<Extra>,
}

impl Proof {
    /// Whether everything is there, unchanged, and nothing more that would be taken for data.
    pub fn is_whole(&self) -> bool {
        self.damages.is_empty() && !self.extra.iter().any(|extra| extra.is_data)
    }
}

impl PulledFolder {
    /// Reads every file and holds it to what is written of it; `heard` is told of bytes as they are read, from several threads.
    ///
    /// With a receipt: the seal of the manifest, and of each file length, SHA-256, lines, first and last id. Without one: that each line is
    /// a resource of the file's type, and the counts of the manifest by type. In a folder with attachments each link to one must lead
    /// somewhere. For a blocking thread.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::ErrorKind::Disk) if something cannot be read; what is not there or not right is in the [`Proof`].
    pub fn prove(&self, settings: &ProveSettings, heard: &(dyn Fn(u64) + Sync)) -> Result<Proof> {
        let mut proof = Proof {
            sealed: Sealed::Nothing,
            files: 0,
            lines: 0,
            bytes: 0,
            attachments: 0,
            attachment_bytes: 0,
            damages: Vec::new(),
            extra: Vec::new(),
        };
        self.check_seal(settings, &mut proof);
        let is_deep = settings.deep || self.receipt().is_none();
        let mut counted: BTreeMap<(FileKind, Option<String>), u64> = BTreeMap::new();
        let attachments = match settings.attachments {
            true => Some(Attachments::find(self.path())?),
            false => None,
        };
        let reader = Reader {
            folder: self,
            is_deep,
            links: attachments.as_ref().filter(|there| self.has_attachments(there)),
            heard,
        };
        let readings = reader.read_all(settings.jobs);
        for (file, reading) in self.files().iter().zip(readings) {
            let Some(scanned) = reading? else {
                proof.damage(&file.name, None, "is not there");
                continue;
            };
            proof.files += 1;
            proof.lines += scanned.lines;
            proof.bytes += scanned.bytes;
            *counted
                .entry((file.kind, file.resource_type.clone()))
                .or_default() += scanned.lines;
            if let Some((line, why)) = judge(file, &scanned) {
                proof.damage(&file.name, line, &why);
            }
        }
        if self.receipt().is_none() {
            self.check_counts(&counted, &mut proof);
        }
        if let Some(attachments) = &attachments {
            self.prove_attachments(attachments, settings.jobs, heard, &mut proof)?;
        }
        self.find_extra(&mut proof)?;
        Ok(proof)
    }

    fn check_seal(&self, settings: &ProveSettings, proof: &mut Proof) {
        let Some(receipt) = self.receipt() else {
            if !settings.signers.is_empty() {
                proof.damage(
                    MANIFEST,
                    None,
                    "has no receipt, and one of the named signer is asked for",
                );
            }
            return;
        };
        match seal::check(self.text(), receipt) {
            Err(why) => {
                proof.sealed = Sealed::Broken;
                proof.damage(MANIFEST, None, &format!("is damaged: {why}"));
            }
            Ok(None) => {
                proof.sealed = Sealed::Digest;
                if !settings.signers.is_empty() {
                    proof.damage(MANIFEST, None, "is not signed");
                }
            }
            Ok(Some(key)) => {
                let thumbprint = key.thumbprint();
                if !settings.signers.is_empty() && !settings.signers.contains(&thumbprint) {
                    proof.damage(MANIFEST, None, &format!("is signed by another key, {thumbprint}"));
                }
                proof.sealed = Sealed::By(thumbprint);
            }
        }
        for missing in &receipt.missing {
            proof.damage(&missing.name, None, "could not be had from the server");
        }
    }

    /// Holds the counts of a manifest whose entries are no paths to the files, type by type.
    fn check_counts(&self, counted: &BTreeMap<(FileKind, Option<String>), u64>, proof: &mut Proof) {
        let mut promised: BTreeMap<(FileKind, Option<String>), Option<u64>> = BTreeMap::new();
        let Some(manifest) = self.manifest() else { return };
        for (list, kind) in LISTS {
            for entry in manifest[list].as_array().into_iter().flatten() {
                let usual = match kind {
                    FileKind::Output => None,
                    FileKind::Deleted => Some("Bundle"),
                    FileKind::Error => Some("OperationOutcome"),
                };
                let resource_type = entry["type"].as_str().or(usual).map(str::to_owned);
                let sum = promised.entry((kind, resource_type)).or_insert(Some(0));
                *sum = sum
                    .zip(entry["count"].as_u64())
                    .map(|(sum, count)| sum.saturating_add(count));
            }
        }
        for ((kind, resource_type), lines) in promised {
            let found = counted.get(&(kind, resource_type.clone())).copied().unwrap_or(0);
            let what = resource_type.as_deref().unwrap_or("several types");
            match lines {
                Some(lines) if lines != found => {
                    let why = format!("promises {lines} lines of {what}, and {found} are there");
                    proof.damage(MANIFEST, None, &why);
                }
                _ => {}
            }
        }
    }

    /// Whether links to attachments are to lead somewhere here: the lines may have come from another folder, which had them.
    fn has_attachments(&self, there: &Attachments) -> bool {
        match self.receipt() {
            Some(receipt) => receipt.attachments.is_some(),
            None => !there.names.is_empty(),
        }
    }

    fn find_extra(&self, proof: &mut Proof) -> Result<()> {
        let named: BTreeSet<&str> = self.files().iter().map(|file| file.name.as_str()).collect();
        let has_list = self
            .receipt()
            .is_some_and(|receipt| receipt.attachments.is_some());
        for file in files::list(self.path())? {
            let is_known = file == MANIFEST
                || has_list && file == ATTACHMENTS_LIST
                || file.ends_with("/manifest.json")
                || files::is_log(&file);
            if !is_known && !named.contains(file.as_str()) {
                let is_data = files::is_of_resources(&file);
                proof.extra.push(Extra { file, is_data });
            }
        }
        Ok(())
    }
}

impl Proof {
    pub(super) fn damage(&mut self, file: &str, line: Option<u64>, why: &str) {
        self.damages.push(Damage {
            file: file.to_owned(),
            line,
            why: why.to_owned(),
        });
    }
}

/// How the files are read.
struct Reader<'a> {
    folder: &'a PulledFolder,
    is_deep: bool,
    /// What the lines may link to, if that is looked at.
    links: Option<&'a Attachments>,
    heard: &'a (dyn Fn(u64) + Sync),
}

impl Reader<'_> {
    /// Reads the files, several at a time; `None` for one that is not there.
    fn read_all(&self, jobs: NonZeroUsize) -> Vec<Result<Option<Scanned>>> {
        let files = self.folder.files();
        let next = AtomicUsize::new(0);
        let readings = Mutex::new(Vec::with_capacity(files.len()));
        std::thread::scope(|scope| {
            for _ in 0..jobs.get().min(files.len()) {
                scope.spawn(|| {
                    while let Some((number, file)) = next_file(files, &next) {
                        let reading = self.read_one(file);
                        let mut readings = readings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        readings.push((number, reading));
                    }
                });
            }
        });
        let mut readings = readings
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        readings.sort_by_key(|(number, _)| *number);
        readings.into_iter().map(|(_, reading)| reading).collect()
    }

    fn read_one(&self, file: &FolderFile) -> Result<Option<Scanned>> {
        let path = self.folder.path().join(&file.name);
        let expected = file.resource_type.as_deref();
        let look = match self.is_deep {
            true => Look::Each(expected),
            false => Look::Ends,
        };
        let failed = |source: std::io::Error| Error::disk("reading", &path, source);
        let mut scanned = match scan(&path, look, self.links, self.heard) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(source)),
            Ok(scanned) => scanned,
        };
        if !self.is_deep && judge(file, &scanned).is_some() {
            // The place of the damage, where it broke a line.
            scanned.bad_line = scan(&path, Look::Each(expected), None, &|_| ())
                .map_err(failed)?
                .bad_line;
        }
        Ok(Some(scanned))
    }
}

fn next_file<'f>(files: &'f [FolderFile], next: &AtomicUsize) -> Option<(usize, &'f FolderFile)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    files.get(number).map(|file| (number, file))
}

/// What does not fit, with the line if it can be told.
fn judge(file: &FolderFile, found: &Scanned) -> Option<(Option<u64>, String)> {
    let line = found.bad_line.as_ref().map(|(line, _)| *line);
    let differs = |what: &str, expected: u64, found: u64| {
        Some((
            line,
            format!("has {found} {what}, where {expected} are written down"),
        ))
    };
    if let Some(bytes) = file
        .bytes
        .filter(|&bytes| bytes != found.bytes && file.sha256.is_some())
    {
        return differs("bytes", bytes, found.bytes);
    }
    if let Some(lines) = file.lines.filter(|&lines| lines != found.lines) {
        return differs("lines", lines, found.lines);
    }
    if file.sha256.as_ref().is_some_and(|sha256| *sha256 != found.sha256) {
        return Some((line, "has another SHA-256 than is written down".to_owned()));
    }
    if file.sha256.is_some() && file.kind == FileKind::Output {
        if file.first_id != found.first_id {
            return Some((line, "begins with another id than is written down".to_owned()));
        }
        if file.last_id != found.last_id {
            return Some((line, "ends with another id than is written down".to_owned()));
        }
    }
    if let Some((line, why)) = &found.bad_line {
        return Some((Some(*line), format!("has a line that {why}")));
    }
    let line = found.dangling_line?;
    Some((
        Some(line),
        "has a line that links to an attachment that is not there".to_owned(),
    ))
}
