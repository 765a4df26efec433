//! What an import did: an [`ImportResult`], the result of its job.

use fhirhose_fhir::import_report::{ImportCounts, ImportError, ImportErrors, ImportOutput, ImportReport};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::OutputFile;
use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// The outcome of a finished import; the job's result is this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportResult {
    /// When the import began.
    pub transaction_time: Instant,
    /// The kick-off URL; empty for an import without HTTP.
    pub request_url: String,
    /// What became of each input, in their order.
    pub inputs: Vec<InputResult>,
    /// Lines taken of each type, by name.
    pub types: Vec<TypeTaken>,
    /// References to what is not there.
    pub dangling: Dangling,
    /// Bytes of text read, after decompression.
    pub text_bytes: u64,
}

/// What became of one input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputResult {
    /// The input as the specification names it.
    pub input_url: String,
    /// The type that it declares.
    pub declared: Option<ResourceType>,
    /// Its lines.
    pub counts: ImportCounts,
    /// Its first refusals, at most [`fhirhose_fhir::import_report::ERRORS_INLINE_MAX`].
    pub errors: Vec<ImportError>,
    /// Why it could not be read to its end, if so; what came before is taken.
    pub failure: Option<ImportError>,
    /// One OperationOutcome a line, for every refusal and the failure.
    pub outcomes: Option<OutputFile>,
    /// The refused lines, verbatim, in their order.
    pub rejects: Option<OutputFile>,
}

/// Lines taken of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeTaken {
    /// The type.
    pub resource_type: ResourceType,
    /// How many lines.
    pub lines: u64,
}

/// References whose targets were not there when the import ended. They are kept as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dangling {
    /// References, from all lines taken; a direct repeat within a line counts once.
    pub references: u64,
    /// Missing resources that they name.
    pub targets: u64,
    /// References that can never be looked up: `urn:…` and conditional ones.
    pub unresolvable: u64,
    /// One warning a line for each missing resource, up to a limit.
    pub listed: Option<OutputFile>,
}

/// How the files of a report are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportLinks {
    /// The absolute URL that a file's name is appended to, with its `/`.
    pub files_url: String,
    /// Whether the files want the client's token.
    pub requires_access_token: bool,
}

impl ImportResult {
    /// Reads the result of a succeeded import job.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if the bytes are not what this version's handler wrote.
    pub fn parse(result: &[u8]) -> Result<Self> {
        serde_json::from_slice(result).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "reading the result of an import").with_source(source)
        })
    }

    /// The counts of all inputs together.
    pub fn counts(&self) -> ImportCounts {
        self.inputs
            .iter()
            .fold(ImportCounts::default(), |sum, input| sum.plus(input.counts))
    }

    /// Whether every input was read to its end and no line refused.
    pub fn is_clean(&self) -> bool {
        self.inputs
            .iter()
            .all(|input| input.counts.rejected == 0 && input.failure.is_none())
    }

    /// The names of all files that the result speaks of, which a client may fetch.
    pub fn files(&self) -> impl Iterator<Item = &OutputFile> {
        let of_inputs = self
            .inputs
            .iter()
            .flat_map(|input| input.outcomes.iter().chain(&input.rejects));
        of_inputs.chain(&self.dangling.listed)
    }

    /// Makes the status answer.
    pub fn report(&self, links: &ReportLinks) -> ImportReport {
        let output = |input: &InputResult| ImportOutput::new(input.declared, &input.input_url, input.counts);
        ImportReport {
            transaction_time: self.transaction_time,
            request: self.request_url.clone(),
            requires_access_token: links.requires_access_token,
            output: self.inputs.iter().map(output).collect(),
            error: self
                .inputs
                .iter()
                .filter_map(|input| input.errors_item(links))
                .collect(),
            dangling_references: self.dangling.references,
        }
    }
}

impl InputResult {
    fn errors_item(&self, links: &ReportLinks) -> Option<ImportErrors> {
        if self.counts.rejected == 0 && self.failure.is_none() {
            return None;
        }
        let mut item = ImportErrors::new(self.declared, &self.input_url);
        for error in self.failure.iter().chain(&self.errors) {
            item.push(error.clone());
        }
        item.count = self.counts.rejected + u64::from(self.failure.is_some());
        item.url = self
            .outcomes
            .as_ref()
            .map(|file| format!("{}{}", links.files_url, file.name));
        Some(item)
    }
}
