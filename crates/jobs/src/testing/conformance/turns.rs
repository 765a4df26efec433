//! Whose turn it is, giving a place back, and the operator's pause.

use super::{Bench, a_write, assert_kind, at, succeeded};
use crate::{Checkpoint, ErrorKind, JobId, JobState, Queue, Release, Tally};

pub(super) async fn run(bench: &mut impl AsyncFnMut() -> Bench) {
    clients_with_fewer_running_jobs_come_first(&bench().await).await;
    of_idle_clients_the_one_that_waits_longest_comes_first(&bench().await).await;
    newcomers_do_not_starve_who_waits(&bench().await).await;
    a_yielded_job_goes_behind_the_waiting_ones_of_its_client(&bench().await).await;
    a_yielded_job_keeps_its_place_where_order_counts(&bench().await).await;
    a_paused_job_is_not_claimed_and_keeps_everything(&bench().await).await;
    a_worker_hears_of_a_pause_and_its_checkpoint_still_counts(&bench().await).await;
    ended_and_paused_jobs_are_not_paused(&bench().await).await;
    steps_and_tallies_are_kept_and_a_turn_remembers_its_beginning(&bench().await).await;
}

async fn must_claim_id(bench: &Bench, now_secs: i64) -> JobId {
    bench.must_claim(now_secs).await.0.id
}

async fn clients_with_fewer_running_jobs_come_first(bench: &Bench) {
    let mut greedy = Vec::new();
    for created_secs in 0..4 {
        greedy.push(bench.create_of("greedy", created_secs).await);
    }
    let modest = bench.create_of("modest", 9).await;
    assert_eq!(must_claim_id(bench, 10).await, greedy[0]);
    assert_eq!(
        must_claim_id(bench, 11).await,
        modest,
        "its client has none running"
    );
    assert_eq!(must_claim_id(bench, 12).await, greedy[1]);
    let late = bench.create_of("modest", 12).await;
    assert_eq!(must_claim_id(bench, 13).await, late, "one running against two");
}

async fn of_idle_clients_the_one_that_waits_longest_comes_first(bench: &Bench) {
    for (owner, created_secs) in [("a", 0), ("a", 1), ("b", 2), ("b", 3)] {
        bench.create_of(owner, created_secs).await;
    }
    let mut order = Vec::new();
    for now_secs in 10..14 {
        let (job, lease) = bench.must_claim(now_secs).await;
        order.push(job.owner);
        bench
            .store
            .finish(&lease, succeeded(b"r", now_secs, 99))
            .await
            .expect("the lease is fresh");
    }
    assert_eq!(order, ["a", "b", "a", "b"]);
}

async fn newcomers_do_not_starve_who_waits(bench: &Bench) {
    bench.create_of("first", 0).await;
    let second = bench.create_of("first", 1).await;
    let (_, lease) = bench.must_claim(5).await;
    for newcomer in 0..3 {
        bench
            .create_of(&format!("newcomer {newcomer}"), 7 + newcomer)
            .await;
    }
    bench
        .store
        .finish(&lease, succeeded(b"r", 6, 99))
        .await
        .expect("the lease is fresh");
    assert_eq!(
        must_claim_id(bench, 20).await,
        second,
        "they came after it was served"
    );
}

async fn a_yielded_job_goes_behind_the_waiting_ones_of_its_client(bench: &Bench) {
    let long = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let short = bench.create(3).await;
    let why = Release::Yield {
        now: at(9),
        queue: Queue::Behind,
    };
    bench.release(&lease, why.clone()).await;
    bench.release(&lease, why).await;
    let job = bench.job(&long).await;
    assert_eq!((job.state, job.attempts, job.yields), (JobState::Queued, 0, 1));
    assert_eq!(must_claim_id(bench, 10).await, short);
    assert_eq!(must_claim_id(bench, 10).await, long);
}

async fn a_yielded_job_keeps_its_place_where_order_counts(bench: &Bench) {
    let long = bench.create_of("a", 0).await;
    let (_, lease) = bench.must_claim(0).await;
    let after = bench.create_of("a", 1).await;
    let other = bench.create_of("b", 5).await;
    let why = Release::Yield {
        now: at(9),
        queue: Queue::KeepsPlace,
    };
    bench.release(&lease, why).await;
    assert_eq!(
        must_claim_id(bench, 10).await,
        other,
        "it was served least recently"
    );
    assert_eq!(must_claim_id(bench, 10).await, long);
    assert_eq!(must_claim_id(bench, 10).await, after);
}

