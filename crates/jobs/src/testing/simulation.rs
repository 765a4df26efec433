//! Runs jobs on a store in simulated time and crashes them: [`simulate`], [`crash_everywhere`].
//!
//! Real [`Runner`]s run a handler that makes one file per unit of work and writes a checkpoint that names it. Their store
//! fails, kills, freezes and shuts them down at planned calls; they come back. In the end every unit was taken into the
//! job exactly once, the result is that of an undisturbed run, cancelled jobs are gone, and no file is left over when all
//! have expired. Time is tokio's paused one: hours of leases pass in milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::oneshot, task::JoinSet};

use super::{
    SeededEntropy,
    clock::PausedClock,
    faults::{Doom, Fault, Faults, FaultyStore, Ledger},
    workload::{Files, KIND, UnitHandler, expected_result, files_of},
};
use crate::{
    Clock, Handler, JobId, JobRecord, JobState, JobStore, Lane, Leftover, NewJob, Runner, RunnerSettings,
    Timestamp, Turns,
};

/// Is what survives a crash of the process: a folder, a database, or, for a store in memory, the memory.
#[async_trait]
pub trait Disk: Send + Sync {
    /// Opens the store that is kept here, empty the first time. All that was opened before has been dropped.
    async fn open(&self) -> Arc<dyn JobStore>;
}

/// Says what a simulation did, so that a test can tell whether it tested anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimulationReport {
    /// Calls of the store by the simulated processes.
    pub calls: u64,
    /// Processes that crashed.
    pub crashes: u64,
    /// Processes that shut down in order.
    pub shutdowns: u64,
    /// Calls that were refused because the lease was stale.
    pub refused: u64,
    /// Checkpoints that took effect.
    pub checkpoints: u64,
    /// The highest fence of any job: how often one was claimed.
    pub fence_max: u64,
    /// How often jobs gave their places to others.
    pub yields: u64,
    /// How often the operator paused a job.
    pub pauses: u64,
}

/// Runs a few jobs of one or two clients on one or two processes with faults that the seed chooses; a job may be cancelled,
/// another paused for a while.
///
/// Makes a runtime of its own: call it outside of one. The same seed on the same kind of store does the same.
///
/// # Panics
/// When anything was lost, doubled or left over; the seed is printed.
pub fn simulate(seed: u64, disk: Arc<dyn Disk>) -> SimulationReport {
    let draw = SeededEntropy::new(seed);
    let processes = 1 + draw.below(2);
    let plans = (0..processes).map(|_| random_plan(&draw)).collect();
    let jobs = 1 + draw.below(3);
    let units = (0..jobs).map(|_| 1 + draw.below(9)).collect();
    let cancel_secs = (draw.below(2) == 0).then(|| draw.below(120));
    // Drawn last: what older seeds drew before stays.
    let pause_secs = (draw.below(2) == 0).then(|| draw.below(60));
    let parallel = 1 + usize::from(draw.below(2) == 0);
    run(Scenario {
        name: format!("seed {seed}"),
        seed,
        plans,
        units,
        cancel_secs,
        pause_secs,
        parallel,
        disk,
    })
}

/// Runs one job again and again, each time with one fault of one kind, at every `step`-th call of the store (1 for all).
///
/// Makes a runtime of its own for each: call it outside of one. Returns the number of runs.
///
/// # Panics
/// When anything was lost, doubled or left over; the fault and the number of its call are printed.
pub fn crash_everywhere(step: usize, mut make_disk: impl FnMut() -> Arc<dyn Disk>) -> u64 {
    const SEED: u64 = 1;
    const UNITS: u64 = 4;
    let faults = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
        Fault::FreezeBefore(45),
        Fault::FreezeAfter(45),
        Fault::Shutdown,
    ];
    let mut scenario = |name, plans| Scenario {
        name,
        seed: SEED,
        plans,
        units: vec![UNITS],
        cancel_secs: None,
        pause_secs: None,
        parallel: 2,
        disk: make_disk(),
    };
    let undisturbed = run(scenario("no fault".to_owned(), vec![Vec::new()]));
    let mut runs = 0;
    for fault in faults {
        // Who freezes must meet somebody who took over.
        let others = usize::from(matches!(fault, Fault::FreezeBefore(_) | Fault::FreezeAfter(_)));
        for call in (0..undisturbed.calls).step_by(step) {
            let mut plans = vec![vec![(call, fault)]];
            plans.resize(1 + others, Vec::new());
            run(scenario(format!("{fault:?} at call {call}"), plans));
            runs += 1;
        }
    }
    runs
}

