//! The refused lines of one item: their outcomes and, verbatim, their text, in two files that are joined at the end.

use fhirhose_fhir::import_report::{ERRORS_INLINE_MAX, ImportError};
use fhirhose_fhir::line::Refusal;
use fhirhose_store::OutputWriter;

use super::environment::Environment;
use crate::Result;

/// Writes the refused lines of one item as they come; makes no file while there is none.
pub(super) struct Refused<'e> {
    environment: &'e Environment,
    item: u64,
    input_url: &'e str,
    writers: Option<Writers>,
    pub(super) count: u64,
    /// The first refusals.
    pub(super) first: Vec<ImportError>,
}

struct Writers {
    outcomes: OutputWriter,
    rejects: OutputWriter,
}

/// The names of an item's two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedFiles {
    pub(super) outcomes: String,
    pub(super) rejects: String,
}

impl<'e> Refused<'e> {
    /// Begins without a refusal.
    pub(super) fn new(environment: &'e Environment, item: u64, input: u32) -> Self {
        let input_url = &environment.spec.inputs[input as usize].input_url;
        Self {
            environment,
            item,
            input_url,
            writers: None,
            count: 0,
            first: Vec::new(),
        }
    }

    /// Notes a refusal and keeps the line, which comes without its line feed.
    pub(super) fn push(&mut self, error: ImportError, line: &[u8]) -> Result<()> {
        self.keep(line)?;
        self.end_line(error)
    }

    /// Keeps a piece of a refused line.
    pub(super) fn keep(&mut self, piece: &[u8]) -> Result<()> {
        Ok(self.writers()?.rejects.write(piece)?)
    }

    /// Ends the refused line whose pieces were kept.
    pub(super) fn end_line(&mut self, error: ImportError) -> Result<()> {
        let mut outcome = error.to_outcome(self.input_url).to_json();
        outcome.push('\n');
        let writers = self.writers()?;
        writers.rejects.write(b"\n")?;
        writers.outcomes.write(outcome.as_bytes())?;
        self.count += 1;
        if self.first.len() < ERRORS_INLINE_MAX {
            self.first.push(error);
        }
        Ok(())
    }

    /// Finishes the files, if there are any; they are durable then.
    pub(super) fn finish(self) -> Result<Option<RefusedFiles>> {
        let Some(writers) = self.writers else {
            return Ok(None);
        };
        let outcomes = writers.outcomes.finish()?.name;
        let rejects = writers.rejects.finish()?.name;
        Ok(Some(RefusedFiles { outcomes, rejects }))
    }

    fn writers(&mut self) -> Result<&mut Writers> {
        if self.writers.is_none() {
            self.writers = Some(Writers {
                outcomes: self.environment.create_part(self.item, "outcomes")?,
                rejects: self.environment.create_part(self.item, "rejects")?,
            });
        }
        Ok(self.writers.as_mut().expect("they were just made"))
    }
}

/// Makes the report of a refused line out of the checker's refusal.
pub(super) fn import_error(refusal: Refusal, line_number: u64, line_offset: u64) -> ImportError {
    let resource_id = match (refusal.resource_type, refusal.id) {
        (Some(resource_type), Some(id)) => Some(format!("{resource_type}/{id}")),
        _ => None,
    };
    ImportError {
        line_number: Some(line_number),
        byte_offset: Some(line_offset + refusal.offset as u64),
        rule: refusal.rule.code().to_owned(),
        resource_id,
        message: refusal.message,
    }
}
