//! Blocks of Organizations: the Organization, and the resources that refer to it with an element of their own.
//!
//! No order of the store helps: every resource is looked through for references, and what was found is sorted on disk. The blocks are
//! then read key by key. All of it is one part, which looks through the resources again when another worker takes over.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::reference::each_reference_to;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{CohortRows, OutputName, ScanRequest, Selection, Sequence, key};

use super::source::Source;
use super::writer::BlockWriter;
use crate::export::cohort::row_key;
use crate::export::keyed::merge;
use crate::export::parts::Crew;
use crate::export::side::create;
use crate::export::state::{Next, Part};
use crate::spill::Sorter;
use crate::{Error, ErrorKind, Result};

/// What is gathered before it is written, in bytes.
const SORTER_BYTES: usize = 16 << 20;

/// A block of more resources counts as longer than a file: their keys are not kept to measure it.
const KEYS_MEASURED_MAX: usize = 100_000;

/// Resources that are looked up with one scan.
const KEYS_PER_SCAN: usize = 10_000;

/// In an entry, between the Organization's id and the key of a resource of its block: the Organization itself comes first.
const ITSELF: u8 = 0;
const REFERRING: u8 = 1;

/// Writes the blocks of all Organizations from where the part got to.
pub(super) fn run(crew: &Arc<Crew>, number: usize, part: &Part, types: &[ResourceType]) -> Result<()> {
    let source = Source {
        crew,
        wanted: &crew.wanted,
        types,
    };
    let Some(names) = gather(&source, number)? else {
        return Ok(());
    };
    let mut entries = merge(crew, number, names)?;
    let mut blocks = Blocks {
        source,
        writer: BlockWriter::new(crew, number, part, ResourceType::ORGANIZATION),
        organization: Vec::new(),
        keys: Vec::new(),
        is_begun: false,
    };
    let from = match &part.next {
        Next::Line { block, .. } => block.as_slice(),
        Next::Start | Next::Key(_) | Next::Done => &[],
    };
    while let Some(entry) = entries.next()? {
        let (organization, key) = split(&entry.0)?;
        if organization >= from && blocks.add(organization, key)?.is_break() {
            return Ok(());
        }
    }
    match blocks.end()? {
        ControlFlow::Continue(()) => Ok(blocks.writer.finish()?),
        ControlFlow::Break(()) => Ok(()),
    }
}

/// Looks through all resources, and gives the names of sorted files of Organization ‖ mark ‖ key; `None` if the export is to stop.
fn gather(source: &Source<'_>, number: usize) -> Result<Option<Vec<OutputName>>> {
    let (crew, mut names) = (source.crew, Vec::new());
    let mut sorter = Sorter::new(SORTER_BYTES);
    let mut write = |sorter: &mut Sorter| -> fhirhose_store::Result<()> {
        let file = format!("{number}-{}-{}.organizations", names.len(), crew.fence);
        let (name, writer) = create(crew, &file)?;
        sorter.write(writer)?;
        names.push(name);
        Ok(())
    };
    let mut scans: Vec<(ResourceType, ScanRequest)> = Vec::new();
    for &each in source
        .types
        .iter()
        .filter(|each| **each != ResourceType::ORGANIZATION)
    {
        scans.push((each, source.wanted.scan(each, source.wanted.range(each))));
    }
    if crew.spec.may_hold(ResourceType::ORGANIZATION) {
        let all = KeyRange::of_type(ResourceType::ORGANIZATION);
        let scan = ScanRequest {
            selection: Selection::All,
            ..source.wanted.scan(ResourceType::ORGANIZATION, all)
        };
        scans.push((ResourceType::ORGANIZATION, scan));
    }
    for (resource_type, scan) in scans {
        let flow = source.visit_rows(resource_type, scan, &mut |row, _| {
            let key = row_key(resource_type, row);
            if resource_type == ResourceType::ORGANIZATION {
                sorter.push(&entry(row.id, ITSELF, &key));
            }
            let to_organization = |to: ResourceType| to == ResourceType::ORGANIZATION;
            each_reference_to(row.body, to_organization, |reference| {
                sorter.push(&entry(reference.id, REFERRING, &key));
            });
            if sorter.is_full() {
                write(&mut sorter)?;
            }
            Ok(crew.go_on_in_file())
        })?;
        if flow.is_break() {
            return Ok(None);
        }
    }
    if !sorter.is_empty() {
        write(&mut sorter)?;
    }
    Ok(Some(names))
}

