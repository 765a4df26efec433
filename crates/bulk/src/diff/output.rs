//! The folder that comes out: made beside its place under a hidden name, and moved there in one step.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use fhirhose_auth::SigningKey;
use fhirhose_client::pull::{FileKind, PulledFile};
use fhirhose_client::receipt::{Delivery, PulledFolder, write_manifest};
use fhirhose_fhir::instant::Instant;
use serde_json::json;
use sha2::{Digest, Sha256};
use url::Url;

use super::comparable::Scope;
use crate::durable::Lock;
use crate::{Error, ErrorKind, Result};

/// Where sorting has its files, within the hidden folder.
const SCRATCH: &str = ".sort";
/// Held by the process that makes the folder.
const LOCK: &str = ".lock";

/// The hidden folder with the files that are being written.
pub(super) struct Output {
    out: PathBuf,
    draft: PathBuf,
    /// The most text that a file holds, in bytes.
    pub(super) file_bytes_max: u64,
    /// One open file for each type.
    open: BTreeMap<String, OpenFile>,
    deleted: Option<OpenFile>,
    done: Vec<PulledFile>,
    /// Held for as long as this is worked on.
    _lock: Lock,
}

/// What the manifest says.
pub(super) struct Finish<'a> {
    pub(super) newer: &'a PulledFolder,
    pub(super) scope: &'a Scope,
    pub(super) key: Option<&'a SigningKey>,
    pub(super) created_at: Instant,
}

impl Output {
    /// Makes the hidden folder; what a crash has left in it is thrown away.
    pub(super) fn begin(out: &Path) -> Result<Self> {
        let out = std::path::absolute(out).map_err(|source| failed("naming", out, source))?;
        match fs::read_dir(&out).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Ok(false) => {
                let why = format!(
                    "{} is not empty: a difference goes into a folder of its own",
                    out.display()
                );
                return Err(Error::new(ErrorKind::Invalid, why));
            }
            Err(source) => return Err(failed("opening", &out, source)),
        }
        let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} has no name", out.display()),
            ));
        };
        let draft = parent.join(format!(".{}.partial", name.to_string_lossy()));
        fs::create_dir_all(&draft).map_err(|source| failed("creating", &draft, source))?;
        let lock = Lock::take(&draft.join(LOCK), || {
            format!("another process is making {} just now", draft.display())
        })?;
        clear(&draft).map_err(|source| failed("clearing", &draft, source))?;
        Ok(Self {
            out,
            draft,
            file_bytes_max: u64::MAX,
            open: BTreeMap::new(),
            deleted: None,
            done: Vec::new(),
            _lock: lock,
        })
    }

    /// A folder for what is only needed meanwhile.
    pub(super) fn scratch(&self, name: &str) -> PathBuf {
        self.draft.join(SCRATCH).join(name)
    }

    /// Writes a resource.
    pub(super) fn resource(&mut self, resource_type: &str, line: &[u8]) -> Result<()> {
        let is_full = |file: &mut OpenFile| file.file.bytes + line.len() as u64 >= self.file_bytes_max;
        let full = match self.open.get_mut(resource_type).is_some_and(is_full) {
            true => self.open.remove(resource_type),
            false => None,
        };
        let mut number = 1;
        if let Some(full) = full {
            number = full.number + 1;
            self.done.push(full.finish(&self.draft)?);
        }
        if !self.open.contains_key(resource_type) {
            let name = format!("{number}.{resource_type}.ndjson");
            let file = OpenFile::create(&self.draft, name, FileKind::Output, (resource_type, number))?;
            self.open.insert(resource_type.to_owned(), file);
        }
        match self.open.get_mut(resource_type) {
            Some(file) => file.line(&self.draft, line),
            None => Ok(()),
        }
    }

    /// Writes a Bundle of deletions.
    pub(super) fn deleted(&mut self, bundle: &[u8]) -> Result<()> {
        let file = match &mut self.deleted {
            Some(file) => file,
            none => {
                let folder = self.draft.join("deleted");
                fs::create_dir_all(&folder).map_err(|source| failed("creating", &folder, source))?;
                let name = "deleted/1.Bundle.ndjson".to_owned();
                none.insert(OpenFile::create(
                    &self.draft,
                    name,
                    FileKind::Deleted,
                    ("Bundle", 1),
                )?)
            }
        };
        file.line(&self.draft, bundle)
    }

    /// Ends the files, writes the manifest and moves the folder to its place; gives the number of files.
    pub(super) fn finish(mut self, finish: &Finish<'_>) -> Result<u64> {
        for file in std::mem::take(&mut self.open).into_values() {
            self.done.push(file.finish(&self.draft)?);
        }
        self.done
            .sort_by_cached_key(|file| (file.resource_type.clone(), number_of(&file.name)));
        if let Some(file) = self.deleted.take() {
            self.done.push(file.finish(&self.draft)?);
            let folder = self.draft.join("deleted");
            sync(&folder)?;
        }
        let scratch = self.draft.join(SCRATCH);
        fs::remove_dir_all(&scratch).map_err(|source| failed("removing", &scratch, source))?;
        let request = request(finish);
        let manifest = json!({
            "transactionTime": finish.scope.transaction_time,
            "request": request,
            "requiresAccessToken": false,
            "output": [], "deleted": [], "error": [],
        });
        let source = finish.newer.source().and_then(|source| Url::parse(source).ok());
        let delivery = Delivery {
            manifest: &manifest.to_string(),
            entries: &BTreeMap::new(),
            source: source.as_ref(),
            asked: finish.scope.asked.clone(),
            created_at: finish.created_at,
            files: &self.done,
            missing: &[],
        };
        write_manifest(&self.draft, &delivery, finish.key)?;
        let moved = fs::remove_file(self.draft.join(LOCK)).and_then(|()| fs::rename(&self.draft, &self.out));
        moved.map_err(|source| failed("writing", &self.out, source))?;
        if let Some(parent) = self.out.parent() {
            sync(parent)?;
        }
        Ok(self.done.len() as u64)
    }
}

