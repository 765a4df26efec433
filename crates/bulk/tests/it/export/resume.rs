//! An export that is stopped or crashes anywhere goes on and ends with the files of an undisturbed one.

use std::sync::Arc;

use fhirhose_bulk::export::{ExportSettings, ExportSpec, Target};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::testing::{Doom, Fault, Faults, FaultyStore, Ledger};
use fhirhose_jobs::{Handler, JobError, JobId, JobStore, StopReason, StopSignal};

use super::expected::synthea_of;
use super::fixture::{LATER, World, request, spec};

/// Some hundred real resources in several runs, with deletions.
async fn filled() -> (World, String) {
    let world = World::new();
    for resource_type in ["Patient", "Condition", "Device"] {
        world
            .load_lines(
                synthea_of(resource_type)
                    .iter()
                    .take(120)
                    .map(|known| known.line.clone()),
            )
            .await;
    }
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    for known in synthea_of("Condition").iter().take(80) {
        world
            .put(&known.line.replacen("{", r#"{"implicitRules":"changed","#, 1))
            .await;
    }
    for known in synthea_of("Device") {
        world.delete("Device", &known.id, &[]).await;
    }
    (world, start.to_string())
}

pub(super) fn settings() -> ExportSettings {
    ExportSettings {
        parts_parallel: 2,
        part_bytes: 60_000,
        checkpoint_millis: 0,
        ..ExportSettings::default()
    }
}

/// Runs the job of a spec through one fault and the lives after it; says what the last one came to, and after how many calls.
pub(super) async fn live_through(world: &World, job: JobId, faults: &Arc<Faults>) -> Vec<u8> {
    loop {
        let faulty = FaultyStore::new(
            world.jobs(),
            Arc::clone(faults),
            world.clock.clone(),
            Ledger::default(),
        );
        let faulty: Arc<dyn JobStore> = Arc::new(faulty);
        let stop = StopSignal::new();
        let context = world.claim("export", &world.jobs(), &stop).await;
        let claimed = (context.record().clone(), *context.lease());
        let context = fhirhose_jobs::JobContext::new(claimed, faulty, world.clock.clone(), stop.clone());
        let handler = world.handler_with(settings());
        let mut life = handler.run(&context);
        let ended = tokio::select! {
            biased;
            ended = &mut life => Some(ended),
            doom = faults.doom() => match doom {
                Doom::Crash => None,
                Doom::Shutdown => {
                    let reasons = [StopReason::Shutdown, StopReason::Yield, StopReason::Pause];
                    let calls = usize::try_from(faults.calls()).unwrap();
                    stop.stop(reasons[calls % reasons.len()]);
                    Some(life.await)
                }
            },
        };
        faults.revive();
        match ended {
            Some(Ok(result)) => {
                world.finish(&context, result.clone()).await;
                return result;
            }
            Some(Err(JobError::Stop(reason))) if reason.keeps_job() => {}
            Some(Err(JobError::Retry { .. })) | None => {}
            Some(Err(error)) => panic!("{error}"),
        }
        // The lease of a dead worker runs out.
        world.clock.advance(LATER * 2);
        assert!(world.jobs().job(&job).await.unwrap().is_some());
    }
}

async fn check(fault: impl Fn() -> Fault, target: impl Fn() -> (Target, Option<tempfile::TempDir>)) {
    let (world, start) = filled().await;
    let query = format!("_since={start}");
    let whole = |query: &str, target: Target| {
        let mut spec = ExportSpec::new(request(ExportLevel::System, query), target);
        spec.file_bytes_max = 20_000;
        spec
    };
    for query in ["", query.as_str()] {
        let (place, _folder) = target();
        let undisturbed = world.submit(&whole(query, place.clone())).await.unwrap();
        let faults = Arc::new(Faults::new([]));
        let result = live_through(&world, undisturbed, &faults).await;
        let expected = world.read(undisturbed, &result, &place).await.files();
        assert!(expected.len() > 2);
        let mut call = 0;
        loop {
            let (place, _folder) = target();
            let job = world.submit(&whole(query, place.clone())).await.unwrap();
            let faults = Arc::new(Faults::new([(call, fault())]));
            let result = live_through(&world, job, &faults).await;
            assert_eq!(
                world.read(job, &result, &place).await.files(),
                expected,
                "{:?} at call {call}",
                fault()
            );
            // How many calls there are depends on how the parts' ends fall together; past the last one nothing happens.
            if faults.calls() <= call {
                break;
            }
            call += 1;
        }
        assert!(call > 3, "the job writes checkpoints");
    }
}

fn outputs() -> (Target, Option<tempfile::TempDir>) {
    (Target::Outputs, None)
}

fn folder() -> (Target, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    (Target::Folder(folder.path().join("out")), Some(folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_crashes_at_any_call_ends_with_the_same_files() {
    check(|| Fault::CrashBefore, outputs).await;
    check(|| Fault::CrashAfter, outputs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_to_a_folder_that_crashes_at_any_call_ends_with_the_same_files() {
    check(|| Fault::CrashAfter, folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_shut_down_or_gives_its_place_back_at_any_call_ends_with_the_same_files() {
    check(|| Fault::Shutdown, outputs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_whose_store_fails_at_any_call_ends_with_the_same_files() {
    check(|| Fault::ErrorAfter, outputs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_its_snapshot_while_everything_else_changes() {
    let (world, _) = filled().await;
    let mut spec = spec(ExportLevel::System, "");
    spec.file_bytes_max = 20_000;
    let expected = world.export(&spec).await;
    let job = world.submit(&spec).await.unwrap();
    let stop = StopSignal::new();
    stop.stop(StopReason::Shutdown);
    let context = world.claim("export", &world.jobs(), &stop).await;
    assert_eq!(
        world.handler().run(&context).await,
        Err(JobError::Stop(StopReason::Shutdown))
    );
    // The snapshot is taken; from here on nothing that is written may show.
    world.clock.advance(LATER * 100);
    for known in synthea_of("Patient").iter().take(100) {
        world.delete("Patient", &known.id, &[]).await;
    }
    world
        .load_lines(
            synthea_of("Condition")
                .iter()
                .map(|known| known.line.replace("resolved", "inactive")),
        )
        .await;
    world
        .load_lines(
            synthea_of("CarePlan")
                .iter()
                .take(50)
                .map(|known| known.line.clone()),
        )
        .await;
    world.compact("meanwhile").await;
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let handler = world.handler();
    let run = handler.run(&context);
    // And while the parts are being made, somebody goes on writing.
    let write = async {
        for known in synthea_of("Immunization").iter().take(60) {
            world.put(&known.line).await;
        }
    };
    let (result, ()) = tokio::join!(run, write);
    let exported = world.read(job, &result.unwrap(), &spec.target).await;
    assert_eq!(exported.files(), expected.files());
    assert_eq!(exported.result.transaction_time, expected.result.transaction_time);
}
