//! Partial manifests: pages of files that show while the export goes on, and never change.

use std::collections::BTreeSet;
use std::sync::Arc;

use fhirhose_bulk::export::{ExportPages, ExportSettings, ExportSpec, FileKind, ResultFile, Target};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::testing::{Doom, Fault, Faults, FaultyStore, Ledger};
use fhirhose_jobs::{Handler, JobContext, JobError, JobId, StopReason, StopSignal};

use super::expected::synthea_of;
use super::fixture::{LATER, World, request, spec};

const PAGE_FILES: usize = 3;

/// Real resources of some types, and deletions of others since the instant.
async fn filled() -> (World, String) {
    let world = World::new();
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    for resource_type in ["Patient", "Condition", "Device"] {
        let known = synthea_of(resource_type);
        let lines = known.iter().take(60).map(|known| known.line.clone());
        world.load_lines(lines).await;
    }
    for known in synthea_of("Device").iter().take(5) {
        world.delete("Device", &known.id, &[]).await;
    }
    (world, start.to_string())
}

fn settings() -> ExportSettings {
    ExportSettings {
        parts_parallel: 2,
        part_bytes: 30_000,
        checkpoint_millis: 0,
        page_files: PAGE_FILES,
        ..ExportSettings::default()
    }
}

fn paged(query: &str) -> ExportSpec {
    let mut request = request(ExportLevel::System, query);
    request.allow_partial_manifests = true;
    ExportSpec {
        file_bytes_max: 10_000,
        ..ExportSpec::new(request, Target::Outputs)
    }
}

async fn pages(world: &World, job: JobId) -> Option<ExportPages> {
    let job = world.jobs().job(&job).await.unwrap().expect("the job is there");
    ExportPages::load(&world.store, &job).await.unwrap()
}

fn files(pages: &ExportPages) -> Vec<Vec<ResultFile>> {
    let files = (1..=pages.count()).map(|number| pages.page(number).unwrap().files.to_vec());
    files.collect()
}

/// One life of the job, with a fault; gives the result if it came to one.
async fn live(world: &World, faults: &Arc<Faults>) -> Option<Vec<u8>> {
    let faulty = FaultyStore::new(
        world.jobs(),
        Arc::clone(faults),
        world.clock.clone(),
        Ledger::default(),
    );
    let stop = StopSignal::new();
    let context = world.claim("export", &world.jobs(), &stop).await;
    let claimed = (context.record().clone(), *context.lease());
    let context = JobContext::new(claimed, Arc::new(faulty), world.clock.clone(), stop.clone());
    let handler = world.handler_with(settings());
    let mut life = handler.run(&context);
    let ended = tokio::select! {
        biased;
        ended = &mut life => Some(ended),
        doom = faults.doom() => match doom {
            Doom::Crash => None,
            Doom::Shutdown => {
                stop.stop(StopReason::Shutdown);
                Some(life.await)
            }
        },
    };
    faults.revive();
    match ended {
        Some(Ok(result)) => {
            world.finish(&context, result.clone()).await;
            Some(result)
        }
        Some(Err(JobError::Stop(StopReason::Shutdown) | JobError::Retry { .. })) | None => {
            world.clock.advance(LATER * 2);
            None
        }
        Some(Err(error)) => panic!("{error}"),
    }
}

/// M-21, M-22, M-23: what was shown before a crash is shown the same afterwards, can be read, and leads the finished manifest.
async fn check(fault: impl Fn() -> Fault) {
    let (world, start) = filled().await;
    let spec_of_all = paged(&format!("_since={start}"));
    let mut plain = spec(ExportLevel::System, &format!("_since={start}"));
    plain.file_bytes_max = 10_000;
    let expected = world.export(&plain).await;
    let (mut call, mut shown_early) = (0, 0);
    loop {
        let job = world.submit(&spec_of_all).await.unwrap();
        let faults = Arc::new(Faults::new([(call, fault())]));
        let mut shown: Vec<Vec<ResultFile>> = Vec::new();
        let result = loop {
            let ended = live(&world, &faults).await;
            if let Some(pages) = pages(&world, job).await {
                let now = files(&pages);
                assert_eq!(pages.is_complete(), ended.is_some());
                assert_eq!(&now[..shown.len()], shown, "{:?} at call {call}", fault());
                for file in now.iter().flatten() {
                    assert_eq!(pages.file(&file.name), Some(file));
                    world.read_output(job, &file.stored_name).await;
                }
                shown_early += usize::from(ended.is_none());
                shown = now;
            }
            if let Some(result) = ended {
                break result;
            }
        };
        let exported = world.read(job, &result, &Target::Outputs).await;
        assert_eq!(exported.lines(FileKind::Output), expected.lines(FileKind::Output));
        assert_eq!(exported.deleted(), expected.deleted());
        let names: BTreeSet<_> = exported.result.files.iter().map(|file| &file.name).collect();
        assert_eq!(names.len(), exported.result.files.len(), "names are unique");
        if faults.calls() <= call {
            break;
        }
        call += 1;
    }
    assert!(shown_early > 0, "some pages were seen before the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn m_22_pages_stay_the_same_through_a_crash_at_any_call() {
    check(|| Fault::CrashBefore).await;
    check(|| Fault::CrashAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m_23_pages_stay_the_same_through_a_shutdown_at_any_call() {
    check(|| Fault::Shutdown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m_24_pages_are_full_but_the_last_where_deletions_are() {
    let (world, start) = filled().await;
    let job = world.submit(&paged(&format!("_since={start}"))).await.unwrap();
    live(&world, &Arc::new(Faults::new([]))).await.unwrap();
    let pages = pages(&world, job).await.unwrap();
    let all = files(&pages);
    assert!(all.len() > 2);
    let (last, full) = all.split_last().unwrap();
    assert!(full.iter().all(|page| page.len() == PAGE_FILES));
    assert!(!last.is_empty() && last.len() <= PAGE_FILES);
    assert_eq!(last.last().unwrap().kind, FileKind::Deleted);
    for number in 1..=pages.count() {
        let page = pages.page(number).unwrap();
        assert_eq!((page.number, page.has_next), (number, number < pages.count()));
        assert_eq!(page.transaction_time, pages.page(1).unwrap().transaction_time);
    }
    assert!(pages.page(0).is_none() && pages.page(pages.count() + 1).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn m_20_an_export_that_was_not_asked_for_pages_has_one_at_its_end() {
    let (world, _) = filled().await;
    let plain = spec(ExportLevel::System, "");
    let job = world.submit(&plain).await.unwrap();
    assert!(pages(&world, job).await.is_none());
    let faults = Arc::new(Faults::new([(3, Fault::CrashBefore)]));
    while live(&world, &faults).await.is_none() {
        assert!(pages(&world, job).await.is_none(), "nothing shows before the end");
    }
    let pages = pages(&world, job).await.unwrap();
    assert!(pages.is_complete() && pages.count() == 1 && !pages.page(1).unwrap().has_next);
}

#[tokio::test(flavor = "multi_thread")]
async fn m_20_a_folder_has_no_pages() {
    let (world, _) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let target = Target::Folder(folder.path().join("out"));
    let spec = ExportSpec { target, ..paged("") };
    let refused = world.submit(&spec).await.unwrap_err();
    assert_eq!(refused.kind(), fhirhose_bulk::ErrorKind::Invalid);
}
