//! What a pull has come to: [`PullReport`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which list of the manifest a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Resources.
    Output,
    /// Bundles of deletions.
    Deleted,
    /// OperationOutcomes.
    Error,
}

/// A file that lies whole in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PulledFile {
    /// Its path in the folder, such as `1.Patient.ndjson` or `deleted/1.Bundle.ndjson`.
    pub name: String,
    /// Which list it is of.
    pub kind: FileKind,
    /// The type of its resources; `None` where the output is organised by instance.
    pub resource_type: Option<String>,
    /// Its lines.
    pub lines: u64,
    /// Its text, in bytes.
    pub bytes: u64,
    /// SHA-256 of its text, in lower-case hex.
    pub sha256: String,
}

/// A file that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingFile {
    /// The name that it would have.
    pub name: String,
    /// Which list it is of.
    pub kind: FileKind,
    /// The type of its resources.
    pub resource_type: Option<String>,
    /// Why, without anything secret.
    pub why: String,
}

/// What has come of the attachments of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentReport {
    /// The files in `attachments/`.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many attachments of resources lead there.
    pub links: u64,
    /// How many have their content in the resource now.
    pub inlined: u64,
    /// How many could not be had, and still lead to the server because that was to be so.
    pub ignored: u64,
    /// How many contents were not as long as their attachments' `size`; they were taken nevertheless.
    pub other_size: u64,
}

/// What a pull has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullReport {
    /// `transactionTime` as the server wrote it: the next `_since` (CL-12).
    pub transaction_time: String,
    /// Files that are whole, in the order of the manifest.
    pub files: Vec<PulledFile>,
    /// Files that could not be had. Empty: the folder is whole.
    pub missing: Vec<MissingFile>,
    /// Whether this run has gone on with what an earlier one began.
    #[serde(default)]
    pub resumed: bool,
    /// Whether everything was there before this run, which then has fetched nothing.
    #[serde(default)]
    pub already_whole: bool,
    /// How often this run has tried something again.
    #[serde(default)]
    pub retries: u64,
    /// The bytes of files that came over the network in this run, in the encoding that they were sent in.
    #[serde(default)]
    pub bytes_received: u64,
    /// How long this run took, in milliseconds.
    #[serde(default)]
    pub ms: u64,
    /// What has come of attachments, if they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<AttachmentReport>,
    /// The issues in the files of kind `error`, by severity.
    #[serde(default)]
    pub issues: BTreeMap<String, u64>,
    /// Whether the server knows that its files can go (CL-13).
    #[serde(default)]
    pub job_deleted: bool,
    /// Why the server could not be told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_problem: Option<String>,
}

impl PullReport {
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// How many errors the server itself tells of: issues that are one, and those of which it cannot be told.
    pub fn errors(&self) -> u64 {
        let is_error = |severity: &str| !matches!(severity, "warning" | "information" | "success");
        let issues = self.issues.iter().filter(|(severity, _)| is_error(severity));
        issues.map(|(_, count)| count).sum()
    }
}
