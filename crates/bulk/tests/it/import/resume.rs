//! An import that is stopped or crashes anywhere goes on and ends as an undisturbed one would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fhirhose_bulk::import::{ImportResult, ImportSettings, ImportSpec};
use fhirhose_jobs::{Handler, JobError, JobId, StopReason};
use tokio::sync::Notify;

use super::fixture::{Bench, Stored, small_chunks, synthea, synthea_lines, write_lines};

/// Some hundred real lines in three files: one plain, one gzip, one zstd; with lines that are refused, and repeats.
fn write_inputs(folder: &Path) -> Vec<PathBuf> {
    let patients = synthea_lines(&synthea().join("Patient.ndjson.zst"));
    let mut mixed = synthea_lines(&synthea().join("Immunization.ndjson.zst"));
    mixed.truncate(60);
    mixed.insert(30, r#"{"resourceType":"Patient"}"#.to_owned());
    mixed.push(format!(
        r#"{{"resourceType":"Patient","id":"{}"}}"#,
        "x".repeat(30_000)
    ));
    let again: Vec<String> = patients
        .iter()
        .take(20)
        .map(|line| line.replace("male", "mal"))
        .collect();
    let plain = write_lines(folder, "1.ndjson", &patients);
    let [gzip, zstd] =
        [("2.ndjson", &mixed), ("3.ndjson", &again)].map(|(name, lines)| write_lines(folder, name, lines));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &std::fs::read(&gzip).unwrap()).unwrap();
    std::fs::write(&gzip, encoder.finish().unwrap()).unwrap();
    std::fs::write(
        &zstd,
        zstd::encode_all(&std::fs::read(&zstd).unwrap()[..], 1).unwrap(),
    )
    .unwrap();
    vec![plain, gzip, zstd]
}

fn settings() -> ImportSettings {
    ImportSettings {
        line_bytes_max: 20_000,
        ..small_chunks(2, 24 << 10)
    }
}

/// All that a user can see of an import: what is stored, the result, and its files.
#[derive(Debug, PartialEq)]
struct Seen {
    stored: Vec<(String, String, Vec<u8>)>,
    result: serde_json::Value,
    files: Vec<Vec<u8>>,
}

async fn see(bench: &Bench, job: JobId, result: ImportResult) -> Seen {
    let mut files = Vec::new();
    for file in result.files() {
        files.push(bench.file(job, &file.name).await);
    }
    let stored = |(name, stored): ((_, String), Stored)| (name.1, stored.body, stored.owner);
    let contents = bench.contents().await.into_iter().map(stored).collect();
    let mut result = serde_json::to_value(result).unwrap();
    result["transaction_time"].take();
    Seen {
        stored: contents,
        result,
        files,
    }
}

async fn undisturbed(inputs: &[PathBuf]) -> Seen {
    let bench = Bench::in_memory();
    let job = bench.submit(ImportSpec::of_paths(inputs)).await;
    let result = bench
        .attempt(&bench.claim().await, &settings(), None)
        .await
        .unwrap();
    see(&bench, job, result).await
}

/// Stops every attempt after the clock was looked at `looks` times more than in the attempt before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_stopped_at_every_commit_ends_like_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let expected = undisturbed(&inputs).await;
    for (looks, reason) in [
        (1, StopReason::Yield),
        (2, StopReason::Shutdown),
        (3, StopReason::Pause),
        (5, StopReason::Shutdown),
    ] {
        let bench = Bench::in_memory();
        let job = bench.submit(ImportSpec::of_paths(&inputs)).await;
        let mut stops = 0;
        let result = loop {
            let context = bench.claim().await;
            let (left, stop) = (AtomicU64::new(looks), context.stop_signal().clone());
            bench.clock.watch(move || {
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    stop.stop(reason);
                }
            });
            let attempt = bench.attempt(&context, &settings(), None).await;
            bench.clock.unwatch();
            match attempt {
                Ok(result) => break result,
                Err(JobError::Stop(told)) if told == reason => stops += 1,
                Err(error) => panic!("{error}"),
            }
            bench.release(context.lease()).await;
        };
        assert!(stops > 2, "it was stopped {stops} times");
        assert_eq!(see(&bench, job, result).await, expected);
    }
}

