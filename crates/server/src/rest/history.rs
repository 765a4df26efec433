//! The history of one resource (FHIR R4, history), newest first, and its versions by number (vread).

use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter, EntryResponse};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search_request::CURSOR;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{Event, Happened, Resource, Sequence};

use super::search::{Cursor, Seal};
use crate::access::Rights;
use crate::app::App;
use crate::audit::note_patients;
use crate::problem::Problem;
use crate::resource::tag;

/// What of a history is asked for.
#[derive(Debug, Default)]
pub(crate) struct HistoryRequest {
    /// `_count`
    pub(crate) count: Option<u32>,
    /// `_since`: what happened at this instant or later.
    pub(crate) since: Option<Instant>,
    /// `_cursor`
    pub(crate) cursor: Option<String>,
    /// The query without the cursor, as it was sent.
    pub(crate) query: String,
}

/// Gives a page of the history as a Bundle; `None` if there never was such a resource.
///
/// # Errors
/// 400 for a cursor of another history; what reading the store gives.
pub(crate) async fn history(
    app: &App,
    rights: &Rights,
    (resource_type, id): (ResourceType, &Id),
    request: &HistoryRequest,
) -> Result<Option<Vec<u8>>, Problem> {
    let path = format!("{resource_type}/{}/_history", id.as_str());
    let name = match request.query.is_empty() {
        true => path,
        false => format!("{path}?{}", request.query),
    };
    let seal = Seal::of(app, rights).await?;
    let before = match &request.cursor {
        Some(text) => before(&seal, &name, text)?,
        None => Sequence(u64::MAX),
    };
    let rest = &app.settings.rest;
    let count = request
        .count
        .unwrap_or(rest.page_entries)
        .min(rest.page_entries_max);
    let events_max = usize::try_from(count).unwrap_or(usize::MAX);
    let mut events = app
        .store
        .history(resource_type, id.as_str(), before, events_max + 1)
        .await?;
    if events.is_empty() && request.cursor.is_none() {
        return Ok(None);
    }
    let mut page = Page {
        entries: Vec::new(),
        is_at_the_end: events.len() <= events_max,
        dropped: 0,
    };
    events.truncate(events_max);
    page.read(app, (resource_type, id), events, request.since).await?;
    let versions = page.entries.iter().filter_map(|(_, resource)| resource.as_ref());
    versions.for_each(|version| note_patients(&version.text));
    page.bundle(app, (resource_type, id), (&seal, &name), request)
        .await
        .map(Some)
}

fn before(seal: &Seal<'_>, name: &str, text: &str) -> Result<Sequence, Problem> {
    let cursor =
        Cursor::parse(seal, name, text).and_then(|cursor| cursor.position.first_chunk::<8>().copied());
    cursor
        .map(|bytes| Sequence(u64::from_be_bytes(bytes)))
        .ok_or_else(|| {
            let text = "_cursor is none that this history gave out; begin without it";
            Problem::bad_request(IssueCode::Value, text)
        })
}

struct Page {
    entries: Vec<(Snapshot, Option<Resource>)>,
    is_at_the_end: bool,
    /// Versions that a compaction dropped while the page was made.
    dropped: u64,
}

impl Page {
    async fn read(
        &mut self,
        app: &App,
        (resource_type, id): (ResourceType, &Id),
        events: Vec<Event>,
        since: Option<Instant>,
    ) -> Result<(), Problem> {
        let mut bytes = 0;
        for event in events {
            if bytes >= app.settings.rest.page_bytes_max {
                self.is_at_the_end = false;
                break;
            }
            let instant = app.store.catalog().instant_of(event.sequence).await?;
            let instant = instant.ok_or_else(Problem::internal)?;
            if since.is_some_and(|since| instant < since) {
                self.is_at_the_end = true;
                break;
            }
            let version = Snapshot {
                sequence: event.sequence,
                instant,
            };
            let resource = app.store.read_event(resource_type, id.as_str(), &event).await?;
            bytes += resource.as_ref().map_or(0, |resource| resource.text.len());
            if resource.is_none() && event.happened != Happened::Deleted {
                self.dropped += 1;
                continue;
            }
            self.entries.push((version, resource));
        }
        Ok(())
    }

