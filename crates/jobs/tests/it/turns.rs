//! Jobs that share places, and the operator's pause, in tokio's paused time.

use std::time::Duration;

use fhirhose_jobs::{JobState, Lane, RunnerSettings, Turns};

use crate::runner::{Bench, Process};

fn settings(bench: &Bench, parallel: usize, turns: Turns) -> RunnerSettings {
    let lane = Lane {
        kinds: vec!["script".to_owned()],
        parallel,
        turns,
    };
    RunnerSettings {
        lanes: vec![lane],
        ..bench.settings()
    }
}

fn start(bench: &Bench, turns: Turns) -> Process {
    bench.start(settings(bench, 1, turns))
}

#[tokio::test(start_paused = true)]
async fn small_job_is_not_stuck_behind_a_huge_one() {
    let bench = Bench::new();
    let _process = start(&bench, Turns::Always);
    let huge = bench.create("count 1000").await;
    bench.pass(Duration::from_secs(100)).await;
    assert_eq!(bench.job(&huge).await.yields, 0, "nobody waited");
    for yields in 1..=3 {
        let small = bench.create("count 3").await;
        bench.pass(Duration::from_secs(3)).await;
        assert_eq!(bench.job(&small).await.state, JobState::Succeeded);
        assert_eq!(bench.job(&huge).await.yields, yields);
        bench.pass(Duration::from_secs(70)).await;
    }
    bench.until_ended(&huge).await;
    let job = bench.job(&huge).await;
    assert_eq!(
        job.result.as_deref(),
        Some(&b"1000"[..]),
        "nothing is lost or doubled"
    );
    assert_eq!(job.steps, 1000);
    assert_eq!(job.attempts, 0, "giving a place back is no failed attempt");
}

#[tokio::test(start_paused = true)]
async fn huge_jobs_take_turns_that_grow_and_all_end() {
    let bench = Bench::new();
    let mut jobs = Vec::new();
    for owner in ["a", "a", "b", "c"] {
        jobs.push(bench.create_of(owner, "count 600").await);
    }
    let _process = bench.start(settings(&bench, 2, Turns::Always));
    bench.pass(Duration::from_secs(60)).await;
    for id in &jobs {
        assert!(
            bench.job(id).await.progress.done > 0,
            "each had a turn within a minute"
        );
    }
    for id in &jobs {
        bench.until_ended(id).await;
        let job = bench.job(id).await;
        assert_eq!((job.state, job.steps), (JobState::Succeeded, 600));
        assert!(
            (1..30).contains(&job.yields),
            "{} yields in ten minutes",
            job.yields
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_client_with_many_jobs_does_not_keep_another_waiting_k_49() {
    let bench = Bench::new();
    let mut flood = Vec::new();
    for _ in 0..50 {
        flood.push(bench.create_of("flood", "count 20").await);
    }
    let _process = start(&bench, Turns::Always);
    bench.pass(Duration::from_secs(30)).await;
    let modest = bench.create_of("modest", "count 12").await;
    bench.until_ended(&modest).await;
    let job = bench.job(&modest).await;
    let waited = job.finished.unwrap().since(job.created);
    assert!(waited < Duration::from_secs(40), "it took {waited:?}");
    for id in &flood {
        bench.until_ended(id).await;
    }
}

#[tokio::test(start_paused = true)]
async fn job_that_did_not_move_forward_keeps_its_place() {
    let bench = Bench::new();
    let _process = start(&bench, Turns::Always);
    let slow = bench.create("slow").await;
    bench.pass(Duration::from_secs(1)).await;
    let waiting = bench.create("count 1").await;
    bench.pass(Duration::from_secs(50)).await;
    assert_eq!(bench.job(&waiting).await.fence, 0);
    bench.until_ended(&slow).await;
    let job = bench.job(&slow).await;
    assert_eq!((job.yields, job.fence), (0, 1));
    bench.until_ended(&waiting).await;
}

#[tokio::test(start_paused = true)]
async fn where_order_counts_only_other_clients_get_the_place() {
    let bench = Bench::new();
    let _process = start(&bench, Turns::BetweenClients);
    let long = bench.create_of("a", "count 60").await;
    bench.pass(Duration::from_secs(1)).await;
    let after = bench.create_of("a", "count 1").await;
    bench.pass(Duration::from_secs(20)).await;
    assert_eq!(bench.job(&long).await.yields, 0);
    let other = bench.create_of("b", "count 1").await;
    bench.until_ended(&other).await;
    assert_eq!(bench.job(&long).await.yields, 1);
    assert_eq!(bench.job(&after).await.fence, 0, "it came after the long one");
    bench.until_ended(&after).await;
    assert_eq!(bench.job(&long).await.state, JobState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn paused_job_stops_at_its_next_checkpoint_and_goes_on_when_resumed() {
    let bench = Bench::new();
    let process = start(&bench, Turns::Always);
    let id = bench.create("count 40").await;
    bench.pass(Duration::from_millis(10_500)).await;
    assert!(bench.store.pause(&id, bench.clock.now()).await.unwrap());
    process.wake.signal();
    bench.pass(Duration::from_secs(2)).await;
    let paused = bench.job(&id).await;
    assert_eq!(
        (paused.state, paused.lease_until, paused.attempts),
        (JobState::Queued, None, 0)
    );
    assert_eq!(
        paused.progress.done, 11,
        "the unit under way was finished and kept"
    );
    // Longer than anything is retained.
    bench.pass(Duration::from_secs(3 * 24 * 60 * 60)).await;
    assert_eq!(bench.job(&id).await, paused);
    let other = bench.create("count 1").await;
    bench.until_ended(&other).await;
    assert!(bench.store.resume(&id).await.unwrap());
    process.wake.signal();
    bench.until_ended(&id).await;
    let job = bench.job(&id).await;
    assert_eq!((job.result.as_deref(), job.steps), (Some(&b"40"[..]), 40));
}

#[tokio::test(start_paused = true)]
async fn pause_is_heard_at_the_next_renewal_without_a_signal() {
    let bench = Bench::new();
    let _process = start(&bench, Turns::Always);
    let id = bench.create("count 400").await;
    bench.pass(Duration::from_secs(3)).await;
    assert!(bench.store.pause(&id, bench.clock.now()).await.unwrap());
    bench.pass(Duration::from_secs(12)).await;
    assert_eq!(bench.job(&id).await.state, JobState::Queued);
}

#[tokio::test(start_paused = true)]
async fn pause_outlives_a_crash_of_the_process() {
    let bench = Bench::new();
    let process = start(&bench, Turns::Always);
    let id = bench.create("count 40").await;
    bench.pass(Duration::from_millis(3_500)).await;
    assert!(bench.store.pause(&id, bench.clock.now()).await.unwrap());
    process.kill().await;
    let _process = start(&bench, Turns::Always);
    bench.pass(Duration::from_secs(600)).await;
    let job = bench.job(&id).await;
    assert_eq!(
        (job.fence, job.progress.done),
        (2, 3),
        "the dead worker's fence is over; nobody claimed it"
    );
    assert!(bench.store.resume(&id).await.unwrap());
    bench.until_ended(&id).await;
    assert_eq!(bench.job(&id).await.result.as_deref(), Some(&b"40"[..]));
}
