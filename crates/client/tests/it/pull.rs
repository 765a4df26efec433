//! Pulling from a server into a folder: what lies there, and how a later run goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhirhose_auth::{Algorithm, SigningKey};
use fhirhose_client::pull::{PullEvent, Quiet, Watch};
use fhirhose_client::receipt::{Proof, ProveSettings, PulledFolder, Sealed, Standing};
use fhirhose_client::testing::{
    Counts, Cut, EntityTag, Fault, FileCoding, FileHost, ManifestShape, Manner, Pages, Place, RetryAfter,
    SourceFile, Strike, Words,
};
use fhirhose_client::{ErrorKind, SystemClock};
use serde_json::{Value, json};

use crate::case::Case;

fn lines(resource_type: &str, count: usize) -> String {
    let line = |number: usize| {
        let note = "n".repeat(number % 90);
        format!(
            "{{\"resourceType\":\"{resource_type}\",\"id\":\"{resource_type}-{number}\",\"note\":\"{note}\"}}\n"
        )
    };
    (0..count).map(line).collect()
}

fn population() -> Vec<SourceFile> {
    let outcome = "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"warning\"},{\"severity\":\"error\"}]}\n";
    let deleted = "{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[]}\n";
    vec![
        SourceFile::output("Patient", lines("Patient", 3)),
        SourceFile::output("Observation", lines("Observation", 2_000)),
        SourceFile::output("Patient", lines("Patient", 40)),
        SourceFile::deleted(deleted),
        SourceFile::error(outcome),
    ]
}

const NAMES: [&str; 5] = [
    "1.Patient.ndjson",
    "1.Observation.ndjson",
    "2.Patient.ndjson",
    "deleted/1.Bundle.ndjson",
    "error/1.OperationOutcome.ndjson",
];

/// Where the second file lies while it is not whole.
const PARTIAL: &str = ".fhirhose-pull/1.Observation.ndjson.partial";

async fn new_case(manner: Manner, script: Vec<Strike>) -> Case {
    Case::of(population(), manner, script).await
}

/// Writes names of events down.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Watch for Notes {
    fn hear(&self, event: &PullEvent<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[tokio::test]
async fn a_pull_leaves_whole_files_a_manifest_and_a_log_and_then_deletes_the_job_cl_10_cl_13() {
    let case = new_case(Manner::default(), Vec::new()).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert!(report.job_deleted && !report.resumed && !report.already_whole);
    assert_eq!((report.issues["warning"], report.issues["error"]), (1, 1));
    assert_eq!(case.asked(Place::Delete).len(), 1);
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "1.Patient.ndjson",
            "1.Observation.ndjson",
            "2.Patient.ndjson",
            NAMES[3],
            NAMES[4]
        ]
    );

    let manifest: Value = serde_json::from_str(&case.text("manifest.json")).unwrap();
    assert_eq!(manifest["output"][1]["url"], "1.Observation.ndjson");
    let pulled = PulledFolder::open(&case.folder()).unwrap();
    assert_eq!(pulled.standing(), Standing::WithReceipt);
    assert_eq!(pulled.transaction_time(), Some(report.transaction_time.as_str()));
    assert_eq!(manifest["transactionTime"], report.transaction_time.as_str());
    let log = case.log();
    let events: Vec<&str> = log.iter().map(|line| line["eventId"].as_str().unwrap()).collect();
    assert_eq!(
        (events[0], events[events.len() - 1]),
        ("kickoff", "export_complete")
    );
    for (event, times) in [
        ("status_page_complete", 1),
        ("download_request", 5),
        ("download_complete", 5),
    ] {
        assert_eq!(
            events.iter().filter(|known| **known == event).count(),
            times,
            "{event}"
        );
    }
    assert!(log.iter().all(|line| line["exportId"] == log[0]["exportId"]));
}