fn entry(organization: &str, mark: u8, key: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(key.len() + 20);
    key::push_id(organization, &mut entry);
    entry.push(mark);
    entry.extend_from_slice(key);
    entry
}

/// The encoded id of the Organization, and the key of a resource of its block.
fn split(entry: &[u8]) -> Result<(&[u8], &[u8])> {
    let rest = key::split_id(entry).map(|(_, rest)| rest);
    let parts = rest.and_then(|rest| Some((&entry[..entry.len() - rest.len()], rest.get(1..)?)));
    parts.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading what refers to an Organization"))
}

/// Takes the keys of blocks in their order.
struct Blocks<'a> {
    source: Source<'a>,
    writer: BlockWriter<'a>,
    /// The encoded id that heads the block at hand.
    organization: Vec<u8>,
    /// Its keys that are not written.
    keys: Vec<Vec<u8>>,
    /// Whether some of it is.
    is_begun: bool,
}

impl Blocks<'_> {
    fn add(&mut self, organization: &[u8], key: &[u8]) -> Result<ControlFlow<()>> {
        if self.organization != organization {
            if self.end()?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.organization = organization.to_vec();
        }
        // The Organization may refer to itself.
        if self.is_begun || self.keys.first().is_none_or(|first| first != key) {
            self.keys.push(key.to_vec());
        }
        if self.keys.len() < KEYS_MEASURED_MAX {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.is_begun && self.writer.begin(&self.organization, u64::MAX / 2)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.is_begun = true;
        self.write()
    }

    /// Writes what is left of the block at hand.
    fn end(&mut self) -> Result<ControlFlow<()>> {
        if !self.is_begun && !self.keys.is_empty() {
            let mut length = self.writer.measure(&self.organization)?;
            let crew = self.source.crew;
            let _ended = visit(&self.source, &self.keys, &mut |line| Ok(length.add(line, crew)))?;
            if crew.go_on_in_file().is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if length.is_empty() {
                self.keys.clear();
            } else if self.writer.begin(&self.organization, length.bytes())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.is_begun = false;
        self.write()
    }

    fn write(&mut self) -> Result<ControlFlow<()>> {
        let keys = std::mem::take(&mut self.keys);
        visit(&self.source, &keys, &mut |line| self.writer.line(line))
    }
}

/// Shows the lines of resources by their keys.
fn visit(
    source: &Source<'_>,
    keys: &[Vec<u8>],
    take: &mut dyn FnMut(&[u8]) -> fhirhose_store::Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    for of_type in keys.chunk_by(|a, b| a.first() == b.first() && a < b) {
        for keys in of_type.chunks(KEYS_PER_SCAN) {
            let code = keys[0].first().copied().unwrap_or_default();
            let Some(resource_type) = ResourceType::from_code(code) else {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "reading what refers to an Organization",
                ));
            };
            let range = KeyRange {
                from: keys[0].clone(),
                to: keys.last().and_then(|last| key::after_prefix(last)),
            };
            let rows = CohortRows {
                owners: Arc::default(),
                keys: keys.to_vec(),
            };
            let request = ScanRequest {
                range,
                snapshot: source.crew.state.snapshot.sequence,
                after: Sequence::ZERO,
                selection: Selection::Cohort(Arc::new(rows)),
            };
            let flow = source.visit_rows(resource_type, request, &mut |_, line| take(line))?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}
