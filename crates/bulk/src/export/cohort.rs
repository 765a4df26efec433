//! Whose resources an export takes: everybody's, those of all patients, or those of a cohort.
//!
//! A pure function of request and snapshot: it is found out anew by a worker that goes on with an export. A resource may sit in
//! several compartments; it lies in the store under its owner's and has a membership row for each other patient.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::StopSignal;
use fhirhose_store::catalog::{Gone, KeyRange};
use fhirhose_store::{CohortRows, ScanRequest, Selection, Sequence, Store, StoredRow, key};

use super::members::Members;
use super::notes::Notes;
use super::spec::ExportSpec;
use super::state::State;
use crate::{Error, Result};

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

/// Whose resources an export takes, and what is to be told of that.
pub(super) struct Resolved {
    pub(super) whose: Whose,
    /// Members who joined the Group since `_since` and come with their whole history.
    pub(super) joined: Option<Whose>,
    pub(super) notes: Notes,
}

impl Resolved {
    /// Finds out whose resources are wanted.
    pub(super) async fn find(
        store: &Store,
        spec: &ExportSpec,
        state: &State,
        stop: &StopSignal,
    ) -> Result<Self> {
        let request = &spec.request;
        let only = request
            .patients
            .as_ref()
            .map(|ids| ids.iter().cloned().collect::<BTreeSet<_>>());
        let mut notes = Notes::of(spec);
        let mut joined = BTreeSet::new();
        let patients = match &request.level {
            ExportLevel::System => {
                notes.types_outside.clear();
                return Ok(Self {
                    whose: Whose::Everybody,
                    joined: None,
                    notes,
                });
            }
            ExportLevel::AllPatients => only,
            ExportLevel::Patient(id) => Some(only.map_or_else(
                || BTreeSet::from([id.clone()]),
                |only| only.into_iter().filter(|each| each == id).collect(),
            )),
            ExportLevel::Group(group) => {
                let members = Members::find(store, spec, state, stop, group, &mut notes).await?;
                joined = members.joined;
                Some(members.patients)
            }
        };
        let whose = match patients {
            None => Whose::AllPatients,
            Some(patients) => Whose::Cohort(Cohort::gather(store, &patients, state, stop).await?),
        };
        let joined = match joined.is_empty() {
            true => None,
            false => Some(Whose::Cohort(Cohort::gather(store, &joined, state, stop).await?)),
        };
        Ok(Self { whose, joined, notes })
    }
}

impl Whose {
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

    /// Whether a version is in a wanted compartment.
    pub(super) fn holds(
        &self,
        resource_type: ResourceType,
        owner: Option<&str>,
        id: &str,
        version: Sequence,
    ) -> bool {
        match self {
            Self::Everybody => true,
            Self::AllPatients => owner.is_some(),
            Self::Cohort(cohort) => {
                let mut key = Vec::new();
                key::encode(resource_type, owner, id, &mut key);
                let shared = cohort.shared.get(&resource_type.code());
                cohort.owns(&key)
                    || shared.is_some_and(|shared| shared.versions.contains(&versioned(key, version)))
            }
        }
    }

    /// Whether rows of an owner are wanted as theirs.
    pub(super) fn has_owner(&self, owner_key: &[u8]) -> bool {
        match self {
            Self::Everybody | Self::AllPatients => true,
            Self::Cohort(cohort) => cohort.has(owner_key),
        }
    }

    /// The wanted owners in a half-open range; `None` if all are.
    pub(super) fn owners_between(&self, from: &[u8], to: Option<&[u8]>) -> Option<&[Vec<u8>]> {
        let Self::Cohort(cohort) = self else { return None };
        let below = |end: &[u8]| cohort.owners.partition_point(|owner| owner.as_slice() < end);
        let to = to.map_or(cohort.owners.len(), below);
        cohort.owners.get(below(from)..to)
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
    pub(super) async fn gather(
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
                if row.sequence <= state.snapshot.sequence && !cohort.owns(&row.key) {
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
