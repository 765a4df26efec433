//! Everything about one patient (FHIR R4, `$everything`): the patient, what lies in the compartment, also where it is shared with
//! other patients, and the people, places and things that it refers to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::outcome::{Issue, IssueCode, Severity};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search_request::CURSOR;
use fhirhose_store::catalog::{KeyRange, Snapshot};
use fhirhose_store::{CohortRows, Found, ScanRequest, Selection, Sequence, StoredRow, key};

use super::search::{Cursor, Seal, write_notes};
use super::visit::{Budget, Hit, row_key, visit};
use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;

/// Types outside of the compartment whose resources come with what refers to them.
const HELPERS: [&str; 6] = [
    "Device",
    "Location",
    "Medication",
    "Organization",
    "Practitioner",
    "PractitionerRole",
];

/// What of a patient's record is asked for.
#[derive(Debug, Default)]
pub(crate) struct EverythingRequest {
    /// `_type`, as far as it may be read
    pub(crate) types: Option<BTreeSet<ResourceType>>,
    /// Whether types are left out, without being asked to, that the client may not read.
    pub(crate) is_narrowed: bool,
    /// `_since`: what was last updated at this instant or later.
    pub(crate) since: Option<Instant>,
    /// `_count`
    pub(crate) count: Option<u32>,
    /// `_cursor`
    pub(crate) cursor: Option<String>,
    /// The query without the cursor, as it was sent.
    pub(crate) query: String,
}

/// Gives a page of a patient's record as a Bundle; `None` if there is no such patient.
///
/// # Errors
/// 400 for a cursor of something else, 410 for one that has expired; what reading the store gives.
pub(crate) async fn everything(
    app: &App,
    rights: &Rights,
    patient: &Id,
    request: &EverythingRequest,
) -> Result<Option<Vec<u8>>, Problem> {
    let path = format!("Patient/{}/$everything", patient.as_str());
    let name = match request.query.is_empty() {
        true => path,
        false => format!("{path}?{}", request.query),
    };
    let seal = Seal::of(app, rights).await?;
    let cursor = match &request.cursor {
        Some(text) => Some(Cursor::read(app, &seal, &name, text).await?),
        None => None,
    };
    let snapshot = match &cursor {
        Some(cursor) => cursor.snapshot,
        None => app.store.catalog().snapshot().await?,
    };
    let there = app
        .store
        .read_at(ResourceType::PATIENT, patient.as_str(), snapshot.sequence)
        .await?;
    if !matches!(there, Some(Found::Resource(_))) {
        return Ok(None);
    }
    let mut record = Record::new(app, patient, request, snapshot).await?;
    record
        .fill(app, request, cursor.map(|cursor| cursor.position))
        .await?;
    let included = record.helpers(app, request).await?;
    Ok(Some(record.bundle(app, (&seal, &name), request, &included)))
}

/// A page of a record while it is gathered.
struct Record {
    snapshot: Snapshot,
    after: Sequence,
    owner: Vec<u8>,
    /// What others own and this patient shares: keys by type, and their versions as key ‖ sequence.
    shared: BTreeMap<u8, BTreeSet<Vec<u8>>>,
    versions: HashSet<Vec<u8>>,
    hits: Vec<Hit>,
    bytes: usize,
    more_after: Option<Vec<u8>>,
    notes: Vec<Issue>,
}

/// What a scan of one type gathers.
#[derive(Default)]
struct Gathered {
    hits: Vec<Hit>,
    bytes: usize,
    last: Vec<u8>,
    is_full: bool,
}