    async fn bundle(
        &self,
        app: &App,
        (resource_type, id): (ResourceType, &Id),
        (seal, name): (&Seal<'_>, &str),
        request: &HistoryRequest,
    ) -> Result<Vec<u8>, Problem> {
        let separator = if request.query.is_empty() { "?" } else { "&" };
        let with_cursor = |cursor: &str| app.url(&format!("{name}{separator}{CURSOR}={cursor}"));
        let here = request
            .cursor
            .as_deref()
            .map_or_else(|| app.url(name), with_cursor);
        let last = self.entries.last().filter(|_| !self.is_at_the_end);
        let next = last.map(|(version, _)| {
            let cursor = Cursor {
                snapshot: *version,
                total: None,
                position: version.sequence.0.to_be_bytes().to_vec(),
            };
            with_cursor(&cursor.write(seal, name))
        });
        let mut links = vec![("self", here.as_str())];
        links.extend(next.as_deref().map(|url| ("next", url)));
        let total = (self.is_at_the_end && request.cursor.is_none()).then_some(self.entries.len() as u64);
        let mut bundle = BundleWriter::new("history", total, &links);
        for (version, resource) in &self.entries {
            write_entry(
                app,
                &format!("{resource_type}/{}", id.as_str()),
                *version,
                resource.as_ref(),
                &mut bundle,
            );
        }
        if self.may_miss(app).await? {
            write_missing(&format!("{resource_type}/{}/_history", id.as_str()), &mut bundle);
        }
        Ok(bundle.finish())
    }

    /// Whether something that there was may be gone.
    async fn may_miss(&self, app: &App) -> Result<bool, Problem> {
        let forgotten = app.store.catalog().forgotten().await?;
        let oldest = self
            .entries
            .last()
            .map_or(forgotten, |(version, _)| version.sequence);
        let is_cut = self.is_at_the_end && forgotten > Sequence::ZERO && oldest <= forgotten;
        Ok(is_cut || self.dropped > 0)
    }
}

/// Adds an entry that stands for what may be gone. A history has no place for notes but the answer of an entry.
fn write_missing(name: &str, bundle: &mut BundleWriter) {
    let text = "versions that were replaced or deleted longer ago than the server keeps them are not in this history";
    let outcome = OperationOutcome::of(Issue::new(Severity::Information, IssueCode::Incomplete, text));
    bundle.entry(&BundleEntry {
        request: Some(("GET", name)),
        response: Some(EntryResponse {
            status: "410 Gone",
            outcome: Some(outcome.to_json().as_bytes()),
            ..EntryResponse::default()
        }),
        ..BundleEntry::default()
    });
}

fn write_entry(
    app: &App,
    name: &str,
    version: Snapshot,
    resource: Option<&Resource>,
    bundle: &mut BundleWriter,
) {
    let (method, status) = match resource {
        Some(_) => ("PUT", "200 OK"),
        None => ("DELETE", "204 No Content"),
    };
    bundle.entry(&BundleEntry {
        full_url: Some(&app.url(name)),
        resource: resource.map(|resource| resource.text.as_slice()),
        request: Some((method, name)),
        response: Some(EntryResponse {
            status,
            etag: Some(&tag(version.sequence)),
            last_modified: Some(&version.instant.to_string()),
            ..EntryResponse::default()
        }),
        ..BundleEntry::default()
    });
}

/// What a version's number leads to.
pub(crate) enum Version {
    Resource(Resource),
    Deleted(Sequence),
    /// There is no such version, or it is not kept any more.
    Unknown,
}

/// Reads a version by its number.
///
/// # Errors
/// What reading the store gives.
pub(crate) async fn version(
    app: &App,
    (resource_type, id): (ResourceType, &Id),
    number: &str,
) -> Result<Version, Problem> {
    let parsed = number
        .parse::<u64>()
        .ok()
        .filter(|parsed| parsed.to_string() == number);
    let Some(sequence) = parsed
        .and_then(|number| number.checked_add(1))
        .map(|next| Sequence(next - 1))
    else {
        return Ok(Version::Unknown);
    };
    let events = app
        .store
        .history(resource_type, id.as_str(), Sequence(sequence.0 + 1), 1)
        .await?;
    let Some(event) = events.into_iter().find(|event| event.sequence == sequence) else {
        return Ok(Version::Unknown);
    };
    if event.happened == Happened::Deleted {
        return Ok(Version::Deleted(sequence));
    }
    let read = app.store.read_event(resource_type, id.as_str(), &event).await?;
    Ok(read.map_or(Version::Unknown, Version::Resource))
}
