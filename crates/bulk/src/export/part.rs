//! One part, made on a blocking thread: the resources of a range of keys, or whatever else there is to be written.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::attachment::write_absolute;
use fhirhose_fhir::elements::{ElementFilter, write_elements};
use fhirhose_fhir::meta::write_spliced;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{ScanRequest, StoredRow};
use tokio::runtime::Handle;

use super::blocks;
use super::cohort::row_key;
use super::deleted::write_deletions;
use super::files::FileCutter;
use super::helpers::write_helpers;
use super::names::series;
use super::parts::Crew;
use super::provenance::{write_chosen, write_unowned};
use super::state::{Next, Part, Work};
use super::wanted::{Times, WantedRows};
use crate::Result;

/// Rows that are left out between two looks whether to stop; those that are written look at the end of each buffer.
pub(super) const ROWS_PER_LOOK: u64 = 4_096;

/// Does what is left of a part. Breaks off without a word when the export is to stop.
pub(super) fn run_part(crew: &Arc<Crew>, number: usize, part: &Part) -> Result<()> {
    let type_name = series(&part.work).1.unwrap_or("output");
    let cutter = FileCutter::new(crew, number, type_name, part.files.len());
    match &part.work {
        Work::Resources { resource_type, range } => {
            let request = crew.wanted.scan(*resource_type, left_of(range, part));
            write_resources(crew, request, crew.wanted.rows(*resource_type), cutter)
        }
        Work::Joined { resource_type, range } => {
            let times = Times::BeforeJoining;
            let request = crew.wanted.scan_of(times, *resource_type, left_of(range, part));
            write_resources(crew, request, crew.wanted.rows_of(times, *resource_type), cutter)
        }
        Work::Blocks(of_part) => blocks::run(crew, number, part, of_part),
        Work::Unowned { range, times } => write_unowned(crew, *times, left_of(range, part), cutter),
        Work::Associated => write_chosen(crew, number, part, cutter.of_one_piece()),
        Work::Helpers { resource_type } => write_helpers(crew, number, *resource_type, part, cutter),
        Work::Deletions => write_deletions(crew, cutter.of_one_piece()),
    }
}

/// What of a range no finished file has.
fn left_of(range: &KeyRange, part: &Part) -> KeyRange {
    let mut range = range.clone();
    if let Next::Key(key) = &part.next {
        range.from.clone_from(key);
    }
    range
}

fn write_resources(
    crew: &Arc<Crew>,
    request: ScanRequest,
    mut rows: WantedRows<'_>,
    mut cutter: FileCutter<'_>,
) -> Result<()> {
    let scan = Handle::current().block_on(crew.store.scan(request))?;
    let mut lines = Lines::new(crew, rows.resource_type());
    let (mut stopped, mut left_out) = (false, 0u64);
    scan.for_each(&mut |row| {
        if !rows.takes(&row) {
            left_out += 1;
            stopped = left_out.is_multiple_of(ROWS_PER_LOOK) && crew.go_on_in_file().is_break();
            return Ok(match stopped {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            });
        }
        let goes_on = lines.write(&row, &mut cutter)?;
        stopped = goes_on.is_break();
        Ok(goes_on)
    })?;
    if !stopped {
        cutter.finish()?;
    }
    Ok(())
}

/// Writes rows of one type as the lines that go out.
pub(super) struct Lines<'c> {
    resource_type: ResourceType,
    elements: Option<&'c ElementFilter>,
    base_url: Option<&'c str>,
    /// A resource before it is cut to its elements.
    whole: Vec<u8>,
    /// A line with absolute URLs.
    absolute: Vec<u8>,
}

impl<'c> Lines<'c> {
    pub(super) fn new(crew: &'c Crew, resource_type: ResourceType) -> Self {
        let elements = crew.request.elements.as_ref();
        Self {
            resource_type,
            elements: elements.filter(|elements| elements.applies_to(resource_type)),
            base_url: crew.base_url.as_deref(),
            whole: Vec::new(),
            absolute: Vec::new(),
        }
    }

    /// Adds a row to a file.
    pub(super) fn write(
        &mut self,
        row: &StoredRow<'_>,
        cutter: &mut FileCutter<'_>,
    ) -> fhirhose_store::Result<ControlFlow<()>> {
        let resource_type = self.resource_type;
        let key = || row_key(resource_type, row);
        cutter.resource((resource_type, row.id), |line| self.render(row, line), key)
    }

    /// Appends a row as a line with its line end.
    pub(super) fn render(&mut self, row: &StoredRow<'_>, line: &mut Vec<u8>) {
        let start = line.len();
        match self.elements {
            None => write_spliced(row.body, row.splice, row.sequence.0, row.instant, line),
            Some(elements) => {
                self.whole.clear();
                write_spliced(row.body, row.splice, row.sequence.0, row.instant, &mut self.whole);
                write_elements(&self.whole, self.resource_type, elements, line);
            }
        }
        if let Some(base_url) = self.base_url {
            self.absolute.clear();
            if write_absolute(&line[start..], base_url, &mut self.absolute) {
                line.truncate(start);
                line.extend_from_slice(&self.absolute);
            }
        }
        line.push(b'\n');
    }
}
