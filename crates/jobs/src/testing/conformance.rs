//! The suite that every [`JobStore`] passes: [`conformance`].
//!
//! Each case gets an empty store and says by its name what must hold. Times are made up; no case waits.

use std::{sync::Arc, time::Duration};

use crate::{
    Checkpoint, Claim, Error, ErrorKind, Failure, Finish, JobFilter, JobId, JobRecord, JobState, JobStore,
    Lease, NewJob, Outcome, Progress, Release, Timestamp, testing::SeededEntropy,
};

/// Runs all cases, each on a store that `make` gives, which must be empty. Panics at the first thing that does not hold.
pub async fn conformance<F: Future<Output = Arc<dyn JobStore>>>(mut make: impl FnMut() -> F) {
    let mut bench = async || Bench {
        store: make().await,
        ids: SeededEntropy::new(7),
    };
    created_job_reads_back_and_refuses_its_id_twice(&bench().await).await;
    opaque_bytes_read_back_as_written(&bench().await).await;
    claim_takes_the_oldest_ready_job_of_a_wanted_kind(&bench().await).await;
    claim_takes_over_when_the_lease_is_over_and_raises_the_fence(&bench().await).await;
    concurrent_claims_take_each_job_once(&bench().await).await;
    renewal_moves_the_end_of_the_lease_and_never_back(&bench().await).await;
    stale_lease_changes_nothing(&bench().await).await;
    lease_of_an_unknown_job_is_lost(&bench().await).await;
    checkpoint_keeps_state_entries_progress_and_holds(&bench().await).await;
    checkpoint_without_parts_leaves_them(&bench().await).await;
    progress_never_goes_back(&bench().await).await;
    entries_page_by_key_and_belong_to_one_job(&bench().await).await;
    attempts_count_from_zero_when_the_job_moves_forward(&bench().await).await;
    finish_ends_the_job_and_may_be_repeated(&bench().await).await;
    failure_is_kept(&bench().await).await;
    release_at_shutdown_queues_the_job_and_takes_the_attempt_back(&bench().await).await;
    release_for_a_retry_waits_and_keeps_the_cause(&bench().await).await;
    abandon_ends_the_leases_of_one_worker_only(&bench().await).await;
    cancelled_worker_hears_of_it_and_only_then_is_the_job_expired(&bench().await).await;
    queued_and_finished_jobs_are_cancelled_at_once(&bench().await).await;
    jobs_are_listed_newest_first_by_filter_and_page(&bench().await).await;
    expired_jobs_are_those_past_their_time(&bench().await).await;
    remove_takes_record_and_entries(&bench().await).await;
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

async fn created_job_reads_back_and_refuses_its_id_twice(bench: &Bench) {
    let job = new_job(JobId::random(&bench.ids), "export", 5);
    assert_eq!(bench.store.job(&job.id).await.expect("reading works"), None);
    bench.store.create(job.clone()).await.expect("the id is free");
    let other = NewJob {
        kind: "import".to_owned(),
        ..job.clone()
    };
    assert_kind(bench.store.create(other).await, ErrorKind::Exists);
    assert_eq!(bench.job(&job.id).await, JobRecord::new(job));
}

async fn opaque_bytes_read_back_as_written(bench: &Bench) {
    let awkward = vec![0, 0xff, b'"', b'\\', 0xc3, 0x28, b'\n'];
    let job = NewJob {
        spec: awkward.clone(),
        ..new_job(JobId::random(&bench.ids), "export", 0)
    };
    let id = job.id;
    bench.store.create(job).await.expect("the id is free");
    let (_, lease) = bench.must_claim(1).await;
    let write = Checkpoint::new()
        .state(awkward.clone())
        .entry(u64::MAX, awkward.clone())
        .entry(0, Vec::new());
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    bench
        .store
        .finish(&lease, succeeded(&awkward, 2, 9))
        .await
        .expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (&job.spec, job.checkpoint.as_ref(), job.result.as_ref()),
        (&awkward, Some(&awkward), Some(&awkward))
    );
    let entries = bench.store.entries(&id, 0, 9).await.expect("reading works");
    assert_eq!(entries, [(0, Vec::new()), (u64::MAX, awkward)]);
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

async fn checkpoint_keeps_state_entries_progress_and_holds(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let write = Checkpoint::new()
        .state(b"s".to_vec())
        .entry(2, b"b".to_vec())
        .entry(1, b"a".to_vec());
    let write = write.progress(progress(3, 10, "files")).holds(42);
    bench
        .store
        .checkpoint(&lease, write.clone())
        .await
        .expect("the lease is fresh");
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the same again is no error");
    let rewrite = Checkpoint::new().entry(2, b"c".to_vec());
    bench
        .store
        .checkpoint(&lease, rewrite)
        .await
        .expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.checkpoint.as_deref(), job.holds),
        (Some(&b"s"[..]), Some(42))
    );
    assert_eq!(job.progress, progress(3, 10, "files"));
    let entries = bench.store.entries(&id, 0, 9).await.expect("reading works");
    assert_eq!(entries, [(1, b"a".to_vec()), (2, b"c".to_vec())]);
    let (resumed, _) = bench.must_claim(30).await;
    assert_eq!(
        resumed.checkpoint, job.checkpoint,
        "the next claim goes on from it"
    );
}

