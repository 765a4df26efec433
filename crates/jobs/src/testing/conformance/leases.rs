//! Claims, renewals, and what a stale lease may do: nothing.

use super::{Bench, a_write, assert_kind, assert_refused, at, succeeded};
use crate::{Claim, ErrorKind, Failure, JobId, JobState, Lease, Release};

pub(super) async fn run(bench: &mut impl AsyncFnMut() -> Bench) {
    claim_takes_the_oldest_ready_job_of_a_wanted_kind(&bench().await).await;
    claim_takes_over_when_the_lease_is_over_and_raises_the_fence(&bench().await).await;
    concurrent_claims_take_each_job_once(&bench().await).await;
    renewal_moves_the_end_of_the_lease_and_never_back(&bench().await).await;
    stale_lease_changes_nothing(&bench().await).await;
    lease_of_an_unknown_job_is_lost(&bench().await).await;
    abandon_ends_the_leases_of_one_worker_only(&bench().await).await;
    release_at_shutdown_queues_the_job_and_takes_the_attempt_back(&bench().await).await;
    release_for_a_retry_waits_and_keeps_the_cause(&bench().await).await;
}

async fn claim_takes_the_oldest_ready_job_of_a_wanted_kind(bench: &Bench) {
    let young = bench.create(3).await;
    let old = bench.create(2).await;
    bench.create_kind("import", 1).await;
    assert_eq!(
        bench.claim(1).await,
        None,
        "a job is not ready before it was created"
    );
    let (job, lease) = bench.must_claim(10).await;
    assert_eq!((job.id, lease), (old, Lease { job: old, fence: 1 }));
    assert_eq!(
        (job.state, job.attempts, job.started),
        (JobState::Running, 1, Some(at(10)))
    );
    assert_eq!(
        (job.lease_until, job.worker.as_deref()),
        (Some(at(40)), Some("w"))
    );
    assert_eq!(bench.job(&old).await, job, "the claim returns what it stored");
    assert_eq!(bench.must_claim(10).await.0.id, young);
    assert_eq!(bench.claim(10).await, None, "the other kind is not wanted");
}

async fn claim_takes_over_when_the_lease_is_over_and_raises_the_fence(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, first) = bench.must_claim(0).await;
    assert_eq!(bench.claim(29).await, None, "the lease holds until its end");
    let (job, second) = bench
        .claim_as("other", 30)
        .await
        .expect("the lease is over at its end");
    assert_eq!((first.fence, second.fence, job.attempts), (1, 2, 2));
    assert_eq!(
        (job.id, job.worker.as_deref(), job.started),
        (id, Some("other"), Some(at(0)))
    );
}

async fn concurrent_claims_take_each_job_once(bench: &Bench) {
    let mut created = Vec::new();
    for created_secs in 0..8 {
        created.push(bench.create(created_secs).await);
    }
    let mut claims = tokio::task::JoinSet::new();
    for worker in 0..12 {
        let store = bench.store.clone();
        claims.spawn(async move {
            let worker = worker.to_string();
            let claim = Claim {
                worker: &worker,
                kinds: &["export"],
                now: at(10),
                until: at(40),
            };
            store
                .claim(claim)
                .await
                .expect("a claim that finds nothing is no error")
                .map(|(job, _)| job.id)
        });
    }
    let mut claimed: Vec<_> = claims.join_all().await.into_iter().flatten().collect();
    claimed.sort();
    created.sort();
    assert_eq!(claimed, created);
}

async fn renewal_moves_the_end_of_the_lease_and_never_back(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .renew(&lease, at(60))
        .await
        .expect("the lease is fresh");
    bench
        .store
        .renew(&lease, at(50))
        .await
        .expect("an older renewal that arrives late is no error");
    assert_eq!(bench.job(&id).await.lease_until, Some(at(60)));
    assert_eq!(bench.claim(59).await, None);
    bench.must_claim(60).await;
}

