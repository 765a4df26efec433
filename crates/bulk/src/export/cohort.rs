//! Whose resources an export takes: everybody's, those of all patients, or those of a cohort.
//!
//! A pure function of request and snapshot: it is found out anew by a worker that goes on with an export. A resource may sit in
//! several compartments; it lies in the store under its owner's and has a membership row for each other patient.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::export_request::{ExportLevel, ExportRequest};
use fhirhose_fhir::group::GroupMembers;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::StopSignal;
use fhirhose_store::catalog::{Gone, KeyRange, Snapshot};
use fhirhose_store::{CohortRows, ScanRequest, Selection, Sequence, Store, StoredRow, key};

use super::state::State;
use crate::{Error, ErrorKind, Result};

/// So many patients are looked up before others get the thread, and a stop is looked for.
const PATIENTS_PER_TURN: usize = 500;

/// Whose resources an export takes.
pub(super) enum Whose {
    Everybody,
    AllPatients,
    Cohort(Cohort),
}

/// Some patients.
#[derive(Default)]
pub(super) struct Cohort {
    /// Their ids as owners in keys, sorted.
    owners: Arc<Vec<Vec<u8>>>,
    /// By type code: resources in the compartment of one of them that others own.
    shared: BTreeMap<u8, Shared>,
    /// The rows of a type of which nothing is shared.
    owned_only: Arc<CohortRows>,
}

struct Shared {
    rows: Arc<CohortRows>,
    /// key ‖ sequence: another version of the same resource may be in other compartments.
    versions: HashSet<Vec<u8>>,
}

/// What the receiver of an export should know beside its resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// Requested types that are in no compartment.
    types_outside: Vec<ResourceType>,
    /// Members that are no patients and no Groups.
    other_members: u64,
    /// Members that cannot be looked up.
    unresolvable_members: u64,
    /// Nested Groups that the snapshot does not have.
    missing_groups: u64,
}

impl Whose {
    /// Finds out whose resources are wanted.
    pub(super) async fn resolve(
        store: &Store,
        request: &ExportRequest,
        state: &State,
        stop: &StopSignal,
    ) -> Result<(Self, Notes)> {
        let mut notes = Notes::default();
        let patients = match &request.level {
            ExportLevel::System => return Ok((Self::Everybody, notes)),
            ExportLevel::AllPatients => None,
            ExportLevel::Group(id) => Some(expand(store, id, state.snapshot, &mut notes).await?),
            ExportLevel::Patient(id) => Some(BTreeSet::from([id.clone()])),
        };
        let types = request.types.iter().flatten().copied();
        notes.types_outside = types.filter(|each| !each.in_patient_compartment()).collect();
        match patients {
            None => Ok((Self::AllPatients, notes)),
            Some(patients) => Ok((
                Self::Cohort(Cohort::gather(store, &patients, state, stop).await?),
                notes,
            )),
        }
    }

    /// The keys of a type among which those wanted are.
    pub(super) fn range(&self, resource_type: ResourceType) -> KeyRange {
        let mut range = KeyRange::of_type(resource_type);
        if matches!(self, Self::AllPatients) {
            // All rows with an owner come after all rows without one.
            let mut no_owner = range.from.clone();
            key::push_owner(None, &mut no_owner);
            range.from = key::after_prefix(&no_owner).expect("no type has the highest code");
        }
        range
    }

    /// The scan of a range of a type; [`Whose::has_version`] decides about the rows that it shows.
    pub(super) fn scan(&self, resource_type: ResourceType, range: KeyRange, state: &State) -> ScanRequest {
        let selection = match self {
            Self::Everybody | Self::AllPatients => Selection::All,
            Self::Cohort(cohort) => {
                let shared = cohort.shared.get(&resource_type.code());
                let rows = shared.map_or(&cohort.owned_only, |shared| &shared.rows);
                Selection::Cohort(Arc::clone(rows))
            }
        };
        ScanRequest {
            range,
            snapshot: state.snapshot.sequence,
            after: state.after,
            selection,
        }
    }

    /// Whether rows of the type must be asked about with [`Whose::has_version`].
    pub(super) fn shares(&self, resource_type: ResourceType) -> bool {
        matches!(self, Self::Cohort(cohort) if cohort.shared.contains_key(&resource_type.code()))
    }