impl Record {
    async fn new(
        app: &App,
        patient: &Id,
        request: &EverythingRequest,
        snapshot: Snapshot,
    ) -> Result<Self, Problem> {
        let catalog = app.store.catalog();
        let after = match request.since {
            Some(since) => {
                catalog
                    .sequence_at(Instant::from_micros(since.micros() - 1))
                    .await?
            }
            None => Sequence::ZERO,
        };
        let mut owner = Vec::new();
        key::push_owner(Some(patient.as_str()), &mut owner);
        let (mut shared, mut versions) = (BTreeMap::<u8, BTreeSet<Vec<u8>>>::new(), HashSet::new());
        for row in catalog.memberships(patient.as_str()).await? {
            if row.sequence <= snapshot.sequence && !row.key.get(1..).unwrap_or_default().starts_with(&owner)
            {
                versions.insert(versioned(&row.key, row.sequence));
                shared.entry(row.key[0]).or_default().insert(row.key);
            }
        }
        Ok(Self {
            snapshot,
            after,
            owner,
            shared,
            versions,
            hits: Vec::new(),
            bytes: 0,
            more_after: None,
            notes: match request.is_narrowed {
                true => vec![Issue::new(
                    Severity::Information,
                    IssueCode::Suppressed,
                    "resources of types that the token does not allow to read are left out",
                )],
                false => Vec::new(),
            },
        })
    }

    /// Gathers type by type, the Patient first, until the page is full.
    async fn fill(
        &mut self,
        app: &App,
        request: &EverythingRequest,
        after: Option<Vec<u8>>,
    ) -> Result<(), Problem> {
        let rest = &app.settings.rest;
        let count = request
            .count
            .unwrap_or(rest.page_entries)
            .min(rest.page_entries_max);
        let hits_max = usize::try_from(count).unwrap_or(usize::MAX);
        let mut budget = Budget::of(rest);
        let is_wanted = |each: &ResourceType| request.types.as_ref().is_none_or(|types| types.contains(each));
        let others = ResourceType::all().filter(|each| *each != ResourceType::PATIENT);
        let in_compartment = others.filter(|each| each.in_patient_compartment());
        let mut begun = after.is_none();
        for resource_type in std::iter::once(ResourceType::PATIENT).chain(in_compartment) {
            let here = after
                .as_ref()
                .filter(|after| after.first() == Some(&resource_type.code()));
            begun |= here.is_some();
            if !begun || !is_wanted(&resource_type) {
                continue;
            }
            let left = (
                hits_max - self.hits.len(),
                rest.page_bytes_max.saturating_sub(self.bytes),
            );
            let request = self.request(resource_type, here.map(Vec::as_slice));
            let visitor = self.visitor(resource_type, left);
            let visited = visit(app, request, &mut budget, Gathered::default(), visitor).await?;
            let gathered = visited.gathered;
            self.bytes += gathered.bytes;
            let last_here = gathered.last;
            self.hits.extend(gathered.hits);
            if gathered.is_full || visited.cut_at.is_some() {
                // Where nothing of the type fitted, the page ends before its first row.
                let before = vec![resource_type.code()];
                let ended = visited
                    .cut_at
                    .or_else(|| Some(last_here).filter(|last| !last.is_empty()));
                self.more_after = Some(ended.or_else(|| here.cloned()).unwrap_or(before));
                return Ok(());
            }
        }
        Ok(())
    }

    fn request(&self, resource_type: ResourceType, after: Option<&[u8]>) -> ScanRequest {
        let mut range = KeyRange::of_type(resource_type);
        if let Some(after) = after {
            range.from = [after, &[0]].concat();
        }
        let keys = self.shared.get(&resource_type.code()).into_iter().flatten();
        let rows = CohortRows {
            owners: Arc::new(vec![self.owner.clone()]),
            keys: keys.cloned().collect(),
        };
        ScanRequest {
            range,
            snapshot: self.snapshot.sequence,
            after: self.after,
            selection: Selection::Cohort(Arc::new(rows)),
        }
    }

