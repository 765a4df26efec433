//! Whose turn it is: [`next_job`], the one rule by which every store chooses the job that a claim takes.

use std::collections::BTreeMap;

use crate::{Claim, JobRecord, Timestamp};

/// What a client has, as far as the choice needs it.
#[derive(Clone, Copy, Default)]
struct Share {
    /// Its jobs of the wanted kinds that workers hold.
    running: u64,
    /// When it last got or gave back a place.
    served: Option<Timestamp>,
    /// Since when its longest waiting claimable job waits.
    waits: Option<Timestamp>,
}

/// Chooses the job that a claim takes, among all jobs of a store, ended ones too, for they tell when a client was served.
///
/// First comes the client with the fewest running jobs of these kinds; then the one that waits longest, counted from when it
/// was last served or, if later, from when its job came; of its jobs the one that waits longest. So a client with many jobs
/// gets no more than one with a single job, and nobody starves: whoever comes anew is behind all who wait already and have
/// as many running.
pub fn next_job<'a>(
    jobs: impl Iterator<Item = &'a JobRecord> + Clone,
    claim: &Claim<'_>,
) -> Option<&'a JobRecord> {
    let mut shares: BTreeMap<&str, Share> = BTreeMap::new();
    let wanted = jobs.filter(|job| claim.kinds.contains(&job.kind.as_str()));
    for job in wanted.clone() {
        let share = shares.entry(&job.owner).or_default();
        share.running += u64::from(job.is_held(claim.now));
        share.served = share.served.max(job.served);
        if job.is_claimable(claim) {
            let since = job.waits_since();
            share.waits = Some(share.waits.map_or(since, |earlier| earlier.min(since)));
        }
    }
    let rank = |job: &&JobRecord| {
        let share = shares.get(job.owner.as_str()).copied().unwrap_or_default();
        let client = (share.running, share.served.max(share.waits));
        (client, job.waits_since(), job.created, job.id)
    };
    wanted.filter(|job| job.is_claimable(claim)).min_by_key(rank)
}
