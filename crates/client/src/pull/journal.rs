//! What a pull has to know after a crash: [`Journal`], lines that are only ever appended.
//!
//! Each line is a checksum and a [`Record`] as JSON. A line that was not written whole, and all behind it, is cut off when the journal is
//! opened: what it said is then found out again. The file is for its owner only: pages of the manifest are in it as they came, with the URLs of
//! files, which can be secrets, and with what the server repeats of the kick-off. Our own parameters, patients among them, are in it as
//! digests. When the pull has ended, the pages go.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Pull;
use super::attach::Links;
use super::folder::{PullFolder, private_file};
use super::report::{PullReport, PulledFile};
use super::settings::{AttachmentSettings, PullSettings};
use crate::decode::{Coding, RestartPoint};
use crate::durable::sync_folder;
use crate::receipt::{digest, hex};
use crate::{Error, ErrorKind, Result};

/// The form of the records.
const VERSION: u32 = 1;

/// Hex digits of a line's checksum.
const CHECKSUM_DIGITS: usize = 16;

/// What makes a pull the same pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) version: u32,
    /// The FHIR base URL, without a slash at its end.
    pub(super) base: String,
    /// The parameters by name, each as a digest of its value.
    pub(super) parameters: BTreeMap<String, String>,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub(super) enum Record {
    /// The pull has begun.
    Pull(Identity),
    /// The server has accepted the export.
    KickedOff {
        status_url: String,
        at_micros: i64,
        /// Whether the job's status is told apart from the question's (CL-06).
        #[serde(default)]
        has_separate_status: bool,
    },
    /// A page of the manifest came, or it came with more files than before.
    Page {
        index: usize,
        url: String,
        is_complete: bool,
        json: String,
    },
    /// A file's body has begun to come; what lies in the partial file before this is of no use.
    Begun {
        file: String,
        etag: Option<String>,
        coding: Coding,
    },
    /// A place of a file's body where decoding can begin.
    Restart { file: String, point: RestartPoint },
    /// A file is whole and has its name.
    Done {
        file: PulledFile,
        #[serde(default)]
        issues: BTreeMap<String, u64>,
    },
    /// A file whose lines lead to its attachments is about to take the place of the one that came.
    Linking { file: PulledFile, links: Links },
    /// It has.
    Linked { file: String },
    /// The server has no such export any more, or it has failed: the next run begins anew.
    Lost,
    /// All files and `manifest.json` are on the disk.
    Written { report: PullReport },
    /// Nothing is left to do.
    Finished { report: PullReport },
}

/// The settings that have a say in what the folder holds in the end, by what they are called when they differ.
fn shape(settings: &PullSettings) -> [(&'static str, Value); 2] {
    let way = |attachments: &AttachmentSettings| {
        let inline = (attachments.inline_below_bytes > 0)
            .then_some((attachments.inline_below_bytes, &attachments.inline_types));
        json!([attachments.types, inline])
    };
    let attachments = settings.attachments.as_ref().map(way).unwrap_or_default();
    [
        ("way with attachments", attachments),
        ("page folders", Value::from(settings.page_folders)),
    ]
}

/// What two pulls have in common that give folders of the same shape, as a digest.
pub(crate) fn shape_digest(settings: &PullSettings) -> String {
    digest(json!(shape(settings)).to_string().as_bytes())
}

/// The journal of one folder, open for more.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    bytes: u64,
    bytes_max: u64,
}

impl Identity {
    pub(super) fn of(pull: &Pull) -> Self {
        let mut parameters = BTreeMap::new();
        let mut add = |name: &str, value: &Value| {
            // What is not asked for does not count, so that a later version may know more parameters.
            if matches!(value, Value::Null | Value::Bool(false))
                || value.as_array().is_some_and(Vec::is_empty)
            {
                return;
            }
            let text = format!("{name}={value}");
            parameters.insert(name.to_owned(), digest(text.as_bytes()));
        };
        if let Ok(Value::Object(members)) = serde_json::to_value(&pull.parameters) {
            for (name, value) in &members {
                add(name, value);
            }
        }
        if let Some(url) = &pull.settings.status_url {
            add("status URL", &Value::from(url.as_str()));
        }
        for (name, value) in shape(&pull.settings) {
            add(name, &value);
        }
        Self {
            version: VERSION,
            base: pull.provider.base().as_str().trim_end_matches('/').to_owned(),
            parameters,
        }
    }

    /// What differs, by name.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.base != other.base {
            return Some(format!("it is of {}", self.base));
        }
        let names = self.parameters.keys().chain(other.parameters.keys());
        let differing = names.filter(|name| self.parameters.get(*name) != other.parameters.get(*name));
        let mut differing: Vec<&str> = differing.map(String::as_str).collect();
        differing.sort_unstable();
        differing.dedup();
        (!differing.is_empty()).then(|| format!("it was asked for with another {}", differing.join(", ")))
    }
}

