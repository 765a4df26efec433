//! A worker's part: one chunk of lines becomes a stored run, ready to be committed.
//!
//! Nothing here depends on other chunks or on the order in which threads run: the same chunk always gives the same run.

use std::sync::Arc;

use fhirhose_fhir::import_report::ImportError;
use fhirhose_fhir::line::LineChecker;
use fhirhose_fhir::ndjson::{Chunk, lines};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::RowBatch;
use fhirhose_store::run::RunSummary;
use tokio::sync::OwnedSemaphorePermit;

use super::environment::Environment;
use super::references::write_part;
use super::refused::{Refused, RefusedFiles, import_error};
use super::rows::{ResourceSet, Rows, WouldCut};
use super::source::{InputFacts, Resume};
use super::state::{Delta, InputEnd, ItemParts};
use crate::Result;

/// How the ids of the server's own AuditEvents begin; a number follows. None such is imported.
pub const AUDIT_ID_START: &str = "audit-";

/// What the reader hands on, in the order of the inputs.
pub(super) struct Item {
    /// From 0 without gaps, over all claims of the job.
    pub(super) number: u64,
    /// From 0.
    pub(super) input: u32,
    /// What is known of the input.
    pub(super) facts: Arc<InputFacts>,
    pub(super) work: Work,
    /// The place in the text behind the item: offset and line number.
    pub(super) next: (u64, u64),
    /// Raw bytes of the input read when the item was complete.
    pub(super) raw_bytes: u64,
    /// Set when this is the input's last item.
    pub(super) end: Option<InputEnd>,
    /// A place among the chunks in flight; free again when the item is committed.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// The lines of an item.
pub(super) enum Work {
    /// Whole lines.
    Chunk(Arc<Chunk>),
    /// One line over the limit, which the reader has refused already.
    Overlong {
        error: ImportError,
        files: RefusedFiles,
        bytes: u64,
    },
    /// No line: the input has ended.
    Nothing,
}

/// An item that is ready to be committed.
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) input: u32,
    /// Where the item begins in the text.
    pub(super) offset: u64,
    pub(super) run: Option<PreparedRun>,
    pub(super) parts: ItemParts,
    pub(super) delta: Delta,
    /// Set when the chunk has cut copies of resources: what is needed to prepare it again without some of them.
    pub(super) cut: Option<CutCopies>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A run file that is stored and that no commit names yet.
pub(super) struct PreparedRun {
    pub(super) place: String,
    pub(super) summary: RunSummary,
    pub(super) rows: RowBatch,
}

/// A chunk with cut copies of resources, which must not replace fuller ones.
pub(super) struct CutCopies {
    pub(super) chunk: Arc<Chunk>,
    pub(super) facts: Arc<InputFacts>,
    /// The resources of which the chunk would store a cut copy.
    pub(super) resources: Vec<(ResourceType, String)>,
}

/// Prepares items one after another and keeps its memory from one to the next.
pub(super) struct Preparer<'e> {
    environment: &'e Environment,
    checker: LineChecker,
    rows: Rows,
}

/// After so many lines a worker looks whether to stop.
const LINES_BETWEEN_LOOKS: u64 = 1_024;

