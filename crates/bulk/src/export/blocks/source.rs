//! Where the lines of blocks come from: [`Source`], the rows of some owners, type by type.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::{KeyRange, Membership};
use fhirhose_store::{CohortRows, ScanRequest, Selection, StoredRow, key};
use tokio::runtime::Handle;

use super::owners::{OwnerRange, owner_of};
use crate::Result;
use crate::export::cohort::row_key;
use crate::export::part::Lines;
use crate::export::parts::Crew;
use crate::export::wanted::Wanted;

/// Rows of other owners that a stretch of several patients takes at most: a place in memory for each.
const SHARED_ROWS_MAX: usize = 100_000;

/// Takes a line, with its end, of the block of an owner; breaks when no more are wanted.
pub(super) type Take<'a> = dyn FnMut(&[u8], &[u8]) -> fhirhose_store::Result<ControlFlow<()>> + 'a;

/// Takes a row and its line; breaks when no more are wanted.
pub(super) type TakeRow<'a> =
    dyn FnMut(&StoredRow<'_>, &[u8]) -> fhirhose_store::Result<ControlFlow<()>> + 'a;

/// The rows of some types that are wanted.
pub(super) struct Source<'a> {
    pub(super) crew: &'a Crew,
    pub(super) wanted: &'a Wanted,
    pub(super) types: &'a [ResourceType],
}

/// By type: rows of other owners that sit in the compartments of a range of patients.
type SharedOfTypes = BTreeMap<u8, SharedRows>;

#[derive(Default)]
struct SharedRows {
    keys: BTreeSet<Vec<u8>>,
    /// key ‖ sequence → the patients of that version.
    patients: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Source<'_> {
    /// Shows the lines of all blocks of a range: type by type, within a type first what the owners own, sorted by owner, then what they
    /// share. `None` if there is more to share than a stretch takes.
    pub(super) fn visit(&self, range: &OwnerRange, take: &mut Take<'_>) -> Result<Option<ControlFlow<()>>> {
        let Some(mut shared) = Handle::current().block_on(self.shared(range))? else {
            return Ok(None);
        };
        for &resource_type in self.types {
            if self.visit_owned(resource_type, range, take)?.is_break() {
                return Ok(Some(ControlFlow::Break(())));
            }
            if let Some(rows) = shared.remove(&resource_type.code())
                && self.visit_shared(resource_type, rows, take)?.is_break()
            {
                return Ok(Some(ControlFlow::Break(())));
            }
        }
        Ok(Some(ControlFlow::Continue(())))
    }

    fn visit_owned(
        &self,
        resource_type: ResourceType,
        range: &OwnerRange,
        take: &mut Take<'_>,
    ) -> Result<ControlFlow<()>> {
        let request = self.wanted.scan(resource_type, range.keys(resource_type));
        self.visit_rows(resource_type, request, &mut |row, line| {
            // A row that is shared comes with its patients instead.
            match self.wanted.has_owner(row.owner_key) {
                true => take(row.owner_key, line),
                false => Ok(ControlFlow::Continue(())),
            }
        })
    }

    fn visit_shared(
        &self,
        resource_type: ResourceType,
        rows: SharedRows,
        take: &mut Take<'_>,
    ) -> Result<ControlFlow<()>> {
        let (Some(first), Some(last)) = (rows.keys.first(), rows.keys.last()) else {
            return Ok(ControlFlow::Continue(()));
        };
        let range = KeyRange {
            from: first.clone(),
            to: key::after_prefix(last),
        };
        let selection = Selection::Cohort(Arc::new(CohortRows {
            owners: Arc::default(),
            keys: rows.keys.iter().cloned().collect(),
        }));
        let request = ScanRequest {
            selection,
            ..self.wanted.scan(resource_type, range)
        };
        self.visit_rows(resource_type, request, &mut |row, line| {
            let version = versioned(row_key(resource_type, row), row.sequence.0);
            for patient in rows.patients.get(&version).into_iter().flatten() {
                if take(patient, line)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Shows the rows of a scan that are wanted, each with its line.
    pub(super) fn visit_rows(
        &self,
        resource_type: ResourceType,
        request: ScanRequest,
        take: &mut TakeRow<'_>,
    ) -> Result<ControlFlow<()>> {
        let scan = Handle::current().block_on(self.crew.store.scan(request))?;
        let mut rows = self.wanted.rows(resource_type);
        let mut lines = Lines::new(self.crew, resource_type);
        let (mut line, mut flow) = (Vec::new(), ControlFlow::Continue(()));
        scan.for_each(&mut |row| {
            if rows.takes(&row) {
                line.clear();
                lines.render(&row, &mut line);
                flow = take(&row, &line)?;
            }
            Ok(flow)
        })?;
        Ok(flow)
    }

    /// What the patients of a range share; `None` if that is too much for more than one of them.
    async fn shared(&self, range: &OwnerRange) -> Result<Option<SharedOfTypes>> {
        let catalog = self.crew.store.catalog();
        let is_one = *range == OwnerRange::one(&range.from);
        let rows_max = if is_one { usize::MAX } else { SHARED_ROWS_MAX };
        let (mut shared, mut count) = (SharedOfTypes::new(), 0);
        let ranges = match self.wanted.owners_between(&range.from, range.to.as_deref()) {
            Some(owners) => owners.iter().map(|owner| OwnerRange::one(owner)).collect(),
            None => vec![range.clone()],
        };
        for range in ranges {
            let found = catalog
                .memberships_between(&range.from, range.to.as_deref(), rows_max)
                .await?;
            count += found.len();
            if count >= rows_max {
                return Ok(None);
            }
            for (patient, membership) in found {
                self.share(patient, membership, &mut shared);
            }
        }
        Ok(Some(shared))
    }

    fn share(&self, patient: Vec<u8>, row: Membership, shared: &mut SharedOfTypes) {
        let state = &self.crew.state;
        let in_time = row.sequence > state.after && row.sequence <= state.snapshot.sequence;
        let is_asked = self
            .types
            .iter()
            .any(|each| Some(&each.code()) == row.key.first());
        let is_owned = owner_of(&row.key) == Some(&patient);
        if !in_time || !is_asked || is_owned {
            return;
        }
        let rows = shared.entry(row.key[0]).or_default();
        rows.keys.insert(row.key.clone());
        let patients = rows
            .patients
            .entry(versioned(row.key, row.sequence.0))
            .or_default();
        patients.push(patient);
    }
}

fn versioned(mut key: Vec<u8>, sequence: u64) -> Vec<u8> {
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}