async fn checkpoint_without_parts_leaves_them(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    let before = bench.job(&id).await;
    bench
        .store
        .checkpoint(&lease, Checkpoint::new())
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await, before);
}

async fn progress_never_goes_back(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    for report in [
        progress(5, 0, "five"),
        progress(3, 10, "three"),
        progress(4, 8, ""),
    ] {
        bench
            .store
            .checkpoint(&lease, Checkpoint::new().progress(report))
            .await
            .expect("the lease is fresh");
    }
    assert_eq!(bench.job(&id).await.progress, progress(5, 10, "three"));
}

async fn entries_page_by_key_and_belong_to_one_job(bench: &Bench) {
    let first = bench.create(0).await;
    let second = bench.create(1).await;
    for (id, base) in [(first, 0), (second, 100)] {
        let (job, lease) = bench.must_claim(2).await;
        assert_eq!(job.id, id);
        // Keys on both sides of a byte's end, so that an order by text or by little-endian bytes shows.
        let keys = [base, base + 2, base + 9, base + 10, base + 255, base + 256];
        let entries = keys.map(|key| (key, key.to_string().into_bytes())).to_vec();
        bench
            .store
            .checkpoint(
                &lease,
                Checkpoint {
                    entries,
                    ..Checkpoint::new()
                },
            )
            .await
            .expect("the lease is fresh");
    }
    let page = async |from, limit| {
        let entries = bench
            .store
            .entries(&first, from, limit)
            .await
            .expect("reading works");
        entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(page(0, 3).await, [0, 2, 9]);
    assert_eq!(page(10, 9).await, [10, 255, 256]);
    assert_eq!(page(257, 9).await, [0; 0]);
    assert_eq!(page(0, 0).await, [0; 0]);
}

async fn attempts_count_from_zero_when_the_job_moves_forward(bench: &Bench) {
    let id = bench.create(0).await;
    bench.must_claim(0).await;
    let (job, lease) = bench.must_claim(30).await;
    assert_eq!(job.attempts, 2);
    let write = Checkpoint::new().state(b"same".to_vec());
    bench
        .store
        .checkpoint(&lease, write.clone())
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await.attempts, 0);
    let (_, lease) = bench.must_claim(60).await;
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    assert_eq!(
        bench.job(&id).await.attempts,
        1,
        "writing the same state is not moving forward"
    );
    let write = Checkpoint::new().progress(progress(1, 0, ""));
    bench
        .store
        .checkpoint(&lease, write)
        .await
        .expect("the lease is fresh");
    assert_eq!(bench.job(&id).await.attempts, 0);
}

async fn finish_ends_the_job_and_may_be_repeated(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    bench
        .store
        .finish(&lease, succeeded(b"result", 5, 100))
        .await
        .expect("the lease is fresh");
    bench
        .store
        .finish(&lease, succeeded(b"again", 6, 200))
        .await
        .expect("a repeated finish is no error");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.result.as_deref()),
        (JobState::Succeeded, Some(&b"result"[..]))
    );
    assert_eq!(
        (job.finished, job.expires, job.lease_until),
        (Some(at(5)), Some(at(100)), None)
    );
    assert_eq!(
        job.held_number(at(5)),
        None,
        "an ended job needs its snapshot no more"
    );
    assert_eq!(
        bench.store.entries(&id, 0, 9).await.expect("reading works").len(),
        1,
        "its entries stay"
    );
    assert_eq!(bench.claim(1_000).await, None);
}

async fn failure_is_kept(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let failure = Failure::new("too-big", "the group has too many members");
    let end = Finish {
        outcome: Outcome::Failed(failure.clone()),
        now: at(5),
        expires: at(9),
    };
    bench.store.finish(&lease, end).await.expect("the lease is fresh");
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.failure, job.result),
        (JobState::Failed, Some(failure), None)
    );
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

