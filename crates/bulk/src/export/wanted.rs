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
use fhirhose_store::{ScanRequest, Sequence, StoredRow};
use serde::{Deserialize, Serialize};

use super::cohort::Whose;
use super::state::State;

/// Rows of which times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Times {
    /// Those that the request asks for.
    #[default]
    Asked,
    /// Those that `_since` leaves out, of members who joined the Group since then.
    BeforeJoining,
}

/// What an export wants, resolved at its snapshot.
pub(super) struct Wanted {
    whose: Whose,
    /// Members who joined the Group since `_since` and come with their whole history.
    joined: Option<Whose>,
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
    /// The newest version that is wanted; those after it come otherwise.
    upto: Option<Sequence>,
    until: Option<Instant>,
    filters: &'a [Criteria],
}

impl Wanted {
    pub(super) fn new(request: &ExportRequest, whose: Whose, joined: Option<Whose>, state: State) -> Self {
        let mut filters: BTreeMap<u8, Vec<Criteria>> = BTreeMap::new();
        for criteria in &request.type_filters {
            let of_type = filters.entry(criteria.resource_type().code()).or_default();
            of_type.push(criteria.clone());
        }
        Self {
            whose,
            joined,
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
        self.scan_of(Times::Asked, resource_type, range)
    }

    /// The same for other times.
    pub(super) fn scan_of(&self, times: Times, resource_type: ResourceType, range: KeyRange) -> ScanRequest {
        let whole = State::at(self.state.snapshot, Sequence::ZERO);
        match (times, &self.joined) {
            (Times::BeforeJoining, Some(joined)) => joined.scan(resource_type, range, &whole),
            _ => self.whose.scan(resource_type, range, &self.state),
        }
    }

    /// Whether members joined who come with their whole history.
    pub(super) fn has_joined(&self) -> bool {
        self.joined.is_some()
    }

    /// What decides about the rows of a type.
    pub(super) fn rows(&self, resource_type: ResourceType) -> WantedRows<'_> {
        self.rows_of(Times::Asked, resource_type)
    }

    /// The same for other times.
    pub(super) fn rows_of(&self, times: Times, resource_type: ResourceType) -> WantedRows<'_> {
        let (whose, upto) = match (times, &self.joined) {
            (Times::BeforeJoining, Some(joined)) => (joined, Some(self.state.after)),
            _ => (&self.whose, None),
        };
        WantedRows {
            resource_type,
            whose: whose.shares(resource_type).then_some(whose),
            upto,
            until: self.until,
            filters: self.filters_of(resource_type),
        }
    }

    /// Whether a text passes the filters of its type; nothing else is looked at.
    pub(super) fn matches(&self, resource_type: ResourceType, text: &[u8], last_updated: Instant) -> bool {
        let version = VersionFacts { last_updated };
        passes(self.filters_of(resource_type), text, version)
    }

    /// Whether there are filters of a type.
    pub(super) fn filters(&self, resource_type: ResourceType) -> bool {
        !self.filters_of(resource_type).is_empty()
    }

    fn filters_of(&self, resource_type: ResourceType) -> &[Criteria] {
        let filters = self.filters.get(&resource_type.code());
        filters.map_or(&[], Vec::as_slice)
    }

    /// Whether a version is in a compartment of which rows of these times are wanted.
    pub(super) fn holds(
        &self,
        times: Times,
        (resource_type, id): (ResourceType, &str),
        owner: Option<&str>,
        version: Sequence,
    ) -> bool {
        let whose = match (times, &self.joined) {
            (Times::BeforeJoining, Some(joined)) => joined,
            _ => &self.whose,
        };
        whose.holds(resource_type, owner, id, version)
    }

    /// Whether rows of an owner are wanted as theirs; others come by what they share with a wanted one.
    pub(super) fn has_owner(&self, owner_key: &[u8]) -> bool {
        self.whose.has_owner(owner_key)
    }

    /// The wanted owners in a half-open range of encoded ids; `None` if all are.
    pub(super) fn owners_between(&self, from: &[u8], to: Option<&[u8]>) -> Option<&[Vec<u8>]> {
        self.whose.owners_between(from, to)
    }

    /// Whether a deletion is of a resource that sat in a wanted compartment, by its last version (M-33).
    pub(super) fn had(&self, gone: &Gone) -> bool {
        self.whose.had(gone)
    }
}

impl WantedRows<'_> {
    /// The type of the rows.
    pub(super) fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// Whether a row that a scan shows is wanted.
    pub(super) fn takes(&mut self, row: &StoredRow<'_>) -> bool {
        let version = VersionFacts {
            last_updated: row.instant,
        };
        self.upto.is_none_or(|upto| row.sequence <= upto)
            && self.until.is_none_or(|until| row.instant < until)
            && self
                .whose
                .is_none_or(|whose| whose.has_version(self.resource_type, row))
            && passes(self.filters, row.body, version)
    }
}

/// Whether one of a type's filters means the resource: they are alternatives (T-03).
fn passes(filters: &[Criteria], text: &[u8], version: VersionFacts) -> bool {
    filters.is_empty() || filters.iter().any(|criteria| criteria.matches(text, version))
}
