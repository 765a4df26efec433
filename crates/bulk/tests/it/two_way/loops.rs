//! The loop: a thousand edits on both sides, rounds between them, crashes anywhere; it ends equal, and nothing is lost silently.
#![allow(
    clippy::print_stdout,
    reason = "a run that fails is repeated by the seed that it printed"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fhirhose_bulk::sync::both::{
    Both, BothReport, BothSettings, CONFLICTS_FILE, Carried, ConflictLine, ConflictPolicy, Ledger, Side,
};
use fhirhose_client::testing::Random;

use super::mock::{Shared, Stopped, World, lock, peers};

const EDITS: u64 = 1_000;

fn open(folder: &Path, world: &Shared, policy: ConflictPolicy) -> Both {
    let settings = BothSettings {
        policy,
        batch_entries: 7,
        ..BothSettings::default()
    };
    Both::open(folder, peers(world), settings, Arc::new(Stopped)).expect("the state opens")
}

/// What a process that is killed at the end of a round leaves: the last line of the ledger is torn or missing.
fn tear(folder: &Path, random: &mut Random) {
    let path = folder.join("ledger");
    let text = std::fs::read(&path).expect("a ledger");
    let ends: Vec<usize> = (0..text.len()).filter(|at| text[*at] == b'\n').collect();
    let [.., before, last] = ends.as_slice() else {
        return;
    };
    let kept = *before as u64 + 1 + random.below((last - before) as u64);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("a ledger");
    file.set_len(kept).expect("a shorter ledger");
}

/// Rounds without faults until nothing is left to do but what is held.
async fn settle(folder: &Path, world: &Shared, policy: ConflictPolicy) -> BothReport {
    for _ in 0..8 {
        let report = open(folder, world, policy)
            .round()
            .await
            .expect("no fault is asked for");
        let done =
            report.written.source + report.written.target + report.deleted.source + report.deleted.target;
        if done == 0 && report.behind == 0 && report.conflicts.is_empty() {
            return report;
        }
    }
    panic!("the sync does not come to rest");
}

fn held(folder: &Path) -> BTreeSet<String> {
    let ledger = Ledger::open_existing(folder).expect("a ledger");
    let held = ledger
        .carried()
        .iter()
        .filter(|(_, carried)| matches!(carried, Carried::Held { .. }));
    held.map(|(name, _)| name.clone()).collect()
}

fn differing(world: &Shared) -> BTreeSet<String> {
    let world = lock(world);
    let names = world.names().into_iter();
    names
        .filter(|name| world.text(Side::Source, name) != world.text(Side::Target, name))
        .collect()
}

fn report_lines(folder: &Path) -> Vec<ConflictLine> {
    let text = std::fs::read_to_string(folder.join(CONFLICTS_FILE)).expect("a report");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .collect()
}

/// Every version that was written over without the other side ever having had it stands in the report.
fn nothing_is_lost(folder: &Path, world: &Shared) {
    let lines = report_lines(folder);
    let owed = &lock(world).owed;
    assert!(owed.len() > 20, "{} are too few to tell anything", owed.len());
    for (side, name, text) in owed {
        let is_reported = lines.iter().any(|line| {
            let version = line.versions.of(*side);
            line.resource == *name
                && match text {
                    Some(text) => version
                        .as_ref()
                        .is_some_and(|version| version.text.contains(&format!("\"{text}\""))),
                    None => version.is_none(),
                }
        });
        assert!(is_reported, "{side} lost {text:?} of {name} without a word");
    }
}

async fn run(seed: u64) {
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut random = Random::new(seed);
    let world: Shared = Arc::new(Mutex::new(World::new(Random::new(seed ^ 0xabc))));
    lock(&world).meanwhile = 9;
    let policies = [
        ConflictPolicy::Newest,
        ConflictPolicy::Source,
        ConflictPolicy::Target,
        ConflictPolicy::Hold,
    ];
    while lock(&world).edits < EDITS {
        for _ in 0..random.below(12) {
            lock(&world).edit();
        }
        lock(&world).faults = [0, 4, 12, 40][random.below(4) as usize];
        let policy = policies[random.below(4) as usize];
        let mut both = open(folder, &world, policy);
        let mut has_ended = false;
        for _ in 0..=random.below(3) {
            has_ended = both.round().await.is_ok();
            if !has_ended {
                break;
            }
        }
        drop(both);
        // A round that ended may be one whose last line, the cursors, never reached the disk.
        if has_ended && random.chance(4) {
            tear(folder, &mut random);
        }
        if random.chance(5) {
            let mut ledger = Ledger::open_existing(folder).expect("a ledger");
            let winner = [Side::Source, Side::Target][random.below(2) as usize];
            ledger.resolve(None, winner).expect("what is held is resolved");
        }
    }
    {
        let mut world = lock(&world);
        (world.faults, world.meanwhile) = (0, 0);
        assert!(
            world.crashes > 20,
            "{} crashes are too few to tell anything",
            world.crashes
        );
    }
    let report = settle(folder, &world, ConflictPolicy::Hold).await;
    let held_now = held(folder);
    assert_eq!(differing(&world), held_now, "only what is held differs");
    assert_eq!(report.held, held_now.len() as u64);
    nothing_is_lost(folder, &world);
    Ledger::open_existing(folder)
        .and_then(|mut ledger| ledger.resolve(None, Side::Target))
        .expect("what is held is resolved");
    let report = settle(folder, &world, ConflictPolicy::Hold).await;
    assert_eq!((differing(&world), report.held), (BTreeSet::new(), 0));
    assert!(report.is_whole(), "{report:?}");
    nothing_is_lost(folder, &world);
}

#[tokio::test]
async fn a_thousand_edits_with_crashes_end_with_both_sides_equal_and_nothing_lost_silently() {
    for seed in 1..=2 {
        run(seed).await;
    }
}
