//! How a job changes: what each call of a [`JobStore`](crate::JobStore) does to a [`JobRecord`], once for all stores.
//!
//! Pure functions: no I/O, no clock. A store calls them inside its transaction and saves the record when they succeed; a
//! record for which one failed is unchanged.
//!
//! ```text
//! Queued ──claim──► Running ──finish──► Succeeded | Failed ──cancel──► Cancelled ──clean──► removed
//!    ▲                 │ ▲ claim when the lease is over
//!    └────release──────┘ cancel from Queued or Running ──────────────► Cancelled
//! ```
//!
//! `pause` and `resume` are beside the states: a paused job keeps its own, with checkpoint, progress and `holds`, and is only
//! not claimed. Who runs it just then learns of it by the next renewal, writes a checkpoint and releases it.

use crate::{
    Checkpoint, Claim, Error, ErrorKind, Finish, JobFilter, JobId, JobRecord, JobState, Lease, NewJob,
    Outcome, Progress, Queue, Release, Standing, Timestamp, Turn,
};

impl JobRecord {
    /// Makes the record of a new job.
    pub fn new(job: NewJob) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            spec: job.spec,
            owner: job.owner,
            state: JobState::Queued,
            fence: 0,
            lease_until: None,
            worker: None,
            ready: job.created,
            checkpoint: None,
            holds: None,
            progress: Progress::default(),
            result: None,
            failure: None,
            attempts: 0,
            created: job.created,
            started: None,
            finished: None,
            expires: None,
            paused: None,
            queued: None,
            served: None,
            steps: 0,
            percent_reached: 0,
            yields: 0,
            turn: None,
            tallies: Vec::new(),
        }
    }

    /// Returns since when the job waits in its client's queue.
    pub fn waits_since(&self) -> Timestamp {
        self.queued.unwrap_or(self.created)
    }

    /// Returns the sums of the tallies' rows and bytes.
    pub fn tallied(&self) -> (u64, u64) {
        let sum = |sum: u64, more: u64| sum.saturating_add(more);
        let tallies = self.tallies.iter();
        tallies.fold((0, 0), |(rows, bytes), tally| {
            (sum(rows, tally.rows), sum(bytes, tally.bytes))
        })
    }

    /// Tells whether a worker holds the job at `now`.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until > now)
    }

    /// Tells whether a claim may take the job: of a wanted kind, not paused, and queued and ready, or running with its lease
    /// over.
    pub fn is_claimable(&self, claim: &Claim<'_>) -> bool {
        let free = match self.state {
            JobState::Queued => self.ready <= claim.now,
            JobState::Running => !self.is_held(claim.now),
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => false,
        };
        free && self.paused.is_none() && claim.kinds.contains(&self.kind.as_str())
    }

    /// Gives the job to a worker. The caller has asked [`is_claimable`](Self::is_claimable).
    pub fn accept_claim(&mut self, claim: &Claim<'_>) -> Lease {
        self.state = JobState::Running;
        self.fence += 1;
        self.lease_until = Some(claim.until);
        self.worker = Some(claim.worker.to_owned());
        self.attempts = self.attempts.saturating_add(1);
        self.started.get_or_insert(claim.now);
        self.served = Some(claim.now);
        let (rows, bytes) = self.tallied();
        self.turn = Some(Turn {
            began: claim.now,
            done: self.progress.done,
            rows,
            bytes,
            steps: self.steps,
        });
        Lease {
            job: self.id,
            fence: self.fence,
        }
    }

    /// Checks that a lease is the present one and the job runs.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] or [`ErrorKind::Cancelled`].
    pub fn check_lease(&self, lease: &Lease) -> Result<(), Error> {
        if self.id != lease.job || self.fence != lease.fence {
            return Err(Error::lease_lost(&lease.job));
        }
        match self.state {
            JobState::Running => Ok(()),
            JobState::Cancelled => Err(cancelled(&lease.job)),
            JobState::Queued | JobState::Succeeded | JobState::Failed => Err(Error::lease_lost(&lease.job)),
        }
    }

    /// Moves the end of the lease, never back, and tells what the worker should know.
    ///
    /// # Errors
    /// As [`check_lease`](Self::check_lease).
    pub fn accept_renewal(&mut self, lease: &Lease, until: Timestamp) -> Result<Standing, Error> {
        self.check_lease(lease)?;
        self.lease_until = self.lease_until.max(Some(until));
        Ok(Standing {
            paused: self.paused.is_some(),
        })
    }

    /// Takes over a checkpoint, all but its entries, which the store puts itself in the same transaction.
    ///
    /// A checkpoint that changes the state or raises `progress.done` moves the job forward: attempts count from zero again.
    ///
    /// # Errors
    /// As [`check_lease`](Self::check_lease).
    pub fn accept_checkpoint(&mut self, lease: &Lease, write: &Checkpoint) -> Result<(), Error> {
        self.check_lease(lease)?;
        let done_before = self.progress.done;
        if let Some(progress) = &write.progress {
            self.progress.raise(progress);
            self.percent_reached = self.percent_reached.max(self.progress.percent().unwrap_or(0));
        }
        let state_changes = write.state.is_some() && write.state != self.checkpoint;
        if state_changes {
            self.checkpoint.clone_from(&write.state);
        }
        if state_changes || self.progress.done > done_before {
            self.attempts = 0;
            self.failure = None;
        }
        self.steps += u64::from(state_changes || !write.entries.is_empty());
        if let Some(tallies) = &write.tallies {
            self.tallies.clone_from(tallies);
        }
        self.holds = write.holds.or(self.holds);
        Ok(())
    }

    /// Ends the job.
    ///
    /// # Errors
    /// As [`check_lease`](Self::check_lease), but a job that ended under this very lease stays as it is and succeeds: the
    /// answer to the first call may have been lost.
    pub fn accept_finish(&mut self, lease: &Lease, end: &Finish) -> Result<(), Error> {
        if self.fence == lease.fence && matches!(self.state, JobState::Succeeded | JobState::Failed) {
            return Ok(());
        }
        self.check_lease(lease)?;
        match &end.outcome {
            Outcome::Succeeded(result) => {
                self.state = JobState::Succeeded;
                self.result = Some(result.clone());
                self.failure = None;
            }
            Outcome::Failed(failure) => {
                self.state = JobState::Failed;
                self.failure = Some(failure.clone());
            }
        }
        self.lease_until = None;
        self.paused = None;
        self.served = Some(end.now);
        self.finished = Some(end.now);
        self.expires = Some(end.expires);
        Ok(())
    }

    /// Takes the lease back.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] when the lease is stale or the job ended otherwise than by being cancelled. A cancelled or
    /// already released job succeeds.
    pub fn accept_release(&mut self, lease: &Lease, why: &Release) -> Result<(), Error> {
        if self.fence != lease.fence || matches!(self.state, JobState::Succeeded | JobState::Failed) {
            return Err(Error::lease_lost(&lease.job));
        }
        self.lease_until = None;
        if self.state != JobState::Running {
            return Ok(());
        }
        self.state = JobState::Queued;
        match why {
            Release::Shutdown => self.attempts = self.attempts.saturating_sub(1),
            Release::Yield { now, queue } => {
                self.attempts = self.attempts.saturating_sub(1);
                self.yields += 1;
                self.served = Some(*now);
                if *queue == Queue::Behind {
                    self.queued = Some(*now);
                }
            }
            Release::Retry { ready, cause } => {
                self.ready = *ready;
                self.failure = Some(cause.clone());
            }
        }
        Ok(())
    }

    /// Ends the lease of a worker that is known to be dead, and returns whether it held this job.
    pub fn accept_abandon(&mut self, worker: &str) -> bool {
        if self.lease_until.is_none() || self.worker.as_deref() != Some(worker) {
            return false;
        }
        self.lease_until = None;
        // Should the dead worker be alive after all, it is refused before anybody claims the job.
        self.fence += 1;
        true
    }

    /// Cancels the job, and returns whether that changed anything. A lease stays until its worker gives it back or it ends.
    pub fn accept_cancel(&mut self, now: Timestamp) -> bool {
        if self.state == JobState::Cancelled {
            return false;
        }
        self.state = JobState::Cancelled;
        self.paused = None;
        self.finished.get_or_insert(now);
        self.expires = Some(now);
        true
    }

    /// Pauses the job, and returns whether that changed anything: an ended or paused one stays as it is.
    pub fn accept_pause(&mut self, now: Timestamp) -> bool {
        if self.state.is_ended() || self.paused.is_some() {
            return false;
        }
        self.paused = Some(now);
        true
    }

    /// Lets a paused job go on, and returns whether it was one. It has kept its place in the queue.
    pub fn accept_resume(&mut self) -> bool {
        self.paused.take().is_some()
    }

    /// Returns the number that the store must keep for this job at `now`: its `holds` until it has ended and no worker
    /// works on it any more.
    pub fn held_number(&self, now: Timestamp) -> Option<u64> {
        let needed = !self.state.is_ended() || self.is_held(now);
        self.holds.filter(|_| needed)
    }
}

impl Progress {
    /// Takes over a later report; the numbers never go back, and an empty note leaves the old one.
    fn raise(&mut self, later: &Progress) {
        self.done = self.done.max(later.done);
        self.total = self.total.max(later.total);
        if !later.note.is_empty() {
            self.note.clone_from(&later.note);
        }
    }
}

impl JobFilter {
    /// Tells whether a job is chosen, `limit` aside.
    pub fn chooses(&self, job: &JobRecord) -> bool {
        self.state.is_none_or(|state| job.state == state)
            && self.kind.as_ref().is_none_or(|kind| job.kind == *kind)
            && self.owner.as_ref().is_none_or(|owner| job.owner == *owner)
            && self.expired_at.is_none_or(|now| is_expired(job, now))
            && self.after.is_none_or(|last| (job.created, job.id) < last)
    }
}

fn is_expired(job: &JobRecord, now: Timestamp) -> bool {
    job.state.is_ended() && !job.is_held(now) && job.expires.is_some_and(|expires| expires <= now)
}

fn cancelled(job: &JobId) -> Error {
    Error::new(ErrorKind::Cancelled, format!("job {job} was cancelled"))
}
