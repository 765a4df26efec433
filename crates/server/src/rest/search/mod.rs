//! Search of one type (FHIR R4, search): a page of matches as a Bundle, over `fhir::search` and the orders of the store.

mod cursor;
mod find;
mod include;
mod seal;
mod sort;

use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter};
use fhirhose_fhir::elements::write_elements;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};
use fhirhose_fhir::prefer::Handling;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::Criteria;
use fhirhose_fhir::search_request::{CURSOR, SearchRequest, Total};

pub(crate) use self::cursor::Cursor;
use self::find::{Finder, Matches, Wanted};
pub(crate) use self::seal::Seal;
use crate::access::Rights;
use crate::app::App;
use crate::audit::note_patients;
use crate::problem::Problem;
use crate::rest::visit::{Budget, Hit};

/// Searches a type by the queries of a URL and a body, and gives the Bundle.
///
/// # Errors
/// 400 for queries that cannot be honoured, 403 for inclusions of types that may not be read, 410 for a cursor that has expired, 422
/// for what would cost too much.
pub(crate) async fn search(
    app: &App,
    rights: &Rights,
    (resource_type, queries): (ResourceType, &[&str]),
    handling: Handling,
    budget: &Budget,
) -> Result<Vec<u8>, Problem> {
    let request = SearchRequest::parse(resource_type, queries, &app.base_url, handling)?;
    include::check(rights, &request)?;
    let name = format!("{resource_type}?{}", request.query);
    let seal = Seal::of(app, rights).await?;
    let cursor = match &request.cursor {
        Some(text) => Some(Cursor::read(app, &seal, &name, text).await?),
        None => None,
    };
    let snapshot = match &cursor {
        Some(cursor) => cursor.snapshot,
        None => app.store.catalog().snapshot().await?,
    };
    let mut finder = Finder::new(app, &request.criteria, snapshot, budget);
    if request.only_count {
        let total = finder.count().await?;
        return Ok(counted(app, &name, &request, total));
    }
    let wanted = wanted(app, &request, cursor.as_ref());
    let matches = finder.page(&wanted).await?;
    let total = total(&finder, &request, cursor.as_ref(), &matches).await?;
    let mut notes = request.ignored.clone();
    notes.extend(told(app, &finder, &matches));
    let included = include::included(&mut finder, (rights, &request), &matches.hits, &mut notes).await?;
    let next = matches.more_after.clone().map(|position| {
        let cursor = Cursor {
            snapshot,
            total,
            position,
        };
        cursor.write(&seal, &name)
    });
    Ok(bundle(
        app,
        &request,
        &name,
        next,
        total,
        (&matches.hits, &included),
        notes,
    ))
}

/// Checks what a search would include, before it is done: what cannot be read as a search is told when it is.
///
/// # Errors
/// 403 as [`search`].
pub(crate) fn check_inclusions(
    app: &App,
    rights: &Rights,
    (resource_type, query): (ResourceType, &str),
) -> Result<(), Problem> {
    match SearchRequest::parse(resource_type, &[query], &app.base_url, Handling::Strict) {
        Ok(request) => include::check(rights, &request),
        Err(_) => Ok(()),
    }
}

/// Finds the first two matches of criteria now, for conditional interactions: of more it does not matter how many.
///
/// # Errors
/// 422 when not all that may match could be looked at.
pub(crate) async fn first_two(app: &App, criteria: &Criteria, budget: &Budget) -> Result<Vec<Hit>, Problem> {
    let snapshot = app.store.catalog().snapshot().await?;
    let mut finder = Finder::new(app, criteria, snapshot, budget);
    let wanted = Wanted {
        order: fhirhose_fhir::search_request::Order::Store,
        after: None,
        hits_max: 2,
        bytes_max: usize::MAX,
    };
    let matches = finder.page(&wanted).await?;
    if matches.is_cut && matches.hits.len() < 2 {
        return Err(finder.too_costly("finding the matches of the condition"));
    }
    Ok(matches.hits)
}

fn wanted(app: &App, request: &SearchRequest, cursor: Option<&Cursor>) -> Wanted {
    let rest = &app.settings.rest;
    let count = request
        .count
        .unwrap_or(rest.page_entries)
        .min(rest.page_entries_max);
    Wanted {
        order: request.order,
        after: cursor.map(|cursor| cursor.position.clone()),
        hits_max: count.try_into().unwrap_or(usize::MAX),
        bytes_max: rest.page_bytes_max,
    }
}

