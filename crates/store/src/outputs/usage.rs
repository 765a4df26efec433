//! Who is reading the files of which job, within this process: a job is deleted only while nobody does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::OutputName;
use crate::{Error, ErrorKind, Result};

/// The jobs in use. A job that nobody reads or deletes has no entry.
#[derive(Debug, Default)]
pub(super) struct JobUsage {
    jobs: Mutex<HashMap<String, Use>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// So many readers and streams are open.
    Readers(usize),
    /// The files are going right now: nobody may begin to read them.
    Deleting,
}

/// Keeps a job from being deleted, until dropped.
#[derive(Debug)]
pub(super) struct ReadGuard {
    usage: Arc<JobUsage>,
    job: String,
}

/// Keeps a job from being read, until dropped.
#[derive(Debug)]
pub(super) struct DeleteGuard {
    usage: Arc<JobUsage>,
    job: String,
}

impl JobUsage {
    /// Counts a reader, unless the job is being deleted.
    pub(super) fn read(self: &Arc<Self>, name: &OutputName) -> Result<ReadGuard> {
        let mut jobs = self.lock();
        let used = jobs.entry(name.job().to_owned()).or_insert(Use::Readers(0));
        match used {
            Use::Deleting => Err(Error::new(
                ErrorKind::NotFound,
                format!("output {name} is being deleted"),
            )),
            Use::Readers(readers) => {
                *readers += 1;
                Ok(ReadGuard {
                    usage: Arc::clone(self),
                    job: name.job().to_owned(),
                })
            }
        }
    }

    /// Shuts readers out, unless there is one, or the job is being deleted already.
    pub(super) fn delete(self: &Arc<Self>, job: &str) -> Option<DeleteGuard> {
        let mut jobs = self.lock();
        if jobs.contains_key(job) {
            return None;
        }
        jobs.insert(job.to_owned(), Use::Deleting);
        Some(DeleteGuard {
            usage: Arc::clone(self),
            job: job.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        // Nothing panics while the lock is held, and the counts are right at every step.
        self.jobs
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut jobs = self.usage.lock();
        if let Some(Use::Readers(readers)) = jobs.get_mut(&self.job) {
            *readers -= 1;
            if *readers == 0 {
                jobs.remove(&self.job);
            }
        }
    }
}

impl Drop for DeleteGuard {
    fn drop(&mut self) {
        self.usage.lock().remove(&self.job);
    }
}