impl Journal {
    /// Opens the journal of a folder and reads what it says.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`]; [`ErrorKind::OtherFolder`] for the journal of a newer version; [`ErrorKind::Protocol`] for one that is longer
    /// than it may be.
    pub(super) fn open(folder: &PullFolder, bytes_max: u64) -> Result<(Self, Vec<Record>)> {
        let path = folder.hidden("journal");
        let mut file = private_file(&path)?;
        let mut text = Vec::new();
        (&mut file)
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut text)
            .map_err(|source| Error::disk("reading", &path, source))?;
        if text.len() as u64 > bytes_max {
            return Err(too_long(bytes_max));
        }
        let (records, whole) = read(&text);
        if let Some(Record::Pull(identity)) = records.first()
            && identity.version > VERSION
        {
            let problem = format!("{} was written by a newer version", path.display());
            return Err(Error::new(ErrorKind::OtherFolder, problem));
        }
        file.set_len(whole)
            .and_then(|()| file.seek(SeekFrom::Start(whole)))
            .map_err(|source| Error::disk("mending", &path, source))?;
        let journal = Self {
            file,
            path,
            bytes: whole,
            bytes_max,
        };
        Ok((journal, records))
    }

    /// Notes what can be found out again after a power cut.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`]; [`ErrorKind::Protocol`] when the journal would be longer than it may be.
    pub(super) fn note(&mut self, record: &Record) -> Result<()> {
        let line = line(record);
        self.bytes += line.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(too_long(self.bytes_max));
        }
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| Error::disk("writing", &self.path, source))
    }

    /// Notes what must be known after a power cut too.
    pub(super) fn keep(&mut self, record: &Record) -> Result<()> {
        self.note(record)?;
        self.file
            .sync_data()
            .map_err(|source| Error::disk("syncing", &self.path, source))
    }

    /// Writes the journal anew, with these records and nothing else.
    pub(super) fn rewrite(&mut self, records: &[Record]) -> Result<()> {
        let next = self.path.with_extension("next");
        let text: String = records.iter().map(line).collect();
        let written = (|| {
            let mut file = private_file(&next)?;
            let write = file
                .set_len(0)
                .and_then(|()| file.write_all(text.as_bytes()))
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&next, &self.path))
                .and_then(|()| sync_folder(self.path.parent().unwrap_or(Path::new(""))));
            write.map_err(|source| Error::disk("writing", &self.path, source))?;
            Ok(file)
        })();
        self.file = written?;
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn too_long(bytes_max: u64) -> Error {
    let problem = format!("the journal of the pull is longer than {bytes_max} bytes");
    Error::new(ErrorKind::Protocol, problem)
}

/// One line: the checksum of the record's JSON, and the JSON.
pub(super) fn line<R: Serialize>(record: &R) -> String {
    let json = serde_json::to_string(record).expect("records have no keys but strings");
    format!("{} {json}\n", checksum(json.as_bytes()))
}

/// Reads a line with its line break; `None` for one that was not written whole.
pub(super) fn parse<R: DeserializeOwned>(line: &[u8]) -> Option<R> {
    let line = line.strip_suffix(b"\n")?;
    let (digits, rest) = line.split_at_checked(CHECKSUM_DIGITS)?;
    let json = rest.strip_prefix(b" ")?;
    let is_whole = checksum(json).as_bytes() == digits;
    is_whole.then(|| serde_json::from_slice(json).ok())?
}

fn checksum(json: &[u8]) -> String {
    hex(&Sha256::digest(json)[..CHECKSUM_DIGITS / 2])
}

/// The records up to the first line that is not whole, and how many bytes they take.
fn read(text: &[u8]) -> (Vec<Record>, u64) {
    let mut records = Vec::new();
    let mut whole = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let Some(record) = parse(line) else {
            break;
        };
        records.push(record);
        whole += line.len() as u64;
    }
    (records, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_is_cut_anywhere_gives_its_whole_records() {
        let record = |encoded| Record::Restart {
            file: "1.Patient.ndjson".to_owned(),
            point: RestartPoint { encoded, decoded: 7 },
        };
        let text: String = (0..3).map(|at| line(&record(at))).collect();
        let one = text.len() / 3;
        for cut in 0..=text.len() {
            let (records, whole) = read(&text.as_bytes()[..cut]);
            assert_eq!(records.len(), cut / one);
            assert_eq!(whole as usize, cut / one * one);
        }
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            assert_eq!(
                read(&damaged).0.len(),
                at / one,
                "what follows damage is not believed"
            );
        }
    }
}
