//! Which rows an export takes of those that the store shows: [`Wanted`].
//!
//! The order of the standard's processing model (spec §1.5): whose compartments, `_type` (which the plan keeps to), `_since` (which the
//! scan keeps to), `_until`, `_typeFilter`. All of it is a pure function of request and snapshot.

use std::collections::BTreeMap;

use fhirhose_fhir::export_request::ExportRequest;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VersionFacts};
use fhirhose_store::catalog::{Gone, KeyRange};
use fhirhose_store::{ScanRequest, StoredRow};

use super::cohort::Whose;
use super::state::State;

/// What an export wants, resolved at its snapshot.
pub(super) struct Wanted {
    whose: Whose,
    state: State,
    until: Option<Instant>,
    /// By type code; a type that is not here is wanted whole (T-04).
    filters: BTreeMap<u8, Vec<Criteria>>,
}

/// Decides about the rows of one type that its scan shows; for one thread.
pub(super) struct WantedRows<'a> {
    resource_type: ResourceType,
    /// Whose compartments, where the scan alone does not decide that.
    whose: Option<&'a Whose>,
    until: Option<Instant>,
    filters: &'a [Criteria],
}

impl Wanted {
    pub(super) fn new(request: &ExportRequest, whose: Whose, state: State) -> Self {
        let mut filters: BTreeMap<u8, Vec<Criteria>> = BTreeMap::new();
        for criteria in &request.type_filters {
            let of_type = filters.entry(criteria.resource_type().code()).or_default();
            of_type.push(criteria.clone());
        }
        Self {
            whose,
            state,
            until: request.until,
            filters,
        }
    }

    /// The keys of a type among which those wanted are.
    pub(super) fn range(&self, resource_type: ResourceType) -> KeyRange {
        self.whose.range(resource_type)
    }

    /// The scan of a range of a type; [`Wanted::rows`] decides about the rows that it shows.
    pub(super) fn scan(&self, resource_type: ResourceType, range: KeyRange) -> ScanRequest {
        self.whose.scan(resource_type, range, &self.state)
    }

    /// What decides about the rows of a type.
    pub(super) fn rows(&self, resource_type: ResourceType) -> WantedRows<'_> {
        WantedRows {
            resource_type,
            whose: self.whose.shares(resource_type).then_some(&self.whose),
            until: self.until,
            filters: self
                .filters
                .get(&resource_type.code())
                .map_or(&[][..], Vec::as_slice),
        }
    }

    /// Whether a deletion is of a resource that sat in a wanted compartment, by its last version (M-33).
    pub(super) fn had(&self, gone: &Gone) -> bool {
        self.whose.had(gone)
    }
}

impl WantedRows<'_> {
    /// Whether a row that a scan shows is wanted.
    pub(super) fn takes(&mut self, row: &StoredRow<'_>) -> bool {
        self.whose
            .is_none_or(|whose| whose.has_version(self.resource_type, row))
            && self.until.is_none_or(|until| row.instant < until)
            && self.passes(row)
    }

    /// Whether one of the type's filters means the row: they are alternatives (T-03).
    fn passes(&self, row: &StoredRow<'_>) -> bool {
        let version = VersionFacts {
            last_updated: row.instant,
        };
        self.filters.is_empty()
            || self
                .filters
                .iter()
                .any(|criteria| criteria.matches(row.body, version))
    }
}
