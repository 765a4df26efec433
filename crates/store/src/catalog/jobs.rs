//! Jobs in the catalog: a record and its rows per job, changed under the same writer's lock as the resources, so that a
//! checkpoint and the data it records are one batch.

use super::KvCatalog;
use super::kv::{Batch, Durability, Space};
use super::kv_catalog::Inner;
use crate::{Error, ErrorKind, Result, Sequence};
use async_trait::async_trait;
use fhirhose_jobs::{
    Checkpoint, Claim, Error as JobsError, ErrorKind as JobsErrorKind, Finish, JobFilter, JobId, JobRecord,
    JobStore, Lease, NewJob, Release, Standing, Timestamp, next_job,
};
use std::cmp::Reverse;
use std::ops::ControlFlow;

/// The result of the jobs crate.
type JobsResult<T> = std::result::Result<T, JobsError>;

impl Inner {
    /// Checks that a lease is the present one.
    pub(super) fn held_job(&self, lease: &Lease) -> Result<()> {
        let record = self.load(&lease.job)?.ok_or_else(|| lost(lease))?;
        Ok(record.check_lease(lease)?)
    }

    /// Adds a checkpoint to a batch that is about to be written.
    pub(super) fn put_checkpoint(&self, lease: &Lease, write: Checkpoint, batch: &mut Batch) -> Result<()> {
        let mut record = self.load(&lease.job)?.ok_or_else(|| lost(lease))?;
        record.accept_checkpoint(lease, &write)?;
        batch.put(Space::Job, lease.job.as_bytes().as_slice(), encode(&record));
        for (number, value) in write.entries {
            batch.put(Space::JobEntry, entry_key(&lease.job, number), value);
        }
        Ok(())
    }

    pub(super) fn oldest_held(&self) -> Result<Option<Sequence>> {
        let now = self.clock.now();
        let held = self
            .records(|_| true)?
            .into_iter()
            .filter_map(|job| job.held_number(now))
            .min();
        Ok(held.map(Sequence))
    }

    fn load(&self, id: &JobId) -> Result<Option<JobRecord>> {
        self.kv
            .get(Space::Job, id.as_bytes())?
            .map(|value| decode(&value))
            .transpose()
    }

