//! A store of this machine as a target: [`StoreTarget`].

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::{
    Handler, JobFilter, JobId, JobRecord, JobState, JobStore, Lane, Leftover, Runner, RunnerSettings,
    SystemEntropy, Turns,
};
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotWrite, Origin, Write as CatalogWrite};
use fhirhose_store::{Encoding, Found, MAINTENANCE, Maintenance, OutputName, Store};
use futures::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::super::deletions::deletions;
use super::super::lines::{Line, Lines};
use super::super::reports::Reports;
use super::{Applied, ChangeFile, Target};
use crate::durable;
use crate::import::{IMPORT, ImportHandler, ImportResult, ImportSettings, ImportSpec, submit_import};
use crate::{Error, ErrorKind, Result};

/// The name under which the process claims its jobs: that of every embedded store's one process.
const WORKER: &str = "local";

/// Deletions of one commit.
const DELETIONS_MAX: usize = 500;
const LINE_BYTES_MAX: usize = 64 << 20;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The store of a data folder that this process holds. Resources go in as an import, a job that goes on where it was; deletions through
/// the path of single writes.
#[derive(Clone)]
pub struct StoreTarget {
    store: Store,
    settings: ImportSettings,
    name: String,
}

impl std::fmt::Debug for StoreTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreTarget")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl StoreTarget {
    /// Brings into a store; `name` is what it is called in the state, such as its folder.
    pub fn new(store: Store, settings: ImportSettings, name: impl Into<String>) -> Self {
        Self {
            store,
            settings,
            name: name.into(),
        }
    }

    /// Imports to the end; what an earlier process began is gone on with.
    async fn import(&self, spec: ImportSpec) -> Result<(JobId, ImportResult)> {
        let id = match self.unfinished(&spec).await? {
            Some(id) => id,
            None => submit_import(&self.store, spec, "", &SystemEntropy).await?,
        };
        let job = self.run(id).await?;
        match (job.state, job.result, job.failure) {
            (JobState::Succeeded, Some(result), _) => Ok((id, ImportResult::parse(&result)?)),
            (_, _, Some(failure)) => {
                let is_full = failure.code == ErrorKind::DiskFull.code() || failure.code == "storage-full";
                let kind = if is_full {
                    ErrorKind::DiskFull
                } else {
                    ErrorKind::Storage
                };
                Err(Error::new(kind, failure.message))
            }
            _ => Err(Error::new(ErrorKind::Storage, "the import was cancelled")),
        }
    }

    async fn unfinished(&self, spec: &ImportSpec) -> Result<Option<JobId>> {
        let filter = JobFilter {
            kind: Some(IMPORT.to_owned()),
            ..JobFilter::default()
        };
        let jobs = self.store.catalog().jobs(&filter).await?;
        let is_same = |job: &JobRecord| {
            let begun: Result<ImportSpec, _> = serde_json::from_slice(&job.spec);
            !job.state.is_ended() && begun.is_ok_and(|begun| begun == *spec)
        };
        Ok(jobs.into_iter().find(is_same).map(|job| job.id))
    }

    /// Runs jobs until this one has ended, with maintenance beside it.
    async fn run(&self, id: JobId) -> Result<JobRecord> {
        let lane = |kind: &str| Lane {
            kinds: vec![kind.to_owned()],
            parallel: 1,
            turns: Turns::Never,
        };
        let settings = RunnerSettings {
            leftover: Leftover::TakeOver,
            attempts_max: u32::MAX,
            ..RunnerSettings::new(WORKER, vec![lane(IMPORT), lane(MAINTENANCE)])
        };
        let store = &self.store;
        let jobs: Arc<dyn JobStore> = store.catalog().clone();
        let import = ImportHandler::new(store.clone(), None, self.settings.clone());
        let handlers: Vec<Arc<dyn Handler>> =
            vec![Arc::new(import), Arc::new(Maintenance::new(store.clone()))];
        let runner = Runner::new(jobs, store.clock().clone(), handlers, settings)?;
        let wake = runner.wake();
        let (stop, stopped) = oneshot::channel::<()>();
        // When this future is dropped the runner goes with it; the job goes on in the next process.
        let mut running = JoinSet::new();
        running.spawn(runner.run(async move {
            let _ = stopped.await;
        }));
        let ended = loop {
            let looked = store.catalog().job(&id).await?;
            let job = looked.ok_or_else(|| Error::new(ErrorKind::NotFound, "the import is gone"))?;
            if job.state.is_ended() {
                break job;
            }
            if store.schedule_maintenance(&SystemEntropy).await? {
                wake.signal();
            }
            tokio::select! {
                () = store.clock().sleep_until(store.clock().now().plus(LOOK)) => tokio::task::yield_now().await,
                _ = running.join_next() => {
                    return Err(Error::new(ErrorKind::Storage, "the job runner ended by itself"));
                }
            }
        };
        let _ = stop.send(());
        match running.join_next().await {
            Some(Ok(Err(error))) => Err(error.into()),
            _ => Ok(ended),
        }
    }

    /// Adds what the import refused to the reports, from where it is tried again.
    async fn copy_reports(&self, job: JobId, result: &ImportResult, reports: &Reports) -> Result<()> {
        let mut copied = Vec::new();
        for input in &result.inputs {
            copied.extend(input.rejects.iter().map(|file| (file, reports.lines_path())));
            copied.extend(input.outcomes.iter().map(|file| (file, reports.outcomes_path())));
        }
        for (file, path) in copied {
            durable::create_folder(reports.folder())?;
            let name = OutputName::new(&job.to_string(), &file.name)?;
            let mut out = durable::open_end(&path)?;
            let mut stream = self.store.outputs().open(&name).await?.stream(Encoding::Identity);
            while let Some(bytes) = stream.next().await {
                out.write_all(&bytes?)
                    .map_err(|source| Error::io(format!("writing {}", path.display()), source))?;
            }
        }
        Ok(())
    }

    /// Deletes these in one commit; gives how many there are.
    async fn delete_some(&self, some: &BTreeSet<(ResourceType, String)>) -> Result<u64> {
        let limits = LineLimits {
            line_bytes_max: usize::MAX,
            depth_max: 10_000,
        };
        let mut checker = LineChecker::new(limits);
        let mut writes = Vec::with_capacity(some.len());
        for (resource_type, id) in some {
            let Some(Found::Resource(found)) = self.store.read(*resource_type, id).await? else {
                continue;
            };
            let checked = checker.check(&found.text, None).map_err(|refusal| {
                Error::new(ErrorKind::Corrupt, "checking a stored resource").with_source(refusal)
            })?;
            writes.push(HotWrite {
                resource_type: *resource_type,
                id: id.clone(),
                expect: Expect::Any,
                action: HotAction::Delete {
                    others: checked.other_patients.iter().map(str::to_owned).collect(),
                },
            });
        }
        if !writes.is_empty() {
            let commit = Commit {
                write: CatalogWrite::Hot(writes),
                job: None,
                origin: Origin::default(),
            };
            self.store.catalog().commit(commit).await?;
        }
        Ok(some.len() as u64)
    }
}