/// The number of all matches, as far as it is asked for or known without cost.
async fn total(
    finder: &Finder<'_>,
    request: &SearchRequest,
    cursor: Option<&Cursor>,
    matches: &Matches,
) -> Result<Option<u64>, Problem> {
    let here = matches.hits.len() as u64;
    let is_whole = cursor.is_none() && matches.more_after.is_none();
    Ok(match (request.total, cursor.and_then(|cursor| cursor.total)) {
        (Total::None, _) => None,
        (_, Some(total)) => Some(total),
        _ if is_whole => Some(here),
        (Total::IfKnown, None) => None,
        (Total::Accurate, None) => Some(finder.anew().count().await?),
        (Total::Estimate, None) => {
            let (rows, seen) = (finder.rows_max().await?, finder.rows_seen.max(1));
            Some((u128::from(here) * u128::from(rows) / u128::from(seen)).max(here.into()) as u64)
        }
    })
}

/// What the client should know of how the search went.
fn told(app: &App, finder: &Finder<'_>, matches: &Matches) -> Vec<Issue> {
    let information = |text: String| Issue::new(Severity::Information, IssueCode::Informational, text);
    let mut notes = Vec::new();
    if finder.rows_scanned > 0 && !finder.criteria.is_unrestricted() {
        notes.push(information(format!(
            "{} resources of the type were looked at: neither ids nor a patient nor a time of change narrow the search",
            finder.rows_scanned
        )));
    }
    if matches.is_cut {
        let rest = &app.settings.rest;
        notes.push(information(format!(
            "the page ends early: a request looks at {} resources or {} bytes at most; the next link goes on",
            rest.search_rows_max, rest.search_bytes_max
        )));
    }
    notes
}

fn counted(app: &App, name: &str, request: &SearchRequest, total: u64) -> Vec<u8> {
    let mut bundle = BundleWriter::new("searchset", Some(total), &[("self", &app.url(name))]);
    write_notes(&mut bundle, &request.ignored);
    bundle.finish()
}

fn bundle(
    app: &App,
    request: &SearchRequest,
    name: &str,
    next: Option<String>,
    total: Option<u64>,
    (matches, included): (&[Hit], &[Hit]),
    notes: Vec<Issue>,
) -> Vec<u8> {
    let with_cursor = |cursor: &str| {
        let and = if request.query.is_empty() { "" } else { "&" };
        app.url(&format!("{name}{and}{CURSOR}={cursor}"))
    };
    let here = request
        .cursor
        .as_deref()
        .map_or_else(|| app.url(name), with_cursor);
    let next = next.as_deref().map(with_cursor);
    let mut links = vec![("self", here.as_str())];
    links.extend(next.as_deref().map(|url| ("next", url)));
    let mut bundle = BundleWriter::new("searchset", total, &links);
    for (hits, mode) in [(matches, "match"), (included, "include")] {
        for hit in hits {
            write_hit(app, hit, mode, request, &mut bundle);
        }
    }
    write_notes(&mut bundle, &notes);
    bundle.finish()
}

fn write_hit(app: &App, hit: &Hit, mode: &str, request: &SearchRequest, bundle: &mut BundleWriter) {
    note_patients(&hit.text);
    let mut cut = Vec::new();
    let resource = match &request.elements {
        Some(filter) => {
            write_elements(&hit.text, hit.resource_type, filter, &mut cut);
            &cut
        }
        None => &hit.text,
    };
    let url = app.url(&format!("{}/{}", hit.resource_type, hit.id));
    bundle.entry(&BundleEntry {
        full_url: Some(&url),
        resource: Some(resource),
        mode: Some(mode),
        ..BundleEntry::default()
    });
}

/// Adds an entry of mode `outcome` for what the client should know.
pub(crate) fn write_notes(bundle: &mut BundleWriter, notes: &[Issue]) {
    if notes.is_empty() {
        return;
    }
    let outcome = OperationOutcome {
        issues: notes.to_vec(),
    };
    bundle.entry(&BundleEntry {
        resource: Some(outcome.to_json().as_bytes()),
        mode: Some("outcome"),
        ..BundleEntry::default()
    });
}
