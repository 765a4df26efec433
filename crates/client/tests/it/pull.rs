//! Pulling from a server into a folder: what lies there, and how a later run goes on.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fhirhose_client::pull::{Pull, PullEvent, PullReport, PullSettings, Quiet, Watch};
use fhirhose_client::receipt::{PulledFolder, Standing};
use fhirhose_client::testing::{
    Counts, Cut, EhrSettings, EntityTag, Fault, FaultyEhr, FileCoding, FileHost, ManifestShape, Manner,
    Pages, Place, RetryAfter, SimulatedClock, SourceFile, Strike, Words,
};
use fhirhose_client::{DataProvider, ErrorKind, ExportParameters, Http, HttpSettings};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::Value;
use tempfile::TempDir;

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

struct Case {
    ehr: FaultyEhr,
    clock: SimulatedClock,
    folder: TempDir,
}

impl Case {
    async fn new(manner: Manner, script: Vec<Strike>) -> Self {
        Self::with(population(), manner, script).await
    }

    async fn with(files: Vec<SourceFile>, manner: Manner, script: Vec<Strike>) -> Self {
        let clock = SimulatedClock::default();
        let settings = EhrSettings {
            files,
            manner,
            script,
        };
        Self {
            ehr: FaultyEhr::simulated(settings, &clock).await,
            clock,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn pull(&self) -> Pull {
        let http = Http::new(&HttpSettings::default()).unwrap();
        let provider = DataProvider::new(&http, &self.ehr.base()).unwrap();
        Pull {
            provider: provider.with_clock(Arc::new(self.clock.clone())),
            parameters: ExportParameters::new(ExportLevel::System),
            folder: self.folder.path().join("out"),
            settings: PullSettings::default(),
        }
    }

    /// One try a file.
    fn hasty(&self) -> Pull {
        let mut pull = self.pull();
        pull.settings.file_attempts_max = 1;
        pull.settings.file_busy_max = 1;
        pull
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("out").join(name)).unwrap()
    }

    fn assert_whole(&self, report: &PullReport) {
        assert_eq!(report.missing, []);
        for (file, name) in population().iter().zip(NAMES) {
            assert!(self.text(name).as_bytes() == file.text, "{name}");
            let pulled = report.files.iter().find(|pulled| pulled.name == name).unwrap();
            assert_eq!(
                (pulled.bytes, pulled.lines),
                (file.text.len() as u64, file.lines())
            );
        }
        let left = fs::read_dir(self.folder.path().join("out/.fhirhose-pull")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().ends_with("partial")),
            "{left:?}"
        );
    }

    fn asked(&self, place: Place) -> usize {
        self.ehr.asked_at(place).len()
    }

