//! One part: the resources of a range of keys, or what was deleted, written on a blocking thread.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::elements::{ElementFilter, write_elements};
use fhirhose_fhir::meta::write_spliced;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::StoredRow;
use fhirhose_store::catalog::KeyRange;
use tokio::runtime::Handle;

use super::cohort::row_key;
use super::deleted::write_deletions;
use super::files::FileCutter;
use super::parts::Crew;
use super::state::{Next, Part, Work};
use crate::Result;

/// Does what is left of a part. Breaks off without a word when the export is to stop.
pub(super) fn run_part(crew: &Arc<Crew>, number: usize, part: &Part) -> Result<()> {
    match &part.work {
        Work::Resources { resource_type, range } => {
            let mut range = range.clone();
            if let Next::Key(key) = &part.next {
                range.from.clone_from(key);
            }
            let cutter = FileCutter::new(crew, number, resource_type.name(), part.files.len());
            write_resources(crew, *resource_type, range, cutter)
        }
        Work::Deletions => {
            let cutter = FileCutter::new(crew, number, "Bundle", part.files.len());
            write_deletions(crew, cutter.of_one_piece())
        }
    }
}

fn write_resources(
    crew: &Arc<Crew>,
    resource_type: ResourceType,
    range: KeyRange,
    mut cutter: FileCutter<'_>,
) -> Result<()> {
    let request = crew.wanted.scan(resource_type, range);
    let scan = Handle::current().block_on(crew.store.scan(request))?;
    let mut rows = crew.wanted.rows(resource_type);
    let elements = crew.request.elements.as_ref();
    let elements = elements.filter(|elements| elements.applies_to(resource_type));
    let mut whole = Vec::new();
    let mut stopped = false;
    scan.for_each(&mut |row| {
        if !rows.takes(&row) {
            return Ok(ControlFlow::Continue(()));
        }
        let write = |line: &mut Vec<u8>| match elements {
            None => write_whole(&row, line),
            Some(elements) => write_cut(&row, resource_type, elements, &mut whole, line),
        };
        let goes_on = cutter.line(write, || row_key(resource_type, &row))?;
        stopped = goes_on.is_break();
        Ok(goes_on)
    })?;
    if !stopped {
        cutter.finish()?;
    }
    Ok(())
}

fn write_whole(row: &StoredRow<'_>, line: &mut Vec<u8>) {
    write_spliced(row.body, row.splice, row.sequence.0, row.instant, line);
    line.push(b'\n');
}

fn write_cut(
    row: &StoredRow<'_>,
    resource_type: ResourceType,
    elements: &ElementFilter,
    whole: &mut Vec<u8>,
    line: &mut Vec<u8>,
) {
    whole.clear();
    write_spliced(row.body, row.splice, row.sequence.0, row.instant, whole);
    write_elements(whole, resource_type, elements, line);
    line.push(b'\n');
}
