//! Random histories with crashes at random points: source and target end equal.

use std::sync::Mutex;

use fhirhose_client::testing::Random;

use super::fixture::{CrashAt, Ground};

const TYPES: [&str; 3] = ["Patient", "Observation", "Organization"];

fn change(ground: &Ground, random: &mut Random) {
    for _ in 0..random.below(12) {
        let key = format!("{}/x{}", TYPES[random.below(3) as usize], random.below(30));
        match random.below(10) {
            0..6 => ground
                .ehr
                .put(&key, &format!(r#""language":"l{}""#, random.below(3))),
            6 | 7 => ground.ehr.delete(&key),
            // Deleted and created again within one round.
            _ => {
                ground.ehr.put(&key, "");
                ground.ehr.delete(&key);
                ground.ehr.put(&key, r#""language":"again""#);
            }
        }
    }
}

/// A round with up to five crashes before it ends, of the process at any point and of the target after any line; how many they were.
async fn disturbed_round(ground: &Ground, random: &mut Random) -> u32 {
    let mut crashes = 0;
    for _ in 0..random.below(6) {
        let crash = CrashAt(Mutex::new(random.below(6) as u32));
        ground.memory.0.lock().unwrap().fuel = (random.below(2) == 0).then(|| random.below(20));
        crashes += u32::from(ground.sync().run_round(&crash).await.is_err());
        ground.memory.0.lock().unwrap().fuel = None;
        if random.below(3) == 0 {
            change(ground, random);
        }
    }
    ground.round().await;
    crashes
}

#[tokio::test]
async fn any_history_with_any_crashes_ends_equal_cl_11_cl_12() {
    let mut crashes = 0;
    for seed in 0..40 {
        let mut ground = Ground::new();
        ground.settings.deletions_share_max = 1.0;
        let mut random = Random::new(seed);
        ground.ehr.0.lock().unwrap().no_since = seed % 5 == 0;
        for round in 0..5 {
            change(&ground, &mut random);
            crashes += disturbed_round(&ground, &mut random).await;
            // What changed beside an interrupted round comes with the next one.
            ground.round().await;
            ground.check_equal(&format!("seed {seed}, round {round}"));
        }
    }
    assert!(crashes > 200, "{crashes} crashes are too few to tell anything");
}

#[tokio::test]
async fn a_crash_at_each_point_and_each_line_of_a_round_ends_equal() {
    for point in 0..6 {
        for fuel in 0..14 {
            let ground = Ground::new();
            for n in 0..8 {
                ground.ehr.put(&format!("Patient/p{n}"), "");
            }
            ground.round().await;
            for n in 0..4 {
                ground.ehr.delete(&format!("Patient/p{n}"));
                ground.ehr.put(&format!("Patient/q{n}"), "");
            }
            ground.memory.0.lock().unwrap().fuel = Some(fuel);
            let crashed = ground.sync().run_round(&CrashAt(Mutex::new(point))).await;
            assert!(crashed.is_err(), "point {point}, fuel {fuel}: {crashed:?}");
            ground.memory.0.lock().unwrap().fuel = None;
            ground.round().await;
            ground.check_equal(&format!("point {point}, fuel {fuel}"));
        }
    }
}