async fn cancelled_worker_hears_of_it_and_only_then_is_the_job_expired(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    assert!(bench.store.cancel(&id, at(5)).await.expect("cancelling works"));
    assert!(
        !bench.store.cancel(&id, at(6)).await.expect("cancelling works"),
        "it is cancelled already"
    );
    assert_kind(bench.store.renew(&lease, at(99)).await, ErrorKind::Cancelled);
    assert_kind(
        bench.store.checkpoint(&lease, a_write()).await,
        ErrorKind::Cancelled,
    );
    assert_kind(
        bench.store.finish(&lease, succeeded(b"", 7, 8)).await,
        ErrorKind::Cancelled,
    );
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.finished, job.result),
        (JobState::Cancelled, Some(at(5)), None)
    );
    assert_eq!(bench.expired(29).await, [], "its worker may still be writing");
    assert_eq!(
        bench.expired(30).await,
        [id],
        "a worker that never answers loses the job with its lease"
    );
    bench
        .store
        .release(&lease, Release::Shutdown)
        .await
        .expect("a cancelled job is released");
    assert_eq!(bench.expired(7).await, [id]);
    assert_eq!(bench.job(&id).await.state, JobState::Cancelled);
    assert_eq!(bench.claim(99).await, None);
}

async fn queued_and_finished_jobs_are_cancelled_at_once(bench: &Bench) {
    let finished = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .finish(&lease, succeeded(b"r", 1, 1_000))
        .await
        .expect("the lease is fresh");
    let queued = bench.create(1).await;
    for id in [finished, queued] {
        assert!(bench.store.cancel(&id, at(5)).await.expect("cancelling works"));
        assert_eq!(bench.job(&id).await.state, JobState::Cancelled);
    }
    assert_eq!(bench.expired(5).await, [queued, finished]);
    assert_eq!(bench.job(&finished).await.finished, Some(at(1)));
    assert_kind(
        bench.store.finish(&lease, succeeded(b"r", 6, 9)).await,
        ErrorKind::Cancelled,
    );
    assert_eq!(bench.claim(6).await, None);
}

async fn jobs_are_listed_newest_first_by_filter_and_page(bench: &Bench) {
    let old = bench.create(1).await;
    let import = bench.create_kind("import", 2).await;
    let mut twins = [bench.create(3).await, bench.create(3).await];
    twins.sort();
    let [low, high] = twins;
    let all = JobFilter::default();
    assert_eq!(bench.chosen(all.clone()).await, [high, low, import, old]);
    assert_eq!(
        bench
            .chosen(JobFilter {
                limit: Some(2),
                ..all.clone()
            })
            .await,
        [high, low]
    );
    assert_eq!(
        bench
            .chosen(JobFilter {
                after: Some((at(3), low)),
                ..all.clone()
            })
            .await,
        [import, old]
    );
    assert_eq!(
        bench
            .chosen(JobFilter {
                after: Some((at(3), high)),
                limit: Some(1),
                ..all.clone()
            })
            .await,
        [low]
    );
    assert_eq!(
        bench
            .chosen(JobFilter {
                kind: Some("import".to_owned()),
                ..all.clone()
            })
            .await,
        [import]
    );
    bench.must_claim(5).await;
    assert_eq!(
        bench
            .chosen(JobFilter {
                state: Some(JobState::Running),
                ..all.clone()
            })
            .await,
        [old]
    );
    let stranger = NewJob {
        owner: "other".to_owned(),
        ..new_job(JobId::random(&bench.ids), "export", 0)
    };
    let strange = stranger.id;
    bench.store.create(stranger).await.expect("the id is free");
    assert_eq!(
        bench
            .chosen(JobFilter {
                owner: Some("other".to_owned()),
                ..all
            })
            .await,
        [strange]
    );
}

async fn expired_jobs_are_those_past_their_time(bench: &Bench) {
    let done = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .finish(&lease, succeeded(b"r", 1, 50))
        .await
        .expect("the lease is fresh");
    bench.create(2).await;
    bench.create(3).await;
    bench.must_claim(4).await;
    assert_eq!(bench.expired(49).await, []);
    assert_eq!(bench.expired(50).await, [done]);
}

async fn remove_takes_record_and_entries(bench: &Bench) {
    let gone = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    let kept = bench.create(1).await;
    bench.store.remove(&gone).await.expect("removing works");
    assert_eq!(bench.store.job(&gone).await.expect("reading works"), None);
    assert_eq!(bench.store.entries(&gone, 0, 9).await.expect("reading works"), []);
    assert_refused(bench, &lease, ErrorKind::LeaseLost).await;
    assert_eq!(bench.chosen(JobFilter::default()).await, [kept]);
    bench
        .store
        .create(new_job(gone, "export", 9))
        .await
        .expect("the id is free again");
    assert_eq!(
        bench.store.entries(&gone, 0, 9).await.expect("reading works"),
        [],
        "nothing old comes back"
    );
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

fn assert_kind(answer: Result<(), Error>, expected: ErrorKind) {
    assert_eq!(answer.map_err(|error| error.kind()), Err(expected));
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
