//! The answer of a finished import: what was taken of each input, and what was refused (spec §5.6 item 5, I-18 to I-21).
//!
//! The shape is the de-facto one (`output[]` and `error[]` with `type`, `count`, `inputUrl`), with two additions: counts of
//! created, updated, unchanged and rejected lines, and up to [`ERRORS_INLINE_MAX`] refusals inline. All refusals are in the file
//! behind `url`, one OperationOutcome a line, as [`ImportError::to_outcome`] makes them.

use serde::{Deserialize, Serialize};

use crate::instant::Instant;
use crate::outcome::{Issue, IssueCode, OperationOutcome};
use crate::resource_type::ResourceType;

/// Most refusals of one input that the report lists itself.
pub const ERRORS_INLINE_MAX: usize = 100;

/// The report of a finished import. Serialises to the status answer and reads back from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// When the import began (I-42).
    pub transaction_time: Instant,
    /// The exact kick-off URL.
    pub request: String,
    /// Whether the files behind `url` want the client's token.
    pub requires_access_token: bool,
    /// What was taken, one item for each input in the order of the request (I-19).
    pub output: Vec<ImportOutput>,
    /// What was refused, one item for each input that had refusals; empty when all is well (I-19).
    pub error: Vec<ImportErrors>,
    /// References to resources that were not there when the import ended; they are kept as they are.
    pub dangling_references: u64,
}

impl ImportReport {
    /// Writes the report as one compact JSON object (`application/json`).
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report has only string keys, which always serialise")
    }
}

/// What became of the lines of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportCounts {
    /// Resources that were not there before.
    pub created: u64,
    /// Resources that got a new version.
    pub updated: u64,
    /// Resources whose content was there already.
    pub unchanged: u64,
    /// Lines that were refused.
    pub rejected: u64,
}

impl ImportCounts {
    /// Gives the number of lines that were taken.
    pub fn taken(self) -> u64 {
        self.created + self.updated + self.unchanged
    }

    /// Adds the counts of another part of the same input.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            rejected: self.rejected + other.rejected,
        }
    }
}

/// What was taken of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportOutput {
    /// The type that the request declared for the input, if it did.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<ResourceType>,
    /// Lines taken: the sum of created, updated and unchanged (I-20).
    pub count: u64,
    /// The input's URL as it was given (I-20).
    pub input_url: String,
    /// The counts that make up `count`, and the rejected lines, as members beside it.
    #[serde(flatten)]
    pub counts: ImportCounts,
}

impl ImportOutput {
    /// Makes the item of one input; `count` follows from the counts.
    pub fn new(
        resource_type: Option<ResourceType>,
        input_url: impl Into<String>,
        counts: ImportCounts,
    ) -> Self {
        Self {
            resource_type,
            count: counts.taken(),
            input_url: input_url.into(),
            counts,
        }
    }
}

/// What was refused of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportErrors {
    /// The type that the request declared for the input; `OperationOutcome`, which is what `url` holds, if it did not.
    #[serde(rename = "type")]
    pub resource_type: ResourceType,
    /// The input's URL as it was given.
    pub input_url: String,
    /// All refusals, also those that are not inline.
    pub count: u64,
    /// Absolute URL of an NDJSON file with an OperationOutcome for every refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The first refusals, at most [`ERRORS_INLINE_MAX`].
    pub errors: Vec<ImportError>,
}

impl ImportErrors {
    /// Makes an item without refusals for an input.
    pub fn new(declared: Option<ResourceType>, input_url: impl Into<String>) -> Self {
        let resource_type = declared.unwrap_or(ResourceType::OPERATION_OUTCOME);
        Self {
            resource_type,
            input_url: input_url.into(),
            count: 0,
            url: None,
            errors: Vec::new(),
        }
    }

    /// Counts a refusal, and lists it while there is room.
    pub fn push(&mut self, error: ImportError) {
        self.count += 1;
        if self.errors.len() < ERRORS_INLINE_MAX {
            self.errors.push(error);
        }
    }
}

/// One refusal: of a line, or of a whole input when it could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportError {
    /// The line in the uncompressed input, from 1; absent when the whole input is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line_number: Option<u64>,
    /// Offset of the fault in the uncompressed input, in bytes from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_offset: Option<u64>,
    /// The rule that was broken, as a stable kebab-case code.
    pub rule: String,
    /// `Type/id` of the resource, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// What is wrong, without resource content.
    pub message: String,
}

impl ImportError {
    /// Makes the OperationOutcome of this refusal: the line number is absolute and the byte offset is told (I-43).
    ///
    /// The input is named without its query, in which presigned URLs carry their signature.
    pub fn to_outcome(&self, input_url: &str) -> OperationOutcome {
        let place = input_url.split(['?', '#']).next().unwrap_or_default();
        let mut diagnostics = format!("input {place}");
        if let Some(line_number) = self.line_number {
            diagnostics.push_str(&format!(", line {line_number}"));
        }
        if let Some(byte_offset) = self.byte_offset {
            diagnostics.push_str(&format!(", byte offset {byte_offset}"));
        }
        diagnostics.push_str(&format!(", rule {}", self.rule));
        if let Some(resource_id) = &self.resource_id {
            diagnostics.push_str(&format!(", resource {resource_id}"));
        }
        let code = if self.line_number.is_some() {
            IssueCode::Invalid
        } else {
            IssueCode::Incomplete
        };
        OperationOutcome::of(Issue::error(code, &self.message).with_diagnostics(diagnostics))
    }
}
