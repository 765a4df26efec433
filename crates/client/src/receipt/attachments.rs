//! The files in `attachments/` of a folder, and the list of them that a receipt binds: [`Attachments`].
//!
//! There may be a million, so the receipt does not name them: it has the digest of `attachments.sha256`, a text of lines as `sha256sum`
//! writes and checks them, sorted by name. The names alone decide that text, for they hold the digests.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::attachment_name::AttachmentName;
use super::seal::hex;
use crate::durable::sync_folder;
use crate::{Error, Result};

/// The folder of attachments in a pulled folder.
pub const ATTACHMENTS: &str = "attachments";

/// The list of the attachments, beside the manifest.
pub const ATTACHMENTS_LIST: &str = "attachments.sha256";

/// Files of one kind of trouble that are named; the others are counted.
const NAMED_MAX: usize = 1_000;

/// What a receipt says of the attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptAttachments {
    /// How many there are.
    pub count: u64,
    /// Their bytes, all together.
    pub bytes: u64,
    /// SHA-256 of `attachments.sha256`, in lower-case hex.
    pub sha256: String,
}

/// What lies in `attachments/`.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    /// Sorted.
    pub(super) names: Vec<AttachmentName>,
    /// What has other names.
    pub(super) strangers: Few,
}

/// Names that are told, of very many the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Few {
    pub(super) named: Vec<String>,
    pub(super) further: u64,
}

impl Few {
    pub(super) fn add(&mut self, name: impl FnOnce() -> String) {
        match self.named.len() < NAMED_MAX {
            true => self.named.push(name()),
            false => self.further += 1,
        }
    }
}

impl Attachments {
    /// Lists what lies there, without reading it; nothing where there is no such folder. Hidden files are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`](crate::ErrorKind::Disk).
    pub(crate) fn find(folder: &Path) -> Result<Self> {
        let path = folder.join(ATTACHMENTS);
        let mut found = Self::default();
        let listed = match fs::read_dir(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(source) => Err(source),
            Ok(mut entries) => entries.try_for_each(|entry| found.take(&entry?)),
        };
        listed.map_err(|source| Error::disk("listing", &path, source))?;
        found.names.sort_unstable();
        found.strangers.named.sort_unstable();
        Ok(found)
    }

    fn take(&mut self, entry: &fs::DirEntry) -> io::Result<()> {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_folder = entry.file_type()?.is_dir();
        match AttachmentName::parse(&name) {
            Some(name) if !is_folder => self.names.push(name),
            _ if name.starts_with('.') => {}
            _ => {
                let end = if is_folder { "/" } else { "" };
                self.strangers.add(|| format!("{ATTACHMENTS}/{name}{end}"));
            }
        }
        Ok(())
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> &[AttachmentName] {
        &self.names
    }

    /// Whether this attachment is there.
    pub(super) fn has(&self, name: &AttachmentName) -> bool {
        self.names.binary_search(name).is_ok()
    }

    /// The digest that the list of these attachments has.
    pub(super) fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for name in &self.names {
            digest.update(line(name));
        }
        hex(&digest.finalize())
    }

    /// Writes the list of these attachments, durably and in one step, and makes their names last.
    pub(super) fn write_list(&self, folder: &Path) -> Result<ReceiptAttachments> {
        let path = folder.join(ATTACHMENTS_LIST);
        let partial = folder.join(format!(".{ATTACHMENTS_LIST}.partial"));
        let written = || {
            let mut list = BufWriter::new(File::create(&partial)?);
            for name in &self.names {
                list.write_all(line(name).as_bytes())?;
            }
            list.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            fs::rename(&partial, &path)?;
            sync_folder(&folder.join(ATTACHMENTS))?;
            sync_folder(folder)
        };
        written().map_err(|source| Error::disk("writing", &path, source))?;
        let mut bytes = 0;
        for name in &self.names {
            let path = folder.join(name.path());
            let found = fs::metadata(&path).map_err(|source| Error::disk("looking at", &path, source))?;
            bytes += found.len();
        }
        Ok(ReceiptAttachments {
            count: self.names.len() as u64,
            bytes,
            sha256: self.digest(),
        })
    }
}

/// The line of an attachment, as `sha256sum` has it.
fn line(name: &AttachmentName) -> String {
    format!("{}  {}\n", hex(name.sha256()), name.path())
}

/// Reads a line of the list, without its end.
pub(super) fn parse_line(text: &[u8]) -> Option<AttachmentName> {
    let (sha256, path) = std::str::from_utf8(text).ok()?.split_once("  ")?;
    let name = AttachmentName::parse(path.strip_prefix(ATTACHMENTS)?.strip_prefix('/')?)?;
    (hex(name.sha256()) == sha256).then_some(name)
}
