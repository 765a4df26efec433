//! A data folder that this process holds, and a job that is run in it to its end, with progress.

use crate::progress::Bar;
use anyhow::{Context, Result, anyhow, bail};
use fhirhose_jobs::{
    Clock, Handler, JobId, JobRecord, JobState, Lane, Leftover, Runner, RunnerSettings, SystemClock,
    SystemEntropy, Turns,
};
use fhirhose_store::{
    DataFolder, Encoding, Holder, MAINTENANCE, Maintenance, OpenMode, OutputKeys, OutputName, Store,
    StoreSettings,
};
use futures::StreamExt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The name under which an embedded store's one process claims jobs.
pub(crate) const WORKER: &str = "local";

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Opens the store in a data folder.
pub(crate) async fn open(
    path: &Path,
    mode: OpenMode,
    command: &str,
    keys: Option<OutputKeys>,
) -> Result<Store> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let since = fhirhose_fhir::instant::Instant::from_micros(clock.now().as_micros());
    let holder = Holder::this_process(command, since);
    let folder = DataFolder::open(path, mode, &holder)?;
    let settings = StoreSettings {
        output_keys: keys,
        ..StoreSettings::default()
    };
    Ok(Store::open(folder, clock, settings).await?)
}

/// The unfinished job with this kind and specification, left by an earlier run of the same command.
pub(crate) async fn unfinished(
    store: &Store,
    kind: &str,
    same: impl Fn(&JobRecord) -> bool,
) -> Result<Option<JobId>> {
    let filter = fhirhose_jobs::JobFilter {
        kind: Some(kind.to_owned()),
        ..Default::default()
    };
    let jobs = store.catalog().jobs(&filter).await?;
    Ok(jobs
        .into_iter()
        .find(|job| !job.state.is_ended() && same(job))
        .map(|job| job.id))
}

/// Runs a job to its end, with maintenance beside it, and gives its result.
///
/// Ctrl-C stops at the next checkpoint; the same command goes on from there.
pub(crate) async fn run_job(
    store: &Store,
    id: JobId,
    handler: Arc<dyn Handler>,
    bar: Bar,
) -> Result<Vec<u8>> {
    let kind = handler.kind().to_owned();
    let lanes = vec![
        Lane {
            kinds: vec![kind],
            parallel: 1,
            turns: Turns::Never,
        },
        Lane {
            kinds: vec![MAINTENANCE.to_owned()],
            parallel: 1,
            turns: Turns::Never,
        },
    ];
    let settings = RunnerSettings {
        leftover: Leftover::TakeOver,
        // A person who starts the command again has decided that it is worth another try.
        attempts_max: u32::MAX,
        ..RunnerSettings::new(WORKER, lanes)
    };
    let jobs: Arc<dyn fhirhose_jobs::JobStore> = store.catalog().clone();
    let handlers: Vec<Arc<dyn Handler>> = vec![handler, Arc::new(Maintenance::new(store.clone()))];
    let runner = Runner::new(jobs, store.clock().clone(), handlers, settings)?;
    let wake = runner.wake();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = tokio::spawn(runner.run(async move {
        // The sender is dropped or used: either way it is time to stop.
        let _ = stopped.await;
    }));
    let ended = tokio::select! {
        ended = watch(store, id, &bar, || wake.signal()) => ended,
        signal = tokio::signal::ctrl_c() => {
            signal.context("listening for Ctrl-C")?;
            Err(anyhow!("interrupted; run the same command again and it goes on where it stopped"))
        }
        failed = &mut running => {
            bar.clear();
            failed.context("running jobs")??;
            bail!("the job runner ended by itself");
        }
    };
    bar.clear();
    let _ = stop.send(());
    running.await.context("running jobs")??;
    let job = ended?;
    match (job.state, job.result, job.failure) {
        (JobState::Succeeded, Some(result), _) => Ok(result),
        // The kind that the failure had when it happened decides on hint and exit code.
        (_, _, Some(failure)) if failure.code == "disk-full" || failure.code == "storage-full" => {
            Err(fhirhose_store::Error::new(fhirhose_store::ErrorKind::DiskFull, failure.message).into())
        }
        (_, _, Some(failure)) => bail!("{}", failure.message),
        _ => bail!("the job was cancelled"),
    }
}

async fn watch(store: &Store, id: JobId, bar: &Bar, wake: impl Fn()) -> Result<JobRecord> {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        let job = store.catalog().job(&id).await?.context("the job is gone")?;
        bar.show(&job.progress);
        if job.state.is_ended() {
            return Ok(job);
        }
        if store.schedule_maintenance(&SystemEntropy).await? {
            wake();
        }
    }
}

/// Copies finished files of a job out of the store as plain text.
pub(crate) async fn copy_outputs(store: &Store, job: JobId, files: &[&str], folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making folder {}", folder.display()))?;
    for file in files {
        let name = OutputName::new(&job.to_string(), file)?;
        let mut stream = store.outputs().open(&name).await?.stream(Encoding::Identity);
        let path = folder.join(file);
        let mut out = std::fs::File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        while let Some(bytes) = stream.next().await {
            out.write_all(&bytes?)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}