impl<'e> Preparer<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        let checker = LineChecker::new(environment.settings.line_limits());
        Self {
            environment,
            checker,
            rows: Rows::default(),
        }
    }

    /// Prepares an item; cut copies of resources in `fuller` are refused. The item's files are durable when this returns.
    pub(super) fn prepare(&mut self, mut item: Item, fuller: &ResourceSet) -> Result<Prepared> {
        self.environment.check()?;
        let mut prepared = Prepared::of(&item);
        prepared.permit = item.permit.take();
        match item.work {
            Work::Chunk(chunk) => self.prepare_chunk(&mut prepared, chunk, item.facts, fuller)?,
            Work::Overlong { error, files, bytes } => {
                prepared.offset = item.next.0.saturating_sub(bytes + 1);
                prepared.delta.counts.rejected = 1;
                prepared.delta.text_bytes = bytes + 1;
                prepared.delta.errors.push(error);
                prepared.take_refused(Some(files));
            }
            Work::Nothing => {}
        }
        Ok(prepared)
    }

    fn prepare_chunk(
        &mut self,
        prepared: &mut Prepared,
        chunk: Arc<Chunk>,
        facts: Arc<InputFacts>,
        fuller: &ResourceSet,
    ) -> Result<()> {
        let environment = self.environment;
        let mut refused = Refused::new(environment, prepared.number, prepared.input);
        self.read_lines(&chunk, prepared.input, fuller, &mut refused)?;
        prepared.offset = chunk.offset;
        prepared.delta.text_bytes = chunk.bytes.len() as u64;
        prepared.delta.counts = self.rows.counts;
        prepared.delta.counts.rejected = refused.count;
        prepared.delta.errors = std::mem::take(&mut refused.first);
        prepared.delta.types = self.rows.types();
        prepared.delta.unresolvable = self.rows.unresolvable;
        let resources = self.rows.subsetted();
        if resources.is_empty() {
            environment.give_back(chunk);
        } else {
            prepared.cut = Some(CutCopies {
                chunk,
                facts,
                resources,
            });
        }
        prepared.take_refused(refused.finish()?);
        self.write_references(prepared)?;
        self.write_run(prepared)
    }

    fn read_lines(
        &mut self,
        chunk: &Chunk,
        input: u32,
        fuller: &ResourceSet,
        refused: &mut Refused<'_>,
    ) -> Result<()> {
        let spec = &self.environment.spec;
        let (declared, source) = (spec.inputs[input as usize].declared, spec.source.as_deref());
        self.rows.clear();
        for line in lines(&chunk.bytes) {
            if line.number_in_chunk % LINES_BETWEEN_LOOKS == 0 {
                self.environment.check()?;
            }
            let line_number = chunk.first_line + line.number_in_chunk;
            let offset = chunk.offset + line.offset_in_chunk as u64;
            let error = match self.checker.check(line.bytes, declared) {
                Ok(checked) if is_of_own_trail(checked.resource_type, checked.id) => {
                    of_own_trail(checked.id, line_number, offset)
                }
                Ok(checked) => match self
                    .rows
                    .push((line.bytes, line_number), &checked, source, fuller)
                {
                    Ok(()) => continue,
                    Err(WouldCut) => would_cut(checked.resource_type, checked.id, line_number, offset),
                },
                Err(refusal) => import_error(refusal, line_number, offset),
            };
            refused.push(error, verbatim(&chunk.bytes[line.offset_in_chunk..]))?;
        }
        Ok(())
    }

    fn write_references(&self, prepared: &mut Prepared) -> Result<()> {
        if self.rows.targets.entries().is_empty() {
            return Ok(());
        }
        let mut writer = self.environment.create_part(prepared.number, "references")?;
        write_part(&self.rows.targets, prepared.input, &mut writer)?;
        prepared.parts.references = Some(writer.finish()?.name);
        Ok(())
    }

    fn write_run(&mut self, prepared: &mut Prepared) -> Result<()> {
        let store = &self.environment.store;
        let Some(run) = self.rows.build_run(store.settings().run)? else {
            return Ok(());
        };
        let place = self.environment.run_place(prepared.number);
        self.environment
            .runtime
            .block_on(store.put_run(&place, run.bytes))?;
        prepared.run = Some(PreparedRun {
            place,
            summary: run.summary,
            rows: run.rows,
        });
        Ok(())
    }
}

impl Prepared {
    fn of(item: &Item) -> Self {
        let (offset, line) = item.next;
        let next = Resume {
            offset,
            line,
            facts: (*item.facts).clone(),
        };
        let delta = Delta {
            next: Some(next),
            raw_bytes: item.raw_bytes,
            end: item.end.clone(),
            ..Delta::default()
        };
        let parts = ItemParts {
            input: item.input,
            outcomes: None,
            rejects: None,
            references: None,
        };
        Self {
            number: item.number,
            input: item.input,
            offset,
            run: None,
            parts,
            delta,
            cut: None,
            permit: None,
        }
    }

    fn take_refused(&mut self, files: Option<RefusedFiles>) {
        if let Some(files) = files {
            self.parts.outcomes = Some(files.outcomes);
            self.parts.rejects = Some(files.rejects);
        }
    }
}

/// Whether a resource would stand where the server's own audit trail has its copy: nobody writes there but the server, and the
/// trail of another server would be taken for this one's.
fn is_of_own_trail(resource_type: ResourceType, id: &str) -> bool {
    let number = id.strip_prefix(AUDIT_ID_START);
    resource_type == ResourceType::AUDIT_EVENT
        && number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn of_own_trail(id: &str, line_number: u64, offset: u64) -> ImportError {
    ImportError {
        line_number: Some(line_number),
        byte_offset: Some(offset),
        rule: "reserved-id".to_owned(),
        resource_id: Some(format!("AuditEvent/{id}")),
        message: "AuditEvents with ids such as audit-1 are this server's own and are not imported".to_owned(),
    }
}

fn would_cut(resource_type: ResourceType, id: &str, line_number: u64, offset: u64) -> ImportError {
    ImportError {
        line_number: Some(line_number),
        byte_offset: Some(offset),
        rule: "subsetted".to_owned(),
        resource_id: Some(format!("{resource_type}/{id}")),
        message: "the line is tagged SUBSETTED and would replace a fuller copy".to_owned(),
    }
}

/// The line at the front of `bytes`, as it is, without its line feed.
fn verbatim(bytes: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    &bytes[..end]
}