/// What is to be simulated.
struct Scenario {
    name: String,
    seed: u64,
    /// The faults of each process.
    plans: Vec<Vec<(u64, Fault)>>,
    /// The units of each job.
    units: Vec<u64>,
    /// When the last job is cancelled, if it is.
    cancel_secs: Option<u64>,
    /// When the first job is paused, if it is.
    pause_secs: Option<u64>,
    /// Jobs that a process runs at a time.
    parallel: usize,
    disk: Arc<dyn Disk>,
}

fn random_plan(draw: &SeededEntropy) -> Vec<(u64, Fault)> {
    let fault = || match draw.below(8) {
        0 | 1 => Fault::CrashBefore,
        2 | 3 => Fault::CrashAfter,
        4 => [Fault::ErrorBefore, Fault::ErrorAfter][usize::from(draw.below(2) == 0)],
        5 => Fault::FreezeBefore(draw.below(90)),
        6 => Fault::FreezeAfter(draw.below(90)),
        _ => Fault::Shutdown,
    };
    (0..draw.below(12)).map(|_| (draw.below(80), fault())).collect()
}

/// Prints what was simulated when a check fails.
struct Announce(String);

impl Drop for Announce {
    #[expect(
        clippy::print_stderr,
        reason = "a failed simulation must say how to replay it"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failed simulation was: {}", self.0);
        }
    }
}

fn run(scenario: Scenario) -> SimulationReport {
    let _announce = Announce(scenario.name.clone());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
    runtime.block_on(World::live(scenario))
}

/// Everything outside the simulated processes. Shared by all of them and the observer.
struct World {
    /// What survives crashes.
    disk: Arc<dyn Disk>,
    /// The store as it is open now; taken when the process that has it to itself ends.
    store: tokio::sync::Mutex<Option<Arc<dyn JobStore>>>,
    /// Whether a process has the store to itself, so that its end closes it.
    exclusive: bool,
    clock: Arc<dyn Clock>,
    parallel: usize,
    /// What the jobs wrote outside of the store.
    files: Files,
    /// Every checkpoint that took effect.
    ledger: Ledger,
    draw: SeededEntropy,
    /// Written by the processes' keepers, read in the end.
    report: Mutex<SimulationReport>,
}

impl World {
    async fn live(scenario: Scenario) -> SimulationReport {
        let world = Arc::new(Self {
            disk: scenario.disk,
            store: tokio::sync::Mutex::default(),
            exclusive: scenario.plans.len() == 1,
            clock: Arc::new(PausedClock::new(Timestamp::from_micros(1_700_000_000_000_000))),
            parallel: scenario.parallel,
            files: Files::default(),
            ledger: Ledger::default(),
            draw: SeededEntropy::new(scenario.seed ^ 0xc0ff_ee00),
            report: Mutex::default(),
        });
        let mut observed = world.create_jobs(&scenario.units, scenario.cancel_secs).await;
        let after = |secs| world.clock.now().plus(Duration::from_secs(secs));
        observed[0].pause_at = scenario.pause_secs.map(after);
        let processes: Vec<_> = scenario
            .plans
            .into_iter()
            .map(|plan| Arc::new(Faults::new(plan)))
            .collect();
        let mut keepers = JoinSet::new();
        for (number, faults) in processes.iter().enumerate() {
            keepers.spawn(world.clone().keep_alive(format!("node-{number}"), faults.clone()));
        }
        const SIMULATED_TIME_MAX: Duration = Duration::from_secs(6 * 60 * 60);
        tokio::select! {
            biased;
            ended = tokio::time::timeout(SIMULATED_TIME_MAX, world.observe(observed)) => {
                ended.expect("all jobs end and expire within simulated hours");
            }
            Some(keeper) = keepers.join_next() => panic!("a process could not be kept alive: {keeper:?}"),
        }
        keepers.shutdown().await;
        let mut report = world.report.lock().expect("no panic while held").clone();
        report.calls = processes.iter().map(|faults| faults.calls()).sum();
        report.refused = processes.iter().map(|faults| faults.refused()).sum();
        report.checkpoints = world.check_ledger();
        report
    }