    fn visitor(
        &self,
        resource_type: ResourceType,
        (hits_max, bytes_max): (usize, usize),
    ) -> impl FnMut(&mut Gathered, &StoredRow<'_>) -> ControlFlow<()> + Send + use<> {
        let owner = self.owner.clone();
        let has_shared = self.shared.contains_key(&resource_type.code());
        let versions = if has_shared {
            self.versions.clone()
        } else {
            HashSet::new()
        };
        move |gathered, row| {
            let key = row_key(resource_type, row);
            // Another version of a shared resource may not name this patient.
            if row.owner_key != owner && !versions.contains(&versioned(&key, row.sequence)) {
                return ControlFlow::Continue(());
            }
            if gathered.hits.len() >= hits_max || gathered.bytes >= bytes_max {
                gathered.is_full = true;
                return ControlFlow::Break(());
            }
            gathered.bytes += row.body.len();
            gathered.last = key;
            gathered.hits.push(Hit::of_row(resource_type, row));
            ControlFlow::Continue(())
        }
    }

    /// Reads what the page's resources refer to outside of the compartment, each once on a page.
    async fn helpers(&mut self, app: &App, request: &EverythingRequest) -> Result<Vec<Hit>, Problem> {
        let is_wanted = |each: &ResourceType| request.types.as_ref().is_none_or(|types| types.contains(each));
        let mut names = BTreeSet::new();
        for hit in &self.hits {
            let mut checker = LineChecker::new(LineLimits {
                line_bytes_max: usize::MAX,
                depth_max: 10_000,
            });
            let Ok(checked) = checker.check(&hit.text, None) else {
                continue;
            };
            for reference in checked.references.iter() {
                if HELPERS.contains(&reference.resource_type.name()) && is_wanted(&reference.resource_type) {
                    names.insert((reference.resource_type, reference.id.to_owned()));
                }
            }
        }
        for hit in &self.hits {
            names.remove(&(hit.resource_type, hit.id.clone()));
        }
        let rest = &app.settings.rest;
        let mut helpers = Vec::new();
        for (resource_type, id) in names {
            if helpers.len() >= rest.included_max || self.bytes >= rest.page_bytes_max.saturating_mul(2) {
                let text = format!(
                    "not all resources that this page refers to are included: the most are {}; take a smaller _count",
                    rest.included_max
                );
                self.notes.push(Issue::warning(IssueCode::TooCostly, text));
                break;
            }
            let found = app
                .store
                .read_at(resource_type, &id, self.snapshot.sequence)
                .await?;
            let Some(Found::Resource(resource)) = found else {
                continue;
            };
            if resource.version.sequence <= self.after {
                continue;
            }
            self.bytes += resource.text.len();
            helpers.push(Hit {
                resource_type,
                id,
                version: resource.version,
                text: resource.text,
            });
        }
        Ok(helpers)
    }

    fn bundle(
        &self,
        app: &App,
        (seal, name): (&Seal<'_>, &str),
        request: &EverythingRequest,
        included: &[Hit],
    ) -> Vec<u8> {
        let separator = if request.query.is_empty() { "?" } else { "&" };
        let with_cursor = |cursor: &str| app.url(&format!("{name}{separator}{CURSOR}={cursor}"));
        let here = request
            .cursor
            .as_deref()
            .map_or_else(|| app.url(name), with_cursor);
        let next = self.more_after.clone().map(|position| {
            let cursor = Cursor {
                snapshot: self.snapshot,
                total: None,
                position,
            };
            with_cursor(&cursor.write(seal, name))
        });
        let mut links = vec![("self", here.as_str())];
        links.extend(next.as_deref().map(|url| ("next", url)));
        let is_whole = next.is_none() && request.cursor.is_none();
        let total = is_whole.then_some(self.hits.len() as u64);
        let mut bundle = BundleWriter::new("searchset", total, &links);
        for (hits, mode) in [(self.hits.as_slice(), "match"), (included, "include")] {
            for hit in hits {
                bundle.entry(&BundleEntry {
                    full_url: Some(&app.url(&format!("{}/{}", hit.resource_type, hit.id))),
                    resource: Some(&hit.text),
                    mode: Some(mode),
                    ..BundleEntry::default()
                });
            }
        }
        write_notes(&mut bundle, &self.notes);
        bundle.finish()
    }
}

fn versioned(key: &[u8], sequence: Sequence) -> Vec<u8> {
    [key, &sequence.0.to_be_bytes()].concat()
}