    fn records(&self, wanted: impl Fn(&JobRecord) -> bool) -> Result<Vec<JobRecord>> {
        let mut records = Vec::new();
        self.kv.scan(Space::Job, &[], None, &mut |_, value| {
            let record = decode(value)?;
            if wanted(&record) {
                records.push(record);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(records)
    }

    fn save(&self, record: &JobRecord, durability: Durability) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Space::Job, record.id.as_bytes().as_slice(), encode(record));
        self.kv.write(batch, durability)
    }

    fn create(&self, job: NewJob) -> JobsResult<()> {
        let _writer = self.lock()?;
        if self.load(&job.id)?.is_some() {
            return Err(JobsError::new(
                JobsErrorKind::Exists,
                format!("recording job {}", job.id),
            ));
        }
        Ok(self.save(&JobRecord::new(job), Durability::Synced)?)
    }

    fn list(&self, filter: &JobFilter) -> Result<Vec<JobRecord>> {
        let mut records = self.records(|job| filter.chooses(job))?;
        records.sort_by_key(|job| Reverse((job.created, job.id)));
        records.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(records)
    }

    fn claim(&self, claim: &Claim<'_>) -> JobsResult<Option<(JobRecord, Lease)>> {
        let _writer = self.lock()?;
        let wanted = self.records(|job| claim.kinds.contains(&job.kind.as_str()))?;
        let Some(mut record) = next_job(wanted.iter(), claim).cloned() else {
            return Ok(None);
        };
        let lease = record.accept_claim(claim);
        self.save(&record, Durability::Buffered)?;
        Ok(Some((record, lease)))
    }

    /// Applies a transition to the record of a lease's job.
    fn transition<T>(
        &self,
        lease: &Lease,
        durability: Durability,
        apply: impl FnOnce(&mut JobRecord) -> JobsResult<T>,
    ) -> JobsResult<T> {
        let _writer = self.lock()?;
        let mut record = self
            .load(&lease.job)?
            .ok_or_else(|| JobsError::lease_lost(&lease.job))?;
        let before = record.clone();
        let done = apply(&mut record)?;
        if record != before {
            self.save(&record, durability)?;
        }
        Ok(done)
    }

    fn abandon(&self, worker: &str) -> JobsResult<u64> {
        let _writer = self.lock()?;
        let (mut batch, mut ended) = (Batch::default(), 0);
        for mut record in self.records(|job| job.lease_until.is_some())? {
            if record.accept_abandon(worker) {
                batch.put(Space::Job, record.id.as_bytes().as_slice(), encode(&record));
                ended += 1;
            }
        }
        self.kv.write(batch, Durability::Synced)?;
        Ok(ended)
    }

    /// Changes the record of a job from outside of its lease; says whether it did.
    fn change_from_outside(
        &self,
        id: &JobId,
        apply: impl FnOnce(&mut JobRecord) -> bool,
    ) -> JobsResult<bool> {
        let _writer = self.lock()?;
        let Some(mut record) = self.load(id)? else {
            return Ok(false);
        };
        let changed = apply(&mut record);
        if changed {
            self.save(&record, Durability::Synced)?;
        }
        Ok(changed)
    }

    fn remove_job(&self, id: &JobId) -> Result<()> {
        let _writer = self.lock()?;
        let mut batch = Batch::default();
        batch.remove(Space::Job, id.as_bytes().as_slice());
        let to = crate::key::after_prefix(id.as_bytes());
        self.kv
            .scan(Space::JobEntry, id.as_bytes(), to.as_deref(), &mut |key, _| {
                batch.remove(Space::JobEntry, key);
                Ok(ControlFlow::Continue(()))
            })?;
        self.kv.write(batch, Durability::Synced)
    }

    fn job_entries(&self, id: &JobId, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let to = crate::key::after_prefix(id.as_bytes());
        self.gather(
            Space::JobEntry,
            (&entry_key(id, from), to.as_deref()),
            limit,
            |key, value| {
                let number = key
                    .last_chunk::<8>()
                    .ok_or_else(|| super::rows::corrupt("job-entry"))?;
                Ok((u64::from_be_bytes(*number), value.to_vec()))
            },
        )
    }
}

impl KvCatalog {
    async fn job_change<T, F>(&self, change: F) -> JobsResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> JobsResult<T> + Send + 'static,
    {
        self.change(move |inner| Ok(change(inner))).await?
    }
}

/// Creating, ending, cancelling, pausing and resuming are on disk when they return. Claims, renewals and checkpoints without data survive
/// the death of the process but a power cut may take the newest: then that work is done again, which is what a
/// checkpoint is for. The log is one sequence, so whatever is on disk is a state that once was.
#[async_trait]
impl JobStore for KvCatalog {
    async fn create(&self, job: NewJob) -> JobsResult<()> {
        self.job_change(move |inner| inner.create(job)).await
    }

    async fn job(&self, id: &JobId) -> JobsResult<Option<JobRecord>> {
        Ok(self.inner.load(id)?)
    }

    async fn jobs(&self, filter: &JobFilter) -> JobsResult<Vec<JobRecord>> {
        Ok(self.inner.list(filter)?)
    }

