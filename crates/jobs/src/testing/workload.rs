//! The job that simulations run: it makes one file per unit of work and names it in a checkpoint.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use crate::{Checkpoint, Cleanup, Failure, Handler, JobContext, JobError, JobId, JobRecord, Progress};

/// The kind of job.
pub(super) const KIND: &str = "units";

/// What jobs wrote outside of the store, by name. Shared by all processes, survives their crashes.
pub(super) type Files = Arc<Mutex<BTreeMap<String, u64>>>;

/// Makes the files. The specification is the number of units in decimal.
pub(super) struct UnitHandler {
    files: Files,
    /// Jobs that were asked once to be cleaned and said `Later`; a new process starts anew.
    in_use: Mutex<Vec<JobId>>,
}

impl UnitHandler {
    pub(super) fn new(files: Files) -> Self {
        Self {
            files,
            in_use: Mutex::default(),
        }
    }

    /// Makes a file that exists for nobody until a checkpoint names it.
    fn write(&self, context: &JobContext, unit: u64) -> String {
        let name = format!("{}/{unit}-{}", context.record().id, context.lease().fence);
        let content = content(&context.record().id, unit);
        self.files
            .lock()
            .expect("no panic while held")
            .insert(name.clone(), content);
        name
    }

    /// Reads all files that the checkpoints name back, in order.
    async fn digest(&self, context: &JobContext) -> Result<u64, JobError> {
        const PAGE_ENTRIES: usize = 3;
        let (mut sum, mut from) = (0, 0);
        loop {
            let entries = context.entries(from, PAGE_ENTRIES).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(sum);
            };
            from = last + 1;
            for (_, name) in &entries {
                let files = self.files.lock().expect("no panic while held");
                let found = std::str::from_utf8(name).ok().and_then(|name| files.get(name));
                let content =
                    found.ok_or_else(|| JobError::Failed(Failure::new("lost", "a named file is gone")))?;
                sum = fold(sum, *content);
            }
        }
    }
}

#[async_trait]
impl Handler for UnitHandler {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let bad = || JobError::Failed(Failure::new("bad", "specification or checkpoint cannot be read"));
        let units = number(&context.record().spec).ok_or_else(bad)?;
        let mut unit = match &context.record().checkpoint {
            Some(state) => number(state).ok_or_else(bad)?,
            None => 0,
        };
        while unit < units {
            work_for(context, unit_secs(&context.record().id, unit)).await?;
            let name = self.write(context, unit);
            let write = Checkpoint::new()
                .state((unit + 1).to_string().into_bytes())
                .entry(unit, name.into_bytes());
            let progress = Progress {
                done: unit + 1,
                total: units,
                note: "units".to_owned(),
            };
            context.checkpoint(write.progress(progress).holds(unit)).await?;
            unit += 1;
        }
        let digest = self.digest(context).await?;
        Ok(result(units, digest).into_bytes())
    }

    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        let mut in_use = self.in_use.lock().expect("no panic while held");
        if !in_use.contains(&job.id) {
            in_use.push(job.id);
            return Ok(Cleanup::Later);
        }
        let prefix = format!("{}/", job.id);
        self.files
            .lock()
            .expect("no panic while held")
            .retain(|name, _| !name.starts_with(&prefix));
        Ok(Cleanup::Done)
    }
}

/// Returns what an undisturbed run of a job gives.
pub(super) fn expected_result(job: &JobId, units: u64) -> String {
    result(
        units,
        (0..units).fold(0, |sum, unit| fold(sum, content(job, unit))),
    )
}

/// Returns the names of a job's files.
pub(super) fn files_of(files: &Files, job: &JobId) -> Vec<String> {
    let prefix = format!("{job}/");
    let files = files.lock().expect("no panic while held");
    files
        .keys()
        .filter(|name| name.starts_with(&prefix))
        .cloned()
        .collect()
}

async fn work_for(context: &JobContext, secs: u64) -> Result<(), JobError> {
    let until = context.clock().now().plus(Duration::from_secs(secs));
    tokio::select! {
        biased;
        reason = context.stopped() => Err(JobError::Stop(reason)),
        () = context.clock().sleep_until(until) => Ok(()),
    }
}

/// Says how long a unit takes: mostly a moment, sometimes longer than a lease.
fn unit_secs(job: &JobId, unit: u64) -> u64 {
    match content(job, unit) % 8 {
        0 => 50,
        1 => 12,
        fast => fast % 3,
    }
}

/// Makes what a unit's file holds: the same, whoever makes it and however often.
fn content(job: &JobId, unit: u64) -> u64 {
    job.as_bytes()
        .iter()
        .fold(unit, |sum, byte| fold(sum, u64::from(*byte)))
}

fn fold(sum: u64, next: u64) -> u64 {
    (sum ^ next).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
}

fn result(units: u64, digest: u64) -> String {
    format!("{units} units, digest {digest:016x}")
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