#[tokio::test]
async fn the_log_says_what_was_asked_for_and_what_came_and_no_patient_and_no_link() {
    let manner = Manner {
        takes: Duration::from_secs(600),
        retry_after: RetryAfter::Secs(100),
        progress: Some("half of it".to_owned()),
        pages: Pages {
            files_each: Some(2),
            ..Pages::default()
        },
        ..Manner::default()
    };
    let mut case = new_case(manner, Vec::new()).await;
    case.parameters.types = vec!["Patient".to_owned(), "Observation".to_owned()];
    case.parameters.patients = vec!["Patient/secret-1".to_owned()];
    case.settings.log_status_progress = true;
    let report = case.whole().await;
    let time = &report.transaction_time;
    let kickoff = &case.log_of("kickoff")[0];
    assert_eq!(kickoff["logVersion"], "2");
    assert_eq!(
        kickoff["requestParameters"],
        json!({"_type": "Patient,Observation"})
    );
    assert_eq!(
        kickoff["exportUrl"],
        format!("{}/Patient/$export", case.ehr.base())
    );
    let complete = json!({"transactionTime": time, "totalOutputFileCount": 3, "totalDeletedFileCount": 1,
        "totalErrorFileCount": 1, "totalManifests": 3});
    assert_eq!(case.log_of("manifest_complete"), [complete]);
    assert_eq!(case.log_of("status_complete"), [json!({"transactionTime": time})]);
    let mut came = Vec::new();
    for complete in case.log_of("download_complete") {
        came.push((
            complete["resourceCount"].as_u64().unwrap(),
            complete["fileSize"].as_u64().unwrap(),
        ));
    }
    let mut there: Vec<_> = population()
        .iter()
        .map(|file| (file.lines(), file.text.len() as u64))
        .collect();
    came.sort_unstable();
    there.sort_unstable();
    assert_eq!(came, there);
    let told = &case.log_of("export_complete")[0];
    let sum = |of: fn(&(u64, u64)) -> u64| there.iter().map(of).sum::<u64>();
    assert_eq!(
        (told["files"].as_u64(), told["attachments"].as_u64()),
        (Some(5), Some(0))
    );
    assert_eq!(told["resources"], sum(|file| file.0));
    assert_eq!(told["bytes"], sum(|file| file.1));
    assert!(told["duration"].as_u64() >= Some(600_000), "{told}");
    let progress = case.log_of("status_progress");
    assert_eq!(progress.len(), 6, "{progress:?}");
    let said = json!({"body": null, "xProgress": "half of it", "retryAfter": 100});
    assert!(progress.iter().all(|line| *line == said), "{progress:?}");
    let log = case.text("log.ndjson");
    assert!(!log.contains("sig=") && !log.contains("secret-"), "{log}");
}

/// Puts something in the manifest's way as soon as a file is whole.
struct InTheWay(PathBuf);

impl Watch for InTheWay {
    fn hear(&self, event: &PullEvent<'_>) {
        if matches!(event, PullEvent::FileDone { .. }) {
            fs::create_dir_all(&self.0).unwrap();
        }
    }
}

#[tokio::test]
async fn the_job_is_deleted_only_when_the_manifest_is_on_the_disk_cl_13() {
    let case = new_case(Manner::default(), Vec::new()).await;
    let manifest = case.folder().join("manifest.json");
    let failed = case.run(&InTheWay(manifest.clone())).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Disk, "{failed}");
    assert_eq!(case.asked(Place::AnyFile).len(), 5);
    assert_eq!(case.asked(Place::Delete).len(), 0);
    fs::remove_dir(manifest).unwrap();
    let report = case.whole().await;
    assert!(report.resumed && report.job_deleted);
    assert_eq!(case.asked(Place::Delete).len(), 1);
    assert_eq!(case.asked(Place::AnyFile).len(), 5, "nothing is fetched again");
}

#[tokio::test]
async fn a_folder_that_was_pulled_with_a_key_proves_whole_wherever_it_lies_and_no_byte_of_it_changes_unseen()
{
    let mut case = new_case(Manner::default(), Vec::new()).await;
    let key = SigningKey::generate(Algorithm::Es384).unwrap();
    let signer = key.verifying_key().thumbprint();
    case.settings.receipt_key = Some(Arc::new(key));
    case.whole().await;
    let elsewhere = case.place.path().join("elsewhere");
    fs::rename(case.folder(), &elsewhere).unwrap();
    let prove = || -> Proof {
        let settings = ProveSettings {
            deep: true,
            signers: vec![signer.clone()],
            ..ProveSettings::default()
        };
        let folder = PulledFolder::open(&elsewhere).unwrap();
        folder.prove(&settings, &|_| ()).unwrap()
    };
    let proof = prove();
    assert!(proof.is_whole() && proof.extra.is_empty(), "{proof:?}");
    assert_eq!((proof.files, &proof.sealed), (5, &Sealed::By(signer.clone())));
    for name in NAMES {
        let whole = fs::read(elsewhere.join(name)).unwrap();
        let mut changed = whole.clone();
        let at = whole.len() / 2;
        changed[at] ^= 1;
        fs::write(elsewhere.join(name), changed).unwrap();
        let damages: Vec<_> = prove().damages.into_iter().map(|damage| damage.file).collect();
        assert_eq!(damages, [name]);
        fs::write(elsewhere.join(name), whole).unwrap();
    }
    assert!(prove().is_whole());
}

