//! Finds what criteria mean by the best order of the store: by id, by owner, by change; else by looking at the whole type.
//!
//! A search that looks at more than its budget allows is cut where an order can be gone on with, and is refused as too costly where
//! it cannot: a sorted page is right only when all rows were looked at.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VersionFacts};
use fhirhose_fhir::search_request::{Direction, Order};
use fhirhose_store::catalog::{KeyRange, Snapshot};
use fhirhose_store::{
    CohortRows, Event, Found, Happened, Resource, ScanRequest, Selection, Sequence, StoredRow, key,
};
use hyper::StatusCode;

use super::cursor::foreign;
use super::sort::{SortKey, sequence_of};
use crate::app::App;
use crate::problem::Problem;
use crate::rest::visit::{Budget, Hit, row_key, visit};

/// Patients of one search whose rows are looked up one by one; with more, the whole type is looked at.
const PATIENTS_MAX: usize = 100;

/// Resources that a search in the order of ids reads one by one before its page ends.
const READS_MAX: usize = 2_000;

/// Ids that are taken from the catalog at a time.
const IDS_BATCH: usize = 256;

/// The first window of commits that a search for the newest looks at; each further one is wider.
const WINDOW_COMMITS: u64 = 1_024;

/// A search at a state of the store.
pub(crate) struct Finder<'a> {
    pub(crate) app: &'a App,
    pub(crate) criteria: &'a Criteria,
    pub(crate) snapshot: Snapshot,
    /// What may still be looked at.
    pub(crate) budget: Budget,
    /// What might be looked at to begin with.
    pub(super) whole: Budget,
    /// Rows that were looked at.
    pub(crate) rows_seen: u64,
    /// Those of them that were looked at without the help of an order.
    pub(crate) rows_scanned: u64,
}

/// Which matches are wanted.
pub(crate) struct Wanted {
    pub(crate) order: Order,
    /// The place behind which the page begins.
    pub(crate) after: Option<Vec<u8>>,
    pub(crate) hits_max: usize,
    /// Text of the matches after which the page ends, in bytes.
    pub(crate) bytes_max: usize,
}

/// A page of matches.
#[derive(Default)]
pub(crate) struct Matches {
    pub(crate) hits: Vec<Hit>,
    /// Where the page ended, if there is or may be more.
    pub(crate) more_after: Option<Vec<u8>>,
    /// Whether the page ended because of the budget.
    pub(crate) is_cut: bool,
}

/// A match whose text is not read yet.
struct Place {
    id: String,
    owner: Option<String>,
    sequence: Sequence,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(app: &'a App, criteria: &'a Criteria, snapshot: Snapshot, whole: &Budget) -> Self {
        Self {
            app,
            criteria,
            snapshot,
            budget: whole.clone(),
            whole: whole.clone(),
            rows_seen: 0,
            rows_scanned: 0,
        }
    }

