//! Runs an export: snapshot, cohort, plan, parts, result.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fhirhose_jobs::{Cleanup, Handler, JobContext, JobError, JobRecord};
use fhirhose_store::{Deletion, OutputFile, PlainFolder, Sequence, Store};

use super::cohort::{Notes, Whose};
use super::files::Place;
use super::folder::{check_staged, publish, remove_staging, staging_path};
use super::parts::{Order, make_all};
use super::plan::plan;
use super::result::{ExportResult, FileKind, ResultFile};
use super::settings::ExportSettings;
use super::spec::{EXPORT, ExportSpec, Target};
use super::state::{Part, State, Work};
use super::wanted::Wanted;
use crate::{Error, ErrorKind, Result};

/// Runs jobs of the kind [`EXPORT`].
pub struct ExportHandler {
    store: Store,
    settings: ExportSettings,
}

impl ExportHandler {
    /// Makes the handler of a store.
    pub fn new(store: Store, settings: ExportSettings) -> Self {
        Self { store, settings }
    }

    async fn export(&self, context: &JobContext) -> Result<ExportResult, JobError> {
        let spec = load_spec(context.record())?;
        let mut state = self.state(&spec, context).await?;
        let (whose, notes) = Whose::resolve(&self.store, &spec.request, &state, context).await?;
        let wanted = Wanted::new(&spec.request, whose, state);
        let mut parts = match state.parts {
            Some(count) => Part::load_all(context, count).await?,
            None => self.plan(&spec, &wanted, &mut state, context).await?,
        };
        let place = self.place(&spec, context)?;
        if let Target::Folder(folder) = &spec.target {
            check_staged(&staging_path(folder, &context.record().id), &mut parts);
        }
        let order = Order {
            store: self.store.clone(),
            place,
            request: spec.request.clone(),
            wanted,
            state,
            file_bytes_max: spec.file_bytes_max,
        };
        make_all(order, &mut parts, context, &self.settings).await?;
        let files = number_files(&parts, &spec.target);
        let result = ExportResult {
            transaction_time: state.snapshot.instant,
            snapshot: state.snapshot.sequence,
            request: spec.request.request_url.clone(),
            files,
        };
        self.conclude(&spec, &notes, result, context).await
    }

    /// The snapshot of the export: taken once, and from then on the job's.
    async fn state(&self, spec: &ExportSpec, context: &JobContext) -> Result<State, JobError> {
        if let Some(checkpoint) = &context.record().checkpoint {
            return Ok(State::load(checkpoint)?);
        }
        let catalog = self.store.catalog();
        let snapshot = catalog.snapshot().await.map_err(Error::from)?;
        let after = match spec.request.since {
            Some(since) => catalog.sequence_at(since).await.map_err(Error::from)?,
            None => Sequence::ZERO,
        };
        let after = after.min(snapshot.sequence);
        let state = State {
            snapshot,
            after,
            parts: None,
        };
        context.checkpoint(state.checkpoint()).await?;
        Ok(state)
    }

    /// Plans the parts and writes the plan down: one that is made later would find the runs changed.
    async fn plan(
        &self,
        spec: &ExportSpec,
        wanted: &Wanted,
        state: &mut State,
        context: &JobContext,
    ) -> Result<Vec<Part>, JobError> {
        let part_bytes = self.settings.part_bytes.max(spec.file_bytes_max);
        let parts = plan(&self.store, &spec.request, wanted, part_bytes).await?;
        state.parts = Some(parts.len());
        let numbered = parts.iter().enumerate();
        let checkpoint = numbered.fold(state.checkpoint(), |checkpoint, (number, part)| {
            part.save(number, checkpoint)
        });
        context.checkpoint(checkpoint).await?;
        Ok(parts)
    }

    fn place(&self, spec: &ExportSpec, context: &JobContext) -> Result<Place> {
        let id = &context.record().id;
        Ok(match &spec.target {
            Target::Outputs => Place::Outputs {
                outputs: self.store.outputs().clone(),
                job: id.to_string(),
                settings: self.settings.outputs.clone(),
            },
            Target::Folder(folder) => Place::Folder {
                staging: PlainFolder::open(&staging_path(folder, id), self.settings.folder_durability)?,
                hashing: self.settings.folder_hashing,
            },
        })
    }

