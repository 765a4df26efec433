//! Which patients hold to the `member-filter`s of a cohort (C-03): a filter holds for a patient if it matches the Patient or a resource
//! in the patient's compartment; all filters must hold.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use fhirhose_fhir::group::MemberFilter;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VersionFacts};
use fhirhose_jobs::StopSignal;
use fhirhose_store::{Scan, Sequence, StoredRow};

use super::cohort::{Cohort, Whose};
use super::roster::Reading;
use super::state::State;
use crate::{Error, ErrorKind, Result};

/// Rows between two looks whether to stop.
const ROWS_PER_LOOK: u64 = 4_096;

/// Those of the candidates, or of all patients without any, to whom every filter applies.
pub(super) async fn holding(
    reading: Reading<'_>,
    filters: &[MemberFilter],
    candidates: Option<BTreeSet<Id>>,
) -> Result<BTreeSet<Id>> {
    let state = State::at(reading.at, Sequence::ZERO);
    let mut left = candidates;
    for (index, filter) in filters.iter().enumerate() {
        let criteria = filter.compile(index, reading.base_url).map_err(|issues| {
            let details: Vec<String> = issues.into_iter().map(|issue| issue.details).collect();
            let problem = format!("the Group cannot be exported: {}", details.join("; "));
            Error::new(ErrorKind::Invalid, problem)
        })?;
        let whose = match &left {
            Some(patients) => {
                Whose::Cohort(Cohort::gather(reading.store, patients, &state, reading.stop).await?)
            }
            None => Whose::AllPatients,
        };
        let resource_type = criteria.resource_type();
        let request = whose.scan(resource_type, whose.range(resource_type), &state);
        let scan = reading.store.scan(request).await?;
        let stop = reading.stop.clone();
        let work = move || find(scan, &whose, &criteria, &stop);
        let found = tokio::task::spawn_blocking(work).await.map_err(|panic| {
            Error::new(ErrorKind::Storage, "finding the members of a cohort").with_source(panic)
        })??;
        left = Some(match left {
            Some(before) => before.intersection(&found).cloned().collect(),
            None => found,
        });
    }
    Ok(left.unwrap_or_default())
}

/// The patients in whose compartments the matching rows are.
fn find(scan: Scan, whose: &Whose, criteria: &Criteria, stop: &StopSignal) -> Result<BTreeSet<Id>> {
    let resource_type = criteria.resource_type();
    let shares = whose.shares(resource_type);
    let mut checker = LineChecker::new(LineLimits::default());
    let mut found = BTreeSet::new();
    let mut rows = 0u64;
    scan.for_each(&mut |row| {
        rows += 1;
        if rows.is_multiple_of(ROWS_PER_LOOK) && stop.stopping().is_some() {
            return Ok(ControlFlow::Break(()));
        }
        let version = VersionFacts {
            last_updated: row.instant,
        };
        let is_wanted = !shares || whose.has_version(resource_type, &row);
        if is_wanted && criteria.matches(row.body, version) {
            add_patients(resource_type, &row, &mut checker, &mut found);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    match stop.stopping() {
        Some(reason) => Err(Error::stopped(reason)),
        None => Ok(found),
    }
}

fn add_patients(
    resource_type: ResourceType,
    row: &StoredRow<'_>,
    checker: &mut LineChecker,
    found: &mut BTreeSet<Id>,
) {
    // What is stored has passed this check when it came in.
    if let Ok(checked) = checker.check(row.body, Some(resource_type)) {
        let patients = checked.owner.into_iter().chain(checked.other_patients.iter());
        found.extend(patients.filter_map(Id::parse));
    }
}