    /// The same search with the whole budget.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.app, self.criteria, self.snapshot, &self.whole)
    }

    /// Finds a page of matches.
    ///
    /// # Errors
    /// 422 when the order wants more to be looked at than the budget allows; what reading the store gives.
    pub(crate) async fn page(&mut self, wanted: &Wanted) -> Result<Matches, Problem> {
        if let Some(ids) = self.criteria.ids() {
            return self.page_of_ids(ids, wanted).await;
        }
        match wanted.order {
            Order::Store => self.page_in_store_order(wanted).await,
            order => self.page_in(order, wanted).await,
        }
    }

    /// Counts all matches.
    ///
    /// # Errors
    /// As [`Finder::page`].
    pub(crate) async fn count(&mut self) -> Result<u64, Problem> {
        if let Some(ids) = self.criteria.ids() {
            let mut count = 0;
            for id in ids {
                count += u64::from(self.read(id.as_str()).await?.is_some());
            }
            return Ok(count);
        }
        let request = self.request().await?;
        let criteria = self.criteria.clone();
        let counter = move |count: &mut u64, row: &StoredRow<'_>| {
            *count += u64::from(is_match(&criteria, row));
            ControlFlow::Continue(())
        };
        let visited = visit(self.app, request, &mut self.budget, 0, counter).await?;
        match visited.cut_at {
            None => Ok(visited.gathered),
            Some(_) => Err(self.too_costly("counting the matches")),
        }
    }

    /// At most how many rows a search would look at.
    pub(crate) async fn rows_max(&self) -> Result<u64, Problem> {
        let request = self.request().await?;
        let outlines = self.app.store.outline(&[request], u64::MAX).await?;
        Ok(outlines.first().map_or(0, |outline| outline.rows_max))
    }

    /// The rows among which all matches are.
    async fn request(&self) -> Result<ScanRequest, Problem> {
        let resource_type = self.criteria.resource_type();
        let first = self.criteria.last_updated().first;
        let after = match first > Instant::MIN {
            true => {
                let before = Instant::from_micros(first.micros() - 1);
                self.app.store.catalog().sequence_at(before).await?
            }
            false => Sequence::ZERO,
        };
        let mut request = ScanRequest {
            range: KeyRange::of_type(resource_type),
            snapshot: self.snapshot.sequence,
            after,
            selection: Selection::All,
        };
        if let Some(patients) = self.criteria.patients().filter(|list| list.len() <= PATIENTS_MAX) {
            let rows = self.rows_of(resource_type, patients).await?;
            if let ([patient], true) = (patients, rows.keys.is_empty()) {
                request.range = KeyRange::of_owner(resource_type, patient.as_str());
            } else {
                request.selection = Selection::Cohort(Arc::new(rows));
            }
        }
        Ok(request)
    }

    /// The rows in the compartments of some patients: their own, and those of others that name them too.
    async fn rows_of(&self, resource_type: ResourceType, patients: &[Id]) -> Result<CohortRows, Problem> {
        let owner_of = |patient: &Id| {
            let mut owner = Vec::new();
            key::push_owner(Some(patient.as_str()), &mut owner);
            owner
        };
        let mut owners: Vec<Vec<u8>> = patients.iter().map(owner_of).collect();
        owners.sort_unstable();
        let mut keys = Vec::new();
        for patient in patients {
            let shared = self.app.store.catalog().memberships(patient.as_str()).await?;
            keys.extend(
                shared
                    .into_iter()
                    .filter(|row| row.key.first() == Some(&resource_type.code()))
                    .filter(|row| row.sequence <= self.snapshot.sequence)
                    .map(|row| row.key),
            );
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(CohortRows {
            owners: Arc::new(owners),
            keys,
        })
    }

    async fn page_in_store_order(&mut self, wanted: &Wanted) -> Result<Matches, Problem> {
        let mut request = self.request().await?;
        if let Some(after) = &wanted.after {
            let range = &mut request.range;
            // Whatever a cursor says, the page is of the type.
            if *after < range.from || range.to.as_ref().is_some_and(|to| after >= to) {
                return Err(foreign());
            }
            range.from = [after.as_slice(), &[0]].concat();
        }
        let (resource_type, criteria) = (self.criteria.resource_type(), self.criteria.clone());
        let (hits_max, bytes_max) = (wanted.hits_max, wanted.bytes_max);
        let visitor = move |page: &mut StorePage, row: &StoredRow<'_>| {
            if !is_match(&criteria, row) {
                return ControlFlow::Continue(());
            }
            if page.hits.len() >= hits_max || page.bytes >= bytes_max {
                page.is_full = true;
                return ControlFlow::Break(());
            }
            page.bytes += row.body.len();
            page.last = row_key(resource_type, row);
            page.hits.push(Hit::of_row(resource_type, row));
            ControlFlow::Continue(())
        };
        let scans = matches!(request.selection, Selection::All) && request.after == Sequence::ZERO;
        let visited = visit(self.app, request, &mut self.budget, StorePage::default(), visitor).await?;
        self.rows_seen += visited.rows;
        self.rows_scanned += if scans { visited.rows } else { 0 };
        let page = visited.gathered;
        let is_cut = visited.cut_at.is_some();
        Ok(Matches {
            hits: page.hits,
            more_after: visited.cut_at.or(page.is_full.then_some(page.last)),
            is_cut,
        })
    }

    /// Finds a page in another order than the store's: the least of all matches are kept while everything is looked at.
    async fn page_in(&mut self, order: Order, wanted: &Wanted) -> Result<Matches, Problem> {
        let request = self.request().await?;
        let outlines = self
            .app
            .store
            .outline(std::slice::from_ref(&request), u64::MAX)
            .await?;
        let rows_max = outlines.first().map_or(0, |outline| outline.rows_max);
        if order == Order::Id(Direction::Ascending) && rows_max > self.budget.rows() {
            return self.page_by_walking_ids(wanted).await;
        }
        let least = match order {
            Order::LastUpdated(Direction::Descending) => self.newest(request, order, wanted).await?,
            Order::LastUpdated(Direction::Ascending) => {
                let from = wanted
                    .after
                    .as_deref()
                    .and_then(|after| sequence_of(order, after));
                let after = from.map_or(request.after, |from| {
                    request.after.max(Sequence(from.0.saturating_sub(1)))
                });
                self.least(ScanRequest { after, ..request }, order, wanted)
                    .await?
            }
            _ => self.least(request, order, wanted).await?,
        };
        self.read_places(least, wanted).await
    }

    /// Looks at the newest commits first, and at more of them until there are enough matches.
    async fn newest(
        &mut self,
        request: ScanRequest,
        order: Order,
        wanted: &Wanted,
    ) -> Result<BTreeMap<SortKey, Place>, Problem> {
        let from = wanted
            .after
            .as_deref()
            .and_then(|after| sequence_of(order, after));
        let newest = from.unwrap_or(request.snapshot).0;
        let mut window = WINDOW_COMMITS;
        loop {
            let after = request.after.max(Sequence(newest.saturating_sub(window)));
            let windowed = ScanRequest {
                after,
                ..request.clone()
            };
            let least = self.least(windowed, order, wanted).await?;
            if least.len() > wanted.hits_max || after == request.after {
                return Ok(least);
            }
            window = window.saturating_mul(16);
        }
    }

    /// The first matches of a scan by an order, one more than are wanted.
    async fn least(
        &mut self,
        request: ScanRequest,
        order: Order,
        wanted: &Wanted,
    ) -> Result<BTreeMap<SortKey, Place>, Problem> {
        let (resource_type, criteria) = (self.criteria.resource_type(), self.criteria.clone());
        let (after, kept_max) = (wanted.after.clone(), wanted.hits_max + 1);
        let visitor = move |least: &mut BTreeMap<SortKey, Place>, row: &StoredRow<'_>| {
            let sort_key = SortKey::of(order, row.id, row.sequence, || row_key(resource_type, row));
            let is_wanted = after.as_ref().is_none_or(|after| sort_key.is_after(after))
                && (least.len() < kept_max
                    || least.last_key_value().is_some_and(|(last, _)| sort_key < *last));
            if is_wanted && is_match(&criteria, row) {
                least.insert(sort_key, Place::of(row));
                if least.len() > kept_max {
                    least.pop_last();
                }
            }
            ControlFlow::Continue(())
        };
        let scans = matches!(request.selection, Selection::All) && request.after == Sequence::ZERO;
        let visited = visit(self.app, request, &mut self.budget, BTreeMap::new(), visitor).await?;
        self.rows_seen += visited.rows;
        self.rows_scanned += if scans { visited.rows } else { 0 };
        match visited.cut_at {
            None => Ok(visited.gathered),
            Some(_) => Err(self.too_costly("sorting the matches")),
        }
    }

    async fn read_places(
        &self,
        places: BTreeMap<SortKey, Place>,
        wanted: &Wanted,
    ) -> Result<Matches, Problem> {
        let resource_type = self.criteria.resource_type();
        let mut page = PageOfReads::new(wanted);
        for (sort_key, place) in places {
            if page.is_full() {
                return Ok(page.ended());
            }
            let event = Event {
                sequence: place.sequence,
                happened: Happened::Written { owner: place.owner },
                ended_at: None,
            };
            let read = self
                .app
                .store
                .read_event(resource_type, &place.id, &event)
                .await?;
            // Gone since the scan: only a compaction past the kept history does that, and the next page says 410.
            if let Some(resource) = read {
                page.push(sort_key, hit(resource_type, place.id, resource));
            }
        }
        Ok(page.matches)
    }

    async fn page_of_ids(&mut self, ids: &[Id], wanted: &Wanted) -> Result<Matches, Problem> {
        let resource_type = self.criteria.resource_type();
        let order = match wanted.order {
            Order::Store => Order::Id(Direction::Ascending),
            order => order,
        };
        let mut sorted = BTreeMap::new();
        for id in ids {
            let sequence = match order {
                Order::LastUpdated(_) => match self.read(id.as_str()).await? {
                    Some(resource) => resource.version.sequence,
                    None => continue,
                },
                _ => Sequence::ZERO,
            };
            let sort_key = SortKey::of(order, id.as_str(), sequence, || id.as_str().as_bytes().to_vec());
            if wanted.after.as_ref().is_none_or(|after| sort_key.is_after(after)) {
                sorted.insert(sort_key, id.as_str().to_owned());
            }
        }
        let mut page = PageOfReads::new(wanted);
        for (sort_key, id) in sorted {
            let Some(resource) = self.read(&id).await? else {
                continue;
            };
            if page.is_full() {
                return Ok(page.ended());
            }
            page.push(sort_key, hit(resource_type, id, resource));
        }
        Ok(page.matches)
    }

    /// Reads the resources of a type in the order of their ids, one by one.
    async fn page_by_walking_ids(&mut self, wanted: &Wanted) -> Result<Matches, Problem> {
        let resource_type = self.criteria.resource_type();
        let order = Order::Id(Direction::Ascending);
        let mut page = PageOfReads::new(wanted);
        let mut after = wanted
            .after
            .clone()
            .and_then(|after| String::from_utf8(after).ok());
        let mut reads = 0;
        loop {
            let catalog = self.app.store.catalog();
            let batch = catalog.ids(resource_type, after.as_deref(), IDS_BATCH).await?;
            if batch.is_empty() {
                return Ok(page.matches);
            }
            for (id, _) in batch {
                let resource = self.read(&id).await?;
                reads += 1;
                if resource.is_some() && page.is_full() {
                    return Ok(page.ended());
                }
                let sort_key = SortKey::of(order, &id, Sequence::ZERO, Vec::new);
                match resource {
                    Some(resource) => page.push(sort_key, hit(resource_type, id.clone(), resource)),
                    None => page.last = sort_key.into_bytes(),
                }
                after = Some(id);
            }
            if reads >= READS_MAX {
                let mut matches = page.ended();
                matches.is_cut = true;
                self.rows_seen += reads as u64;
                self.rows_scanned += reads as u64;
                return Ok(matches);
            }
        }
    }

    /// Reads a resource as the snapshot has it, if it matches.
    async fn read(&self, id: &str) -> Result<Option<Resource>, Problem> {
        let resource_type = self.criteria.resource_type();
        let found = self
            .app
            .store
            .read_at(resource_type, id, self.snapshot.sequence)
            .await?;
        Ok(match found {
            Some(Found::Resource(resource)) => {
                let facts = VersionFacts {
                    last_updated: resource.version.instant,
                };
                self.criteria.matches(&resource.text, facts).then_some(resource)
            }
            _ => None,
        })
    }

    pub(super) fn too_costly(&self, what: &str) -> Problem {
        let rest = &self.app.settings.rest;
        let text = format!(
            "{what} would look at more than {} rows or {} bytes, or its Bundle at more than {} or {}; narrow the search by patient, _id or _lastUpdated",
            rest.search_rows_max, rest.search_bytes_max, rest.bundle_rows_max, rest.bundle_bytes_max
        );
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, IssueCode::TooCostly, text)
    }
}

