//! A job store that lives in memory: [`MemoryJobStore`].

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;

use super::Disk;
use crate::{
    Checkpoint, Claim, Error, ErrorKind, Finish, JobFilter, JobId, JobRecord, JobStore, Lease, NewJob,
    Release, Standing, Timestamp, next_job,
};

/// Keeps jobs in memory, for tests, and as the smallest example of a store. Clones share the jobs.
#[derive(Clone, Debug, Default)]
pub struct MemoryJobStore {
    /// All jobs by id. Locked for the length of each call and never across an await, so that calls are atomic.
    jobs: Arc<Mutex<BTreeMap<JobId, Kept>>>,
}

#[derive(Clone, Debug)]
struct Kept {
    record: JobRecord,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl MemoryJobStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Kept>> {
        self.jobs.lock().expect("no code panics while it holds the jobs")
    }

    /// Applies a change under a lease; a change that fails leaves everything as it was.
    fn change<T>(
        &self,
        lease: &Lease,
        apply: impl FnOnce(&mut Kept) -> Result<T, Error>,
    ) -> Result<T, Error> {
        apply(
            self.lock()
                .get_mut(&lease.job)
                .ok_or_else(|| Error::lease_lost(&lease.job))?,
        )
    }
}

#[async_trait]
impl Disk for MemoryJobStore {
    async fn open(&self) -> Arc<dyn JobStore> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl JobStore for MemoryJobStore {
    async fn create(&self, job: NewJob) -> Result<(), Error> {
        let mut jobs = self.lock();
        if jobs.contains_key(&job.id) {
            return Err(Error::new(
                ErrorKind::Exists,
                format!("job {} exists already", job.id),
            ));
        }
        jobs.insert(
            job.id,
            Kept {
                record: JobRecord::new(job),
                entries: BTreeMap::new(),
            },
        );
        Ok(())
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRecord>, Error> {
        Ok(self.lock().get(id).map(|kept| kept.record.clone()))
    }

    async fn jobs(&self, filter: &JobFilter) -> Result<Vec<JobRecord>, Error> {
        let chosen = |kept: &Kept| filter.chooses(&kept.record).then(|| kept.record.clone());
        let mut jobs: Vec<_> = self.lock().values().filter_map(chosen).collect();
        jobs.sort_by_key(|job| Reverse((job.created, job.id)));
        jobs.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(jobs)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Option<(JobRecord, Lease)>, Error> {
        let mut jobs = self.lock();
        let chosen = next_job(jobs.values().map(|kept| &kept.record), &claim).map(|job| job.id);
        let Some(kept) = chosen.and_then(|id| jobs.get_mut(&id)) else {
            return Ok(None);
        };
        let job = &mut kept.record;
        let lease = job.accept_claim(&claim);
        Ok(Some((job.clone(), lease)))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Standing, Error> {
        self.change(lease, |kept| kept.record.accept_renewal(lease, until))
    }

    async fn checkpoint(&self, lease: &Lease, write: Checkpoint) -> Result<(), Error> {
        self.change(lease, |kept| {
            kept.record.accept_checkpoint(lease, &write)?;
            kept.entries.extend(write.entries);
            Ok(())
        })
    }

    async fn entries(&self, id: &JobId, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let jobs = self.lock();
        let entries = jobs
            .get(id)
            .into_iter()
            .flat_map(|kept| kept.entries.range(from..));
        Ok(entries
            .take(limit)
            .map(|(key, value)| (*key, value.clone()))
            .collect())
    }

    async fn finish(&self, lease: &Lease, end: Finish) -> Result<(), Error> {
        self.change(lease, |kept| kept.record.accept_finish(lease, &end))
    }

    async fn release(&self, lease: &Lease, why: Release) -> Result<(), Error> {
        self.change(lease, |kept| kept.record.accept_release(lease, &why))
    }

    async fn abandon(&self, worker: &str) -> Result<u64, Error> {
        let mut jobs = self.lock();
        let held = jobs
            .values_mut()
            .filter_map(|kept| kept.record.accept_abandon(worker).then_some(1));
        Ok(held.sum())
    }

    async fn cancel(&self, id: &JobId, now: Timestamp) -> Result<bool, Error> {
        Ok(self
            .lock()
            .get_mut(id)
            .is_some_and(|kept| kept.record.accept_cancel(now)))
    }

    async fn pause(&self, id: &JobId, now: Timestamp) -> Result<bool, Error> {
        Ok(self
            .lock()
            .get_mut(id)
            .is_some_and(|kept| kept.record.accept_pause(now)))
    }

    async fn resume(&self, id: &JobId) -> Result<bool, Error> {
        Ok(self
            .lock()
            .get_mut(id)
            .is_some_and(|kept| kept.record.accept_resume()))
    }

    async fn remove(&self, id: &JobId) -> Result<(), Error> {
        self.lock().remove(id);
        Ok(())
    }
}
