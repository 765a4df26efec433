//! Servers drawn by seeds, each with several faults that heal: every pull ends with every byte.
//!
//! `FHIRHOSE_CHAOS_SEED` plays one seed again; `FHIRHOSE_CHAOS_RUNS` says how many there are (default 220).
#![allow(
    clippy::print_stdout,
    reason = "a run that fails is repeated by the seed that it printed"
)]

use std::time::Duration;

use fhirhose_client::pull::{FileKind, Quiet};
use fhirhose_client::testing::{Drawn, Fault, ManifestShape, Manner, Place, Random, SourceFile, Strike};

use super::{Case, chain, manifests::assert_same_texts, population, tokens};

const RUNS: u64 = 220;
const GARBLED: u64 = 120;
/// In real time: much longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
async fn cl_04_cl_05_cl_10_faults_that_heal_lose_nothing_whatever_they_are() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let runs = number("FHIRHOSE_CHAOS_RUNS").unwrap_or(RUNS);
    let seeds = match number("FHIRHOSE_CHAOS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..runs,
    };
    for seed in seeds {
        let played = tokio::time::timeout(PATIENCE, play(seed)).await;
        assert!(played.is_ok(), "FHIRHOSE_CHAOS_SEED={seed}: it does not end");
    }
}

#[tokio::test]
async fn cl_05_cl_08_answers_that_make_no_sense_end_in_words_and_never_in_a_panic() {
    let places = [
        Place::KickOff,
        Place::Status,
        Place::NextPage,
        Place::AnyFile,
        Place::Token,
        Place::Delete,
    ];
    let mut whole = 0;
    for seed in 0..GARBLED {
        let place = Random::new(seed).of(&places);
        println!("seed {seed} at {place:?}");
        let drawn = Drawn::new(seed, population().len());
        let manner = Manner {
            tokens: tokens(),
            ..drawn.manner
        };
        let script = vec![Strike::times(2, place, Fault::Garbled(seed))];
        let mut case = Case::of(files(&manner), manner.clone(), script).await;
        case.settings.file_attempts_max = 3;
        let ended = tokio::time::timeout(PATIENCE, case.run(&Quiet)).await;
        let ended = ended.unwrap_or_else(|_| panic!("seed {seed} at {place:?}: it does not end"));
        let Ok(report) = ended else { continue };
        assert!(report.missing.iter().all(|file| !file.why.is_empty()));
        // A manifest that was garbled may name other files.
        if report.is_whole() && place == Place::AnyFile {
            assert_there(&case);
            whole += 1;
        }
    }
    assert!(whole > 5, "{whole} pulls of garbled files came through");
}

/// What a server of this manner can have.
fn files(manner: &Manner) -> Vec<SourceFile> {
    let mut files = population();
    if manner.shape == ManifestShape::Stu1 {
        // It has no deletions.
        files.retain(|file| file.kind != FileKind::Deleted);
    }
    files
}

/// All files of the server are there, under whatever number where it changes their order.
fn assert_there(case: &Case) {
    if case.ehr.manner().pages.restless {
        assert_same_texts(case);
    } else {
        case.assert_equal();
    }
}

async fn play(seed: u64) {
    let mut drawn = Drawn::new(seed, population().len());
    println!("FHIRHOSE_CHAOS_SEED={seed} {:?} {:?}", drawn.manner, drawn.script);
    let mut random = Random::new(seed.wrapping_mul(31));
    if drawn.manner.files_want_token || random.chance(2) {
        drawn.manner.tokens = tokens();
    }
    let mut case = Case::of(files(&drawn.manner), drawn.manner, drawn.script).await;
    case.parameters.allow_partial_manifests = random.chance(2);
    case.parameters.separate_status = random.chance(2);
    case.settings.parallel_downloads = random.of(&[1, 2, 5]);
    case.settings.file_attempts_max = 12;
    let report = case.run(&Quiet).await;
    let report = report.unwrap_or_else(|error| panic!("FHIRHOSE_CHAOS_SEED={seed}: {}", chain(&error)));
    assert_eq!(report.missing, [], "FHIRHOSE_CHAOS_SEED={seed}");
    assert_there(&case);
    let refused_tokens = case.ehr.asked().into_iter().filter(|asked| {
        asked.host == fhirhose_client::testing::Host::Files && asked.header("authorization").is_some()
    });
    assert_eq!(
        refused_tokens.count(),
        0,
        "FHIRHOSE_CHAOS_SEED={seed}: a token left its server"
    );
    assert!(
        !case.asked(Place::Delete).is_empty(),
        "FHIRHOSE_CHAOS_SEED={seed}"
    );
}
