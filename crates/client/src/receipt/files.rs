//! The files of a folder: [`FolderFile`], their names, and their text.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path};

use super::attachments::ATTACHMENTS;
use crate::pull::FileKind;
use crate::{Error, Result};

/// Read at a time, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A file of a folder, and what is written of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFile {
    /// Its path in the folder.
    pub name: String,
    /// Which list of the manifest it is of.
    pub kind: FileKind,
    /// The type of its resources; `None` where they are of several.
    pub resource_type: Option<String>,
    /// How many lines it must have.
    pub lines: Option<u64>,
    /// How many bytes it must have on disk.
    pub bytes: Option<u64>,
    /// Its SHA-256 in lower-case hex.
    pub sha256: Option<String>,
    /// The id of its first resource.
    pub first_id: Option<String>,
    /// The id of its last resource.
    pub last_id: Option<String>,
}

impl FolderFile {
    /// Opens its text, decompressed where it lies compressed (gzip or zstd, told by the first bytes).
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::ErrorKind::Disk).
    pub fn open(&self, folder: &Path) -> Result<Box<dyn Read + Send>> {
        let path = folder.join(&self.name);
        let open = || decoded(BufReader::with_capacity(PIECE_BYTES, open_plain(&path)?));
        open().map_err(|source| Error::disk("reading", &path, source))
    }

    /// A file that is known by its name only.
    pub(super) fn named(name: String) -> Self {
        let (kind, resource_type) = meaning(&name);
        Self {
            name,
            kind,
            resource_type,
            lines: None,
            bytes: None,
            sha256: None,
            first_id: None,
            last_id: None,
        }
    }
}

/// Opens a file that has an end: a pipe or a device in its place would be read for ever.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
    }
}

/// The text behind bytes that may be compressed, which text never looks like.
pub(super) fn decoded<'r>(mut raw: impl BufRead + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let begin = raw.fill_buf()?;
    let (is_gzip, is_zstd) = (
        begin.starts_with(b"\x1f\x8b"),
        begin.starts_with(b"\x28\xb5\x2f\xfd"),
    );
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        (_, true) => Box::new(zstd::Decoder::with_buffer(raw)?),
        _ => Box::new(raw),
    })
}

/// Whether a name stays within its folder.
pub(super) fn is_within(name: &str) -> bool {
    !name.is_empty()
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Lists what lies in a folder and the folders that pulls make in it, sorted as people count; hidden files and `attachments/` are left out.
pub(super) fn list(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    list_within(folder, "", &mut names).map_err(|source| Error::disk("listing", folder, source))?;
    names.sort_by_cached_key(|name| sort_key(name));
    Ok(names)
}

fn list_within(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let name_within = format!("{prefix}{name}");
        if !path.is_dir() {
            names.push(name_within);
        } else if name_within != ATTACHMENTS && !entry.file_type()?.is_symlink() {
            list_within(&path, &format!("{name_within}/"), names)?;
        }
    }
    Ok(())
}

/// Files in the order of their folders, types and numbers.
fn sort_key(name: &str) -> (String, String, u64, String) {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let number = file.split('.').find_map(|part| part.parse().ok());
    let resource_type = meaning(name).1.unwrap_or_default();
    (
        folder.to_owned(),
        resource_type,
        number.unwrap_or(0),
        name.to_owned(),
    )
}

/// Whether a file is one of resources, and not a log.
pub fn is_ndjson(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let plain = file
        .strip_suffix(".gz")
        .or(file.strip_suffix(".zst"))
        .unwrap_or(file);
    plain.ends_with(".ndjson") && !is_log(plain)
}

/// Whether a file's path in a folder is that of one of resources: attachments may have any name.
pub(super) fn is_of_resources(name: &str) -> bool {
    let mut folders = name.split('/').rev().skip(1);
    is_ndjson(name) && !folders.any(|folder| folder == ATTACHMENTS)
}

/// Whether this is a log of a pull, rotated ones too.
pub(super) fn is_log(name: &str) -> bool {
    name.starts_with("log.") && name.contains("ndjson")
}

/// What a file holds, by its name: `1.Patient.ndjson`, `Patient.000.ndjson.gz`, `deleted/1.Bundle.ndjson`, `1.output.ndjson`.
fn meaning(name: &str) -> (FileKind, Option<String>) {
    let mut parts: Vec<&str> = name.split(['/', '.']).collect();
    parts.retain(|part| !part.is_empty());
    let is_type = |part: &&&str| {
        part.starts_with(|first: char| first.is_ascii_uppercase())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let resource_type = parts.iter().rev().find(is_type).map(|part| (*part).to_owned());
    let kind = if parts.contains(&"deleted") {
        FileKind::Deleted
    } else if parts.contains(&"error") || resource_type.as_deref() == Some("OperationOutcome") {
        FileKind::Error
    } else {
        FileKind::Output
    };
    (kind, resource_type)
}