    /// Whether a version that a scan shows is wanted.
    pub(super) fn has_version(&self, resource_type: ResourceType, row: &StoredRow<'_>) -> bool {
        let Self::Cohort(cohort) = self else { return true };
        let Some(shared) = cohort.shared.get(&resource_type.code()) else {
            return true;
        };
        let key = row_key(resource_type, row);
        // A key of the list has an owner outside the cohort: only a membership of this very version counts.
        shared.rows.keys.binary_search(&key).is_err()
            || shared.versions.contains(&versioned(key, row.sequence))
    }

    /// Whether a deletion is of a resource that would have been wanted, by its last version (M-33).
    pub(super) fn had(&self, gone: &Gone) -> bool {
        let owner = key::split_owner(gone.key.get(1..).unwrap_or_default());
        let Some((owner, id)) = owner else { return false };
        match self {
            Self::Everybody => true,
            Self::AllPatients => owner.is_some() || !gone.others.is_empty(),
            Self::Cohort(cohort) => {
                let owner_key = &gone.key[1..gone.key.len() - id.len()];
                cohort.has(owner_key) || gone.others.iter().any(|other| cohort.has(other))
            }
        }
    }
}

impl Cohort {
    /// Looks up which resources of other owners sit in the patients' compartments.
    async fn gather(
        store: &Store,
        patients: &BTreeSet<Id>,
        state: &State,
        stop: &StopSignal,
    ) -> Result<Self> {
        let mut owners: Vec<Vec<u8>> = patients.iter().map(owner_key).collect();
        owners.sort_unstable();
        let owners = Arc::new(owners);
        let mut cohort = Self {
            owned_only: Arc::new(CohortRows {
                owners: Arc::clone(&owners),
                keys: Vec::new(),
            }),
            owners,
            shared: BTreeMap::new(),
        };
        let mut found: BTreeMap<u8, HashSet<Vec<u8>>> = BTreeMap::new();
        let mut keys: BTreeMap<u8, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (number, patient) in patients.iter().enumerate() {
            if number % PATIENTS_PER_TURN == PATIENTS_PER_TURN - 1 {
                if let Some(reason) = stop.stopping() {
                    return Err(Error::stopped(reason));
                }
                tokio::task::yield_now().await;
            }
            let memberships = store.catalog().memberships(patient.as_str()).await?;
            for row in memberships {
                let in_time = row.sequence <= state.snapshot.sequence && row.sequence > state.after;
                if in_time && !cohort.owns(&row.key) {
                    let code = row.key[0];
                    keys.entry(code).or_default().insert(row.key.clone());
                    found
                        .entry(code)
                        .or_default()
                        .insert(versioned(row.key, row.sequence));
                }
            }
        }
        for (code, keys) in keys {
            let rows = CohortRows {
                owners: Arc::clone(&cohort.owners),
                keys: keys.into_iter().collect(),
            };
            let versions = found.remove(&code).unwrap_or_default();
            cohort.shared.insert(
                code,
                Shared {
                    rows: Arc::new(rows),
                    versions,
                },
            );
        }
        Ok(cohort)
    }

    fn has(&self, owner_key: &[u8]) -> bool {
        self.owners
            .binary_search_by(|owner| owner.as_slice().cmp(owner_key))
            .is_ok()
    }

    /// Whether the owner of a whole key (type ‖ owner ‖ id) is of the cohort.
    fn owns(&self, key: &[u8]) -> bool {
        let rest = key.get(1..).unwrap_or_default();
        key::split_owner(rest).is_some_and(|(_, id)| self.has(&rest[..rest.len() - id.len()]))
    }
}

impl Notes {
    /// One OperationOutcome for each thing to be known.
    pub(super) fn outcomes(&self) -> Vec<OperationOutcome> {
        let incomplete = |text: String| OperationOutcome::warning(IssueCode::Incomplete, text);
        let mut outcomes = Vec::new();
        for outside in &self.types_outside {
            let text =
                format!("_type: {outside} is not in the Patient compartment; this export has none of it");
            outcomes.push(OperationOutcome::information(text));
        }
        if self.other_members > 0 {
            let count = self.other_members;
            let text =
                format!("{count} members of the Group are not patients; nothing was exported for them");
            outcomes.push(OperationOutcome::information(text));
        }
        if self.unresolvable_members > 0 {
            let count = self.unresolvable_members;
            outcomes.push(incomplete(format!(
                "{count} members of the Group have no reference to follow"
            )));
        }
        if self.missing_groups > 0 {
            let count = self.missing_groups;
            outcomes.push(incomplete(format!(
                "{count} Groups that are members of the Group do not exist"
            )));
        }
        outcomes
    }
}

