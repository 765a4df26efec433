//! What was deleted since an instant and would have been exported (spec M-30 to M-33).

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::bundle::{DELETED_ENTRIES_MAX, write_deleted_bundles};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Gone;
use fhirhose_store::key;
use tokio::runtime::Handle;

use super::files::FileCutter;
use super::parts::Crew;
use crate::{Error, ErrorKind, Result};

/// Deletions that are read in one call.
const ROWS_PER_READ: usize = 5_000;

/// Writes all deletions, oldest first.
pub(super) fn write_deletions(crew: &Arc<Crew>, mut cutter: FileCutter<'_>) -> Result<()> {
    let mut entries: Vec<(ResourceType, Id)> = Vec::new();
    let mut last: Option<Gone> = None;
    loop {
        let read = crew.store.catalog().gone(
            crew.state.after,
            crew.state.snapshot.sequence,
            last.as_ref(),
            ROWS_PER_READ,
        );
        let page = Handle::current().block_on(read)?;
        for gone in page.iter().filter(|gone| is_wanted(crew, gone)) {
            entries.push(named(gone)?);
        }
        let is_last_page = page.len() < ROWS_PER_READ;
        // Whole Bundles only, until the end: then they do not depend on how the rows were read.
        let whole = match is_last_page {
            true => entries.len(),
            false => entries.len() - entries.len() % DELETED_ENTRIES_MAX,
        };
        for bundle in entries[..whole].chunks(DELETED_ENTRIES_MAX) {
            let named = bundle.iter().map(|(resource_type, id)| (*resource_type, id));
            let write = |line: &mut Vec<u8>| {
                write_deleted_bundles(named, line);
            };
            if cutter.line(write, Vec::new)?.is_break() {
                return Ok(());
            }
        }
        entries.drain(..whole);
        if is_last_page {
            return Ok(cutter.finish()?);
        }
        if crew.go_on_in_file() == ControlFlow::Break(()) {
            return Ok(());
        }
        last = page.into_iter().next_back();
    }
}

/// M-32: what is there again at the snapshot is in the output and not here. M-33: type and compartment of the last version count.
fn is_wanted(crew: &Crew, gone: &Gone) -> bool {
    let is_back = gone
        .recreated
        .is_some_and(|recreated| recreated <= crew.state.snapshot.sequence);
    let types = crew.request.types.as_deref();
    let is_asked = types.is_none_or(|types| types.iter().any(|each| Some(&each.code()) == gone.key.first()));
    !is_back && is_asked && crew.wanted.had(gone)
}

fn named(gone: &Gone) -> Result<(ResourceType, Id)> {
    let parts = key::decode(&gone.key).and_then(|parts| Some((parts.resource_type, Id::parse(&parts.id)?)));
    parts.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading the key of a deletion"))
}
