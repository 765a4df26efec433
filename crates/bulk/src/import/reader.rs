//! The reading thread: inputs one after another, cut into numbered items.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use fhirhose_fhir::import_report::ImportError;
use fhirhose_fhir::line::Rule;
use fhirhose_fhir::ndjson::{Cut, Cutter, CutterLimits, StartPlace};
use tokio::sync::Semaphore;

use super::environment::Environment;
use super::prepare::{Item, Work};
use super::refused::Refused;
use super::source::{InputFacts, OpenInput, Opener, ReadFailure, Resume, TextLimits, wait};
use super::spec::InputSpec;
use super::state::{InputEnd, State};
use crate::{Error, ErrorKind, Result};

/// How much text is taken at a time.
const READ_BYTES: usize = 512 << 10;

/// Reads all inputs from the place in `state` on, and hands the items to `items`.
pub(super) fn read_inputs(
    environment: &Environment,
    state: &State,
    in_flight: &Arc<Semaphore>,
    items: &Sender<Item>,
) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut number = state.items;
    let mut resume = state.resume.clone();
    for (input, spec) in (0u32..).zip(&environment.spec.inputs).skip(state.input as usize) {
        let resume = resume.take();
        let mut reader = InputReader {
            environment,
            in_flight,
            items,
            number,
            input,
            spec,
            overlong: None,
        };
        reader.read(resume.as_ref(), &mut buffer)?;
        number = reader.number;
    }
    Ok(())
}

/// Reads one input.
struct InputReader<'e> {
    environment: &'e Environment,
    in_flight: &'e Arc<Semaphore>,
    items: &'e Sender<Item>,
    /// The next item's.
    number: u64,
    input: u32,
    spec: &'e InputSpec,
    /// The overlong line that is going by.
    overlong: Option<Overlong<'e>>,
}

struct Overlong<'e> {
    offset: u64,
    line: u64,
    refused: Refused<'e>,
}

/// What an item is made with, besides its work.
struct Progress<'a> {
    facts: &'a Arc<InputFacts>,
    raw_bytes: u64,
}

