//! How jobs end, are cancelled, listed and removed.

use super::{Bench, a_write, assert_kind, assert_refused, at, new_job, succeeded};
use crate::{ErrorKind, Failure, Finish, JobFilter, JobId, JobState, NewJob, Outcome, Release};

pub(super) async fn run(bench: &mut impl AsyncFnMut() -> Bench) {
    finish_ends_the_job_and_may_be_repeated(&bench().await).await;
    failure_is_kept(&bench().await).await;
    cancelled_worker_hears_of_it_and_only_then_is_the_job_expired(&bench().await).await;
    queued_and_finished_jobs_are_cancelled_at_once(&bench().await).await;
    jobs_are_listed_newest_first_by_filter_and_page(&bench().await).await;
    expired_jobs_are_those_past_their_time(&bench().await).await;
    remove_takes_record_and_entries(&bench().await).await;
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
    let of_other = JobFilter {
        owner: Some("other".to_owned()),
        ..all
    };
    assert_eq!(bench.chosen(of_other).await, [strange]);
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
