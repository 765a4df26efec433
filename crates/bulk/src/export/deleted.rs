//! What was deleted since an instant and would have been exported (spec M-30 to M-33).

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::bundle::{DELETED_ENTRIES_MAX, write_deleted_bundles};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Gone;
use fhirhose_store::{Found, Sequence, key};
use tokio::runtime::Handle;

use super::files::FileCutter;
use super::parts::Crew;
use super::provenance::was_about_wanted;
use crate::{Error, ErrorKind, Result};

/// Deletions that are read in one call.
const ROWS_PER_READ: usize = 5_000;

/// Writes all deletions, oldest first.
pub(super) fn write_deletions(crew: &Arc<Crew>, mut cutter: FileCutter<'_>) -> Result<()> {
    let mut entries: Vec<(ResourceType, Id)> = Vec::new();
    let mut last: Option<Gone> = None;
    let upto = last_deletion(crew)?;
    loop {
        let read = crew
            .store
            .catalog()
            .gone(crew.state.after, upto, last.as_ref(), ROWS_PER_READ);
        let page = Handle::current().block_on(read)?;
        for gone in &page {
            if crew.go_on_in_file().is_break() {
                return Ok(());
            }
            let named = named(gone)?;
            if is_wanted(crew, gone, &named)? {
                entries.push(named);
            }
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

/// The newest commit of which deletions are wanted: `_until` is exclusive.
fn last_deletion(crew: &Crew) -> Result<Sequence> {
    let snapshot = crew.state.snapshot.sequence;
    let Some(until) = crew.request.until else {
        return Ok(snapshot);
    };
    let before = Instant::from_micros(until.micros().saturating_sub(1));
    let before = Handle::current().block_on(crew.store.catalog().sequence_at(before))?;
    Ok(before.min(snapshot))
}

/// M-32: what is there again at the snapshot is in the output and not here. M-33: type, compartment and filters by the last version.
fn is_wanted(crew: &Crew, gone: &Gone, (resource_type, id): &(ResourceType, Id)) -> Result<bool> {
    let recreated = gone
        .recreated
        .filter(|recreated| *recreated <= crew.state.snapshot.sequence);
    if recreated.is_some() || !crew.spec.may_hold(*resource_type) {
        return Ok(false);
    }
    let had = crew.wanted.had(gone);
    // Provenance without an owner is in the compartments of what it is about.
    let is_unowned = !had && *resource_type == ResourceType::PROVENANCE && is_unowned(gone);
    if !(had || is_unowned) {
        return Ok(false);
    }
    if !(is_unowned || crew.wanted.filters(*resource_type)) {
        return Ok(true);
    }
    by_last_version(crew, gone, *resource_type, id, is_unowned)
}

fn by_last_version(
    crew: &Crew,
    gone: &Gone,
    resource_type: ResourceType,
    id: &Id,
    is_unowned: bool,
) -> Result<bool> {
    let before = Sequence(gone.sequence.0.saturating_sub(1));
    let found = match gone.sequence <= crew.state.forgotten {
        true => None,
        false => Handle::current().block_on(crew.store.read_at(resource_type, id.as_str(), before))?,
    };
    let Some(Found::Resource(last)) = found else {
        // A deletion too many does no harm; one too few leaves something at the receiver for good.
        return Ok(true);
    };
    if is_unowned && !was_about_wanted(crew, &last.text, before)? {
        return Ok(false);
    }
    Ok(crew
        .wanted
        .matches(resource_type, &last.text, last.version.instant))
}

fn is_unowned(gone: &Gone) -> bool {
    let owner = gone.key.get(1..).and_then(key::split_owner);
    owner.is_some_and(|(owner, _)| owner.is_none())
}

fn named(gone: &Gone) -> Result<(ResourceType, Id)> {
    let parts = key::decode(&gone.key).and_then(|parts| Some((parts.resource_type, Id::parse(&parts.id)?)));
    parts.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading the key of a deletion"))
}
