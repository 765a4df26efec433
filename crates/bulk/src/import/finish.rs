//! The end of an import: dangling references are looked up, and the files of refused lines joined.

use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::{Encoding, OutputFile, OutputName, OutputSettings, OutputWriter};
use futures::StreamExt;

use super::environment::Environment;
use super::references::Record;
use super::result::{Dangling, ImportResult, InputResult};
use super::state::{InputTally, ItemParts, State};
use crate::spill::Merge;
use crate::{Error, ErrorKind, Result};

/// What the commits have left for the end.
pub(super) struct Leavings {
    pub(super) parts: Vec<ItemParts>,
    pub(super) tallies: Vec<InputTally>,
}

/// Makes the result and its files. May run again after a crash: it makes the same files. For a blocking thread.
pub(super) fn finish(
    environment: &Environment,
    state: &State,
    leavings: Leavings,
    began: fhirhose_fhir::instant::Instant,
) -> Result<ImportResult> {
    let names: Vec<&String> = leavings
        .parts
        .iter()
        .filter_map(|parts| parts.references.as_ref())
        .collect();
    let names: Result<Vec<OutputName>> = names.into_iter().map(|name| environment.part(name)).collect();
    let mut dangling = Resolver::new(environment).resolve(names?)?;
    dangling.unresolvable = state.unresolvable;
    let mut parts = leavings.parts.iter().peekable();
    let mut inputs = Vec::with_capacity(leavings.tallies.len());
    for ((number, spec), tally) in (0u32..).zip(&environment.spec.inputs).zip(leavings.tallies) {
        let mut own = Vec::new();
        while let Some(parts) = parts.next_if(|parts| parts.input == number) {
            own.push(parts);
        }
        let (outcomes, rejects) = join_refused(environment, number, &own, &tally)?;
        inputs.push(InputResult {
            input_url: spec.input_url.clone(),
            declared: spec.declared,
            counts: tally.counts,
            errors: tally.errors,
            failure: tally.failure,
            outcomes,
            rejects,
        });
    }
    Ok(ImportResult {
        transaction_time: began,
        request_url: environment.spec.request_url.clone(),
        inputs,
        types: state.types.clone(),
        dangling,
        text_bytes: state.text_bytes,
    })
}

/// Joins the files of an input's refused lines, in the order of its lines: outcomes, and the lines themselves.
fn join_refused(
    environment: &Environment,
    input: u32,
    parts: &[&ItemParts],
    tally: &InputTally,
) -> Result<(Option<OutputFile>, Option<OutputFile>)> {
    let outcomes: Vec<&str> = parts
        .iter()
        .filter_map(|parts| parts.outcomes.as_deref())
        .collect();
    let rejects: Vec<&str> = parts
        .iter()
        .filter_map(|parts| parts.rejects.as_deref())
        .collect();
    let input_url = &environment.spec.inputs[input as usize].input_url;
    let failure = tally
        .failure
        .as_ref()
        .map(|failure| failure.to_outcome(input_url).to_json() + "\n");
    let number = u64::from(input) + 1;
    let outcomes = join(
        environment,
        &format!("{number}.outcomes.ndjson"),
        &outcomes,
        failure.as_deref(),
    )?;
    let rejects = join(environment, &format!("{number}.rejects.ndjson"), &rejects, None)?;
    Ok((outcomes, rejects))
}

fn join(
    environment: &Environment,
    name: &str,
    parts: &[&str],
    last: Option<&str>,
) -> Result<Option<OutputFile>> {
    if parts.is_empty() && last.is_none() {
        return Ok(None);
    }
    let mut writer = create(environment, name)?;
    for part in parts {
        let reader = environment
            .runtime
            .block_on(environment.store.outputs().open(&environment.part(part)?))?;
        let mut stream = reader.stream(Encoding::Identity);
        while let Some(piece) = environment.runtime.block_on(stream.next()) {
            environment.check()?;
            writer.write(&piece?)?;
        }
    }
    writer.write(last.unwrap_or_default().as_bytes())?;
    Ok(Some(writer.finish()?))
}

