//! The import as a job: [`submit_import`] records it, [`ImportHandler`] runs it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{
    Checkpoint, Cleanup, Entropy, Handler, JobContext, JobError, JobId, JobRecord, NewJob, StopSignal,
};
use fhirhose_store::{Deletion, Store};
use tokio::runtime::Handle;

use super::commit::json;
use super::environment::{Environment, HaltOnDrop};
use super::finish::{Leavings, finish};
use super::result::ImportResult;
use super::settings::ImportSettings;
use super::source::Fetch;
use super::spec::ImportSpec;
use super::state::{State, input_key};
use super::{pipeline, state};
use crate::spill::parts_of;
use crate::{Error, ErrorKind, Result};

/// The kind of import jobs.
pub const IMPORT: &str = "import";

/// Records an import; the job is durable when this returns. Folders are listed now, files are opened when the job runs.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a path where nothing is; [`ErrorKind::Invalid`] for no input at all, a folder without NDJSON
/// files, or a source that is too long; what the job store gives.
pub async fn submit_import(
    store: &Store,
    spec: ImportSpec,
    owner: &str,
    entropy: &dyn Entropy,
) -> Result<JobId> {
    let id = JobId::random(entropy);
    let resolved = tokio::task::spawn_blocking(move || spec.resolve()).await;
    let spec = resolved
        .map_err(|panic| Error::new(ErrorKind::Storage, "listing the inputs").with_source(panic))??;
    let job = NewJob {
        id,
        kind: IMPORT.to_owned(),
        spec: json(&spec),
        owner: owner.to_owned(),
        created: store.clock().now(),
    };
    store.catalog().create(job).await?;
    Ok(id)
}

/// Runs imports.
pub struct ImportHandler {
    store: Store,
    fetch: Option<Arc<dyn Fetch>>,
    settings: ImportSettings,
}

impl ImportHandler {
    /// Imports into this store; without `fetch`, inputs that are URLs fail the job.
    pub fn new(store: Store, fetch: Option<Arc<dyn Fetch>>, settings: ImportSettings) -> Self {
        Self {
            store,
            fetch,
            settings,
        }
    }

    fn environment(&self, context: &JobContext) -> Result<Environment> {
        self.settings.check()?;
        let spec = serde_json::from_slice(&context.record().spec).map_err(|source| {
            Error::new(ErrorKind::Invalid, "reading the import's specification").with_source(source)
        })?;
        Ok(Environment {
            store: self.store.clone(),
            spec,
            settings: self.settings.clone(),
            fetch: self.fetch.clone(),
            job: context.record().id.to_string(),
            fence: context.lease().fence,
            halt: StopSignal::new(),
            runtime: Handle::current(),
            spare: Mutex::default(),
        })
    }

    /// Makes the result, and records it before anything that it was made of goes.
    async fn conclude(
        &self,
        environment: &Arc<Environment>,
        context: &JobContext,
        mut state: State,
    ) -> Result<ImportResult, JobError> {
        let leavings = leavings(environment, context).await?;
        let record = context.record();
        let began = Instant::from_micros(record.started.unwrap_or(record.created).as_micros());
        let (working, ended) = (Arc::clone(environment), state.clone());
        let mut finishing = tokio::task::spawn_blocking(move || finish(&working, &ended, leavings, began));
        let finished = tokio::select! {
            finished = &mut finishing => finished,
            reason = context.stopped() => {
                environment.halt.stop(reason);
                finishing.await
            }
        };
        let result = finished
            .map_err(|panic| Error::new(ErrorKind::Storage, "finishing the import").with_source(panic))??;
        state.result = Some(result.clone());
        context.checkpoint(Checkpoint::new().state(json(&state))).await?;
        Ok(result)
    }
}

#[async_trait]
impl Handler for ImportHandler {
    fn kind(&self) -> &'static str {
        IMPORT
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let environment = Arc::new(self.environment(context)?);
        let _halt = HaltOnDrop(environment.halt.clone());
        let state = match &context.record().checkpoint {
            Some(checkpoint) => serde_json::from_slice(checkpoint).map_err(|source| {
                Error::new(ErrorKind::Corrupt, "reading an import's checkpoint").with_source(source)
            })?,
            None => State::default(),
        };
        let result = match state.result.clone() {
            Some(result) => result,
            None => {
                let state = Box::pin(pipeline::run(&environment, context, state)).await?;
                Box::pin(self.conclude(&environment, context, state)).await?
            }
        };
        // A reader of this process would be a bug; what is left is deleted with the job.
        self.store
            .outputs()
            .delete_job(&parts_of(&environment.job))
            .await
            .map_err(Error::from)?;
        let counts = result.counts();
        tracing::info!(
            job.id = environment.job,
            created = counts.created,
            updated = counts.updated,
            unchanged = counts.unchanged,
            rejected = counts.rejected,
            dangling = result.dangling.references,
            "import done"
        );
        Ok(json(&result))
    }

    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        let name = job.id.to_string();
        for name in [parts_of(&name), name] {
            if self
                .store
                .outputs()
                .delete_job(&name)
                .await
                .map_err(Error::from)?
                == Deletion::InUse
            {
                return Ok(Cleanup::Later);
            }
        }
        Ok(Cleanup::Done)
    }
}

/// How many rows of a job are read in one call.
const ENTRIES: usize = 4_096;

/// Reads what the commits have left beside the state.
async fn leavings(environment: &Environment, context: &JobContext) -> Result<Leavings, JobError> {
    let mut parts = Vec::new();
    for_each_entry(context, 0..input_key(0), |row| {
        parts.push(parse(row)?);
        Ok(())
    })
    .await?;
    let mut tallies = Vec::new();
    for_each_entry(context, input_key(0)..u64::MAX, |row| {
        tallies.push(parse::<state::InputTally>(row)?);
        Ok(())
    })
    .await?;
    if tallies.len() != environment.spec.inputs.len() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "reading an import's rows: an input is missing",
        )
        .into());
    }
    Ok(Leavings { parts, tallies })
}

async fn for_each_entry(
    context: &JobContext,
    keys: std::ops::Range<u64>,
    mut visit: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(), JobError> {
    let mut from = keys.start;
    loop {
        let rows = context.entries(from, ENTRIES).await?;
        for (key, row) in &rows {
            if !keys.contains(key) {
                return Ok(());
            }
            visit(row)?;
        }
        match rows.last() {
            Some((last, _)) if rows.len() == ENTRIES => from = last + 1,
            _ => return Ok(()),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(row: &[u8]) -> Result<T> {
    serde_json::from_slice(row)
        .map_err(|source| Error::new(ErrorKind::Corrupt, "reading a row of an import").with_source(source))
}
