//! How pulls end: each event in the log, the DELETE, manifests without patients, a journal within its limit.

use std::time::Duration;

use fhirhose_client::ErrorKind;
use fhirhose_client::pull::Quiet;
use fhirhose_client::testing::{Fault, Manner, Pages, Place, Strike, Words};
use serde_json::Value;

use super::{Case, LARGEST};

/// Takes the lines of these events out of the log, as if the run had been stopped before it wrote them; one is cut in two.
fn take_out(case: &Case, events: &[&str]) {
    let (mut kept, mut cut) = (String::new(), String::new());
    for line in case.log() {
        let line_text = format!("{line}\n");
        if events.iter().any(|event| line["eventId"] == *event) {
            let half = line_text.split_at(line_text.len() - 10).0;
            half.clone_into(&mut cut);
        } else {
            kept.push_str(&line_text);
        }
    }
    assert!(!cut.is_empty(), "{events:?} were written");
    std::fs::write(case.folder().join("log.ndjson"), kept + &cut).unwrap();
}

/// The whole lines of the log.
fn whole_lines(case: &Case) -> Vec<Value> {
    let text = std::fs::read_to_string(case.folder().join("log.ndjson")).unwrap();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn assert_once(case: &Case, events: &[&str]) {
    let log = whole_lines(case);
    for event in events {
        let lines: Vec<&Value> = log.iter().filter(|line| line["eventId"] == *event).collect();
        assert_eq!(lines.len(), 1, "{event}");
        assert_eq!(lines[0]["exportId"], log[log.len() - 1]["exportId"], "{event}");
    }
}

#[tokio::test]
async fn lines_that_a_crash_kept_out_of_the_log_are_written_by_the_next_run() {
    const EVENTS: [&str; 3] = ["kickoff", "manifest_complete", "status_complete"];
    let gone = Strike::once(Place::File(LARGEST), Fault::answer(400, Words::Nothing));
    let mut case = Case::new(Manner::default(), vec![gone]).await;
    case.settings.file_attempts_max = 1;
    let first = case.run(&Quiet).await.unwrap();
    assert_eq!(first.missing.len(), 1);
    assert_once(&case, &EVENTS);
    take_out(&case, &EVENTS);
    case.run(&Quiet).await.unwrap();
    case.assert_equal();
    assert_once(&case, &EVENTS);
    assert_eq!(case.asked(Place::KickOff).len(), 1);
    let log = whole_lines(&case);
    let kick_off = log.iter().find(|line| line["eventId"] == "kickoff").unwrap();
    let url = kick_off["eventDetail"]["exportUrl"].as_str().unwrap();
    assert!(url.ends_with("/Patient/$export"), "{url}");
}

#[tokio::test]
async fn the_end_of_a_pull_is_in_the_log_whenever_its_run_was_stopped() {
    let manner = Manner {
        delete_status: Some(503),
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    case.whole().await;
    take_out(&case, &["export_complete"]);
    let again = case.run(&Quiet).await.unwrap();
    assert!(again.already_whole);
    assert_once(&case, &["kickoff", "status_complete", "export_complete"]);
    case.run(&Quiet).await.unwrap();
    assert_once(&case, &["export_complete"]);
}

#[tokio::test]
async fn cl_13_a_job_that_an_earlier_run_was_to_leave_is_deleted_by_one_that_may() {
    let mut case = Case::new(Manner::default(), Vec::new()).await;
    case.settings.deletes_job = false;
    assert!(!case.whole().await.job_deleted);
    assert!(case.whole().await.already_whole);
    assert_eq!(case.asked(Place::Delete).len(), 0);
    case.settings.deletes_job = true;
    let asked = case.ehr.asked().len();
    let report = case.whole().await;
    assert!(report.already_whole && report.job_deleted);
    assert_eq!(case.asked(Place::Delete).len(), 1);
    assert_eq!(case.ehr.asked().len(), asked + 1, "nothing else is asked for");
    case.whole().await;
    assert_eq!(case.asked(Place::Delete).len(), 1, "once is enough");
}

#[tokio::test]
async fn manifests_of_page_folders_name_no_patient() {
    let manner = Manner {
        pages: Pages {
            files_each: Some(3),
            ..Pages::default()
        },
        ..Manner::default()
    };
    let mut case = Case::new(manner, Vec::new()).await;
    case.settings.page_folders = true;
    case.parameters.custom = vec![("patient".to_owned(), "Patient/someone".to_owned())];
    case.run(&Quiet).await.unwrap();
    for page in ["", "0/", "1/", "2/"] {
        let text = std::fs::read_to_string(case.folder().join(format!("{page}manifest.json"))).unwrap();
        assert!(text.contains("/Patient/$export"), "{page}: {text}");
        assert!(!text.contains("someone"), "{page}: {text}");
    }
    let text = std::fs::read_to_string(case.folder().join("0/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let bytes = case.ehr.files()[0].text.len();
    assert_eq!(manifest["output"][0]["fileSize"], bytes, "{manifest}");
}

#[tokio::test]
async fn a_journal_that_does_not_end_is_left() {
    let mut case = Case::new(Manner::default(), Vec::new()).await;
    case.settings.journal_bytes_max = 1_500;
    for _ in 0..2 {
        let error = case.run(&Quiet).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let text = super::chain(&error);
        assert!(text.contains("longer than 1500 bytes"), "{text}");
    }
    case.settings.journal_bytes_max = 1 << 20;
    case.whole().await;
    assert_eq!(case.asked(Place::KickOff).len(), 1, "what was noted counts");
}

#[tokio::test]
async fn files_that_always_fail_do_not_hold_the_others_back() {
    let fault = Fault::answer(500, Words::Html);
    let mut case = Case::new(Manner::default(), vec![Strike::always(Place::File(0), fault)]).await;
    case.settings.parallel_downloads = 2;
    let mut pull = case.pull();
    pull.provider = pull.provider.with_clock(std::sync::Arc::new(Stopped));
    let others = case.ehr.files().len() - 1;
    let heard = Heard::of(others);
    let others_done = tokio::time::timeout(Duration::from_secs(300), async {
        tokio::select! {
            ended = pull.run(&heard) => panic!("the first file is still waited for: {ended:?}"),
            () = heard.all.notified() => {}
        }
    });
    assert!(others_done.await.is_ok(), "the others wait with it");
}

/// Time that stands: who waits, waits for ever.
#[derive(Debug)]
struct Stopped;

#[async_trait::async_trait]
impl fhirhose_client::Clock for Stopped {
    fn now(&self) -> fhirhose_fhir::instant::Instant {
        fhirhose_client::SystemClock.now()
    }

    async fn sleep(&self, _wait: Duration) {
        std::future::pending().await
    }
}

/// Tells when so many files are whole.
struct Heard {
    left: std::sync::atomic::AtomicUsize,
    all: tokio::sync::Notify,
}

impl Heard {
    fn of(files: usize) -> Self {
        Self {
            left: files.into(),
            all: tokio::sync::Notify::new(),
        }
    }
}

impl fhirhose_client::pull::Watch for Heard {
    fn hear(&self, event: &fhirhose_client::pull::PullEvent<'_>) {
        let is_done = matches!(event, fhirhose_client::pull::PullEvent::FileDone { .. });
        if is_done && self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            self.all.notify_one();
        }
    }
}