/// Starts a file that the report names.
fn create(environment: &Environment, name: &str) -> Result<OutputWriter> {
    let name = OutputName::new(&environment.job, name)?;
    Ok(environment
        .store
        .outputs()
        .create(&name, &OutputSettings::default())?)
}

/// Finds out which references dangle.
struct Resolver<'e> {
    environment: &'e Environment,
    dangling: Dangling,
    /// Made with the first warning.
    listing: Option<OutputWriter>,
    /// Targets that the import does not hold, to be looked up together.
    batch: Vec<(ResourceType, String, Record)>,
}

/// How many targets are looked up in one call.
const LOOKUP_IDS: usize = 8_192;

/// After so many targets the resolver looks whether to stop.
const RECORDS_BETWEEN_LOOKS: u64 = 16_384;

impl<'e> Resolver<'e> {
    fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            dangling: Dangling::default(),
            listing: None,
            batch: Vec::new(),
        }
    }

    fn resolve(mut self, names: Vec<OutputName>) -> Result<Dangling> {
        let (runtime, outputs) = (&self.environment.runtime, self.environment.store.outputs());
        let at_once = self.environment.settings.merge_parts_max;
        let mut merge = Merge::<Record>::open_many(outputs, names, at_once, runtime, |number| {
            self.environment.check()?;
            let name = format!("{}-{number}.merged", self.environment.fence);
            let writer = self.environment.create_part(number, "merged")?;
            Ok((self.environment.part(&name)?, writer))
        })?;
        let mut records = 0u64;
        while let Some(record) = merge.next()? {
            records += 1;
            if records.is_multiple_of(RECORDS_BETWEEN_LOOKS) {
                self.environment.check()?;
            }
            if !record.held && record.references > 0 {
                self.push(record)?;
            }
        }
        self.look_up()?;
        self.dangling.listed = self.listing.map(OutputWriter::finish).transpose()?;
        Ok(self.dangling)
    }

    fn push(&mut self, record: Record) -> Result<()> {
        let Some((resource_type, id)) = record.key.resource() else {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "reading a file of references: a key is none",
            ));
        };
        self.batch.push((resource_type, id, record));
        if self.batch.len() >= LOOKUP_IDS {
            self.look_up()
        } else {
            Ok(())
        }
    }

    fn look_up(&mut self) -> Result<()> {
        self.environment.check()?;
        let batch = std::mem::take(&mut self.batch);
        let ids: Vec<_> = batch
            .iter()
            .map(|(resource_type, id, _)| (*resource_type, id.as_str()))
            .collect();
        let catalog = self.environment.store.catalog();
        let found = self.environment.runtime.block_on(catalog.newest(&ids))?;
        for ((resource_type, id, record), newest) in batch.iter().zip(found) {
            if newest.is_none_or(|newest| newest.deleted) {
                self.dangling.references += record.references;
                self.dangling.targets += 1;
                self.list(*resource_type, id, record)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, resource_type: ResourceType, id: &str, record: &Record) -> Result<()> {
        if self.dangling.targets > self.environment.settings.dangling_listed_max {
            return Ok(());
        }
        if self.listing.is_none() {
            self.listing = Some(create(self.environment, "dangling.ndjson")?);
        }
        let (input, line) = record.first;
        let place = self
            .environment
            .spec
            .inputs
            .get(input as usize)
            .map_or("", |input| input.short_name());
        let issue = Issue::warning(
            IssueCode::NotFound,
            format!("{resource_type}/{id} is referred to and not there"),
        )
        .with_diagnostics(format!(
            "references {}, first in input {place}, line {line}",
            record.references
        ));
        let outcome = OperationOutcome::of(issue).to_json() + "\n";
        match &mut self.listing {
            Some(listing) => Ok(listing.write(outcome.as_bytes())?),
            None => Ok(()),
        }
    }
}
