//! Writes the resources that a sorted stream of keys names: helper resources, and the Provenance that was chosen.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{CohortRows, OutputName, ScanRequest, Selection, Sequence, key};
use tokio::runtime::Handle;

use super::files::FileCutter;
use super::part::Lines;
use super::parts::Crew;
use super::side::create;
use crate::Result;
use crate::spill::{Entry, Merge};

/// Resources that are looked up with one scan.
const KEYS_PER_SCAN: usize = 10_000;

/// Files that are merged at a time.
const MERGE_FILES_MAX: usize = 64;

/// Merges side files of any number.
pub(super) fn merge(crew: &Crew, part: usize, names: Vec<OutputName>) -> Result<Merge<Entry>> {
    let outputs = crew.store.outputs();
    Merge::open_many(outputs, names, MERGE_FILES_MAX, &Handle::current(), |number| {
        Ok(create(crew, &format!("{part}-{number}-{}.merged", crew.fence))?)
    })
}

/// Takes keys of one type in rising order and writes their resources, as many scans as it takes.
pub(super) struct KeyedRows<'c> {
    crew: &'c Arc<Crew>,
    resource_type: ResourceType,
    cutter: FileCutter<'c>,
    /// The part goes on here: keys before are in its files.
    from: Vec<u8>,
    keys: Vec<Vec<u8>>,
}

impl<'c> KeyedRows<'c> {
    pub(super) fn new(
        crew: &'c Arc<Crew>,
        resource_type: ResourceType,
        cutter: FileCutter<'c>,
        from: Vec<u8>,
    ) -> Self {
        Self {
            crew,
            resource_type,
            cutter,
            from,
            keys: Vec::new(),
        }
    }

    /// Adds a key (type ‖ owner ‖ id). It breaks when the export is to stop.
    pub(super) fn push(&mut self, key: Vec<u8>) -> Result<ControlFlow<()>> {
        if key >= self.from {
            self.keys.push(key);
        }
        match self.keys.len() {
            KEYS_PER_SCAN.. => self.write(),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// Writes what is left, and ends the part.
    pub(super) fn finish(mut self) -> Result<()> {
        if self.write()?.is_continue() {
            self.cutter.finish()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<ControlFlow<()>> {
        let keys = std::mem::take(&mut self.keys);
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
            return Ok(self.crew.go_on_in_file());
        };
        let range = KeyRange {
            from: first.clone(),
            // Rows lie under their key and a sequence.
            to: key::after_prefix(last),
        };
        let rows = CohortRows {
            owners: Arc::default(),
            keys,
        };
        let request = ScanRequest {
            range,
            snapshot: self.crew.state.snapshot.sequence,
            after: Sequence::ZERO,
            selection: Selection::Cohort(Arc::new(rows)),
        };
        let scan = Handle::current().block_on(self.crew.store.scan(request))?;
        let mut lines = Lines::new(self.crew, self.resource_type);
        let mut goes_on = ControlFlow::Continue(());
        scan.for_each(&mut |row| {
            goes_on = lines.write(&row, &mut self.cutter)?;
            Ok(goes_on)
        })?;
        Ok(goes_on)
    }
}
