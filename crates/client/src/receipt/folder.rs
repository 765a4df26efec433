//! A folder of files that were pulled or exported: [`PulledFolder`].

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::MANIFEST_BYTES_MAX;
use super::files::{self, FolderFile};
use super::record::{Asked, RECEIPT_EXTENSION, RECEIPT_VERSION, Receipt};
use crate::pull::{self, FileKind};
use crate::{Error, ErrorKind, Result};

/// The manifest's name in a folder.
pub const MANIFEST: &str = "manifest.json";

/// Texts of a receipt by which it is known to have been there, however it is damaged.
const RECEIPT_MARKS: [&str; 2] = [RECEIPT_EXTENSION, "\"receiptVersion\""];

/// How much a folder says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its manifest has a receipt.
    WithReceipt,
    /// It has a manifest without a receipt, such as other clients write.
    WithoutReceipt,
    /// It has no manifest: files only.
    WithoutManifest,
}

/// A folder of NDJSON files with what is written of them.
///
/// Read are folders of `fhirhose pull` and `fhirhose export`, of bulk-data-client and of Cumulus, and any folder of `*.ndjson`, plain,
/// gzip or zstd.
#[derive(Debug, Clone)]
pub struct PulledFolder {
    path: PathBuf,
    transaction_time: Option<String>,
    manifest: Option<Value>,
    /// The manifest as it lies there.
    text: String,
    receipt: Option<Receipt>,
    files: Vec<FolderFile>,
}

impl PulledFolder {
    /// Opens a folder by its `manifest.json`, or without one by the files in it. The files themselves are not read.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`] if it cannot be read or nothing is in it; [`ErrorKind::Corrupt`] if the manifest or its receipt is damaged, or
    /// the receipt of a newer form, or if a pull into it has not come to its end.
    pub fn open(path: &Path) -> Result<Self> {
        let mut folder = Self {
            path: path.to_owned(),
            transaction_time: None,
            manifest: None,
            text: String::new(),
            receipt: None,
            files: Vec::new(),
        };
        match read_manifest(&path.join(MANIFEST))? {
            Some(text) => folder.read(text)?,
            None if pull::has_begun(path) => {
                let problem = format!(
                    "the pull into {} has not come to its end: run it again",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Corrupt, problem));
            }
            None => {}
        }
        if folder.receipt.is_none() {
            folder.find_files()?;
        }
        if folder.manifest.is_none() && folder.files.is_empty() {
            let missing = io::Error::new(
                io::ErrorKind::NotFound,
                "there is no manifest.json and no *.ndjson",
            );
            return Err(Error::disk("opening", path, missing));
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `transactionTime` as the server wrote it (CL-12), if there is a manifest that says it.
    pub fn transaction_time(&self) -> Option<&str> {
        self.transaction_time.as_deref()
    }

    /// The base URL of the server that it is from, if a receipt says it.
    pub fn source(&self) -> Option<&str> {
        self.receipt.as_ref()?.source.as_deref()
    }

    /// What was asked for, if a receipt says it.
    pub fn asked(&self) -> Option<&Asked> {
        self.receipt.as_ref()?.asked.as_ref()
    }

    /// The receipt; its seal is not looked at before [`prove`](Self::prove).
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The files: all that the receipt names, or all that lie there.
    pub fn files(&self) -> &[FolderFile] {
        &self.files
    }

    /// The manifest as JSON, if there is one.
    pub fn manifest(&self) -> Option<&Value> {
        self.manifest.as_ref()
    }

    /// The manifest's text, empty if there is none.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How much it says of itself.
    pub fn standing(&self) -> Standing {
        match (&self.receipt, &self.manifest) {
            (Some(_), _) => Standing::WithReceipt,
            (None, Some(_)) => Standing::WithoutReceipt,
            (None, None) => Standing::WithoutManifest,
        }
    }

    fn read(&mut self, text: String) -> Result<()> {
        let damaged = |why: &str| Error::new(ErrorKind::Corrupt, format!("{MANIFEST} is damaged: {why}"));
        let manifest: Value = serde_json::from_str(&text).map_err(|_| damaged("it is not valid JSON"))?;
        if !manifest.is_object() {
            return Err(damaged("it is not a JSON object"));
        }
        self.transaction_time = manifest["transactionTime"].as_str().map(str::to_owned);
        match find_receipt(&manifest) {
            Some(receipt) => self.receipt = Some(read_receipt(receipt)?),
            None if RECEIPT_MARKS.iter().any(|mark| text.contains(mark)) => {
                return Err(damaged("what is left of a receipt cannot be read"));
            }
            None => {}
        }
        if let Some(receipt) = &self.receipt {
            self.transaction_time = Some(receipt.transaction_time.clone());
            self.files = receipt.files.iter().map(FolderFile::from).collect();
        }
        self.manifest = Some(manifest);
        self.text = text;
        Ok(())
    }

    /// Lists what lies in the folder, with what a manifest says of it; what the manifest names and is not there comes too.
    fn find_files(&mut self) -> Result<()> {
        let mut entries = self.entries();
        let mut found = Vec::new();
        for name in files::list(&self.path)? {
            if files::is_of_resources(&name) {
                let entry = entries.remove(name.as_str());
                found.push(FolderFile::named(name).told(entry));
            }
        }
        for (name, entry) in entries {
            if files::is_within(name) && files::is_of_resources(name) {
                found.push(FolderFile::named(name.to_owned()).told(Some(entry)));
            }
        }
        self.files = found;
        Ok(())
    }

    /// The manifest's entries whose URL is a path in the folder, by that.
    fn entries(&self) -> BTreeMap<&str, (FileKind, &Value)> {
        let manifest = self.manifest.as_ref().unwrap_or(&Value::Null);
        let mut entries = BTreeMap::new();
        for (list, kind) in LISTS {
            for entry in manifest[list].as_array().into_iter().flatten() {
                if let Some(name) = entry["url"].as_str().filter(|name| !name.contains("://")) {
                    entries.insert(name, (kind, entry));
                }
            }
        }
        entries
    }
}

/// The lists of a manifest by the names that servers give them.
pub(crate) const LISTS: [(&str, FileKind); 4] = [
    ("output", FileKind::Output),
    ("deleted", FileKind::Deleted),
    ("error", FileKind::Error),
    ("outcome", FileKind::Error),
];

impl FolderFile {
    /// Takes what a manifest's entry says of it.
    fn told(mut self, entry: Option<(FileKind, &Value)>) -> Self {
        if let Some((kind, entry)) = entry {
            self.kind = kind;
            self.lines = entry["count"].as_u64();
            self.bytes = entry["fileSize"].as_u64();
            if let Some(resource_type) = entry["type"].as_str() {
                self.resource_type = Some(resource_type.to_owned());
            }
        }
        self
    }
}

impl From<&super::ReceiptFile> for FolderFile {
    fn from(file: &super::ReceiptFile) -> Self {
        Self {
            name: file.file.name.clone(),
            kind: file.file.kind,
            resource_type: file.file.resource_type.clone(),
            lines: Some(file.file.lines),
            bytes: Some(file.file.bytes),
            sha256: Some(file.file.sha256.clone()),
            first_id: file.first_id.clone(),
            last_id: file.last_id.clone(),
        }
    }
}

fn read_manifest(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read =
        files::open_plain(path).and_then(|file| file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes));
    match read {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::disk("reading", path, source)),
        Ok(_) => {}
    }
    let damaged = |why: String| Error::new(ErrorKind::Corrupt, format!("{MANIFEST} is damaged: {why}"));
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(damaged(format!("it is longer than {MANIFEST_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is not UTF-8".to_owned()))?;
    Ok(Some(text))
}