/// The request that a server with `_since` would have been sent.
fn request(finish: &Finish<'_>) -> String {
    let of_server = finish
        .newer
        .manifest()
        .and_then(|manifest| manifest["request"].as_str());
    let Some(mut url) = of_server.and_then(|request| Url::parse(request).ok()) else {
        return String::new();
    };
    let others = url.query_pairs().filter(|(name, _)| name != "_since");
    let mut query: Vec<(String, String)> = others.map(|(name, value)| (name.into(), value.into())).collect();
    query.extend(
        finish
            .scope
            .since
            .iter()
            .map(|since| ("_since".to_owned(), since.clone())),
    );
    url.set_query(None);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url.into()
}

/// A file that is being written.
struct OpenFile {
    out: BufWriter<File>,
    digest: Sha256,
    file: PulledFile,
    number: u64,
}

impl OpenFile {
    fn create(
        folder: &Path,
        name: String,
        kind: FileKind,
        (resource_type, number): (&str, u64),
    ) -> Result<Self> {
        let path = folder.join(&name);
        let out = File::create(&path).map_err(|source| failed("creating", &path, source))?;
        Ok(Self {
            out: BufWriter::new(out),
            digest: Sha256::new(),
            file: PulledFile {
                name,
                kind,
                resource_type: Some(resource_type.to_owned()),
                lines: 0,
                bytes: 0,
                sha256: String::new(),
            },
            number,
        })
    }

    fn line(&mut self, folder: &Path, line: &[u8]) -> Result<()> {
        let written = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|source| failed("writing", &folder.join(&self.file.name), source))?;
        self.digest.update(line);
        self.digest.update(b"\n");
        self.file.lines += 1;
        self.file.bytes += line.len() as u64 + 1;
        Ok(())
    }

    fn finish(mut self, folder: &Path) -> Result<PulledFile> {
        let synced = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|source| failed("writing", &folder.join(&self.file.name), source))?;
        for byte in self.digest.finalize() {
            // Writing to a String does not fail.
            let _ = write!(self.file.sha256, "{byte:02x}");
        }
        Ok(self.file)
    }
}

fn number_of(name: &str) -> u64 {
    name.split('.').find_map(|part| part.parse().ok()).unwrap_or(0)
}

/// Removes all but the lock.
fn clear(draft: &Path) -> io::Result<()> {
    for entry in fs::read_dir(draft)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_name() != LOCK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("writing", folder, source))
}

fn failed(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{doing} {}", path.display()), source)
}
