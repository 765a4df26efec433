//! The runner on the memory store, in tokio's paused time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fhirhose_jobs::{
    Checkpoint, Cleanup, Clock, ErrorKind, Failure, Handler, JobContext, JobError, JobId, JobRecord,
    JobState, JobStore, Lane, Leftover, NewJob, Runner, RunnerSettings, StopReason, Timestamp, Turns, Wake,
    testing::{Fault, Faults, FaultyStore, Ledger, MemoryJobStore, PausedClock, SeededEntropy},
};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

#[tokio::test(start_paused = true)]
async fn created_job_runs_at_once_when_signalled() {
    let bench = Bench::new();
    let process = bench.start(bench.settings());
    // The idle place polls only now and then; a signal must not wait for that.
    bench.pass(millis(300)).await;
    let asked = Instant::now();
    let id = bench.create("count 3").await;
    process.wake.signal();
    bench.until_ended(&id).await;
    assert!(asked.elapsed() < millis(50), "it took {:?}", asked.elapsed());
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.result.as_deref()),
        (JobState::Succeeded, Some(&b"3"[..]))
    );
    assert_eq!(
        job.expires.map(|at| at.since(job.finished.unwrap())),
        Some(Duration::from_secs(24 * 60 * 60))
    );
}

#[tokio::test(start_paused = true)]
async fn created_job_is_found_without_a_signal() {
    let bench = Bench::new();
    let _process = bench.start(bench.settings());
    bench.pass(millis(300)).await;
    let id = bench.create("count 3").await;
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(bench.job(&id).await.state, JobState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn long_job_keeps_its_lease_beside_a_busy_handler() {
    let bench = Bench::new();
    let id = bench.create("wait").await;
    let _first = bench.start(bench.settings());
    let _second = bench.start(RunnerSettings {
        worker: "second".to_owned(),
        ..bench.settings()
    });
    for _ in 0..100 {
        bench.pass(Duration::from_secs(7)).await;
        let job = bench.job(&id).await;
        assert_eq!((job.fence, job.attempts), (1, 1));
        assert!(
            job.is_held(bench.clock.now().plus(Duration::from_secs(15))),
            "the lease runs low"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_job_stops_and_is_cleaned_and_removed() {
    let bench = Bench::new();
    let process = bench.start(bench.settings());
    let id = bench.create("wait").await;
    bench.pass(Duration::from_secs(3)).await;
    bench.store.cancel(&id, bench.clock.now()).await.unwrap();
    process.wake.signal();
    bench.pass(Duration::from_secs(2)).await;
    assert_eq!(bench.store.job(&id).await.unwrap(), None);
    assert_eq!(bench.seen(), ["stopped Cancelled", "cleaned"]);
}

#[tokio::test(start_paused = true)]
async fn cancel_is_heard_at_the_next_renewal_without_a_signal() {
    let bench = Bench::new();
    let _process = bench.start(bench.settings());
    let id = bench.create("wait").await;
    bench.pass(Duration::from_secs(3)).await;
    bench.store.cancel(&id, bench.clock.now()).await.unwrap();
    bench.pass(Duration::from_secs(10)).await;
    assert_eq!(
        bench.seen().first().map(String::as_str),
        Some("stopped Cancelled")
    );
}

#[tokio::test(start_paused = true)]
async fn handler_hears_that_its_lease_is_lost_and_leaves_the_job_alone() {
    let bench = Bench::new();
    let process = bench.start(bench.settings());
    let id = bench.create("wait").await;
    bench.pass(Duration::from_secs(3)).await;
    bench.store.abandon("worker").await.unwrap();
    process.wake.signal();
    bench.pass(millis(10)).await;
    assert_eq!(bench.seen(), ["stopped LeaseLost"]);
    bench.pass(Duration::from_secs(2)).await;
    assert_eq!(bench.job(&id).await.attempts, 2, "it was claimed again");
}

#[tokio::test(start_paused = true)]
async fn handler_stops_when_its_lease_could_not_be_renewed_in_time() {
    let bench = Bench::new();
    bench.create("wait").await;
    // Calls 0 to 2 are the start, the claim, and the look for expired jobs.
    let renewals_fail = (3..200).map(|call| (call, Fault::ErrorBefore));
    // Frozen at a renewal, the store gives no answer at all.
    for faults in [
        Faults::new(renewals_fail),
        Faults::new([(3, Fault::FreezeBefore(1_000))]),
    ] {
        let settings = RunnerSettings {
            worker: bench.clock.now().as_micros().to_string(),
            ..bench.settings()
        };
        let process = bench.start_on(bench.faulty(faults), settings);
        bench.pass(Duration::from_secs(35)).await;
        assert_eq!(bench.take_seen(), ["stopped LeaseLost"]);
        process.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn job_of_a_crashed_process_goes_on_at_once_after_its_restart() {
    let bench = Bench::new();
    let id = bench.create("count 40").await;
    // More kills than attempts_max: each life moves the job forward, so none of them counts in the end.
    for life in 1..=25 {
        let process = bench.start(bench.settings());
        bench.pass(millis(1_500)).await;
        process.kill().await;
        let job = bench.job(&id).await;
        assert_eq!(job.state, JobState::Running);
        assert_eq!(job.progress.done, life, "one unit a life");
    }
    let _process = bench.start(bench.settings());
    bench.until_ended(&id).await;
    assert_eq!(bench.job(&id).await.result.as_deref(), Some(&b"40"[..]));
}

#[tokio::test(start_paused = true)]
async fn job_that_crashes_its_process_again_and_again_fails() {
    let bench = Bench::new();
    let id = bench.create("wait").await;
    for _ in 0..5 {
        let process = bench.start(bench.settings());
        bench.pass(Duration::from_secs(1)).await;
        process.kill().await;
        assert_eq!(bench.job(&id).await.state, JobState::Running);
    }
    let _process = bench.start(bench.settings());
    bench.until_ended(&id).await;
    let failure = bench.job(&id).await.failure.unwrap();
    assert_eq!(failure.code, "crash-loop");
    assert!(failure.message.contains("crashed 5 times"), "{}", failure.message);
    assert_eq!(
        bench.take_seen(),
        ["given up: crash-loop"],
        "its handler learns of it"
    );
}

#[tokio::test(start_paused = true)]
async fn retries_wait_longer_each_time_and_end_with_their_cause() {
    let bench = Bench::new();
    let id = bench.create("retry 10").await;
    let _process = bench.start(bench.settings());
    let began = Instant::now();
    let mut waits_secs = Vec::new();
    for attempt in 1..=5 {
        bench
            .until(&id, |job| {
                job.attempts == attempt && job.state == JobState::Queued
            })
            .await;
        let job = bench.job(&id).await;
        assert_eq!(
            job.failure,
            Some(Failure::new("upstream", "the source answered 503"))
        );
        waits_secs.push(job.ready.since(bench.clock.now()).as_secs_f64().round() as u64);
    }
    assert_eq!(waits_secs, [10, 20, 40, 80, 160]);
    bench.until_ended(&id).await;
    assert!(began.elapsed() > Duration::from_secs(310));
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.failure.unwrap().code),
        (JobState::Failed, "upstream".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn panicking_handler_fails_its_job_and_nothing_else() {
    let bench = Bench::new();
    let bad = bench.create("panic").await;
    let _process = bench.start(bench.settings());
    bench.until_ended(&bad).await;
    let failure = bench.job(&bad).await.failure.unwrap();
    assert_eq!(failure, Failure::new("panic", "the handler panicked"));
    let good = bench.create("count 1").await;
    bench.until_ended(&good).await;
    assert_eq!(bench.job(&good).await.state, JobState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn failed_job_keeps_its_failure() {
    let bench = Bench::new();
    let id = bench.create("fail").await;
    let _process = bench.start(bench.settings());
    bench.until_ended(&id).await;
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.failure),
        (JobState::Failed, Some(Failure::new("too-big", "too big")))
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_drains_to_a_checkpoint_and_gives_the_lease_back() {
    let bench = Bench::new();
    let id = bench.create("count 40").await;
    let waiting = bench.create_at("count 1", bench.clock.now(), 1).await;
    let process = bench.start(bench.settings());
    bench.pass(millis(2_500)).await;
    process.shut_down().await.unwrap();
    let job = bench.job(&id).await;
    assert_eq!(
        (job.state, job.lease_until, job.attempts),
        (JobState::Queued, None, 0)
    );
    assert_eq!(job.progress.done, 3, "the unit under way was finished and kept");
    assert_eq!(bench.job(&waiting).await.fence, 0, "nothing new was claimed");
}

#[tokio::test(start_paused = true)]
async fn handler_that_does_not_stop_is_dropped_when_the_drain_time_is_over() {
    let bench = Bench::new();
    let id = bench.create("stubborn").await;
    let process = bench.start(bench.settings());
    bench.pass(Duration::from_secs(1)).await;
    let asked = Instant::now();
    process.shut_down().await.unwrap();
    assert_eq!(asked.elapsed().as_secs(), 30);
    let job = bench.job(&id).await;
    assert_eq!((job.state, job.lease_until), (JobState::Queued, None));
    assert_eq!(job.fence, 1, "the lease held while it was drained");
}

#[tokio::test(start_paused = true)]
async fn store_without_answer_does_not_hold_up_the_shutdown_for_ever() {
    let bench = Bench::new();
    // Call 0 is the start, call 1 the claim.
    let process = bench.start_on(
        bench.faulty(Faults::new([(1, Fault::FreezeBefore(100_000))])),
        bench.settings(),
    );
    bench.pass(Duration::from_secs(1)).await;
    let asked = Instant::now();
    let ended = process.shut_down().await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::Unavailable));
    assert_eq!(
        asked.elapsed().as_secs(),
        40,
        "the drain time, and ten seconds for the store"
    );
}

#[tokio::test(start_paused = true)]
async fn expired_job_is_removed_once_its_files_are_free() {
    let bench = Bench::new();
    let id = bench.create("count 1").await;
    let process = bench.start(RunnerSettings {
        retention_secs: 600,
        ..bench.settings()
    });
    bench.pass(Duration::from_secs(590)).await;
    assert_eq!(bench.job(&id).await.state, JobState::Succeeded);
    *bench.in_use.lock().unwrap() = true;
    bench.pass(Duration::from_secs(300)).await;
    assert!(
        bench.take_seen().iter().all(|seen| seen == "in use"),
        "a file is being downloaded"
    );
    assert_eq!(bench.job(&id).await.state, JobState::Succeeded);
    *bench.in_use.lock().unwrap() = false;
    process.wake.signal();
    bench.pass(Duration::from_secs(2)).await;
    assert_eq!(bench.store.job(&id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn job_in_use_does_not_hide_expired_jobs_behind_it() {
    let bench = Bench::new();
    for _ in 0..250 {
        let id = bench.create("in use").await;
        bench.store.cancel(&id, bench.clock.now()).await.unwrap();
    }
    let old = bench.create_at("wait", bench.clock.now(), -60).await;
    bench.store.cancel(&old, bench.clock.now()).await.unwrap();
    let _process = bench.start(bench.settings());
    bench.pass(Duration::from_secs(1)).await;
    assert_eq!(bench.store.job(&old).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn result_of_a_job_cancelled_meanwhile_is_dropped() {
    let bench = Bench::new();
    let id = bench.create("slow").await;
    let _process = bench.start(bench.settings());
    bench.pass(Duration::from_secs(1)).await;
    bench.store.cancel(&id, bench.clock.now()).await.unwrap();
    bench.pass(Duration::from_secs(70)).await;
    assert_eq!(bench.store.job(&id).await.unwrap(), None);
    assert_eq!(bench.seen(), ["cleaned"]);
}

#[tokio::test(start_paused = true)]
async fn lost_answer_to_the_end_of_a_job_does_not_run_it_again() {
    let bench = Bench::new();
    for fault in [Fault::ErrorBefore, Fault::ErrorAfter] {
        let id = bench.create("count 1").await;
        // Calls 0 to 3 are the start, the claim, the look for expired jobs, and the one checkpoint.
        let process = bench.start_on(bench.faulty(Faults::new([(4, fault)])), bench.settings());
        bench.pass(Duration::from_secs(3)).await;
        let job = bench.job(&id).await;
        assert_eq!((job.state, job.fence), (JobState::Succeeded, 1), "{fault:?}");
        process.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_work_are_refused() {
    let bench = Bench::new();
    let lane = |kind: &str, parallel| {
        vec![Lane {
            kinds: vec![kind.to_owned()],
            parallel,
            turns: Turns::Never,
        }]
    };
    let refused = [
        RunnerSettings {
            lanes: lane("unknown", 1),
            ..bench.settings()
        },
        RunnerSettings {
            lanes: lane("script", 0),
            ..bench.settings()
        },
        RunnerSettings {
            lanes: vec![Lane {
                kinds: Vec::new(),
                parallel: 1,
                turns: Turns::Never,
            }],
            ..bench.settings()
        },
        RunnerSettings {
            lease_secs: 0,
            ..bench.settings()
        },
        RunnerSettings {
            attempts_max: 0,
            ..bench.settings()
        },
    ];
    for settings in refused {
        let runner = Runner::new(
            bench.store.clone(),
            bench.clock.clone(),
            vec![bench.handler()],
            settings.clone(),
        );
        assert_eq!(
            runner.err().map(|error| error.kind()),
            Some(ErrorKind::Invalid),
            "{settings:?}"
        );
    }
    let twice = vec![bench.handler(), bench.handler()];
    let runner = Runner::new(bench.store.clone(), bench.clock.clone(), twice, bench.settings());
    assert_eq!(runner.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One test's store, clock, and what its handlers saw.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) clock: Arc<dyn Clock>,
    ids: SeededEntropy,
    seen: Arc<Mutex<Vec<String>>>,
    in_use: Arc<Mutex<bool>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let clock = PausedClock::new(Timestamp::from_micros(1_700_000_000_000_000));
        Self {
            store: Arc::new(MemoryJobStore::new()),
            clock: Arc::new(clock),
            ids: SeededEntropy::new(3),
            seen: Arc::default(),
            in_use: Arc::default(),
        }
    }

    pub(crate) fn settings(&self) -> RunnerSettings {
        let lane = Lane {
            kinds: vec!["script".to_owned()],
            parallel: 1,
            turns: Turns::Never,
        };
        RunnerSettings {
            leftover: Leftover::TakeOver,
            ..RunnerSettings::new("worker", vec![lane])
        }
    }

    fn handler(&self) -> Arc<dyn Handler> {
        Arc::new(Script {
            seen: self.seen.clone(),
            in_use: self.in_use.clone(),
        })
    }

    fn faulty(&self, faults: Faults) -> Arc<dyn JobStore> {
        Arc::new(FaultyStore::new(
            self.store.clone(),
            Arc::new(faults),
            self.clock.clone(),
            Ledger::default(),
        ))
    }

    pub(crate) fn start(&self, settings: RunnerSettings) -> Process {
        self.start_on(self.store.clone(), settings)
    }

    fn start_on(&self, store: Arc<dyn JobStore>, settings: RunnerSettings) -> Process {
        let runner = Runner::new(store, self.clock.clone(), vec![self.handler()], settings).unwrap();
        let wake = runner.wake();
        let (shutdown, told) = oneshot::channel::<()>();
        let task = tokio::spawn(runner.run(async move {
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Process { wake, shutdown, task }
    }

    pub(crate) async fn create_of(&self, owner: &str, spec: &str) -> JobId {
        let id = JobId::random(&self.ids);
        let job = NewJob {
            id,
            kind: "script".to_owned(),
            spec: spec.as_bytes().to_vec(),
            owner: owner.to_owned(),
            created: self.clock.now(),
        };
        self.store.create(job).await.unwrap();
        id
    }

    pub(crate) async fn create(&self, spec: &str) -> JobId {
        self.create_at(spec, self.clock.now(), 0).await
    }

    async fn create_at(&self, spec: &str, now: Timestamp, secs: i64) -> JobId {
        let id = JobId::random(&self.ids);
        let created = Timestamp::from_micros(now.as_micros() + secs * 1_000_000);
        let (kind, owner) = ("script".to_owned(), "owner".to_owned());
        self.store
            .create(NewJob {
                id,
                kind,
                spec: spec.as_bytes().to_vec(),
                owner,
                created,
            })
            .await
            .unwrap();
        id
    }

    pub(crate) async fn job(&self, id: &JobId) -> JobRecord {
        self.store.job(id).await.unwrap().unwrap()
    }

    /// Lets simulated time pass.
    pub(crate) async fn pass(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    pub(crate) async fn until(&self, id: &JobId, holds: impl Fn(&JobRecord) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10_000);
        while !holds(&self.job(id).await) {
            assert!(
                Instant::now() < deadline,
                "it never came to that: {:?}",
                self.job(id).await
            );
            self.pass(millis(10)).await;
        }
    }

    pub(crate) async fn until_ended(&self, id: &JobId) {
        self.until(id, |job| job.state.is_ended()).await;
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// A runner at work.
pub(crate) struct Process {
    pub(crate) wake: Wake,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), fhirhose_jobs::Error>>,
}

impl Process {
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    async fn shut_down(self) -> Result<(), fhirhose_jobs::Error> {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap()
    }
}

/// Does what the job's specification says.
struct Script {
    seen: Arc<Mutex<Vec<String>>>,
    in_use: Arc<Mutex<bool>>,
}

impl Script {
    fn see(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }

    /// Counts one unit a second, with a checkpoint each; does not look at the signal in between.
    async fn count(&self, context: &JobContext, units: u64) -> Result<Vec<u8>, JobError> {
        let mut done = context.record().progress.done;
        while done < units {
            if units > 10 {
                context
                    .clock()
                    .sleep_until(context.clock().now().plus(Duration::from_secs(1)))
                    .await;
            }
            done += 1;
            let progress = fhirhose_jobs::Progress {
                done,
                total: units,
                note: String::new(),
            };
            let state = done.to_string().into_bytes();
            context
                .checkpoint(Checkpoint::new().state(state).progress(progress))
                .await?;
        }
        Ok(done.to_string().into_bytes())
    }
}

#[async_trait]
impl Handler for Script {
    fn kind(&self) -> &'static str {
        "script"
    }

    async fn run(&self, context: &JobContext) -> Result<Vec<u8>, JobError> {
        let spec = String::from_utf8(context.record().spec.clone()).unwrap();
        match spec.split(' ').collect::<Vec<_>>()[..] {
            ["count", units] => self.count(context, units.parse().unwrap()).await,
            ["wait"] => {
                let reason = context.stopped().await;
                self.see(format!("stopped {reason:?}"));
                assert_ne!(reason, StopReason::Shutdown, "no test shuts a waiting job down");
                Err(JobError::Stop(reason))
            }
            ["slow"] => {
                self.clock_secs(context, 60).await;
                Ok(b"too late".to_vec())
            }
            ["stubborn"] => {
                self.clock_secs(context, 100_000).await;
                Ok(Vec::new())
            }
            ["panic"] => panic!("a patient's name"),
            ["fail"] => Err(JobError::Failed(Failure::new("too-big", "too big"))),
            ["retry", secs] => Err(JobError::Retry {
                after: Duration::from_secs(secs.parse().unwrap()),
                cause: Failure::new("upstream", "the source answered 503"),
            }),
            _ => panic!("no such script: {spec}"),
        }
    }

    async fn give_up(&self, _job: &JobRecord, failure: &Failure) -> Result<(), JobError> {
        self.see(format!("given up: {}", failure.code));
        Ok(())
    }

    async fn clean(&self, job: &JobRecord) -> Result<Cleanup, JobError> {
        if *self.in_use.lock().unwrap() || job.spec == b"in use" {
            self.see("in use");
            return Ok(Cleanup::Later);
        }
        self.see("cleaned");
        Ok(Cleanup::Done)
    }
}

impl Script {
    async fn clock_secs(&self, context: &JobContext, secs: u64) {
        context
            .clock()
            .sleep_until(context.clock().now().plus(Duration::from_secs(secs)))
            .await;
    }
}