/// A crash drops the handler where it is; the blocking part of a commit may still come through, as it may in a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_crashes_at_every_commit_ends_like_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let expected = undisturbed(&inputs).await;
    let bench = Bench::embedded(&folder.path().join("data")).await;
    let job = bench.submit(ImportSpec::of_paths(&inputs)).await;
    let mut crashes = 0;
    let result = loop {
        let context = bench.claim().await;
        let (left, crash) = (AtomicU64::new(2), Arc::new(Notify::new()));
        let told = Arc::clone(&crash);
        bench.clock.watch(move || {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                told.notify_one();
            }
        });
        let settings = settings();
        let attempt = tokio::select! {
            biased;
            () = crash.notified() => None,
            attempt = bench.run(&context, &settings, None) => Some(attempt),
        };
        bench.clock.unwatch();
        match attempt {
            Some(attempt) => break attempt.unwrap(),
            None => crashes += 1,
        }
        bench.store.catalog().abandon("worker").await.unwrap();
    };
    assert!(crashes > 2, "it crashed {crashes} times");
    assert_eq!(see(&bench, job, result).await, expected);
}

#[tokio::test]
async fn an_input_that_changes_between_two_attempts_fails_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let bench = Bench::in_memory();
    bench.submit(ImportSpec::of_paths(&inputs)).await;
    let context = bench.claim().await;
    let (left, stop) = (AtomicU64::new(1), context.stop_signal().clone());
    bench.clock.watch(move || {
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            stop.stop(StopReason::Shutdown);
        }
    });
    assert_eq!(
        bench.attempt(&context, &settings(), None).await,
        Err(JobError::Stop(StopReason::Shutdown))
    );
    bench.clock.unwatch();
    bench.release(context.lease()).await;
    write_lines(folder.path(), "1.ndjson", &["{}"]);
    let again = bench.attempt(&bench.claim().await, &settings(), None).await;
    let Err(JobError::Failed(failure)) = again else {
        panic!("{again:?}")
    };
    assert_eq!(failure.code, "input-changed");
}

#[tokio::test]
async fn a_lost_lease_writes_nothing_more_and_leaves_no_run_behind() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let bench = Bench::embedded(&folder.path().join("data")).await;
    bench.submit(ImportSpec::of_paths(&inputs)).await;
    let stale = bench.claim().await;
    bench.store.catalog().abandon("worker").await.unwrap();
    let held = bench.claim().await;
    assert!(held.lease().fence > stale.lease().fence);
    let attempt = bench.attempt(&stale, &settings(), None).await;
    assert_eq!(attempt, Err(JobError::Stop(StopReason::LeaseLost)));
    assert_eq!(stale.stopping(), Some(StopReason::LeaseLost));
    assert!(bench.contents().await.is_empty());
    assert_eq!(
        super::fixture::files_of(&folder.path().join("data/runs")),
        Vec::<PathBuf>::new()
    );
}

#[tokio::test]
async fn a_finished_import_leaves_only_the_files_that_its_result_names_and_cleaning_removes_them() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let bench = Bench::embedded(&folder.path().join("data")).await;
    let job = bench.submit(ImportSpec::of_paths(&inputs)).await;
    let result = bench
        .attempt(&bench.claim().await, &settings(), None)
        .await
        .unwrap();
    let outputs = folder.path().join("data/outputs");
    assert_eq!(
        super::fixture::files_of(&outputs),
        [outputs.join(job.to_string())]
    );
    let mut names: Vec<_> = result.files().map(|file| file.name.clone()).collect();
    names.sort();
    let found: Vec<_> = super::fixture::files_of(&outputs.join(job.to_string()))
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, names);
    let record = bench.store.catalog().job(&job).await.unwrap().unwrap();
    let handler = fhirhose_bulk::import::ImportHandler::new(bench.store.clone(), None, settings());
    assert_eq!(handler.clean(&record).await, Ok(fhirhose_jobs::Cleanup::Done));
    assert!(super::fixture::files_of(&outputs).is_empty());
}

#[tokio::test]
async fn progress_counts_the_bytes_of_the_inputs_and_names_the_one_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = write_inputs(folder.path());
    let bench = Bench::in_memory();
    let job = bench.submit(ImportSpec::of_paths(&inputs)).await;
    let context = bench.claim().await;
    bench.attempt(&context, &settings(), None).await.unwrap();
    let progress = bench.store.catalog().job(&job).await.unwrap().unwrap().progress;
    let bytes: u64 = inputs
        .iter()
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!((progress.done, progress.total), (bytes, bytes));
    assert_eq!(progress.note, "3.ndjson: 20 resources");
}