    async fn claim(&self, claim: Claim<'_>) -> JobsResult<Option<(JobRecord, Lease)>> {
        let (worker, now, until) = (claim.worker.to_owned(), claim.now, claim.until);
        let kinds: Vec<String> = claim.kinds.iter().map(|kind| (*kind).to_owned()).collect();
        self.job_change(move |inner| {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            inner.claim(&Claim {
                worker: &worker,
                kinds: &kinds,
                now,
                until,
            })
        })
        .await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> JobsResult<Standing> {
        let lease = *lease;
        self.job_change(move |inner| {
            inner.transition(&lease, Durability::Buffered, |job| {
                job.accept_renewal(&lease, until)
            })
        })
        .await
    }

    async fn checkpoint(&self, lease: &Lease, write: Checkpoint) -> JobsResult<()> {
        let lease = *lease;
        self.job_change(move |inner| {
            let _writer = inner.lock()?;
            let mut batch = Batch::default();
            inner.put_checkpoint(&lease, write, &mut batch)?;
            Ok(inner.kv.write(batch, Durability::Buffered)?)
        })
        .await
    }

    async fn entries(&self, id: &JobId, from: u64, limit: usize) -> JobsResult<Vec<(u64, Vec<u8>)>> {
        Ok(self.inner.job_entries(id, from, limit)?)
    }

    async fn finish(&self, lease: &Lease, end: Finish) -> JobsResult<()> {
        let lease = *lease;
        self.job_change(move |inner| {
            inner.transition(&lease, Durability::Synced, |job| job.accept_finish(&lease, &end))
        })
        .await
    }

    async fn release(&self, lease: &Lease, why: Release) -> JobsResult<()> {
        let lease = *lease;
        self.job_change(move |inner| {
            inner.transition(&lease, Durability::Buffered, |job| {
                job.accept_release(&lease, &why)
            })
        })
        .await
    }

    async fn abandon(&self, worker: &str) -> JobsResult<u64> {
        let worker = worker.to_owned();
        self.job_change(move |inner| inner.abandon(&worker)).await
    }

    async fn cancel(&self, id: &JobId, now: Timestamp) -> JobsResult<bool> {
        let id = *id;
        self.job_change(move |inner| inner.change_from_outside(&id, |job| job.accept_cancel(now)))
            .await
    }

    async fn pause(&self, id: &JobId, now: Timestamp) -> JobsResult<bool> {
        let id = *id;
        self.job_change(move |inner| inner.change_from_outside(&id, |job| job.accept_pause(now)))
            .await
    }

    async fn resume(&self, id: &JobId) -> JobsResult<bool> {
        let id = *id;
        self.job_change(move |inner| inner.change_from_outside(&id, JobRecord::accept_resume))
            .await
    }

    async fn remove(&self, id: &JobId) -> JobsResult<()> {
        let id = *id;
        self.job_change(move |inner| Ok(inner.remove_job(&id)?)).await
    }
}

/// The store's failures as the jobs crate names them.
impl From<Error> for JobsError {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::LeaseLost => JobsErrorKind::LeaseLost,
            ErrorKind::Cancelled => JobsErrorKind::Cancelled,
            ErrorKind::DiskFull => JobsErrorKind::StorageFull,
            ErrorKind::Invalid => JobsErrorKind::Invalid,
            _ => JobsErrorKind::Store,
        };
        Self::new(kind, error.to_string()).caused_by(error)
    }
}

/// The jobs crate's failures as the store names them.
impl From<JobsError> for Error {
    fn from(error: JobsError) -> Self {
        let kind = match error.kind() {
            JobsErrorKind::LeaseLost => ErrorKind::LeaseLost,
            JobsErrorKind::Cancelled => ErrorKind::Cancelled,
            JobsErrorKind::StorageFull => ErrorKind::DiskFull,
            JobsErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Storage,
        };
        Self::new(kind, "changing a job").with_source(error)
    }
}

fn lost(lease: &Lease) -> Error {
    JobsError::lease_lost(&lease.job).into()
}

fn encode(record: &JobRecord) -> Vec<u8> {
    serde_json::to_vec(record).expect("a job record is plain data")
}

fn decode(value: &[u8]) -> Result<JobRecord> {
    serde_json::from_slice(value).map_err(|source| super::rows::corrupt("job").with_source(source))
}

fn entry_key(id: &JobId, number: u64) -> Vec<u8> {
    [id.as_bytes().as_slice(), &number.to_be_bytes()].concat()
}