#[tokio::test]
async fn a_finished_pull_that_has_lost_a_file_since_names_it() {
    let case = new_case(Manner::default(), Vec::new()).await;
    case.whole().await;
    let asked = case.ehr.asked().len();
    fs::remove_file(case.folder().join(NAMES[1])).unwrap();
    let gone = case.run(&Quiet).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Corrupt);
    assert!(gone.to_string().contains(NAMES[1]), "{gone}");
    assert_eq!(case.ehr.asked().len(), asked);
}

#[tokio::test]
async fn a_later_run_goes_on_at_the_byte_where_the_connection_broke_and_fetches_nothing_twice() {
    let cut = Strike::once(Place::File(1), Fault::Cut(Cut::Body(30_000)));
    let gone = Strike::once(Place::File(1), Fault::answer(503, Words::Html));
    let case = new_case(Manner::default(), vec![cut, gone]).await;
    let first = case.hasty().run(&Quiet).await.unwrap();
    assert_eq!(first.missing[0].name, NAMES[1]);
    assert_eq!(case.asked(Place::Delete).len(), 0, "not everything is here");
    // What a power cut can leave behind what was written.
    let partial = case.folder().join(PARTIAL);
    let mut text = fs::read(&partial).unwrap();
    assert!(text.len() > 10_000);
    text.extend_from_slice(&[0; 100]);
    fs::write(&partial, text).unwrap();

    let second = case.hasty().run(&Quiet).await.unwrap();
    case.assert_whole(&second);
    assert!(second.resumed && second.job_deleted);
    assert_eq!(
        (case.asked(Place::KickOff).len(), case.asked(Place::AnyFile).len()),
        (1, 7)
    );
    let asked = case.asked(Place::File(1));
    assert!(asked[2].range_start().unwrap() > 10_000);
    assert!(asked[2].header("if-range").is_some());
    assert_eq!(asked[2].status, 206);
    assert!(
        case.log()
            .iter()
            .all(|line| line["exportId"] == case.log()[0]["exportId"])
    );
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_file_again_and_it_is_said() {
    let manner = Manner {
        ignores_ranges: true,
        entity_tag: EntityTag::Restless,
        ..Manner::default()
    };
    let cut = Strike::once(Place::File(1), Fault::Cut(Cut::Body(30_000)));
    let case = new_case(manner, vec![cut]).await;
    let notes = Notes::default();
    let report = case.pull().run(&notes).await.unwrap();
    case.assert_whole(&report);
    let notes = notes.0.into_inner().unwrap();
    assert!(
        notes.iter().any(|note| note.starts_with("FileAgain")),
        "{notes:?}"
    );
}

#[tokio::test]
async fn a_wrong_count_is_taken_where_it_is_not_binding() {
    let manner = Manner {
        counts: Counts::TooMany,
        ..Manner::default()
    };
    let mut case = new_case(manner, Vec::new()).await;
    assert_eq!(case.run(&Quiet).await.unwrap().missing.len(), 5);
    case.settings.count_is_binding = false;
    case.whole().await;
    assert_eq!(case.asked(Place::Delete).len(), 1);
}

#[tokio::test]
async fn a_folder_of_another_pull_is_left_alone_and_no_patient_is_named() {
    let case = new_case(Manner::default(), Vec::new()).await;
    let mut one = case.pull();
    one.parameters.patients = vec!["secret-1".to_owned()];
    one.run(&Quiet).await.unwrap();
    let mut other = case.pull();
    other.parameters.patients = vec!["secret-2".to_owned()];
    other.parameters.types = vec!["Patient".to_owned()];
    let refused = other.run(&Quiet).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OtherFolder);
    let text = refused.to_string();
    assert!(
        text.contains("patients, types") && !text.contains("secret"),
        "{text}"
    );
    assert_secret_free(&case.folder());

    let foreign = case.place.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("1.Patient.ndjson"), "{}").unwrap();
    let mut into_foreign = case.pull();
    into_foreign.folder = foreign;
    let refused = into_foreign.run(&Quiet).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OtherFolder);
}

fn assert_secret_free(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_secret_free(&path);
        } else {
            let text = fs::read(&path).unwrap();
            assert!(
                !String::from_utf8_lossy(&text).contains("secret-"),
                "{}",
                path.display()
            );
        }
    }
}