    async fn create_jobs(&self, units: &[u64], cancel_secs: Option<u64>) -> Vec<Observed> {
        let mut observed = Vec::new();
        for (number, units) in units.iter().enumerate() {
            let created = self.clock.now().plus(Duration::from_secs(number as u64));
            let spec = units.to_string().into_bytes();
            let id = JobId::random(&self.draw);
            let job = NewJob {
                id,
                kind: KIND.to_owned(),
                spec,
                owner: format!("client {}", number / 2),
                created,
            };
            self.open_store()
                .await
                .create(job)
                .await
                .expect("a new id is free");
            observed.push(Observed {
                id,
                units: *units,
                done: 0,
                cancel_at: None,
                pause_at: None,
                paused: false,
                yields: 0,
                ended: false,
            });
        }
        if let (Some(last), Some(secs)) = (observed.last_mut(), cancel_secs) {
            last.cancel_at = Some(self.clock.now().plus(Duration::from_secs(secs)));
        }
        observed
    }

    async fn open_store(&self) -> Arc<dyn JobStore> {
        let mut store = self.store.lock().await;
        match store.as_ref() {
            Some(store) => store.clone(),
            None => store.insert(self.disk.open().await).clone(),
        }
    }

    /// Closes a store whose process ended, once its last task is gone, as the end of a process does.
    async fn close_store(&self) {
        if !self.exclusive {
            return;
        }
        let mut store = self.store.lock().await;
        let Some(still_open) = store.take().map(|open| Arc::downgrade(&open)) else {
            return;
        };
        for _ in 0..10_000 {
            if still_open.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("a task of a dead process still holds the store");
    }

    /// Runs a process, and again each time it ended.
    async fn keep_alive(self: Arc<Self>, name: String, faults: Arc<Faults>) {
        loop {
            faults.revive();
            self.one_life(&name, &faults).await;
            self.close_store().await;
            let down_secs = self.draw.below(40);
            self.clock
                .sleep_until(self.clock.now().plus(Duration::from_secs(down_secs)))
                .await;
        }
    }

    async fn one_life(&self, name: &str, faults: &Arc<Faults>) {
        let inner = self.open_store().await;
        let store = Arc::new(FaultyStore::new(
            inner,
            faults.clone(),
            self.clock.clone(),
            self.ledger.clone(),
        ));
        let handler: Arc<dyn Handler> = Arc::new(UnitHandler::new(self.files.clone()));
        let lane = Lane {
            kinds: vec![KIND.to_owned()],
            parallel: self.parallel,
            turns: Turns::Always,
        };
        let settings = RunnerSettings {
            leftover: Leftover::TakeOver,
            attempts_max: 1_000,
            retention_secs: RETENTION_SECS,
            reap_secs: 5,
            ..RunnerSettings::new(name, vec![lane])
        };
        let runner =
            Runner::new(store, self.clock.clone(), vec![handler], settings).expect("the settings are right");
        let (shut_down, shutdown) = oneshot::channel::<()>();
        let mut process = JoinSet::new();
        process.spawn(runner.run(async move { shutdown.await.unwrap_or_default() }));
        tokio::select! {
            biased;
            doom = faults.doom() => match doom {
                Doom::Crash => self.report.lock().expect("no panic while held").crashes += 1,
                Doom::Shutdown => {
                    self.report.lock().expect("no panic while held").shutdowns += 1;
                    shut_down.send(()).expect("the process listens");
                    tokio::select! {
                        biased;
                        // A process may crash while it shuts down.
                        _ = faults.doom() => {}
                        _ = process.join_next() => {}
                    }
                }
            },
            // The store failed its first call; the process ends and starts again.
            _ = process.join_next() => {}
        }
        process.shutdown().await;
    }

    /// Looks at the jobs twice a second until all have ended, were found right, and are gone with their files.
    async fn observe(&self, mut observed: Vec<Observed>) {
        while !observed.is_empty() {
            let mut left = Vec::new();
            for mut job in observed {
                if !self.observe_one(&mut job).await {
                    left.push(job);
                }
            }
            observed = left;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Returns whether the job is gone, as it should.
    async fn observe_one(&self, observed: &mut Observed) -> bool {
        let store = self.open_store().await;
        if observed.cancel_at.is_some_and(|at| at <= self.clock.now()) {
            observed.cancel_at = None;
            store
                .cancel(&observed.id, self.clock.now())
                .await
                .expect("cancelling works");
            observed.ended = true;
        }
        self.pause_and_resume(observed, store.as_ref()).await;
        let Some(job) = store.job(&observed.id).await.expect("reading works") else {
            assert!(observed.ended, "job {} was lost", observed.id);
            assert_eq!(
                files_of(&self.files, &observed.id),
                [""; 0],
                "a removed job left files behind"
            );
            return true;
        };
        self.note_fence(job.fence);
        assert!(
            job.progress.done >= observed.done,
            "the progress of job {} went back",
            job.id
        );
        observed.done = job.progress.done;
        assert!(
            job.yields <= job.steps,
            "job {} gave its place back without moving forward",
            job.id
        );
        self.note_yields(observed, job.yields);
        assert_ne!(
            job.state,
            JobState::Failed,
            "job {} failed: {:?}",
            job.id,
            job.failure
        );
        if job.state == JobState::Succeeded && !observed.ended {
            self.check_output(store.as_ref(), &job, observed.units).await;
            observed.ended = true;
        }
        false
    }

    /// Pauses a job when its time has come, and lets it go on a while later.
    async fn pause_and_resume(&self, observed: &mut Observed, store: &dyn JobStore) {
        const PAUSE: Duration = Duration::from_secs(200);
        let now = self.clock.now();
        if observed.pause_at.is_none_or(|at| at > now) {
            return;
        }
        if observed.paused {
            observed.pause_at = None;
            store.resume(&observed.id).await.expect("resuming works");
        } else if store.pause(&observed.id, now).await.expect("pausing works") {
            (observed.paused, observed.pause_at) = (true, Some(now.plus(PAUSE)));
            self.report.lock().expect("no panic while held").pauses += 1;
        } else {
            observed.pause_at = None;
        }
    }

    fn note_yields(&self, observed: &mut Observed, yields: u64) {
        let mut report = self.report.lock().expect("no panic while held");
        report.yields += yields - observed.yields;
        observed.yields = yields;
    }

    fn note_fence(&self, fence: u64) {
        let mut report = self.report.lock().expect("no panic while held");
        report.fence_max = report.fence_max.max(fence);
    }

    /// Checks that nothing is lost: the result, the entries and the files are those of an undisturbed run.
    async fn check_output(&self, store: &dyn JobStore, job: &JobRecord, units: u64) {
        assert_eq!(
            job.result.as_deref(),
            Some(expected_result(&job.id, units).as_bytes())
        );
        assert_eq!(job.progress.done, units);
        let entries = store
            .entries(&job.id, 0, usize::MAX)
            .await
            .expect("reading works");
        let keys: Vec<_> = entries.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, (0..units).collect::<Vec<_>>());
        let files = files_of(&self.files, &job.id);
        for (_, name) in entries {
            let name = String::from_utf8(name).expect("the workload writes names");
            assert!(files.contains(&name), "file {name} was lost");
        }
    }

    /// Checks that nothing is doubled: each unit was taken into its job once, in order, by ever higher fences.
    fn check_ledger(&self) -> u64 {
        let ledger = self.ledger.lock().expect("no panic while held");
        let mut taken: BTreeMap<JobId, (u64, BTreeSet<u64>)> = BTreeMap::new();
        for (lease, keys) in ledger.iter() {
            let (fence, units) = taken.entry(lease.job).or_default();
            assert!(lease.fence >= *fence, "a stale worker changed job {}", lease.job);
            *fence = lease.fence;
            for key in keys {
                assert_eq!(
                    units.len() as u64,
                    *key,
                    "unit {key} of job {} was skipped or doubled",
                    lease.job
                );
                units.insert(*key);
            }
        }
        ledger.len() as u64
    }
}

/// How long an ended job is kept, long enough for the observer to see it.
const RETENTION_SECS: u64 = 20;

/// A job as the observer last saw it.
struct Observed {
    id: JobId,
    units: u64,
    done: u64,
    cancel_at: Option<Timestamp>,
    /// When the operator acts next: pauses it, or lets it go on.
    pause_at: Option<Timestamp>,
    paused: bool,
    yields: u64,
    /// Whether its end was seen and found right, or it was cancelled, so that it may go.
    ended: bool,
}
