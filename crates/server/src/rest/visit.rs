//! Looks at the rows of a scan, within a budget: the store may hold any number, and a request must end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fhirhose_fhir::meta::write_spliced;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{ScanRequest, StoredRow, key};

use crate::RestSettings;
use crate::app::App;
use crate::problem::Problem;

/// What a search may still look at, and the request that it is a part of.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    rows: u64,
    bytes: u64,
    /// What is left for all searches of a Bundle; clones share it.
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Shared {
    /// Takes one row off; says whether there was enough left.
    fn take(&self, bytes: u64) -> bool {
        let take = |left: &AtomicU64, wanted: u64| {
            let order = Ordering::Relaxed;
            left.fetch_update(order, order, |left| left.checked_sub(wanted))
                .is_ok()
        };
        take(&self.rows, 1) && take(&self.bytes, bytes)
    }
}

impl Budget {
    /// The whole budget of a request with one search.
    pub(crate) fn of(settings: &RestSettings) -> Self {
        Self {
            rows: settings.search_rows_max,
            bytes: settings.search_bytes_max,
            shared: None,
        }
    }

    /// The budget of each search of a Bundle, of which a clone is for one.
    pub(crate) fn of_bundle(settings: &RestSettings) -> Self {
        let shared = Shared {
            rows: AtomicU64::new(settings.bundle_rows_max),
            bytes: AtomicU64::new(settings.bundle_bytes_max),
        };
        Self {
            shared: Some(Arc::new(shared)),
            ..Self::of(settings)
        }
    }

    /// How many rows are left.
    pub(crate) fn rows(&self) -> u64 {
        let shared = self.shared.as_ref();
        shared.map_or(self.rows, |shared| {
            self.rows.min(shared.rows.load(Ordering::Relaxed))
        })
    }

    /// Takes one row off; says whether there was enough left.
    fn take(&mut self, row: &StoredRow<'_>) -> bool {
        let (rows, bytes) = (
            self.rows.checked_sub(1),
            self.bytes.checked_sub(row.body.len() as u64),
        );
        let (Some(rows), Some(bytes)) = (rows, bytes) else {
            return false;
        };
        (self.rows, self.bytes) = (rows, bytes);
        let shared = self.shared.as_ref();
        shared.is_none_or(|shared| shared.take(row.body.len() as u64))
    }
}

/// What became of a visit.
pub(crate) struct Visited<T> {
    /// What the visitor gathered.
    pub(crate) gathered: T,
    /// How many rows it saw.
    pub(crate) rows: u64,
    /// The key of the last row that it saw, when the budget ended there and more rows are behind it.
    pub(crate) cut_at: Option<Vec<u8>>,
}

/// Shows `visitor` the rows of a scan until it breaks or the budget is spent. A request whose client has gone ends at the next row.
///
/// # Errors
/// What reading the store gives.
pub(crate) async fn visit<T, V>(
    app: &App,
    request: ScanRequest,
    budget: &mut Budget,
    gathered: T,
    mut visitor: V,
) -> Result<Visited<T>, Problem>
where
    T: Send + 'static,
    V: FnMut(&mut T, &StoredRow<'_>) -> ControlFlow<()> + Send + 'static,
{
    let permit = app
        .searches
        .acquire()
        .await
        .map_err(|_| Problem::transient("the server is stopping"))?;
    let resource_type = ResourceType::from_code(request.range.from.first().copied().unwrap_or_default());
    let scan = app.store.scan(request).await?;
    let gone = Gone(Arc::new(AtomicBool::new(false)));
    let (is_gone, mut left) = (Arc::clone(&gone.0), budget.clone());
    let looking = move || {
        let mut visited = Visited {
            gathered,
            rows: 0,
            cut_at: None,
        };
        let mut last = Vec::new();
        scan.for_each(&mut |row| {
            if is_gone.load(Ordering::Relaxed) {
                return Ok(ControlFlow::Break(()));
            }
            // The first row is always looked at, so that every page goes on by one at least.
            if !left.take(&row) && visited.rows > 0 {
                visited.cut_at = Some(std::mem::take(&mut last));
                return Ok(ControlFlow::Break(()));
            }
            visited.rows += 1;
            write_key(resource_type, &row, &mut last);
            Ok(visitor(&mut visited.gathered, &row))
        })?;
        Ok::<_, fhirhose_store::Error>((visited, left))
    };
    let looked = tokio::task::spawn_blocking(looking).await;
    drop((permit, gone));
    let (visited, left) = looked.map_err(|_| Problem::panicked())??;
    *budget = left;
    Ok(visited)
}

/// Tells the thread that nobody waits for it any more, when the request is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn write_key(resource_type: Option<ResourceType>, row: &StoredRow<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.extend(resource_type.map(ResourceType::code));
    out.extend_from_slice(row.owner_key);
    key::push_id(row.id, out);
}

/// The key of a row: type ‖ owner ‖ id.
pub(crate) fn row_key(resource_type: ResourceType, row: &StoredRow<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(row.owner_key.len() + row.id.len() + 3);
    write_key(Some(resource_type), row, &mut key);
    key
}

/// A resource that was found.
#[derive(Debug, Clone)]
pub(crate) struct Hit {
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    pub(crate) version: Snapshot,
    /// Its text with its version.
    pub(crate) text: Vec<u8>,
}

impl Hit {
    pub(crate) fn of_row(resource_type: ResourceType, row: &StoredRow<'_>) -> Self {
        let mut text = Vec::with_capacity(row.body.len() + 96);
        write_spliced(row.body, row.splice, row.sequence.0, row.instant, &mut text);
        Self {
            resource_type,
            id: row.id.to_owned(),
            version: version_of(row),
            text,
        }
    }
}

pub(crate) fn version_of(row: &StoredRow<'_>) -> Snapshot {
    Snapshot {
        sequence: row.sequence,
        instant: row.instant,
    }
}