impl InputReader<'_> {
    fn read(&mut self, resume: Option<&Resume>, buffer: &mut [u8]) -> Result<()> {
        let environment = self.environment;
        let opener = Opener {
            fetch: environment.fetch.as_deref(),
            runtime: &environment.runtime,
            halt: &environment.halt,
        };
        let settings = &environment.settings;
        let opened = OpenInput::open(self.spec, resume, &opener, TextLimits::of(settings));
        let mut open = match opened {
            Ok(open) => open,
            Err(failure) => {
                let facts = resume.map_or_else(InputFacts::unknown, |resume| resume.facts.clone());
                let progress = Progress {
                    facts: &Arc::new(facts),
                    raw_bytes: 0,
                };
                return self.send_end(&progress, Some(self.reported(failure, 0)?));
            }
        };
        let facts = Arc::new(open.facts.clone());
        let limits = CutterLimits {
            chunk_bytes: settings.chunk_bytes,
            line_bytes_max: settings.line_bytes_max,
        };
        let start = resume.map_or(StartPlace::BEGINNING, |resume| StartPlace {
            offset: resume.offset,
            line: resume.line,
        });
        let mut cutter = Cutter::resume(limits, start);
        let mut cuts = Vec::new();
        loop {
            environment.check()?;
            let read = open.read(buffer, self.spec);
            let progress = Progress {
                facts: &facts,
                raw_bytes: open.raw_bytes(),
            };
            match read {
                Ok(0) => {
                    cutter.finish(&mut cuts);
                    return self.send_last(cuts, &progress);
                }
                Ok(read) => cutter.push(&buffer[..read], &mut cuts),
                Err(failure) => {
                    // The line that is begun stays out: what is wrong is the input, not the line.
                    let failure = self.reported(failure, open.text_bytes())?;
                    return self.send_end(&progress, Some(failure));
                }
            }
            for cut in cuts.drain(..) {
                self.take(cut, &progress, None)?;
                if let Some(memory) = environment.spare() {
                    cutter.reuse(memory);
                }
            }
        }
    }

    /// Hands on the cuts at the end of the input; the last carries the end, so that a short input is one commit.
    fn send_last(&mut self, cuts: Vec<Cut>, progress: &Progress<'_>) -> Result<()> {
        let last = cuts.len().checked_sub(1);
        for (at, cut) in cuts.into_iter().enumerate() {
            let end = (Some(at) == last).then(InputEnd::default);
            self.take(cut, progress, end)?;
        }
        if last.is_none() {
            self.send_end(progress, None)
        } else {
            Ok(())
        }
    }

    fn take(&mut self, cut: Cut, progress: &Progress<'_>, end: Option<InputEnd>) -> Result<()> {
        match cut {
            Cut::Chunk(chunk) => {
                let next = (
                    chunk.offset + chunk.bytes.len() as u64,
                    chunk.first_line + chunk.lines,
                );
                self.send(Work::Chunk(Arc::new(chunk)), next, progress, end)
            }
            Cut::OverlongStart { offset, line } => {
                let refused = Refused::new(self.environment, self.number, self.input);
                self.overlong = Some(Overlong {
                    offset,
                    line,
                    refused,
                });
                Ok(())
            }
            Cut::OverlongBytes(piece) => match &mut self.overlong {
                Some(overlong) => overlong.refused.keep(&piece),
                None => Err(out_of_order()),
            },
            Cut::OverlongEnd { bytes } => {
                let overlong = self.overlong.take().ok_or_else(out_of_order)?;
                let next = (overlong.offset + bytes + 1, overlong.line + 1);
                let work = self.end_overlong(overlong, bytes)?;
                self.send(work, next, progress, end)
            }
        }
    }

    fn end_overlong(&self, overlong: Overlong<'_>, bytes: u64) -> Result<Work> {
        let Overlong {
            offset,
            line,
            mut refused,
        } = overlong;
        let line_bytes_max = self.environment.settings.line_bytes_max;
        let error = ImportError {
            line_number: Some(line),
            byte_offset: Some(offset + line_bytes_max as u64),
            rule: Rule::LineTooLong.code().to_owned(),
            resource_id: None,
            message: format!("the line has {bytes} bytes; the limit is {line_bytes_max}"),
        };
        refused.end_line(error.clone())?;
        let files = refused.finish()?.ok_or_else(out_of_order)?;
        Ok(Work::Overlong { error, files, bytes })
    }

    fn send_end(&mut self, progress: &Progress<'_>, failure: Option<ImportError>) -> Result<()> {
        self.send(Work::Nothing, (0, 0), progress, Some(InputEnd { failure }))
    }

    fn send(
        &mut self,
        work: Work,
        next: (u64, u64),
        progress: &Progress<'_>,
        end: Option<InputEnd>,
    ) -> Result<()> {
        let environment = self.environment;
        let permit = wait(
            &environment.runtime,
            &environment.halt,
            Arc::clone(self.in_flight).acquire_owned(),
        )?;
        let permit = permit
            .map_err(|closed| Error::new(ErrorKind::Storage, "waiting for memory").with_source(closed))?;
        let item = Item {
            number: self.number,
            input: self.input,
            facts: Arc::clone(progress.facts),
            work,
            next,
            raw_bytes: progress.raw_bytes,
            end,
            permit: Some(permit),
        };
        self.number += 1;
        // No receiver is left only when the workers have ended, and they say why.
        self.items
            .send(item)
            .map_err(|_| Error::new(ErrorKind::Storage, "handing a chunk to the workers"))
    }

    /// Turns a failure of the input into its report; one of the import ends the thread.
    fn reported(&self, failure: ReadFailure, text_bytes: u64) -> Result<ImportError> {
        match failure {
            ReadFailure::Job(error) => Err(error),
            ReadFailure::Input { rule, message } => Ok(ImportError {
                line_number: None,
                byte_offset: Some(text_bytes),
                rule: rule.to_owned(),
                resource_id: None,
                message,
            }),
        }
    }
}

fn out_of_order() -> Error {
    Error::new(
        ErrorKind::Storage,
        "cutting an input: an overlong line has no beginning or no bytes",
    )
}