#[tokio::test]
async fn pages_are_followed_a_file_on_two_pages_is_fetched_once_and_the_time_stays_as_it_was_cl_09_cl_12() {
    for restless in [false, true] {
        let manner = Manner {
            shape: ManifestShape::Stu4,
            pages: Pages {
                files_each: Some(2),
                repeats: true,
                restless,
            },
            ..Manner::default()
        };
        let case = new_case(manner, Vec::new()).await;
        let mut pull = case.pull();
        pull.parameters.allow_partial_manifests = true;
        let report = pull.run(&Quiet).await.unwrap();
        assert_eq!((report.files.len(), report.missing.len()), (5, 0));
        assert_eq!(case.asked(Place::AnyFile).len(), 5);
        let manifest: Value = serde_json::from_str(&case.text("manifest.json")).unwrap();
        assert_eq!(manifest["transactionTime"], report.transaction_time.as_str());
        assert!(manifest.get("link").is_none());
    }
}

#[tokio::test]
async fn pages_have_folders_and_manifests_of_their_own_where_that_is_asked_for() {
    let manner = Manner {
        pages: Pages {
            files_each: Some(2),
            ..Pages::default()
        },
        ..Manner::default()
    };
    let case = new_case(manner, Vec::new()).await;
    let mut pull = case.pull();
    pull.parameters.allow_partial_manifests = true;
    pull.settings.page_folders = true;
    let report = pull.run(&Quiet).await.unwrap();
    let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
    let expected = [
        "0/1.Patient.ndjson",
        "0/1.Observation.ndjson",
        "1/1.Patient.ndjson",
        "1/deleted/1.Bundle.ndjson",
        "2/error/1.OperationOutcome.ndjson",
    ];
    assert_eq!(names, expected);
    let manifest = |name: &str| serde_json::from_str::<Value>(&case.text(name)).unwrap();
    assert_eq!(
        manifest("1/manifest.json")["deleted"][0]["url"],
        "deleted/1.Bundle.ndjson"
    );
    assert_eq!(manifest("1/manifest.json")["output"].as_array().unwrap().len(), 1);
    assert_eq!(
        manifest("manifest.json")["output"][2]["url"],
        "1/1.Patient.ndjson"
    );
}

#[tokio::test]
async fn a_job_that_cannot_be_deleted_is_told_and_no_failure_cl_13() {
    for (status, is_deleted) in [(404, true), (405, false), (500, false)] {
        let manner = Manner {
            delete_status: Some(status),
            ..Manner::default()
        };
        let case = new_case(manner, Vec::new()).await;
        let report = case.pull().run(&Quiet).await.unwrap();
        case.assert_whole(&report);
        assert_eq!(report.job_deleted, is_deleted, "{status}");
        assert_eq!(report.delete_problem.is_some(), !is_deleted);
    }
}

#[tokio::test]
async fn two_pulls_into_one_folder_do_not_run_at_a_time() {
    let manner = Manner {
        takes: Duration::from_secs(3_600),
        ..Manner::default()
    };
    let case = new_case(manner, Vec::new()).await;
    let pull = case.pull();
    let held = case.pull();
    let lock = case.folder().join(".fhirhose-pull/lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let lock = fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    let refused = held.run(&Quiet).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    drop(lock);
    let report = pull.run(&Quiet).await.unwrap();
    case.assert_whole(&report);
}

#[tokio::test]
async fn an_export_that_is_lost_is_begun_anew_by_the_same_command() {
    let failed = Strike::once(Place::Status, Fault::answer(500, Words::Exception));
    let case = new_case(Manner::default(), vec![failed]).await;
    let lost = case.pull().run(&Quiet).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Refused);
    assert!(
        lost.to_string().contains("the same command begins another"),
        "{lost}"
    );
    let events: Vec<Value> = case.log();
    assert!(events.iter().any(|line| line["eventId"] == "status_error"));
    assert_eq!(events.last().unwrap()["eventId"], "client_error");
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert_eq!(case.asked(Place::KickOff).len(), 2);
}

#[tokio::test]
async fn what_a_server_says_of_a_patient_is_not_written_down() {
    let failed = Strike::once(Place::Status, Fault::answer(500, Words::Exception));
    let case = new_case(Manner::default(), vec![failed]).await;
    let mut pull = case.pull();
    pull.parameters.patients = vec!["wrong".to_owned()];
    let lost = pull.run(&Quiet).await.unwrap_err();
    let log = case.text("log.ndjson");
    for text in [format!("{lost:?}"), log] {
        assert!(text.contains("went …") && !text.contains("wrong"), "{text}");
    }
}

#[tokio::test]
async fn a_manifest_that_does_not_end_is_left() {
    let case = new_case(Manner::default(), Vec::new()).await;
    let mut pull = case.pull();
    pull.settings.manifest_bytes_max = 100;
    let error = pull.run(&Quiet).await.unwrap_err();
    assert!(error.to_string().contains("longer than 100 bytes"), "{error}");
}

