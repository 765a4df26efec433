//! The files of an export: their size, form, names, and what becomes of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::{ExportSettings, ExportSpec, FileKind, Target};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::manifest::Manifest;
use fhirhose_jobs::{Cleanup, Clock, Handler, JobContext, JobError, StopReason, StopSignal, Timestamp};
use fhirhose_store::{Encoding, OutputName};
use futures::StreamExt;
use serde_json::Value;

use super::expected::{Known, synthea_of};
use super::fixture::{LATER, World, request, spec};

const FILE_BYTES: u64 = 30_000;

async fn clinic() -> World {
    let world = World::new();
    for resource_type in ["Patient", "Condition", "Organization"] {
        world
            .load_lines(
                synthea_of(resource_type)
                    .iter()
                    .take(400)
                    .map(|known| known.line.clone()),
            )
            .await;
    }
    world
}

fn small(query: &str) -> ExportSpec {
    ExportSpec {
        file_bytes_max: FILE_BYTES,
        ..spec(ExportLevel::System, query)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_split_by_size_and_filled() {
    let world = clinic().await;
    let whole = world.export(&spec(ExportLevel::System, "")).await;
    let split = world.export(&small("")).await;
    assert_eq!(split.lines(FileKind::Output), whole.lines(FileKind::Output));
    for resource_type in ["Condition", "Organization", "Patient"] {
        let files: Vec<_> = split
            .result
            .files
            .iter()
            .filter(|file| file.resource_type.as_deref() == Some(resource_type))
            .collect();
        assert!(files.len() > 1, "{resource_type}");
        let expected = (1..=files.len()).map(|number| format!("{number}.{resource_type}.ndjson"));
        assert!(files.iter().map(|file| file.name.clone()).eq(expected));
        assert!(files.iter().all(|file| file.bytes <= FILE_BYTES));
        let full = files
            .iter()
            .rev()
            .skip(1)
            .all(|file| file.bytes > FILE_BYTES - 8_000);
        assert!(full, "only the last file has room for another resource");
    }
}

/// Spec 1.3, `_maximumFileSize`: respected; the server's own bound holds where it is less.
#[tokio::test(flavor = "multi_thread")]
async fn maximum_file_size_is_kept_below_the_servers_own() {
    let world = clinic().await;
    for (wanted, bound) in [(12_000, 12_000), (1 << 40, FILE_BYTES)] {
        let mut spec = small("");
        spec.request.file_bytes_max = Some(wanted);
        let exported = world.export(&spec).await;
        let sizes = exported.result.files.iter().map(|file| file.bytes);
        let largest = sizes.max().unwrap();
        assert!((bound - 8_000..=bound).contains(&largest), "{largest}");
    }
}

/// Spec 1.3, `_minimumFileSize`: only the last file of a type is shorter, also where a type would be cut into parts.
#[tokio::test(flavor = "multi_thread")]
async fn minimum_file_size_leaves_one_short_file_a_type() {
    let world = clinic().await;
    let settings = ExportSettings {
        part_bytes: 1,
        ..ExportSettings::default()
    };
    for (minimum, expect_one) in [(None, false), (Some(20_000), true)] {
        let mut spec = small("");
        spec.request.file_bytes_min = minimum;
        let job = world.submit(&spec).await.unwrap();
        let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
        let result = world.handler_with(settings.clone()).run(&context).await.unwrap();
        world.finish(&context, result.clone()).await;
        let files = world.read(job, &result, &Target::Outputs).await.result.files;
        let short = files.iter().filter(|file| file.bytes < 20_000);
        let mut types: Vec<_> = short.map(|file| file.resource_type.clone()).collect();
        let all = types.len();
        types.dedup();
        assert_eq!(types.len() == all, expect_one, "{types:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_that_is_longer_than_a_file_has_one_of_its_own() {
    let world = World::new();
    let line = |id: &str, length: usize| {
        format!(
            r#"{{"resourceType":"Basic","id":"{id}","x":"{}"}}"#,
            "y".repeat(length)
        )
    };
    world
        .load_lines([line("a", 10), line("b", 900_000), line("c", 10), line("d", 10)])
        .await;
    let exported = world.export(&small("")).await;
    let counts: Vec<u64> = exported.result.files.iter().map(|file| file.count).collect();
    assert_eq!(counts, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_of_a_state_are_the_same_bytes_also_after_a_compaction() {
    let world = clinic().await;
    let first = world.export(&small("")).await;
    let second = world.export(&small("")).await;
    assert_eq!(first.files(), second.files());
    world.compact("one").await;
    let third = world.export(&small("")).await;
    assert_eq!(first.files(), third.files());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_is_cut_into_parts_has_the_same_lines_in_the_same_order() {
    let world = clinic().await;
    let expected = world.export(&spec(ExportLevel::System, "_type=Condition")).await;
    let job = world.submit(&small("_type=Condition")).await.unwrap();
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let settings = ExportSettings {
        parts_parallel: 3,
        part_bytes: FILE_BYTES,
        ..ExportSettings::default()
    };
    let result = world.handler_with(settings).run(&context).await.unwrap();
    assert!(
        world.jobs().entries(&job, 0, 100).await.unwrap().len() > 5,
        "there are many parts"
    );
    let cut = world.read(job, &result, &Target::Outputs).await;
    assert_eq!(cut.texts.concat(), expected.texts.concat());
    let names: Vec<_> = cut.result.files.iter().map(|file| file.name.clone()).collect();
    let numbered: Vec<_> = (1..=names.len())
        .map(|number| format!("{number}.Condition.ndjson"))
        .collect();
    assert_eq!(names, numbered);
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_cut_resources_down_and_tag_them() {
    let world = clinic().await;
    let exported = world
        .export(&spec(
            ExportLevel::System,
            "_elements=Patient.birthDate,Condition.code",
        ))
        .await;
    let source: Vec<Known> = synthea_of("Patient");
    let mut seen = BTreeSet::new();
    for ((resource_type, id), line) in exported.lines(FileKind::Output) {
        let value: Value = serde_json::from_str(&line).unwrap();
        let members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let expected: &[&str] = match resource_type.as_str() {
            "Patient" => &["resourceType", "id", "meta", "birthDate"],
            "Condition" => &["resourceType", "id", "meta", "code", "subject"],
            _ => {
                assert!(
                    value["meta"]["tag"].is_null(),
                    "types that no element names stay whole"
                );
                continue;
            }
        };
        assert_eq!(
            members.into_iter().collect::<BTreeSet<_>>(),
            expected.iter().copied().collect()
        );
        assert_eq!(value["meta"]["tag"][0]["code"], "SUBSETTED");
        assert!(value["meta"]["versionId"].is_string());
        if let Some(known) = source
            .iter()
            .find(|known| resource_type == "Patient" && known.id == id)
        {
            let sent: Value = serde_json::from_str(&known.line).unwrap();
            assert_eq!(value["birthDate"], sent["birthDate"]);
        }
        seen.insert(resource_type);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_gets_plain_files_and_a_manifest_that_proves_them() {
    let world = clinic().await;
    let start = world.export(&small("")).await;
    let gone = synthea_of("Organization")[0].id.clone();
    world.delete("Organization", &gone, &[]).await;
    world.put(r#"{"resourceType":"Basic","id":"new"}"#).await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("out");
    let query = format!("_since={}", start.result.transaction_time);
    let spec = ExportSpec::new(
        request(ExportLevel::System, &query),
        Target::Folder(folder.clone()),
    );
    let exported = world.export(&spec).await;
    assert_eq!(exported.names(), ["Basic/new".to_owned()].into());
    assert_eq!(exported.deleted(), [format!("Organization/{gone}")].into());
    assert_eq!(listing(&folder), ["1.Basic.ndjson", "deleted", "manifest.json"]);
    assert_eq!(listing(&folder.join("deleted")), ["1.Bundle.ndjson"]);
    let text = std::fs::read(folder.join("manifest.json")).unwrap();
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.transaction_time, exported.result.transaction_time);
    assert_eq!(
        (manifest.output[0].url.as_str(), manifest.output[0].count),
        ("1.Basic.ndjson", Some(1))
    );
    assert_eq!(manifest.deleted[0].url, "deleted/1.Bundle.ndjson");
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let file = &exported.result.files[0];
    assert_eq!(manifest["output"][0]["extension"]["bytes"], file.bytes);
    assert_eq!(
        manifest["output"][0]["extension"]["sha-256"],
        *file.sha256.as_ref().unwrap()
    );
    let again = world.submit(&spec).await.unwrap_err();
    assert_eq!(
        again.kind(),
        ErrorKind::Invalid,
        "the folder is not empty any more"
    );
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_with_their_job_but_not_under_a_download() {
    let world = clinic().await;
    let exported = world.export(&small("")).await;
    let record = world.jobs().job(&exported.job).await.unwrap().unwrap();
    let file = &exported.result.files[0];
    let name = OutputName::new(&exported.job.to_string(), &file.stored_name).unwrap();
    let mut download = world
        .store
        .outputs()
        .open(&name)
        .await
        .unwrap()
        .stream(Encoding::Identity);
    assert_eq!(world.handler().clean(&record).await, Ok(Cleanup::Later));
    while let Some(piece) = download.next().await {
        piece.unwrap();
    }
    drop(download);
    assert_eq!(world.handler().clean(&record).await, Ok(Cleanup::Done));
    assert_eq!(
        world.handler().clean(&record).await,
        Ok(Cleanup::Done),
        "cleaning twice is fine"
    );
    assert!(
        !world
            .store
            .outputs()
            .jobs()
            .await
            .unwrap()
            .contains(&exported.job.to_string())
    );
}

/// Signals a stop when it has been looked at so often: an export looks at the clock when a thread tells it something.
struct StoppingClock {
    looks_left: AtomicI64,
    reason: StopReason,
    stop: StopSignal,
}

#[async_trait]
impl Clock for StoppingClock {
    fn now(&self) -> Timestamp {
        if self.looks_left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.stop.stop(self.reason);
        }
        Timestamp::from_micros(0)
    }

    async fn sleep_until(&self, _at: Timestamp) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_export_stops_where_it_is_and_leaves_nothing() {
    let world = clinic().await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("out");
    let to_folder = ExportSpec {
        target: Target::Folder(folder.clone()),
        ..small("")
    };
    for spec in [small(""), to_folder] {
        let job = world.submit(&spec).await.unwrap();
        let stop = StopSignal::new();
        let claimed = world.claim("export", &world.jobs(), &stop).await;
        let reason = StopReason::Cancelled;
        let clock = StoppingClock {
            looks_left: AtomicI64::new(8),
            reason,
            stop: stop.clone(),
        };
        let claimed = (claimed.record().clone(), *claimed.lease());
        let context = JobContext::new(claimed, world.jobs(), Arc::new(clock), stop);
        let settings = ExportSettings {
            parts_parallel: 1,
            checkpoint_millis: 0,
            // The first file is in its place before the third begins.
            files_finishing_max: 1,
            ..ExportSettings::default()
        };
        let handler = world.handler_with(settings);
        assert_eq!(
            handler.run(&context).await,
            Err(JobError::Stop(StopReason::Cancelled))
        );
        let rows = world.jobs().entries(&job, 0, 100).await.unwrap();
        assert!(
            rows.iter()
                .any(|(_, row)| row.windows(7).any(|part| part == b".ndjson")),
            "it had finished files"
        );
        let record = world.jobs().job(&job).await.unwrap().unwrap();
        assert_eq!(handler.clean(&record).await, Ok(Cleanup::Done));
        assert!(
            !world
                .store
                .outputs()
                .jobs()
                .await
                .unwrap()
                .contains(&job.to_string())
        );
        world.jobs().remove(&job).await.unwrap();
    }
    assert!(listing(&folder).is_empty());
}

/// What is told behind a file that failed would be a hole: a worker that goes on after a crash in that moment would step over its rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_fails_leaves_no_hole_for_who_goes_on() {
    let world = clinic().await;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("out");
    let spec = ExportSpec {
        target: Target::Folder(folder.clone()),
        file_bytes_max: 1,
        ..small("_type=Condition")
    };
    let handler = world.handler_with(ExportSettings {
        parts_parallel: 1,
        checkpoint_millis: 0,
        ..ExportSettings::default()
    });
    let job = world.submit(&spec).await.unwrap();
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    // The third file's name is taken.
    let taken = folder.join(format!(".export-{job}/0-2-1.Condition.ndjson/taken"));
    std::fs::create_dir_all(taken).unwrap();
    let ended = handler.run(&context).await;
    assert!(matches!(ended, Err(JobError::Failed(_))), "{ended:?}");
    // The process dies before it can tell anybody.
    world.clock.advance(LATER * 2);
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let result = handler.run(&context).await.unwrap();
    world.finish(&context, result.clone()).await;
    let given = world.read(job, &result, &spec.target).await;
    let expected = world.export(&small("_type=Condition")).await;
    assert_eq!(given.lines(FileKind::Output), expected.lines(FileKind::Output));
}

/// Spec 1.3, `_maximumFileSize`: how many files a client can ask for has a limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_maximum_file_size_that_would_make_too_many_files_is_refused() {
    let world = clinic().await;
    let settings = ExportSettings {
        small_files_max: 20,
        ..ExportSettings::default()
    };
    for (wanted, is_refused) in [(Some(100), true), (None, false)] {
        let mut spec = ExportSpec {
            file_bytes_max: 5_000,
            ..small("")
        };
        spec.request.file_bytes_max = wanted;
        world.submit(&spec).await.unwrap();
        let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
        match world.handler_with(settings.clone()).run(&context).await {
            Ok(result) => {
                assert!(!is_refused);
                world.finish(&context, result).await;
            }
            Err(JobError::Failed(failure)) => {
                assert!(
                    is_refused && failure.message.contains("_maximumFileSize"),
                    "{failure:?}"
                );
                world.jobs().remove(&context.record().id).await.unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}
