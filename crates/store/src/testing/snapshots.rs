//! A seeded history of imports, writes, deletions, flushes and compactions, with snapshots taken on the way that must
//! never change.

use super::workload::{Rng, Shown, Workload, import, shown};
use crate::catalog::{Commit, Expect, Origin, Snapshot, Write};
use crate::{Result, Sequence, Store};
use std::collections::BTreeMap;

/// Runs `steps` random steps, remembers what the store must show after each, and checks every remembered snapshot again
/// after every change of layout and at the end. Returns what must hold, so that a caller can reopen the store and ask again.
///
/// # Errors
/// What the store gives.
///
/// # Panics
/// When a snapshot shows anything else than it did; the message has the seed.
pub async fn snapshots_stay(store: &Store, seed: u64, steps: u64) -> Result<Vec<(Snapshot, Shown)>> {
    let mut rng = Rng::new(seed);
    let mut model: BTreeMap<(u8, String), (Workload, Sequence)> = BTreeMap::new();
    let mut kept = Vec::new();
    for step in 0..steps {
        match rng.below(10) {
            0..=3 => {
                let drawn: Vec<Workload> = (0..=rng.below(60)).map(|_| Workload::draw(&mut rng)).collect();
                let committed = import(store, &format!("s{seed}-{step}.run"), &drawn).await?;
                for each in drawn {
                    apply(&mut model, each, committed.snapshot.sequence);
                }
            }
            4..=6 => {
                let each = Workload::draw(&mut rng);
                let write = Write::Hot(vec![each.put(Expect::Any)]);
                let done = store
                    .catalog()
                    .commit(Commit {
                        write,
                        job: None,
                        origin: Origin::default(),
                    })
                    .await?;
                apply(&mut model, each, done.snapshot.sequence);
            }
            7 => {
                let each = Workload::draw(&mut rng);
                let write = Write::Hot(vec![each.delete()]);
                store
                    .catalog()
                    .commit(Commit {
                        write,
                        job: None,
                        origin: Origin::default(),
                    })
                    .await?;
                model.remove(&(each.resource_type.code(), each.id));
            }
            8 => {
                store.flush(&format!("f{seed}-{step}.run"), None).await?;
                check(store, seed, step, &kept).await?;
            }
            _ => {
                let places: Vec<String> = store
                    .catalog()
                    .runs()
                    .await?
                    .iter()
                    .map(|run| run.place.clone())
                    .collect();
                if places.len() > 1 {
                    store
                        .compact(&places, &format!("c{seed}-{step}.run"), None, |_| Ok(()))
                        .await?;
                    check(store, seed, step, &kept).await?;
                }
            }
        }
        let snapshot = store.catalog().snapshot().await?;
        kept.push((snapshot, picture(&model)));
    }
    check(store, seed, steps, &kept).await?;
    Ok(kept)
}

fn apply(model: &mut BTreeMap<(u8, String), (Workload, Sequence)>, each: Workload, sequence: Sequence) {
    let slot = (each.resource_type.code(), each.id.clone());
    if model.get(&slot).is_none_or(|(old, _)| *old != each) {
        model.insert(slot, (each, sequence));
    }
}

fn picture(model: &BTreeMap<(u8, String), (Workload, Sequence)>) -> Shown {
    let rows = model.values().map(|(each, sequence)| {
        let key = (
            each.resource_type.name().to_owned(),
            each.owner.clone(),
            each.id.clone(),
        );
        (key, (*sequence, each.body()))
    });
    rows.collect()
}

async fn check(store: &Store, seed: u64, step: u64, kept: &[(Snapshot, Shown)]) -> Result<()> {
    for (number, (snapshot, expected)) in kept.iter().enumerate() {
        let now = shown(store, snapshot.sequence, Sequence::ZERO).await?;
        let differs = expected.iter().find(|(key, row)| now.get(*key) != Some(row));
        assert!(
            differs.is_none(),
            "seed {seed}, step {step}: the snapshot of step {number} lacks {differs:?}"
        );
        assert_eq!(
            now.len(),
            expected.len(),
            "seed {seed}, step {step}: the snapshot of step {number} shows more"
        );
    }
    Ok(())
}
