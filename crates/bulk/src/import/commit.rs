//! Commits prepared items in the order of the inputs, each with the checkpoint that records it.

use std::collections::BTreeMap;

use fhirhose_jobs::{Checkpoint, JobContext, Progress};
use fhirhose_store::ErrorKind as StoreErrorKind;
use fhirhose_store::catalog::{Commit, Committed, Counts, JobWrite, Origin, RunWrite, Write};
use tokio::sync::mpsc::UnboundedReceiver;

use super::environment::Environment;
use super::prepare::{CutCopies, Item, Prepared, Preparer, Work};
use super::rows::ResourceSet;
use super::spec::Location;
use super::state::{Delta, ItemParts, State, input_key, item_key};
use crate::{Error, ErrorKind, Result};

/// Commits what the workers prepare.
pub(super) struct Committer<'a> {
    environment: &'a std::sync::Arc<Environment>,
    context: &'a JobContext,
    state: State,
    /// Prepared items whose turn has not come.
    waiting: BTreeMap<u64, Prepared>,
    /// Raw bytes of all inputs, if they are known.
    raw_bytes_total: Option<u64>,
}

/// How often an item is prepared anew because others wrote the same resources meanwhile.
const CONFLICTS_MAX: usize = 8;

/// How many ids are looked up in one call.
const LOOKUP_IDS: usize = 8_192;

impl<'a> Committer<'a> {
    pub(super) fn new(
        environment: &'a std::sync::Arc<Environment>,
        context: &'a JobContext,
        state: State,
    ) -> Self {
        let raw_bytes_total = raw_bytes_total(environment);
        Self {
            environment,
            context,
            state,
            waiting: BTreeMap::new(),
            raw_bytes_total,
        }
    }

    /// Commits items until the workers have no more.
    pub(super) async fn commit_all(&mut self, prepared: &mut UnboundedReceiver<Prepared>) -> Result<()> {
        loop {
            while let Some(next) = self.waiting.remove(&self.state.items) {
                // Boxed: a prepared chunk carries much, and the future of a whole import should stay small.
                Box::pin(self.commit(next)).await?;
            }
            tokio::select! {
                biased;
                reason = self.context.stopped() => return Err(Error::stopped(reason)),
                next = prepared.recv() => match next {
                    Some(next) => { self.waiting.insert(next.number, next); }
                    None => break,
                },
            }
        }
        if self.waiting.is_empty() && self.state.input as usize == self.environment.spec.inputs.len() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Storage,
            "committing chunks: the workers ended before the inputs did",
        ))
    }

    /// Ends the committing: gives the state, and removes the runs of items that were not committed.
    pub(super) async fn into_state(mut self, prepared: &mut UnboundedReceiver<Prepared>) -> State {
        while let Ok(left) = prepared.try_recv() {
            self.waiting.insert(left.number, left);
        }
        for (_, left) in std::mem::take(&mut self.waiting) {
            if let Some(run) = left.run {
                self.remove_run(&run.place).await;
            }
        }
        self.state
    }

    async fn commit(&mut self, mut prepared: Prepared) -> Result<()> {
        let mut refusing = ResourceSet::new();
        for _ in 0..CONFLICTS_MAX {
            while let Some(cut) = &prepared.cut {
                let fuller = self.fuller(cut).await?;
                if fuller.is_empty() {
                    break;
                }
                refusing.extend(fuller);
                prepared = self.prepare_again(prepared, &refusing).await?;
            }
            match self.write(&mut prepared).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict && prepared.cut.is_some() => {}
                written => return self.conclude(prepared, written).await,
            }
        }
        Err(Error::new(
            ErrorKind::Storage,
            "committing a chunk: its resources change faster than they are read",
        ))
    }

    /// Writes an item and its checkpoint. Takes the run out of it.
    async fn write(
        &self,
        prepared: &mut Prepared,
    ) -> Result<(Option<String>, Committed), fhirhose_store::Error> {
        let run = prepared.run.take();
        let place = run.as_ref().map(|run| run.place.clone());
        let write = run.map_or(Write::Nothing, |run| {
            Write::Run(RunWrite {
                place: run.place,
                summary: run.summary,
                rows: run.rows,
            })
        });
        let origin = Origin {
            job: self.environment.job.clone(),
            input: prepared.input,
            offset: prepared.offset,
        };
        let step = Step {
            before: self.state.clone(),
            delta: prepared.delta.clone(),
            parts: prepared.parts.clone(),
            input_name: self.environment.spec.inputs[prepared.input as usize]
                .short_name()
                .to_owned(),
            raw_bytes_total: self.raw_bytes_total,
        };
        let job = JobWrite {
            lease: *self.context.lease(),
            checkpoint: Box::new(|counts| step.checkpoint(counts)),
        };
        let committed = self
            .environment
            .store
            .catalog()
            .commit(Commit {
                write,
                job: Some(job),
                origin,
            })
            .await;
        if let (Err(error), Some(place)) = (&committed, &place) {
            // Other errors leave it open whether the commit took place: the next opening of the store knows.
            if matches!(
                error.kind(),
                StoreErrorKind::LeaseLost | StoreErrorKind::Cancelled
            ) {
                self.remove_run(place).await;
            }
        }
        committed.map(|committed| (place, committed))
    }

    async fn conclude(
        &mut self,
        prepared: Prepared,
        written: Result<(Option<String>, Committed), fhirhose_store::Error>,
    ) -> Result<()> {
        let (place, committed) = written.map_err(|error| {
            let error = Error::from(error);
            if let ErrorKind::Stopped(reason) = error.kind() {
                self.context.stop_signal().stop(reason);
            }
            error
        })?;
        if let Some(place) = place.filter(|_| !committed.run_kept) {
            self.remove_run(&place).await;
        }
        let ended = self.state.advance(&prepared.delta, &committed.counts);
        if let Some(tally) = ended {
            tracing::info!(
                job.id = self.environment.job,
                input = prepared.input,
                taken = tally.counts.taken(),
                rejected = tally.counts.rejected,
                "input ended"
            );
        }
        drop(prepared.permit);
        Ok(())
    }

    /// Of the resources that a chunk would cut, those that the store holds whole.
    async fn fuller(&self, cut: &CutCopies) -> Result<ResourceSet> {
        let mut fuller = ResourceSet::new();
        for batch in cut.resources.chunks(LOOKUP_IDS) {
            let ids: Vec<_> = batch
                .iter()
                .map(|(resource_type, id)| (*resource_type, id.as_str()))
                .collect();
            let found = self.environment.store.catalog().newest(&ids).await?;
            let whole = batch.iter().zip(found).filter(|(_, newest)| {
                newest
                    .as_ref()
                    .is_some_and(|newest| !newest.deleted && !newest.subsetted)
            });
            fuller.extend(whole.map(|(resource, _)| resource.clone()));
        }
        Ok(fuller)
    }

    /// Prepares a chunk anew with these resources not to be cut. Rare, so it may cost a fresh worker's memory.
    async fn prepare_again(&self, prepared: Prepared, refusing: &ResourceSet) -> Result<Prepared> {
        let Prepared {
            number,
            input,
            delta,
            cut,
            permit,
            ..
        } = prepared;
        let (Some(cut), Some(next)) = (cut, delta.next) else {
            return Err(Error::new(
                ErrorKind::Storage,
                "preparing a chunk again without its lines",
            ));
        };
        let item = Item {
            number,
            input,
            facts: cut.facts,
            work: Work::Chunk(cut.chunk),
            next: (next.offset, next.line),
            raw_bytes: delta.raw_bytes,
            end: delta.end,
            permit,
        };
        let (environment, refusing) = (std::sync::Arc::clone(self.environment), refusing.clone());
        let again = tokio::task::spawn_blocking(move || Preparer::new(&environment).prepare(item, &refusing));
        again
            .await
            .map_err(|panic| Error::new(ErrorKind::Storage, "preparing a chunk again").with_source(panic))?
    }

    /// Removes a run file that no commit names; what stays is swept when the store is opened.
    async fn remove_run(&self, place: &str) {
        if let Err(error) = self.environment.store.remove_run(place).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                job.id = self.environment.job,
                error,
                "removing an unused run file failed"
            );
        }
    }
}