async fn stale_lease_changes_nothing(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, stale) = bench.must_claim(0).await;
    let (_, fresh) = bench.must_claim(30).await;
    let before = bench.job(&id).await;
    assert_refused(bench, &stale, ErrorKind::LeaseLost).await;
    let future = Lease {
        fence: fresh.fence + 1,
        ..fresh
    };
    assert_refused(bench, &future, ErrorKind::LeaseLost).await;
    assert_eq!(bench.job(&id).await, before);
    assert_eq!(bench.store.entries(&id, 0, 9).await.expect("reading works"), []);

    bench
        .store
        .finish(&fresh, succeeded(b"r", 31, 99))
        .await
        .expect("the lease is fresh");
    let before = bench.job(&id).await;
    assert_refused(bench, &stale, ErrorKind::LeaseLost).await;
    assert_kind(bench.store.renew(&fresh, at(99)).await, ErrorKind::LeaseLost);
    assert_kind(
        bench.store.checkpoint(&fresh, a_write()).await,
        ErrorKind::LeaseLost,
    );
    assert_kind(
        bench.store.release(&fresh, Release::Shutdown).await,
        ErrorKind::LeaseLost,
    );
    assert_eq!(bench.job(&id).await, before);
}

async fn lease_of_an_unknown_job_is_lost(bench: &Bench) {
    let lease = Lease {
        job: JobId::random(&bench.ids),
        fence: 1,
    };
    assert_refused(bench, &lease, ErrorKind::LeaseLost).await;
    assert!(
        !bench
            .store
            .cancel(&lease.job, at(1))
            .await
            .expect("cancelling nothing is no error")
    );
    bench
        .store
        .remove(&lease.job)
        .await
        .expect("removing nothing is no error");
}

async fn abandon_ends_the_leases_of_one_worker_only(bench: &Bench) {
    let mine = bench.create(0).await;
    let other = bench.create(1).await;
    let (_, stale) = bench.claim_as("node-1", 2).await.expect("a job is claimable");
    bench.claim_as("node-10", 2).await.expect("a job is claimable");
    assert_eq!(bench.store.abandon("node-1").await.expect("abandoning works"), 1);
    assert_eq!(bench.store.abandon("node-1").await.expect("abandoning works"), 0);
    assert_refused(bench, &stale, ErrorKind::LeaseLost).await;
    assert!(bench.job(&other).await.is_held(at(3)));
    let (job, lease) = bench.must_claim(3).await;
    assert_eq!((job.id, job.attempts), (mine, 2), "a crash counts as an attempt");
    assert!(lease.fence > stale.fence);
    assert_eq!(bench.claim(3).await, None);
}

async fn release_at_shutdown_queues_the_job_and_takes_the_attempt_back(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .release(&lease, Release::Shutdown)
        .await
        .expect("the lease is fresh");
    bench
        .store
        .release(&lease, Release::Shutdown)
        .await
        .expect("a repeated release is no error");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.lease_until, job.attempts),
        (JobState::Queued, None, 0)
    );
    assert_kind(
        bench.store.checkpoint(&lease, a_write()).await,
        ErrorKind::LeaseLost,
    );
    let (job, lease) = bench.must_claim(1).await;
    assert_eq!((job.attempts, lease.fence), (1, 2));
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    bench
        .store
        .release(&lease, Release::Shutdown)
        .await
        .expect("the lease is fresh");
    let (job, _) = bench.must_claim(2).await;
    assert_eq!(
        (job.attempts, job.checkpoint),
        (1, a_write().state),
        "the checkpoint is kept"
    );
}

async fn release_for_a_retry_waits_and_keeps_the_cause(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let cause = Failure::new("upstream", "the source answered 503");
    let why = Release::Retry {
        ready: at(20),
        cause: cause.clone(),
    };
    bench
        .store
        .release(&lease, why)
        .await
        .expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.ready, job.failure),
        (JobState::Queued, at(20), Some(cause))
    );
    assert_eq!(bench.claim(19).await, None);
    let (job, lease) = bench.must_claim(20).await;
    assert_eq!(job.attempts, 2, "a retry counts");
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    assert_eq!(
        bench.job(&id).await.failure,
        None,
        "the trouble is over when the job moves forward"
    );
}