    fn log(&self) -> Vec<Value> {
        let log = self.text("log.ndjson");
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
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
    let case = Case::new(Manner::default(), Vec::new()).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert!(report.job_deleted && !report.resumed && !report.already_whole);
    assert_eq!((report.issues["warning"], report.issues["error"]), (1, 1));
    assert_eq!(case.asked(Place::Delete), 1);
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
    let pulled = PulledFolder::open(&case.folder.path().join("out")).unwrap();
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
async fn a_finished_pull_asks_the_server_nothing_when_it_is_run_again() {
    let case = Case::new(Manner::default(), Vec::new()).await;
    let first = case.pull().run(&Quiet).await.unwrap();
    let asked = case.ehr.asked().len();
    let again = case.pull().run(&Quiet).await.unwrap();
    assert!(again.already_whole);
    assert_eq!((&again.files, case.ehr.asked().len()), (&first.files, asked));
    fs::remove_file(case.folder.path().join("out").join(NAMES[1])).unwrap();
    let gone = case.pull().run(&Quiet).await.unwrap_err();
    assert!(gone.to_string().contains(NAMES[1]), "{gone}");
}

#[tokio::test]
async fn a_later_run_goes_on_at_the_byte_where_the_connection_broke_and_fetches_nothing_twice() {
    let cut = Strike::once(Place::File(1), Fault::Cut(Cut::Body(30_000)));
    let gone = Strike::once(Place::File(1), Fault::answer(503, Words::Html));
    let case = Case::new(Manner::default(), vec![cut, gone]).await;
    let first = case.hasty().run(&Quiet).await.unwrap();
    assert_eq!(first.missing[0].name, NAMES[1]);
    assert_eq!(case.asked(Place::Delete), 0, "not everything is here");
    // What a power cut can leave behind what was written.
    let partial = case
        .folder
        .path()
        .join("out/.fhirhose-pull/1.Observation.ndjson.partial");
    let mut text = fs::read(&partial).unwrap();
    assert!(text.len() > 10_000);
    text.extend_from_slice(&[0; 100]);
    fs::write(&partial, text).unwrap();

    let second = case.hasty().run(&Quiet).await.unwrap();
    case.assert_whole(&second);
    assert!(second.resumed && second.job_deleted);
    assert_eq!((case.asked(Place::KickOff), case.asked(Place::AnyFile)), (1, 7));
    let asked = case.ehr.asked_at(Place::File(1));
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
async fn connections_that_break_are_gone_on_with_in_the_same_run() {
    let cut = |at| Strike::once(Place::File(1), Fault::Cut(Cut::Body(at)));
    let case = Case::new(Manner::default(), vec![cut(30_000), cut(20_000), cut(1)]).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert!(report.retries >= 2);
    let asked = case.ehr.asked_at(Place::File(1));
    assert!(asked[1..].iter().all(|asked| asked.range_start().is_some()));
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_file_again_and_it_is_said() {
    let manner = Manner {
        ignores_ranges: true,
        entity_tag: EntityTag::Restless,
        ..Manner::default()
    };
    let cut = Strike::once(Place::File(1), Fault::Cut(Cut::Body(30_000)));
    let case = Case::new(manner, vec![cut]).await;
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
async fn a_wrong_count_is_told_with_both_numbers_and_the_job_stays() {
    let manner = Manner {
        counts: Counts::TooMany,
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    assert_eq!((report.files.len(), report.missing.len()), (0, 5));
    let why = &report.missing[1].why;
    assert!(why.contains("2000 lines") && why.contains("2001"), "{why}");
    assert_eq!(case.asked(Place::Delete), 0);

    let mut trusting = case.pull();
    trusting.settings.count_is_binding = false;
    let report = trusting.run(&Quiet).await.unwrap();
    case.assert_whole(&report);
}

#[tokio::test]
async fn altered_bodies_are_fetched_again_cl_10() {
    let script = vec![
        Strike::once(Place::File(0), Fault::BrokenLine),
        Strike::once(Place::File(1), Fault::OtherType),
        Strike::once(Place::File(2), Fault::ShortBody(100)),
        Strike::once(Place::File(3), Fault::answer(503, Words::Html)),
    ];
    let case = Case::new(Manner::default(), script).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
}

#[tokio::test]
async fn a_folder_of_another_pull_is_left_alone_and_no_patient_is_named() {
    let case = Case::new(Manner::default(), Vec::new()).await;
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
    assert_secret_free(&case.folder.path().join("out"));

    let foreign = case.folder.path().join("foreign");
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
        let case = Case::new(manner, Vec::new()).await;
        let mut pull = case.pull();
        pull.parameters.allow_partial_manifests = true;
        let report = pull.run(&Quiet).await.unwrap();
        assert_eq!((report.files.len(), report.missing.len()), (5, 0));
        assert_eq!(case.asked(Place::AnyFile), 5);
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
    let case = Case::new(manner, Vec::new()).await;
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
        let case = Case::new(manner, Vec::new()).await;
        let report = case.pull().run(&Quiet).await.unwrap();
        case.assert_whole(&report);
        assert_eq!(report.job_deleted, is_deleted, "{status}");
        assert_eq!(report.delete_problem.is_some(), !is_deleted);
    }
}

#[tokio::test]
async fn two_pulls_into_one_folder_do_not_run_at_a_time() {
    let manner = Manner {
        takes: std::time::Duration::from_secs(3_600),
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    let pull = case.pull();
    let held = case.pull();
    let lock = case.folder.path().join("out/.fhirhose-pull/lock");
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
    let case = Case::new(Manner::default(), vec![failed]).await;
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
    assert_eq!(case.asked(Place::KickOff), 2);
}

#[tokio::test]
async fn what_a_server_says_of_a_patient_is_not_written_down() {
    let failed = Strike::once(Place::Status, Fault::answer(500, Words::Exception));
    let case = Case::new(Manner::default(), vec![failed]).await;
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
    let case = Case::new(Manner::default(), Vec::new()).await;
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
        let case = Case::with(long.clone(), manner(), vec![cut(100_000)]).await;
        let report = case.pull().run(&Quiet).await.unwrap();
        assert!(case.text(NAMES[1]).as_bytes() == long[0].text && report.is_whole());
        assert_eq!(
            case.ehr.asked_at(Place::File(0))[1]
                .range_start()
                .map(|from| from > 0),
            Some(true)
        );
        // After a crash.
        let gone = Strike::once(Place::File(0), Fault::answer(503, Words::Html));
        let half = report.bytes_received / 2;
        let case = Case::with(long.clone(), manner(), vec![cut(half), gone]).await;
        let first = case.hasty().run(&Quiet).await.unwrap();
        assert!(!first.is_whole());
        let second = case.hasty().run(&Quiet).await.unwrap();
        assert!(case.text(NAMES[1]).as_bytes() == long[0].text && second.is_whole());
        let from = case.ehr.asked_at(Place::File(0))[2].range_start();
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
        links_last: Some(std::time::Duration::from_secs(60)),
        pages: Pages {
            restless: true,
            ..Pages::default()
        },
        ..Manner::default()
    };
    let script = vec![Strike::times(3, Place::AnyFile, Fault::Expired)];
    let case = Case::new(manner, script).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    assert_eq!((report.files.len(), report.missing.len()), (5, 0));
    // A later run has nothing but old links.
    let gone = Strike::always(Place::File(1), Fault::answer(503, Words::Html));
    let manner = Manner {
        links_last: Some(std::time::Duration::from_secs(60)),
        ..Manner::default()
    };
    let case = Case::new(manner, vec![Strike { times: 1, ..gone }]).await;
    assert!(!case.hasty().run(&Quiet).await.unwrap().is_whole());
    case.clock.advance(std::time::Duration::from_secs(3_600));
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_left_alone_by_all_downloads() {
    let later = Fault::answer_later(429, RetryAfter::Secs(120), Words::Nothing);
    let case = Case::new(Manner::default(), vec![Strike::times(2, Place::AnyFile, later)]).await;
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert!(report.ms >= 120_000, "{}", report.ms);
}

#[tokio::test]
async fn files_that_a_crash_left_under_their_names_are_proven_and_not_fetched_again() {
    let gone = Strike::once(Place::File(1), Fault::answer(503, Words::Html));
    let case = Case::new(Manner::default(), vec![gone]).await;
    assert!(!case.hasty().run(&Quiet).await.unwrap().is_whole());
    // As if the crash had come between the names and the notes.
    let journal = case.folder.path().join("out/.fhirhose-pull/journal");
    let text = fs::read_to_string(&journal).unwrap();
    let kept: String = text
        .split_inclusive('\n')
        .filter(|line| !line.contains("\"done\""))
        .collect();
    assert!(kept.len() < text.len());
    fs::write(&journal, kept).unwrap();
    let patients = case.folder.path().join("out").join(NAMES[0]);
    let damaged = fs::read_to_string(&patients)
        .unwrap()
        .replace("Patient-1", "Patient");
    fs::write(&patients, damaged.lines().next().unwrap()).unwrap();
    let asked = case.asked(Place::AnyFile);
    let report = case.pull().run(&Quiet).await.unwrap();
    case.assert_whole(&report);
    assert_eq!(
        case.asked(Place::AnyFile),
        asked + 2,
        "the one that was missing and the damaged one"
    );
}
