//! The checkpoint of an import: how far it is, and what it counted.
//!
//! The state is replaced at every commit; rows beside it ([`item_key`], [`input_key`]) keep what only the end needs.

use fhirhose_fhir::import_report::{ERRORS_INLINE_MAX, ImportCounts, ImportError};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Counts;
use serde::{Deserialize, Serialize};

use super::result::{ImportResult, TypeTaken};
use super::source::Resume;

/// How far an import is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Items of the pipeline that are committed; the number of the next.
    pub(super) items: u64,
    /// The input that is being read, from 0.
    pub(super) input: u32,
    /// Where in it; `None` at its beginning.
    pub(super) resume: Option<Resume>,
    /// What became of its lines so far.
    pub(super) tally: InputTally,
    /// Raw bytes of the inputs before it.
    pub(super) raw_bytes_before: u64,
    /// Lines taken by type, sorted by name.
    pub(super) types: Vec<TypeTaken>,
    /// Text read.
    pub(super) text_bytes: u64,
    /// References that can never be looked up.
    pub(super) unresolvable: u64,
    /// Set once all is done but the cleaning up.
    pub(super) result: Option<ImportResult>,
}

/// What became of the lines of one input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct InputTally {
    pub(super) counts: ImportCounts,
    /// The first refusals.
    pub(super) errors: Vec<ImportError>,
    pub(super) failure: Option<ImportError>,
}

/// What one item of the pipeline adds to the state, apart from what its commit finds out.
#[derive(Debug, Clone, Default)]
pub(super) struct Delta {
    /// Repeats within the chunk, and refused lines.
    pub(super) counts: ImportCounts,
    pub(super) errors: Vec<ImportError>,
    /// Lines taken by type code.
    pub(super) types: Vec<TypeTaken>,
    pub(super) text_bytes: u64,
    pub(super) unresolvable: u64,
    /// Where the next item begins.
    pub(super) next: Option<Resume>,
    /// Raw bytes of the input that are read.
    pub(super) raw_bytes: u64,
    /// Set by the last item of an input.
    pub(super) end: Option<InputEnd>,
}

/// How an input ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct InputEnd {
    pub(super) failure: Option<ImportError>,
}

/// The files that one item left for the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ItemParts {
    pub(super) input: u32,
    /// OperationOutcomes of refused lines.
    pub(super) outcomes: Option<String>,
    /// The refused lines.
    pub(super) rejects: Option<String>,
    /// Ids and references.
    pub(super) references: Option<String>,
}

/// The row that holds an item's [`ItemParts`].
pub(super) fn item_key(item: u64) -> u64 {
    item
}

/// Rows from here on hold an input's [`InputTally`].
const INPUTS: u64 = 1 << 48;

/// The row that holds an ended input's [`InputTally`].
pub(super) fn input_key(input: u32) -> u64 {
    INPUTS + u64::from(input)
}

impl State {
    /// The state after an item whose commit counted `counts`; gives the tally of the input if the item ended it.
    pub(super) fn advance(&mut self, delta: &Delta, counts: &Counts) -> Option<InputTally> {
        self.items += 1;
        let found = ImportCounts {
            created: counts.created,
            updated: counts.updated,
            unchanged: counts.unchanged,
            rejected: 0,
        };
        self.tally.counts = self.tally.counts.plus(found).plus(delta.counts);
        let room = ERRORS_INLINE_MAX.saturating_sub(self.tally.errors.len());
        self.tally.errors.extend(delta.errors.iter().take(room).cloned());
        for taken in &delta.types {
            self.count_type(taken.resource_type, taken.lines);
        }
        self.text_bytes += delta.text_bytes;
        self.unresolvable += delta.unresolvable;
        self.resume.clone_from(&delta.next);
        let end = delta.end.as_ref()?;
        self.input += 1;
        self.resume = None;
        self.raw_bytes_before += delta.raw_bytes;
        let mut ended = std::mem::take(&mut self.tally);
        ended.failure.clone_from(&end.failure);
        Some(ended)
    }

    fn count_type(&mut self, resource_type: ResourceType, lines: u64) {
        match self
            .types
            .binary_search_by_key(&resource_type.name(), |taken| taken.resource_type.name())
        {
            Ok(at) => self.types[at].lines += lines,
            Err(at) => self.types.insert(at, TypeTaken { resource_type, lines }),
        }
    }
}
