//! Jobs on the memory store, crashed everywhere.

use std::sync::Arc;

use fhirhose_jobs::testing::{Disk, MemoryJobStore, SimulationReport, crash_everywhere, simulate};

fn disk() -> Arc<dyn Disk> {
    Arc::new(MemoryJobStore::new())
}

#[test]
fn job_survives_every_fault_at_every_store_call() {
    let runs = crash_everywhere(1, disk);
    assert!(runs > 100, "only {runs} runs");
}

#[test]
fn jobs_survive_random_faults() {
    let mut all = SimulationReport::default();
    for seed in 0..500 {
        let report = simulate(seed, disk());
        all.crashes += report.crashes;
        all.shutdowns += report.shutdowns;
        all.refused += report.refused;
        all.yields += report.yields;
        all.pauses += report.pauses;
        all.fence_max = all.fence_max.max(report.fence_max);
    }
    assert!(
        all.crashes > 500 && all.shutdowns > 100 && all.fence_max > 5 && all.yields > 50 && all.pauses > 100,
        "too little happened: {all:?}"
    );
}

#[test]
fn same_seed_replays_the_same_run() {
    for seed in 1_000..1_020 {
        assert_eq!(simulate(seed, disk()), simulate(seed, disk()));
    }
}

#[test]
fn process_that_died_is_not_told_to_shut_down() {
    // Before jobs shared places, one call at this seed killed the process while another was about to tell it to shut down, and the
    // run never ended. No seed is known that does so now; this one stays for whoever changes the simulation again.
    simulate(13_799, disk());
}
