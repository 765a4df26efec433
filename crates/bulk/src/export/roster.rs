//! Who is in a Group as it is, or was, at a state of the store: its patients, those of the Groups within it, and for a cohort those
//! who hold to its filters (G-06, C-03).

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use fhirhose_fhir::group::GroupMembers;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::StopSignal;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{Found, Store};

use super::characteristics::holding;
use crate::{Error, ErrorKind, Result};

/// Where and when members are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) store: &'a Store,
    /// The state of the store; its instant decides about periods of members.
    pub(super) at: Snapshot,
    /// The FHIR base below which references of filters are the server's own.
    pub(super) base_url: &'a str,
    pub(super) stop: &'a StopSignal,
}

/// The members of a Group.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) patients: BTreeSet<Id>,
    /// Members that are no patients and no Groups.
    pub(super) others: u64,
    /// Members that cannot be looked up.
    pub(super) unresolvable: u64,
    /// Nested Groups that are not there.
    pub(super) missing_groups: u64,
}

/// A Group and the Groups within it, each once, so that circles end.
pub(super) struct Groups {
    root: Id,
    known: BTreeMap<Id, GroupMembers>,
    missing: u64,
}

impl Groups {
    /// Reads them; `None` if the Group itself is not there.
    pub(super) async fn read(reading: Reading<'_>, root: &Id) -> Result<Option<Self>> {
        let mut groups = Self {
            root: root.clone(),
            known: BTreeMap::new(),
            missing: 0,
        };
        let mut seen = BTreeSet::from([root.clone()]);
        let mut wanted = vec![root.clone()];
        while let Some(id) = wanted.pop() {
            if let Some(reason) = reading.stop.stopping() {
                return Err(Error::stopped(reason));
            }
            let Some(members) = read_members(reading, &id).await? else {
                groups.missing += 1;
                continue;
            };
            let nested = members
                .groups
                .iter()
                .filter(|nested| seen.insert((*nested).clone()));
            wanted.extend(nested.cloned());
            groups.known.insert(id, members);
        }
        Ok(groups.known.contains_key(root).then_some(groups))
    }

    /// Whether filters decide about members.
    pub(super) fn have_filters(&self) -> bool {
        self.known.values().any(|members| !members.filters.is_empty())
    }

    /// Finds the members out. Filters cost a scan each.
    pub(super) async fn resolve(&self, reading: Reading<'_>) -> Result<Roster> {
        let mut done = BTreeMap::new();
        let patients = self.patients_of(reading, &self.root, &mut done).await?;
        let sum = |count: fn(&GroupMembers) -> u64| self.known.values().map(count).sum();
        Ok(Roster {
            patients,
            others: sum(|members| members.others),
            unresolvable: sum(|members| members.unresolvable),
            missing_groups: self.missing,
        })
    }

    /// The patients of one Group: those of all Groups without filters that are reached from it, of each with filters those who hold to
    /// them, and if it has filters itself, those of all of these who hold to its own. A circle through filters adds nobody.
    fn patients_of<'f>(
        &'f self,
        reading: Reading<'f>,
        group: &'f Id,
        done: &'f mut BTreeMap<Id, BTreeSet<Id>>,
    ) -> Pin<Box<dyn Future<Output = Result<BTreeSet<Id>>> + Send + 'f>> {
        Box::pin(async move {
            if let Some(patients) = done.get(group) {
                return Ok(patients.clone());
            }
            done.insert(group.clone(), BTreeSet::new());
            let mut patients = BTreeSet::new();
            let mut seen = BTreeSet::from([group]);
            let mut wanted = vec![group];
            while let Some(id) = wanted.pop() {
                let Some(members) = self.known.get(id) else {
                    continue;
                };
                if id != group && !members.filters.is_empty() {
                    patients.extend(self.patients_of(reading, id, &mut *done).await?);
                    continue;
                }
                patients.extend(members.patients.iter().cloned());
                wanted.extend(members.groups.iter().filter(|nested| seen.insert(*nested)));
            }
            let Some(members) = self.known.get(group) else {
                return Ok(patients);
            };
            if !members.filters.is_empty() {
                let candidates = members.lists_members.then_some(patients);
                patients = holding(reading, &members.filters, candidates).await?;
            }
            done.insert(group.clone(), patients.clone());
            Ok(patients)
        })
    }
}

/// Reads a Group and finds its members out; `None` if it is not there.
pub(super) async fn read_roster(reading: Reading<'_>, group: &Id) -> Result<Option<Roster>> {
    match Groups::read(reading, group).await? {
        Some(groups) => groups.resolve(reading).await.map(Some),
        None => Ok(None),
    }
}

async fn read_members(reading: Reading<'_>, group: &Id) -> Result<Option<GroupMembers>> {
    let at = reading.at.sequence;
    let found = reading
        .store
        .read_at(ResourceType::GROUP, group.as_str(), at)
        .await?;
    let Some(Found::Resource(resource)) = found else {
        return Ok(None);
    };
    let members = GroupMembers::read(&resource.text, reading.at.instant).map_err(|source| {
        Error::new(ErrorKind::Invalid, "reading the members of a Group").with_source(source)
    })?;
    Ok(Some(members))
}
