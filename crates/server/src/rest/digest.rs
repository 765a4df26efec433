//! The tree of hashes over a type, for who compares two servers: what `fhirhose reconcile` asks for.
//!
//! A page looks at as many resources as a search may, and sums up what it saw; the pages of one state add up to the tree. So a type of any
//! size is answered in bounded steps, without a job and without anything that is kept.

use std::ops::ControlFlow;

use fhirhose_bulk::reconcile::tree::Ask;
use fhirhose_bulk::reconcile::{Entry, Gathered, Gatherer, Listing};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::{KeyRange, Snapshot};
use fhirhose_store::{ScanRequest, Selection, Sequence, StoredRow};
use serde_json::{Value, json};

use super::search::{Cursor, Seal};
use super::visit::{Budget, row_key, visit};
use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;

/// Which part of which type's tree.
#[derive(Debug, Clone)]
pub(crate) struct DigestRequest {
    pub(crate) resource_type: ResourceType,
    pub(crate) ask: Ask,
    pub(crate) listing: Listing,
    /// `_cursor`
    pub(crate) cursor: Option<String>,
    /// The query without the cursor, the same for the same request.
    pub(crate) query: String,
}

/// What a page saw.
struct Page {
    gatherer: Gatherer,
    /// Where it ended because enough was listed.
    full_at: Option<Vec<u8>>,
    broken: Option<fhirhose_bulk::Error>,
}

/// Makes a page as a Parameters resource.
///
/// # Errors
/// 400 for a cursor of another request, 410 for one that has expired; what reading the store gives.
pub(crate) async fn digest(app: &App, rights: &Rights, request: &DigestRequest) -> Result<Value, Problem> {
    let name = format!("$digest?{}", request.query);
    let seal = Seal::of(app, rights).await?;
    let cursor = match &request.cursor {
        Some(text) => Some(Cursor::read(app, &seal, &name, text).await?),
        None => None,
    };
    let snapshot = match &cursor {
        Some(cursor) => cursor.snapshot,
        None => app.store.catalog().snapshot().await?,
    };
    let after = cursor.map(|cursor| cursor.position);
    let (gathered, ended_at) = look(app, request, snapshot, after).await?;
    let next = ended_at.map(|position| {
        let cursor = Cursor {
            snapshot,
            total: None,
            position,
        };
        app.url(&format!("{name}&_cursor={}", cursor.write(&seal, &name)))
    });
    Ok(parameters(request, snapshot, &gathered, next))
}

async fn look(
    app: &App,
    request: &DigestRequest,
    snapshot: Snapshot,
    after: Option<Vec<u8>>,
) -> Result<(Gathered, Option<Vec<u8>>), Problem> {
    let resource_type = request.resource_type;
    let mut range = KeyRange::of_prefix(vec![resource_type.code()]);
    if let Some(after) = after.filter(|after| range.contains(after)) {
        range.from = [after.as_slice(), &[0]].concat();
    }
    let scan = ScanRequest {
        range,
        snapshot: snapshot.sequence,
        after: Sequence::ZERO,
        selection: Selection::All,
    };
    let page = Page {
        gatherer: Gatherer::new(resource_type, request.ask.clone(), request.listing),
        full_at: None,
        broken: None,
    };
    let entries_max = app.settings.rest.digest_entries_max;
    let visitor = move |page: &mut Page, row: &StoredRow<'_>| {
        if let Err(error) = page.gatherer.resource(row.id, row.body) {
            page.broken = Some(error);
            return ControlFlow::Break(());
        }
        if page.gatherer.listed() >= entries_max {
            page.full_at = Some(row_key(resource_type, row));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let mut budget = Budget::of(&app.settings.rest);
    let visited = visit(app, scan, &mut budget, page, visitor).await?;
    let page = visited.gathered;
    match page.broken {
        Some(error) => Err(error.into()),
        None => Ok((page.gatherer.finish(), page.full_at.or(visited.cut_at))),
    }
}

fn parameters(
    request: &DigestRequest,
    snapshot: Snapshot,
    gathered: &Gathered,
    next: Option<String>,
) -> Value {
    let mut parameter = vec![
        json!({ "name": "type", "valueCode": request.resource_type.name() }),
        json!({ "name": "instant", "valueInstant": snapshot.instant.to_string() }),
    ];
    for (prefix, bucket) in &gathered.buckets {
        let text = format!("{prefix}:{}:{}", bucket.count, bucket.sum_text());
        parameter.push(json!({ "name": "bucket", "valueString": text }));
    }
    for Entry { id, content } in &gathered.entries {
        parameter.push(json!({ "name": "entry", "valueString": format!("{id}:{content}") }));
    }
    parameter.extend(next.map(|url| json!({ "name": "next", "valueUrl": url })));
    json!({ "resourceType": "Parameters", "parameter": parameter })
}