/// What the checkpoint of a commit is made of.
struct Step {
    before: State,
    delta: Delta,
    parts: ItemParts,
    input_name: String,
    raw_bytes_total: Option<u64>,
}

impl Step {
    fn checkpoint(self, counts: &Counts) -> Checkpoint {
        let Self {
            before,
            delta,
            parts,
            input_name,
            raw_bytes_total,
        } = self;
        let (item, input) = (before.items, before.input);
        let done = before.raw_bytes_before + delta.raw_bytes;
        let mut state = before;
        let ended = state.advance(&delta, counts);
        let taken = ended.as_ref().unwrap_or(&state.tally).counts.taken();
        let length = delta.next.as_ref().and_then(|next| next.facts.identity.length);
        let note = format!("{input_name}: {} resources", with_separators(taken));
        let progress = Progress {
            done,
            total: raw_bytes_total.or(length).unwrap_or(0),
            note,
        };
        let mut checkpoint = Checkpoint::new().state(json(&state)).progress(progress);
        if parts.outcomes.is_some() || parts.rejects.is_some() || parts.references.is_some() {
            checkpoint = checkpoint.entry(item_key(item), json(&parts));
        }
        if let Some(tally) = ended {
            checkpoint = checkpoint.entry(input_key(input), json(&tally));
        }
        checkpoint
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a checkpoint is plain data with string keys")
}

/// The sum of the files' lengths; with URLs among several inputs it is not known, and 0 for the only input's own.
fn raw_bytes_total(environment: &Environment) -> Option<u64> {
    let length = |location: &Location| match location {
        Location::Path(path) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
        Location::Url(_) => None,
    };
    let inputs = &environment.spec.inputs;
    let total: Option<u64> = inputs.iter().map(|input| length(&input.location)).sum();
    // The length of a single URL is known once it is open.
    total.or((inputs.len() > 1).then_some(0))
}

/// Writes a number as people read it: `1,234,567`.
fn with_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_separators;

    #[test]
    fn numbers_have_a_separator_every_three_digits() {
        let written = [0, 999, 1_000, 1_234_567].map(with_separators);
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }
}