    /// Writes what the receiver should know, and brings the files of a folder to their names.
    async fn conclude(
        &self,
        spec: &ExportSpec,
        notes: &Notes,
        result: ExportResult,
        context: &JobContext,
    ) -> Result<ExportResult, JobError> {
        context.check()?;
        // What the client has to know first: which parts of its request were left out (K-22).
        let noted = notes.outcomes();
        let lines: String = (spec.request.ignored.iter().chain(&noted))
            .map(|outcome| outcome.to_json() + "\n")
            .collect();
        if lines.is_empty() && spec.target == Target::Outputs {
            return Ok(result);
        }
        let (place, target) = (self.place(spec, context)?, spec.target.clone());
        let (job, fence) = (context.record().id, context.lease().fence);
        let work = move || -> Result<ExportResult> {
            let mut result = result;
            if !lines.is_empty() {
                let mut file = place.create(&format!("outcomes-{fence}.ndjson"))?;
                file.write(lines.as_bytes())?;
                result.files.push(result_file(
                    FileKind::Error,
                    "OperationOutcome",
                    1,
                    file.finish()?,
                    &target,
                ));
            }
            if let Target::Folder(folder) = &target {
                publish(folder, &staging_path(folder, &job), &mut result)?;
            }
            Ok(result)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let panicked = |panic| Error::new(ErrorKind::Storage, "ending an export").with_source(panic);
        Ok(done.map_err(panicked)??)
    }
}

#[async_trait]
impl Handler for ExportHandler {
    fn kind(&self) -> &'static str {
        EXPORT
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let result = Box::pin(self.export(context)).await?;
        Ok(result.to_json())
    }

    /// Deletes the files in the store's outputs, unless one is being downloaded. What a finished export left in a folder stays.
    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        match load_spec(job)?.target {
            Target::Outputs => {
                let deletion = self.store.outputs().delete_job(&job.id.to_string()).await;
                Ok(match deletion.map_err(Error::from)? {
                    Deletion::Deleted => Cleanup::Done,
                    Deletion::InUse => Cleanup::Later,
                })
            }
            Target::Folder(folder) => {
                remove_staging(&staging_path(&folder, &job.id))?;
                Ok(Cleanup::Done)
            }
        }
    }
}

fn load_spec(job: &JobRecord) -> Result<ExportSpec> {
    serde_json::from_slice(&job.spec).map_err(|source| {
        Error::new(ErrorKind::Invalid, "reading what is to be exported").with_source(source)
    })
}

/// Gives the files the names that clients see, numbered from 1 for each type in the order of the parts.
fn number_files(parts: &[Part], target: &Target) -> Vec<ResultFile> {
    let mut numbers: BTreeMap<(FileKind, &'static str), u64> = BTreeMap::new();
    let mut files = Vec::new();
    for part in parts {
        let (kind, type_name) = match &part.work {
            Work::Resources { resource_type, .. } => (FileKind::Output, resource_type.name()),
            Work::Deletions => (FileKind::Deleted, "Bundle"),
        };
        for file in &part.files {
            let number = numbers.entry((kind, type_name)).or_default();
            *number += 1;
            files.push(result_file(kind, type_name, *number, file.clone(), target));
        }
    }
    files
}

fn result_file(
    kind: FileKind,
    type_name: &str,
    number: u64,
    file: OutputFile,
    target: &Target,
) -> ResultFile {
    let name = match (kind, target) {
        (FileKind::Output, _) => format!("{number}.{type_name}.ndjson"),
        (FileKind::Deleted, Target::Outputs) => format!("{number}.{type_name}.deleted.ndjson"),
        (FileKind::Error, Target::Outputs) => format!("{number}.{type_name}.error.ndjson"),
        (FileKind::Deleted, Target::Folder(_)) => format!("deleted/{number}.{type_name}.ndjson"),
        (FileKind::Error, Target::Folder(_)) => format!("error/{number}.{type_name}.ndjson"),
    };
    ResultFile {
        kind,
        resource_type: type_name.to_owned(),
        name,
        stored_name: file.name,
        count: file.rows,
        bytes: file.bytes,
        stored_bytes: file.stored_bytes,
        sha256: file.sha256,
    }
}
