//! What an export came to: [`ExportResult`], the job's result as JSON.

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};
use fhirhose_fhir::outcome::Severity;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::Sequence;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// A finished export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportResult {
    /// The snapshot's instant: nothing later is in the files, and everything that matches up to and including it is.
    pub transaction_time: Instant,
    /// The snapshot's newest commit.
    pub snapshot: Sequence,
    /// The kick-off URL, to be echoed.
    pub request: String,
    /// Output files sorted by type and number, then deletions, then outcomes; none is empty. Where there are pages, page by page.
    pub files: Vec<ResultFile>,
    /// The type whose instances head the blocks of the output files, if they are organised (spec §2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organized_by: Option<ResourceType>,
    /// How many of `files` each page of the manifest has, in order; empty when the manifest is not cut into pages (M-20).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<usize>,
}

/// What a file of an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Resources.
    Output,
    /// Transaction Bundles with deletions (M-30, M-31).
    Deleted,
    /// OperationOutcomes.
    Error,
}

/// One file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultFile {
    /// What it holds.
    pub kind: FileKind,
    /// The type of every resource in it; `None` in an output file that is organised by instance.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// What clients call it, unique in the export: `N.Type.ndjson`, `N.output.ndjson` where the output is organised,
    /// `N.Bundle.deleted.ndjson`, `N.OperationOutcome.error.ndjson`; in a folder its path there: `deleted/N.Bundle.ndjson`,
    /// `error/N.OperationOutcome.ndjson`.
    pub name: String,
    /// What the store's outputs call it, below the job's id; in a folder the same as `name`.
    pub stored_name: String,
    /// The number of lines.
    pub count: u64,
    /// The length of the text.
    pub bytes: u64,
    /// The length at rest.
    pub stored_bytes: u64,
    /// The SHA-256 of the text in lower-case hex, if it was computed.
    pub sha256: Option<String>,
    /// The `name` of the file in which the last block of this one goes on, if it does (spec §2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues_in_file: Option<String>,
    /// How many issues of each severity a file of outcomes has, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<(Severity, u64)>,
}

impl ExportResult {
    /// Reads a job's result.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not one of an export.
    pub fn parse(result: &[u8]) -> Result<Self> {
        serde_json::from_slice(result).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "reading the result of an export").with_source(source)
        })
    }

    /// Writes it as a job's result.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a result is plain data")
    }

    /// Finds a file by what clients call it.
    pub fn file(&self, name: &str) -> Option<&ResultFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Makes the manifest; `url` says where a file is.
    pub fn manifest(&self, requires_access_token: bool, url: impl Fn(&ResultFile) -> String) -> Manifest {
        self.as_page().manifest(requires_access_token, url)
    }

    /// Adds files at the end: to the last page, or after it when it is among the first `seen`, which never change (M-22).
    pub(super) fn add_to_end(&mut self, files: Vec<ResultFile>, seen: usize) {
        let is_open = self.pages.len() > seen;
        match self.pages.last_mut() {
            Some(last) if is_open => *last += files.len(),
            Some(_) => self.pages.push(files.len()),
            None => {}
        }
        self.files.extend(files);
    }

    /// All files as one page.
    pub(super) fn as_page(&self) -> ExportPage<'_> {
        ExportPage {
            number: 1,
            has_next: false,
            files: &self.files,
            transaction_time: self.transaction_time,
            request: &self.request,
            organized_by: self.organized_by,
        }
    }
}

/// One page of an export's manifest: all of it, unless it allows partial manifests.
#[derive(Debug, Clone, Copy)]
pub struct ExportPage<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Whether the page after it is there. While the export goes on, that can still come true; nothing else of a page changes (M-22).
    pub has_next: bool,
    /// Its files: output, then deletions, then outcomes.
    pub files: &'a [ResultFile],
    /// The same on every page (M-24).
    pub transaction_time: Instant,
    /// The kick-off URL, to be echoed.
    pub request: &'a str,
    /// The type whose instances head the blocks of the output files, if they are organised.
    pub organized_by: Option<ResourceType>,
}

impl ExportPage<'_> {
    /// Makes the manifest of this page; `url` says where a file is. The `link` to the next page is the caller's to add.
    pub fn manifest(&self, requires_access_token: bool, url: impl Fn(&ResultFile) -> String) -> Manifest {
        let continues = |file: &ResultFile| {
            let next = file.continues_in_file.as_ref()?;
            self.files.iter().find(|file| file.name == *next).map(&url)
        };
        let of_kind = |kind: FileKind| {
            let files = self.files.iter().filter(|file| file.kind == kind);
            let file = |file| ManifestFile {
                continues_in_file: continues(file),
                ..manifest_file(file, url(file))
            };
            files.map(file).collect()
        };
        Manifest {
            transaction_time: self.transaction_time,
            request: self.request.to_owned(),
            requires_access_token,
            output: of_kind(FileKind::Output),
            deleted: of_kind(FileKind::Deleted),
            error: of_kind(FileKind::Error),
            output_organized_by: self.organized_by,
            next: None,
        }
    }
}

fn manifest_file(file: &ResultFile, url: String) -> ManifestFile {
    ManifestFile {
        resource_type: file.resource_type.clone(),
        url,
        count: Some(file.count),
        file_size: Some(file.bytes),
        sha256: file.sha256.clone(),
        severities: file.severities.clone(),
        ..ManifestFile::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// M-22: what comes at the end is on a page of its own when the last one was seen.
    #[test]
    fn a_page_that_was_seen_gets_no_further_files_m_22() {
        let outcomes = || ResultFile {
            kind: FileKind::Error,
            resource_type: Some("OperationOutcome".to_owned()),
            name: "1.OperationOutcome.error.ndjson".to_owned(),
            stored_name: "outcomes-1.ndjson".to_owned(),
            count: 1,
            bytes: 1,
            stored_bytes: 1,
            sha256: None,
            severities: Vec::new(),
            continues_in_file: None,
        };
        for (pages, seen, expected) in [
            (vec![2, 2], 2, vec![2, 2, 1]),
            (vec![2, 1], 1, vec![2, 2]),
            (Vec::new(), 0, Vec::new()),
        ] {
            let mut result = ExportResult {
                transaction_time: Instant::MAX,
                snapshot: Sequence::ZERO,
                request: String::new(),
                files: Vec::new(),
                organized_by: None,
                pages,
            };
            result.add_to_end(vec![outcomes()], seen);
            assert_eq!((result.pages, result.files.len()), (expected, 1));
        }
    }
}
