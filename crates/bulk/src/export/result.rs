//! What an export came to: [`ExportResult`], the job's result as JSON.

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};
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
    /// Output files sorted by type and number, then deletions, then outcomes; none is empty.
    pub files: Vec<ResultFile>,
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
    /// The type of every resource in it.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// What clients call it, unique in the export: `N.Type.ndjson`, `N.Bundle.deleted.ndjson`, `N.OperationOutcome.error.ndjson`; in a
    /// folder its path there: `N.Type.ndjson`, `deleted/N.Bundle.ndjson`, `error/N.OperationOutcome.ndjson`.
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
        let of_kind = |kind: FileKind| {
            let files = self.files.iter().filter(|file| file.kind == kind);
            files.map(|file| manifest_file(file, url(file))).collect()
        };
        Manifest {
            transaction_time: self.transaction_time,
            request: self.request.clone(),
            requires_access_token,
            output: of_kind(FileKind::Output),
            deleted: of_kind(FileKind::Deleted),
            error: of_kind(FileKind::Error),
            output_organized_by: None,
            next: None,
        }
    }
}

fn manifest_file(file: &ResultFile, url: String) -> ManifestFile {
    ManifestFile {
        resource_type: Some(file.resource_type.clone()),
        url,
        count: Some(file.count),
        file_size: Some(file.bytes),
        sha256: file.sha256.clone(),
        ..ManifestFile::default()
    }
}
