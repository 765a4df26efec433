//! The job that keeps the layout in shape: flushes and compactions, claimed and fenced like any other job.

use crate::compact::{Chore, Others};
use crate::store::Store;
use crate::{Error, ErrorKind};
use async_trait::async_trait;
use fhirhose_jobs::{
    Cleanup, Entropy, Handler, JobContext, JobError, JobFilter, JobId, JobRecord, JobState, NewJob,
};

/// The kind of maintenance jobs.
pub const MAINTENANCE: &str = "maintenance";

/// Does the [`Chore`] of a maintenance job.
pub struct Maintenance {
    store: Store,
}

impl Maintenance {
    /// Works on this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Store {
    /// Records a maintenance job if something is due and none is waiting or running; says whether it did.
    ///
    /// # Errors
    /// What reading and writing the catalog gives.
    pub async fn schedule_maintenance(&self, entropy: &dyn Entropy) -> Result<bool, Error> {
        let running = JobFilter {
            state: Some(JobState::Running),
            ..JobFilter::default()
        };
        let queued = JobFilter {
            state: Some(JobState::Queued),
            ..JobFilter::default()
        };
        let (running, queued) = (
            self.catalog().jobs(&running).await?,
            self.catalog().jobs(&queued).await?,
        );
        if running.iter().chain(&queued).any(|job| job.kind == MAINTENANCE) {
            return Ok(false);
        }
        let others = if running.is_empty() {
            Others::AtRest
        } else {
            Others::AtWork
        };
        let Some(chore) = self.due(others).await? else {
            return Ok(false);
        };
        let job = NewJob {
            id: JobId::random(entropy),
            kind: MAINTENANCE.to_owned(),
            spec: serde_json::to_vec(&chore).expect("a chore is plain data"),
            owner: String::new(),
            created: self.clock().now(),
        };
        self.catalog().create(job).await?;
        Ok(true)
    }
}

#[async_trait]
impl Handler for Maintenance {
    fn kind(&self) -> &'static str {
        MAINTENANCE
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let chore: Chore = serde_json::from_slice(&context.record().spec)
            .map_err(|source| JobError::failed("maintenance", &source))?;
        let lease = *context.lease();
        // The fence in the name keeps two attempts apart: what a dead one left is swept when the store is opened.
        let place = format!("{}-{}.run", lease.job, lease.fence);
        let done = match chore {
            Chore::Flush => self.store.flush(&place, Some(lease)).await,
            Chore::Compact(places) => {
                let stop = context.stop_signal().clone();
                let checkin = move |_rows| match stop.stopping() {
                    None => Ok(()),
                    Some(reason) => Err(Error::new(
                        ErrorKind::Cancelled,
                        format!("merging runs: {reason:?}"),
                    )),
                };
                match self.store.compact(&places, &place, Some(lease), checkin).await {
                    // Somebody else merged them: there is nothing left to do.
                    Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
                    done => done,
                }
            }
        };
        context.check()?;
        let rows = done.map_err(|error| failure(&error))?;
        Ok(rows.to_string().into_bytes())
    }

    async fn clean(&self, _job: &JobRecord) -> Result<Cleanup, JobError> {
        Ok(Cleanup::Done)
    }
}

fn failure(error: &Error) -> JobError {
    let code = match error.kind() {
        ErrorKind::DiskFull => "disk-full",
        ErrorKind::Corrupt => "corrupt",
        _ => "storage",
    };
    JobError::failed(code, error)
}