#[tokio::test]
async fn compressed_bodies_are_gone_on_with_at_a_frame_after_a_crash_and_at_the_byte_within_a_run() {
    for coding in [FileCoding::ZstdFrames, FileCoding::GzipMembers, FileCoding::Zstd] {
        let manner = || Manner {
            coding,
            ..Manner::default()
        };
        let cut = |at| Strike::once(Place::File(0), Fault::Cut(Cut::Body(at)));
        let long = vec![SourceFile::output("Observation", lines("Observation", 60_000))];
        // Within a run.
        let mut case = Case::of(long.clone(), manner(), vec![cut(100_000)]).await;
        // A server that encodes is silent.
        case.read_timeout_secs = 30;
        let report = case.pull().run(&Quiet).await.unwrap();
        assert!(case.text(NAMES[1]).as_bytes() == long[0].text && report.is_whole());
        assert_eq!(
            case.asked(Place::File(0))[1].range_start().map(|from| from > 0),
            Some(true)
        );
        // After a crash.
        let gone = Strike::once(Place::File(0), Fault::answer(503, Words::Html));
        let half = report.bytes_received / 2;
        let mut case = Case::of(long.clone(), manner(), vec![cut(half), gone]).await;
        case.read_timeout_secs = 30;
        let first = case.hasty().run(&Quiet).await.unwrap();
        assert!(!first.is_whole());
        let second = case.hasty().run(&Quiet).await.unwrap();
        assert!(case.text(NAMES[1]).as_bytes() == long[0].text && second.is_whole());
        let from = case.asked(Place::File(0))[2].range_start();
        match coding {
            FileCoding::Zstd => assert_eq!(from, None, "one frame can only be begun again"),
            _ => assert!(from.unwrap() > 0 && from.unwrap() <= half),
        }
    }
}

#[tokio::test]
async fn links_that_expire_are_made_anew_by_the_manifest() {
    let manner = Manner {
        file_host: FileHost::Other,
        links_last: Some(Duration::from_secs(60)),
        pages: Pages {
            restless: true,
            ..Pages::default()
        },
        ..Manner::default()
    };
    let script = vec![Strike::times(3, Place::AnyFile, Fault::Expired)];
    let case = new_case(manner, script).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    assert_eq!((report.files.len(), report.missing.len()), (5, 0));
    // A later run has nothing but old links.
    let gone = Strike::always(Place::File(1), Fault::answer(503, Words::Html));
    let manner = Manner {
        links_last: Some(Duration::from_secs(60)),
        ..Manner::default()
    };
    let case = new_case(manner, vec![Strike { times: 1, ..gone }]).await;
    assert!(!case.hasty().run(&Quiet).await.unwrap().is_whole());
    case.clock.advance(Duration::from_secs(3_600));
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_left_alone_by_all_downloads() {
    let files = vec![SourceFile::output("Patient", lines("Patient", 3)); 40];
    let later = Fault::answer_later(429, RetryAfter::Secs(2), Words::Nothing);
    let script = vec![Strike::once(Place::File(0), later)];
    let mut case = Case::of(files, Manner::default(), script).await;
    case.settings.parallel_downloads = 2;
    let mut pull = case.pull();
    // In real time: the one that jumps leaves no time for the others.
    pull.provider = pull.provider.with_clock(Arc::new(SystemClock));
    let report = pull.run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert!(report.ms >= 2_000, "{}", report.ms);
    let files = case.files_asked();
    let again = files.iter().rposition(|file| *file == 0).unwrap();
    assert!(again > 0 && again < 20, "the others did not wait: {files:?}");
}

#[tokio::test]
async fn files_that_a_crash_left_under_their_names_are_proven_and_not_fetched_again() {
    let gone = Strike::once(Place::File(1), Fault::answer(503, Words::Html));
    let case = new_case(Manner::default(), vec![gone]).await;
    assert!(!case.hasty().run(&Quiet).await.unwrap().is_whole());
    // As if the crash had come between the names and the notes.
    let journal = case.folder().join(".fhirhose-pull/journal");
    let text = fs::read_to_string(&journal).unwrap();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"done\""))
        .collect();
    assert!(kept.len() < text.len());
    fs::write(&journal, kept).unwrap();
    let patients = case.folder().join(NAMES[0]);
    let damaged = fs::read_to_string(&patients)
        .unwrap()
        .replace("Patient-1", "Patient");
    fs::write(&patients, damaged.lines().next().unwrap()).unwrap();
    let asked = case.asked(Place::AnyFile).len();
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert_eq!(
        case.asked(Place::AnyFile).len(),
        asked + 2,
        "the one that was missing and the damaged one"
    );
}
