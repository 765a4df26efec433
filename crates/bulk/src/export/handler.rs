//! Runs an export: snapshot, cohort, plan, parts, result.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::{OperationOutcome, Severity};
use fhirhose_jobs::{Cleanup, Handler, JobContext, JobError, JobRecord};
use fhirhose_store::{Deletion, PlainFolder, Sequence, Store};

use super::blocks::left_out;
use super::cohort::Resolved;
use super::files::Place;
use super::folder::{Finish, check_staged, publish, remove_staging, staging_path};
use super::names::{Numbers, number_files};
use super::notes::Notes;
use super::pages::Pager;
use super::parts::{Order, make_all};
use super::plan::plan;
use super::result::{ExportResult, FileKind};
use super::settings::ExportSettings;
use super::side::{Gathering, check_sides};
use super::spec::{EXPORT, ExportSpec, Target};
use super::state::{Part, State};
use super::wanted::Wanted;
use crate::spill::parts_of;
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
        let spec = load_spec(context.record())?.joiners();
        let mut state = self.state(&spec, context).await?;
        let stop = context.stop_signal();
        let Resolved {
            whose,
            joined,
            mut notes,
        } = Resolved::find(&self.store, &spec, &state, stop).await?;
        notes.deletions_unfiltered = deletions_unfiltered(&spec, &state);
        let wanted = Wanted::new(&spec.request, whose, joined, state);
        notes.left_out = left_out(&self.store, &spec, &wanted).await?;
        let mut parts = match state.parts {
            Some(count) => Part::load_all(context, count).await?,
            None => self.plan(&spec, &wanted, &mut state, context).await?,
        };
        let place = self.place(&spec, context)?;
        if let Target::Folder(folder) = &spec.target {
            check_staged(&staging_path(folder, &context.record().id), &mut parts);
        }
        let job = context.record().id.to_string();
        check_sides(&self.store, &job, &mut parts).await?;
        let order = Order {
            store: self.store.clone(),
            place,
            spec: spec.clone(),
            request: spec.request.clone(),
            wanted,
            state,
            file_bytes_max: spec.file_bytes(),
            block_bytes: self.settings.block_bytes / self.settings.parts_parallel.max(1),
            gathering: Gathering::of(&parts),
            base_url: spec.base_url.clone(),
            job: job.clone(),
        };
        let mut pager = match spec.request.allow_partial_manifests {
            true => Some(Pager::load(context, &parts, self.settings.page_files).await?),
            false => None,
        };
        make_all(order, &mut parts, pager.as_mut(), context, &self.settings).await?;
        let (files, pages, seen) = match pager {
            Some(pager) => pager.conclude(&parts),
            None => (number_files(&parts, &spec.target), Vec::new(), 0),
        };
        let result = ExportResult {
            transaction_time: state.snapshot.instant,
            snapshot: state.snapshot.sequence,
            request: spec.request.request_url.clone(),
            files,
            organized_by: spec.request.organize_output_by,
            pages,
        };
        let result = self.conclude(&spec, &notes, (result, seen), context).await?;
        // What is left of them goes with the job.
        let _ = self.store.outputs().delete_job(&parts_of(&job)).await;
        Ok(result)
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
            oldest_read: spec.request.since.map(|_| after),
            forgotten: catalog.forgotten().await.map_err(Error::from)?,
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
        let part_bytes = match spec.request.file_bytes_min {
            // Each part ends with a file that is as short as it comes: only one a type, then.
            Some(_) => u64::MAX,
            None => self.settings.part_bytes.max(spec.file_bytes()),
        };
        let parts = plan(&self.store, spec, wanted, state, part_bytes).await?;
        self.check_count(spec, &parts)?;
        state.parts = Some(parts.len());
        let numbered = parts.iter().enumerate();
        let checkpoint = numbered.fold(state.checkpoint(), |checkpoint, (number, part)| {
            part.save(number, checkpoint)
        });
        context.checkpoint(checkpoint).await?;
        Ok(parts)
    }

    /// Refuses a `_maximumFileSize` that would make too many files: each has its place in memory, in checkpoints and in the manifest.
    fn check_count(&self, spec: &ExportSpec, parts: &[Part]) -> Result<()> {
        let file_bytes = spec.file_bytes();
        let files: u64 = parts
            .iter()
            .map(|part| part.text_bytes_max.div_ceil(file_bytes))
            .sum();
        let files_max = self.settings.small_files_max;
        if file_bytes < spec.file_bytes_max && files > files_max {
            let problem =
                format!("_maximumFileSize: there would be more than {files_max} files; ask for longer ones");
            return Err(Error::new(ErrorKind::Invalid, problem));
        }
        Ok(())
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

    /// Writes what the receiver should know, after the pages that clients have `seen`, and brings the files of a folder to their names.
    async fn conclude(
        &self,
        spec: &ExportSpec,
        notes: &Notes,
        (result, seen): (ExportResult, usize),
        context: &JobContext,
    ) -> Result<ExportResult, JobError> {
        context.check()?;
        let outcomes = notes.outcomes();
        let lines: String = outcomes.iter().map(|outcome| outcome.to_json() + "\n").collect();
        if lines.is_empty() && spec.target == Target::Outputs {
            return Ok(result);
        }
        let (place, target) = (self.place(spec, context)?, spec.target.clone());
        let (job, fence) = (context.record().id, context.lease().fence);
        let (request, key) = (spec.request.clone(), self.settings.receipt_key.clone());
        let created_at = Instant::from_micros(self.store.clock().now().as_micros());
        let work = move || -> Result<ExportResult> {
            let mut result = result;
            if !lines.is_empty() {
                let mut file = place.create(&format!("outcomes-{fence}.ndjson"))?;
                file.write(lines.as_bytes())?;
                let series = (FileKind::Error, Some("OperationOutcome"));
                let mut named = Numbers::new(&target).name(series, vec![file.finish()?]);
                for file in &mut named {
                    file.severities = count_severities(&outcomes);
                }
                result.add_to_end(named, seen);
            }
            if let Target::Folder(folder) = &target {
                let finish = Finish {
                    request: &request,
                    key: key.as_deref(),
                    created_at,
                };
                publish(folder, &staging_path(folder, &job), &mut result, &finish)?;
            }
            Ok(result)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let panicked = |panic| Error::new(ErrorKind::Storage, "ending an export").with_source(panic);
        Ok(done.map_err(panicked)??)
    }
}

/// How many issues of each severity there are, the worst first.
fn count_severities(outcomes: &[OperationOutcome]) -> Vec<(Severity, u64)> {
    let mut counts = BTreeMap::new();
    for issue in outcomes.iter().flat_map(|outcome| &outcome.issues) {
        *counts.entry(issue.severity).or_default() += 1;
    }
    counts.into_iter().collect()
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
        let sides = self
            .store
            .outputs()
            .delete_job(&parts_of(&job.id.to_string()))
            .await;
        if sides.map_err(Error::from)? == Deletion::InUse {
            return Ok(Cleanup::Later);
        }
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

/// Whether deletions are listed that nobody can hold to the filters any more.
fn deletions_unfiltered(spec: &ExportSpec, state: &State) -> bool {
    let filtered = spec.request.since.is_some() && !spec.request.type_filters.is_empty();
    filtered && state.after < state.forgotten
}

/// What a job is to export.
pub(super) fn load_spec(job: &JobRecord) -> Result<ExportSpec> {
    serde_json::from_slice(&job.spec).map_err(|source| {
        Error::new(ErrorKind::Invalid, "reading what is to be exported").with_source(source)
    })
}
