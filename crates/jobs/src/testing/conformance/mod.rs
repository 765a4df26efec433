//! The suite that every [`JobStore`] passes: [`conformance`].
//!
//! Each case gets an empty store and says by its name what must hold. Times are made up; no case waits.

mod checkpoints;
mod ends;
mod leases;
mod turns;

use std::{sync::Arc, time::Duration};

use crate::{
    Checkpoint, Claim, Error, ErrorKind, Failure, Finish, JobFilter, JobId, JobRecord, JobStore, Lease,
    NewJob, Outcome, Progress, Release, Timestamp, testing::SeededEntropy,
};

/// Runs all cases, each on a store that `make` gives, which must be empty. Panics at the first thing that does not hold.
pub async fn conformance<F: Future<Output = Arc<dyn JobStore>>>(mut make: impl FnMut() -> F) {
    let mut bench = async || Bench {
        store: make().await,
        ids: SeededEntropy::new(7),
    };
    leases::run(&mut bench).await;
    checkpoints::run(&mut bench).await;
    ends::run(&mut bench).await;
    turns::run(&mut bench).await;
}

/// One case's store and ids.
struct Bench {
    store: Arc<dyn JobStore>,
    ids: SeededEntropy,
}

impl Bench {
    /// Records a job of kind `export`.
    async fn create(&self, created_secs: i64) -> JobId {
        self.create_kind("export", created_secs).await
    }

    async fn create_kind(&self, kind: &str, created_secs: i64) -> JobId {
        let job = new_job(JobId::random(&self.ids), kind, created_secs);
        let id = job.id;
        self.store.create(job).await.expect("a new id is free");
        id
    }

    /// Records a job of kind `export` of this client.
    async fn create_of(&self, owner: &str, created_secs: i64) -> JobId {
        let owner = owner.to_owned();
        let job = NewJob {
            owner,
            ..new_job(JobId::random(&self.ids), "export", created_secs)
        };
        let id = job.id;
        self.store.create(job).await.expect("a new id is free");
        id
    }

    async fn release(&self, lease: &Lease, why: Release) {
        self.store.release(lease, why).await.expect("the lease is fresh");
    }

    /// Claims a job of kind `export` for worker `w` and thirty seconds.
    async fn claim(&self, now_secs: i64) -> Option<(JobRecord, Lease)> {
        self.claim_as("w", now_secs).await
    }

    async fn claim_as(&self, worker: &str, now_secs: i64) -> Option<(JobRecord, Lease)> {
        let claim = Claim {
            worker,
            kinds: &["export"],
            now: at(now_secs),
            until: at(now_secs + 30),
        };
        self.store
            .claim(claim)
            .await
            .expect("a claim that finds nothing is no error")
    }

    async fn must_claim(&self, now_secs: i64) -> (JobRecord, Lease) {
        self.claim(now_secs).await.expect("a job is claimable")
    }

    async fn job(&self, id: &JobId) -> JobRecord {
        self.store
            .job(id)
            .await
            .expect("reading works")
            .expect("the job is there")
    }

    async fn chosen(&self, filter: JobFilter) -> Vec<JobId> {
        let jobs = self.store.jobs(&filter).await.expect("listing works");
        jobs.into_iter().map(|job| job.id).collect()
    }

    async fn expired(&self, now_secs: i64) -> Vec<JobId> {
        self.chosen(JobFilter {
            expired_at: Some(at(now_secs)),
            ..JobFilter::default()
        })
        .await
    }
}

/// Asserts that every call under this lease is refused with `kind`.
async fn assert_refused(bench: &Bench, lease: &Lease, kind: ErrorKind) {
    let cause = Failure::new("code", "message");
    assert_kind(bench.store.renew(lease, at(1_000)).await, kind);
    assert_kind(bench.store.checkpoint(lease, a_write()).await, kind);
    assert_kind(bench.store.finish(lease, succeeded(b"stale", 1, 2)).await, kind);
    assert_kind(bench.store.release(lease, Release::Shutdown).await, kind);
    assert_kind(
        bench
            .store
            .release(lease, Release::Retry { ready: at(9), cause })
            .await,
        kind,
    );
}

fn assert_kind<T>(answer: Result<T, Error>, expected: ErrorKind) {
    assert_eq!(answer.map(|_| ()).map_err(|error| error.kind()), Err(expected));
}

fn new_job(id: JobId, kind: &str, created_secs: i64) -> NewJob {
    NewJob {
        id,
        kind: kind.to_owned(),
        spec: br#"{"level":"system"}"#.to_vec(),
        owner: "client-1".to_owned(),
        created: at(created_secs),
    }
}

fn a_write() -> Checkpoint {
    Checkpoint::new()
        .state(b"state".to_vec())
        .entry(7, b"entry".to_vec())
        .progress(progress(1, 2, ""))
        .holds(11)
}

fn succeeded(result: &[u8], now_secs: i64, expires_secs: i64) -> Finish {
    Finish {
        outcome: Outcome::Succeeded(result.to_vec()),
        now: at(now_secs),
        expires: at(expires_secs),
    }
}

fn progress(done: u64, total: u64, note: &str) -> Progress {
    Progress {
        done,
        total,
        note: note.to_owned(),
    }
}

/// Makes the instant that many seconds after an arbitrary one with a fraction, which a store must keep.
fn at(secs: i64) -> Timestamp {
    const BASE_MICROS: i64 = 1_700_000_000_123_456;
    let after = Duration::from_secs(secs.unsigned_abs());
    Timestamp::from_micros(BASE_MICROS).plus(after)
}