/// The patients of a Group and of the Groups within it, each Group once, so that circles end.
async fn expand(store: &Store, group: &Id, snapshot: Snapshot, notes: &mut Notes) -> Result<BTreeSet<Id>> {
    let mut patients = BTreeSet::new();
    let mut seen = BTreeSet::from([group.clone()]);
    let mut wanted = seen.clone();
    while !wanted.is_empty() {
        let found = read_groups(store, &wanted, snapshot).await?;
        if wanted.contains(group) && found.is_empty() {
            let problem = "the Group that is to be exported was deleted before the export began";
            return Err(Error::new(ErrorKind::NotFound, problem));
        }
        notes.missing_groups += (wanted.len() - found.len()) as u64;
        wanted.clear();
        for members in found.into_values() {
            notes.other_members += members.others;
            notes.unresolvable_members += members.unresolvable;
            patients.extend(members.patients);
            wanted.extend(
                members
                    .groups
                    .into_iter()
                    .filter(|nested| seen.insert(nested.clone())),
            );
        }
    }
    Ok(patients)
}

/// The members of those Groups that the snapshot has.
async fn read_groups(
    store: &Store,
    wanted: &BTreeSet<Id>,
    snapshot: Snapshot,
) -> Result<BTreeMap<Id, GroupMembers>> {
    let ids: Vec<_> = wanted
        .iter()
        .map(|id| (ResourceType::GROUP, id.as_str()))
        .collect();
    let mut ranges = Vec::new();
    for (id, newest) in wanted.iter().zip(store.catalog().newest(&ids).await?) {
        match newest {
            Some(newest) if newest.sequence > snapshot.sequence => {
                // Written again since the snapshot, maybe under another owner: the old version is anywhere among the Groups.
                ranges = vec![KeyRange::of_type(ResourceType::GROUP)];
                break;
            }
            Some(newest) if !newest.deleted => {
                let mut key = Vec::new();
                key::encode(
                    ResourceType::GROUP,
                    newest.owner.as_deref(),
                    id.as_str(),
                    &mut key,
                );
                ranges.push(KeyRange::of_prefix(key));
            }
            _ => {}
        }
    }
    let mut groups = BTreeMap::new();
    for range in ranges {
        let request = ScanRequest {
            range,
            snapshot: snapshot.sequence,
            after: Sequence::ZERO,
            selection: Selection::All,
        };
        let (scan, wanted) = (store.scan(request).await?, wanted.clone());
        let read = tokio::task::spawn_blocking(move || read_members(scan, &wanted, snapshot)).await;
        let read =
            read.map_err(|panic| Error::new(ErrorKind::Storage, "reading Groups").with_source(panic))?;
        groups.extend(read?);
    }
    Ok(groups)
}

fn read_members(
    scan: fhirhose_store::Scan,
    wanted: &BTreeSet<Id>,
    snapshot: Snapshot,
) -> Result<Vec<(Id, GroupMembers)>> {
    let mut groups = Vec::new();
    let mut failed = None;
    scan.for_each(&mut |row| {
        let Some(id) = wanted.get(row.id) else {
            return Ok(ControlFlow::Continue(()));
        };
        match GroupMembers::read(row.body, snapshot.instant) {
            Ok(members) => groups.push((id.clone(), members)),
            Err(error) => {
                failed =
                    Some(Error::new(ErrorKind::Invalid, "reading the members of a Group").with_source(error));
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    failed.map_or(Ok(groups), Err)
}

fn owner_key(patient: &Id) -> Vec<u8> {
    let mut owner = Vec::with_capacity(17);
    key::push_owner(Some(patient.as_str()), &mut owner);
    owner
}

/// type ‖ owner ‖ id of a row.
pub(super) fn row_key(resource_type: ResourceType, row: &StoredRow<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + row.owner_key.len() + 17);
    key.push(resource_type.code());
    key.extend_from_slice(row.owner_key);
    key::push_id(row.id, &mut key);
    key
}

fn versioned(mut key: Vec<u8>, sequence: Sequence) -> Vec<u8> {
    key.extend_from_slice(&sequence.0.to_be_bytes());
    key
}