/// Reads the receipt in a manifest's text, without any proof; `None` if there is none that can be read.
pub(crate) fn receipt_in(manifest: &[u8]) -> Option<Receipt> {
    let manifest: Value = serde_json::from_slice(manifest).ok()?;
    read_receipt(find_receipt(&manifest)?).ok()
}

fn find_receipt(manifest: &Value) -> Option<&Value> {
    match &manifest["extension"] {
        Value::Array(list) => list
            .iter()
            .find(|each| each["url"] == RECEIPT_EXTENSION)?
            .get("receipt"),
        by_url => by_url.get(RECEIPT_EXTENSION),
    }
}

fn read_receipt(receipt: &Value) -> Result<Receipt> {
    let damaged = |why: &str| {
        Error::new(
            ErrorKind::Corrupt,
            format!("{MANIFEST} is damaged: its receipt {why}"),
        )
    };
    let version = receipt["receiptVersion"].as_u64();
    if version.is_some_and(|version| version > u64::from(RECEIPT_VERSION)) {
        let newer =
            format!("the receipt in {MANIFEST} is of a newer form than {RECEIPT_VERSION}, or damaged");
        return Err(Error::new(ErrorKind::Corrupt, newer));
    }
    let receipt: Receipt = serde_json::from_value(receipt.clone()).map_err(|_| damaged("cannot be read"))?;
    let is_good = |name: &str| files::is_within(name) && name != MANIFEST;
    if !receipt.files.iter().all(|file| is_good(&file.file.name)) {
        return Err(damaged("names a file outside the folder"));
    }
    Ok(receipt)
}
