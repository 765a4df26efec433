//! Lets jobs take turns: when all places of a lane are taken and a job waits, one that has had its turn gives its place back.
//!
//! Only a job that has moved forward under its present claim, by a checkpoint that a crash would not take, is asked. So a
//! job gives its place back at most as often as it makes such steps, and always ends.

use std::sync::{MutexGuard, PoisonError};

use tracing::{info, warn};

use super::{Core, Turns};
use crate::{
    Claim, Error, JobContext, JobFilter, JobId, JobRecord, Lease, Queue, Release, StopReason, StopSignal,
    next_job,
};

/// A job that runs now.
pub(super) struct Place {
    lane: usize,
    lease: Lease,
    /// Set when the job is asked for its place, or told to stop for another reason.
    stop: StopSignal,
}

/// Gives a place back when the claim is settled, or dropped.
pub(super) struct Taken<'a> {
    core: &'a Core,
    lease: Lease,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.core.places().retain(|place| place.lease != self.lease);
    }
}

impl Core {
    pub(super) fn take_place(&self, lane: usize, context: &JobContext) -> Taken<'_> {
        let lease = *context.lease();
        let stop = context.stop_signal().clone();
        self.places().push(Place { lane, lease, stop });
        Taken { core: self, lease }
    }

    /// Says how a job of this lane gives its place back.
    pub(super) fn yielding(&self, lane: usize) -> Release {
        let queue = match self.settings.lanes[lane].turns {
            Turns::Always => Queue::Behind,
            Turns::BetweenClients | Turns::Never => Queue::KeepsPlace,
        };
        let now = self.clock.now();
        Release::Yield { now, queue }
    }

    /// Looks at a lane until the shutdown.
    pub(super) async fn rotate(&self, lane: usize) {
        let mut listener = self.wake.listen();
        while self.shutdown.stopping().is_none() {
            listener.looking();
            if let Err(error) = self.rotate_once(lane).await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "looking for waiting jobs failed"
                );
            }
            self.pause(&mut listener, self.settings.poll()).await;
        }
    }

    /// Asks one job for its place, if another waits for it. One at a time: the next look finds what that came to.
    async fn rotate_once(&self, lane: usize) -> Result<(), Error> {
        let running = self.running(lane);
        let all_taken = running.len() >= self.settings.lanes[lane].parallel;
        if !all_taken || running.iter().any(|(_, stop)| stop.stopping().is_some()) {
            return Ok(());
        }
        let jobs = self.store.jobs(&JobFilter::default()).await?;
        let ours = |job: &JobRecord| running.iter().any(|(id, _)| *id == job.id);
        let mut ready: Vec<&JobRecord> = jobs
            .iter()
            .filter(|job| ours(job) && self.had_turn(job))
            .collect();
        ready.sort_by_key(|job| (job.turn.map(|turn| turn.began), job.id));
        let gives = ready.into_iter().find(|job| self.helps_others(lane, job, &jobs));
        let Some(gives) = gives else { return Ok(()) };
        if let Some((_, stop)) = running.iter().find(|(id, _)| *id == gives.id) {
            info!(job.id = %gives.id, yields = gives.yields, "others wait: the job gives its place back");
            stop.stop(StopReason::Yield);
        }
        Ok(())
    }

    fn had_turn(&self, job: &JobRecord) -> bool {
        let had = self.settings.turn(job.yields);
        job.turn
            .is_some_and(|turn| job.steps > turn.steps && turn.began.plus(had) <= self.clock.now())
    }

    /// Tells whether another job would be claimed if this one gave its place back.
    fn helps_others(&self, lane: usize, gives: &JobRecord, jobs: &[JobRecord]) -> bool {
        let mut given = gives.clone();
        let lease = Lease {
            job: given.id,
            fence: given.fence,
        };
        if given.accept_release(&lease, &self.yielding(lane)).is_err() {
            return false;
        }
        let kinds: Vec<&str> = self.settings.lanes[lane]
            .kinds
            .iter()
            .map(String::as_str)
            .collect();
        let now = self.clock.now();
        let claim = Claim {
            worker: &self.settings.worker,
            kinds: &kinds,
            now,
            until: now.plus(self.settings.lease()),
        };
        let others = jobs.iter().filter(|job| job.id != gives.id);
        let next = next_job(others.chain([&given]), &claim);
        next.is_some_and(|next| next.id != gives.id)
    }

    fn running(&self, lane: usize) -> Vec<(JobId, StopSignal)> {
        let places = self.places();
        let of_lane = places.iter().filter(|place| place.lane == lane);
        of_lane
            .map(|place| (place.lease.job, place.stop.clone()))
            .collect()
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