#[derive(Default)]
struct StorePage {
    hits: Vec<Hit>,
    bytes: usize,
    last: Vec<u8>,
    is_full: bool,
}

/// A page whose matches are read one by one.
struct PageOfReads<'a> {
    wanted: &'a Wanted,
    matches: Matches,
    bytes: usize,
    /// The place of the last resource that was looked at.
    last: Vec<u8>,
}

impl<'a> PageOfReads<'a> {
    fn new(wanted: &'a Wanted) -> Self {
        Self {
            wanted,
            matches: Matches::default(),
            bytes: 0,
            last: wanted.after.clone().unwrap_or_default(),
        }
    }

    fn is_full(&self) -> bool {
        self.matches.hits.len() >= self.wanted.hits_max || self.bytes >= self.wanted.bytes_max
    }

    fn push(&mut self, sort_key: SortKey, hit: Hit) {
        self.bytes += hit.text.len();
        self.last = sort_key.into_bytes();
        self.matches.hits.push(hit);
    }

    /// The page, with more behind it.
    fn ended(mut self) -> Matches {
        self.matches.more_after = Some(self.last);
        self.matches
    }
}

impl Place {
    fn of(row: &StoredRow<'_>) -> Self {
        // What is stored is a key that was made of an owner.
        let owner = key::split_owner(row.owner_key).and_then(|(owner, _)| owner);
        Self {
            id: row.id.to_owned(),
            owner,
            sequence: row.sequence,
        }
    }
}

fn is_match(criteria: &Criteria, row: &StoredRow<'_>) -> bool {
    let facts = VersionFacts {
        last_updated: row.instant,
    };
    criteria.matches(row.body, facts)
}

fn hit(resource_type: ResourceType, id: String, resource: Resource) -> Hit {
    Hit {
        resource_type,
        id,
        version: resource.version,
        text: resource.text,
    }
}