async fn a_paused_job_is_not_claimed_and_keeps_everything(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("the lease is fresh");
    bench.release(&lease, Release::Shutdown).await;
    assert!(bench.store.pause(&id, at(1)).await.expect("pausing works"));
    assert_eq!(bench.claim(1_000_000).await, None);
    assert_eq!(bench.expired(1_000_000).await, [], "retention is for ended jobs");
    let job = bench.job(&id).await;
    assert_eq!((job.state, job.paused), (JobState::Queued, Some(at(1))));
    assert_eq!(job.held_number(at(1_000_000)), Some(11), "its snapshot is kept");
    assert!(bench.store.resume(&id).await.expect("resuming works"));
    assert!(
        !bench.store.resume(&id).await.expect("resuming works"),
        "it goes on already"
    );
    let (job, _) = bench.must_claim(1_000_001).await;
    assert_eq!((job.id, job.checkpoint, job.paused), (id, a_write().state, None));
}

async fn a_worker_hears_of_a_pause_and_its_checkpoint_still_counts(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let standing = |until_secs| bench.store.renew(&lease, at(until_secs));
    assert!(!standing(40).await.expect("the lease is fresh").paused);
    assert!(bench.store.pause(&id, at(1)).await.expect("pausing works"));
    assert!(standing(50).await.expect("the lease is fresh").paused);
    bench
        .store
        .checkpoint(&lease, a_write())
        .await
        .expect("nothing is lost");
    bench.release(&lease, Release::Shutdown).await;
    assert_eq!(bench.job(&id).await.checkpoint, a_write().state);
    assert_eq!(bench.claim(60).await, None);
    // A pause outlives a worker that dies with it, too.
    assert!(bench.store.resume(&id).await.expect("resuming works"));
    bench.must_claim(60).await;
    assert!(bench.store.pause(&id, at(61)).await.expect("pausing works"));
    assert_eq!(bench.claim(1_000).await, None);
    assert!(
        bench
            .store
            .cancel(&id, at(1_001))
            .await
            .expect("cancelling works")
    );
    assert_eq!(bench.expired(1_001).await, [id]);
}

async fn ended_and_paused_jobs_are_not_paused(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    assert!(bench.store.pause(&id, at(1)).await.expect("pausing works"));
    assert!(!bench.store.pause(&id, at(2)).await.expect("pausing works"));
    bench
        .store
        .finish(&lease, succeeded(b"r", 3, 99))
        .await
        .expect("what is done is done");
    let job = bench.job(&id).await;
    assert_eq!((job.state, job.paused), (JobState::Succeeded, None));
    assert!(!bench.store.pause(&id, at(4)).await.expect("pausing works"));
    let unknown = JobId::random(&bench.ids);
    assert!(!bench.store.pause(&unknown, at(4)).await.expect("pausing works"));
    assert!(!bench.store.resume(&unknown).await.expect("resuming works"));
    assert_kind(bench.store.renew(&lease, at(99)).await, ErrorKind::LeaseLost);
}

async fn steps_and_tallies_are_kept_and_a_turn_remembers_its_beginning(bench: &Bench) {
    let id = bench.create(0).await;
    let (_, lease) = bench.must_claim(0).await;
    let tallies = vec![Tally {
        name: "Patient".to_owned(),
        rows: 3,
        bytes: 400,
        files: 1,
    }];
    for write in [a_write().tallies(tallies.clone()), Checkpoint::new()] {
        bench
            .store
            .checkpoint(&lease, write)
            .await
            .expect("the lease is fresh");
    }
    let job = bench.job(&id).await;
    assert_eq!((job.steps, &job.tallies, job.tallied()), (1, &tallies, (3, 400)));
    assert_eq!(job.turn.map(|turn| (turn.began, turn.steps)), Some((at(0), 0)));
    bench.release(&lease, Release::Shutdown).await;
    let (job, _) = bench.must_claim(7).await;
    let turn = job.turn.expect("it was claimed");
    assert_eq!(
        (turn.began, turn.done, turn.rows, turn.bytes, turn.steps),
        (at(7), 1, 3, 400, 1)
    );
}