#[async_trait]
impl Target for StoreTarget {
    fn name(&self) -> String {
        format!("store {}", self.name)
    }

    async fn put(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        if files.is_empty() {
            return Ok(Applied::default());
        }
        let paths: Vec<PathBuf> = files
            .iter()
            .map(|file| std::path::absolute(&file.path))
            .collect::<std::io::Result<_>>()
            .map_err(|source| Error::io("naming the files to import", source))?;
        let (job, result) = self.import(ImportSpec::of_paths(paths)).await?;
        self.copy_reports(job, &result, reports).await?;
        if let Some(failed) = result.inputs.iter().find_map(|input| input.failure.as_ref()) {
            let problem = format!(
                "a file of the round could not be read to its end: {}",
                failed.message
            );
            return Err(Error::new(ErrorKind::Storage, problem));
        }
        let counts = result.counts();
        Ok(Applied {
            done: counts.taken(),
            refused: counts.rejected,
        })
    }

    async fn delete(&self, files: &[ChangeFile], reports: &Reports) -> Result<Applied> {
        let mut applied = Applied::default();
        let mut some = BTreeSet::new();
        for file in files {
            let mut lines = Lines::open(&file.path, LINE_BYTES_MAX)?;
            while let Some(line) = lines.next_line()? {
                let Line::Text(text) = line else {
                    reports.refuse(b"", "the line is longer than is allowed")?;
                    continue;
                };
                let mut gone = Vec::new();
                if let Err(why) = deletions(text, &mut gone) {
                    reports.refuse(text, why)?;
                }
                some.extend(gone);
                if some.len() >= DELETIONS_MAX {
                    applied.done += self.delete_some(&some).await?;
                    some.clear();
                }
            }
        }
        applied.done += self.delete_some(&some).await?;
        applied.refused = reports.refused();
        Ok(applied)
    }
}
