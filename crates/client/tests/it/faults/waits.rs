//! Servers that take weeks, put off, stumble and say so in many ways.

use std::time::Duration;

use fhirhose_client::pull::Quiet;
use fhirhose_client::testing::{Cut, Fault, Manner, Place, RetryAfter, Strike, Words};
use fhirhose_client::{Clock, ErrorKind};

use super::{Case, tokens};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn cl_05_an_export_that_takes_weeks_is_waited_for() {
    for (retry_after, takes) in [
        (RetryAfter::None, DAY),
        (RetryAfter::Secs(18_000), 14 * DAY),
        (RetryAfter::Date(3_600), DAY),
        (RetryAfter::Nonsense, DAY),
    ] {
        let manner = Manner {
            takes,
            retry_after,
            progress: Some("Request queued. Patients: 0/?; 101%".to_owned()),
            ..Manner::default()
        };
        let case = Case::new(manner, Vec::new()).await;
        let began = case.clock.now();
        case.whole().await;
        let took = Duration::from_micros((case.clock.now().micros() - began.micros()) as u64);
        assert!(took >= takes && took < takes + DAY, "{retry_after:?}: {took:?}");
    }
}

#[tokio::test]
async fn cl_02_tokens_that_expire_while_it_is_waited_are_got_anew() {
    let manner = Manner {
        takes: DAY,
        tokens: tokens(),
        files_want_token: true,
        ..Manner::default()
    };
    let refused =
        [Place::Status, Place::File(0), Place::Delete].map(|place| Strike::once(place, Fault::TokenRefused));
    let case = Case::new(manner, refused.to_vec()).await;
    case.whole().await;
    let asked = case.asked(Place::Token);
    assert!(
        asked.len() > 100,
        "a token lives for five minutes: {}",
        asked.len()
    );
    assert!(
        asked.iter().all(|asked| asked.status == 200),
        "each assertion was good and new"
    );
    assert_eq!(case.asked(Place::Delete).last().unwrap().status, 202);
}

#[tokio::test]
async fn cl_05_hiccups_of_a_status_do_not_end_a_job() {
    for fault in [
        Fault::answer_later(429, RetryAfter::Secs(7), Words::Nothing),
        Fault::answer_later(429, RetryAfter::Date(30), Words::Nothing),
        Fault::answer_later(503, RetryAfter::Secs(36_000), Words::Transient),
        Fault::answer(500, Words::Transient),
        Fault::answer(502, Words::Html),
        Fault::answer(504, Words::Html),
        Fault::Cut(Cut::Before),
        Fault::Cut(Cut::Head),
    ] {
        let manner = Manner {
            takes: DAY / 8,
            ..Manner::default()
        };
        let case = Case::new(
            manner,
            vec![Strike::times(3, Place::Status, fault.clone()).after(2)],
        )
        .await;
        case.whole().await;
        assert_eq!(case.asked(Place::KickOff).len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn cl_05_a_retry_after_of_hours_is_capped_and_nobody_is_hammered() {
    let manner = Manner {
        takes: DAY,
        retry_after: RetryAfter::Secs(5 * 3_600),
        ..Manner::default()
    };
    let case = Case::new(manner, Vec::new()).await;
    case.whole().await;
    let polls = case.asked(Place::Status).len();
    assert!((200..400).contains(&polls), "a day of five minutes: {polls}");
}

#[tokio::test]
async fn cl_05_a_manifest_that_is_cut_off_is_asked_for_again() {
    let cut = Fault::Cut(Cut::Body(100));
    let (case, _) = Case::struck(Strike::times(2, Place::Status, cut)).await;
    assert_eq!(case.asked(Place::Status).len(), 3);
}

#[tokio::test]
async fn cl_05_a_job_that_has_failed_ends_the_pull_with_the_servers_words() {
    for (separate_status, status) in [(false, 500), (true, 500), (false, 404), (false, 400)] {
        let manner = Manner {
            takes: DAY,
            job_fails: Some(status),
            separate_status,
            ..Manner::default()
        };
        let mut case = Case::new(manner, Vec::new()).await;
        case.parameters.separate_status = separate_status;
        let error = case.run(&Quiet).await.unwrap_err();
        assert!(
            super::chain(&error).contains("the export has failed"),
            "{}",
            super::chain(&error)
        );
        assert_eq!(super::data_files(&case.folder()), Vec::<String>::new());
    }
}

#[tokio::test]
async fn cl_06_a_status_told_apart_from_that_of_http_is_understood() {
    let manner = Manner {
        takes: DAY,
        separate_status: true,
        retry_after: RetryAfter::Secs(600),
        ..Manner::default()
    };
    let mut case = Case::new(manner, Vec::new()).await;
    case.parameters.separate_status = true;
    case.whole().await;
    let polls = case.asked(Place::Status);
    assert!(
        polls.iter().all(|asked| asked.status == 200),
        "the server always answers 200"
    );
    assert!(polls.len() > 100);
}

#[tokio::test]
async fn cl_05_a_kick_off_that_is_put_off_is_sent_again() {
    for (fault, secs) in [
        (Fault::answer_later(429, RetryAfter::Secs(60), Words::Nothing), 60),
        (
            Fault::answer_later(503, RetryAfter::Date(200), Words::Transient),
            199,
        ),
        (Fault::answer(502, Words::Html), 0),
    ] {
        let (case, report) = Case::struck(Strike::times(2, Place::KickOff, fault.clone())).await;
        assert_eq!(case.asked(Place::KickOff).len(), 3);
        assert!(report.ms >= 2 * secs * 1_000, "{fault:?}: {} ms", report.ms);
    }
}

#[tokio::test]
async fn cl_05_a_kick_off_that_is_refused_is_not_sent_again() {
    let strike = Strike::always(Place::KickOff, Fault::answer(400, Words::Exception));
    let case = Case::new(Manner::default(), vec![strike]).await;
    let error = case.run(&Quiet).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        super::chain(&error).contains("that went wrong"),
        "{}",
        super::chain(&error)
    );
    assert_eq!(case.asked(Place::KickOff).len(), 1);
}

#[tokio::test]
async fn cl_10_files_that_are_put_off_come_later() {
    for (fault, secs) in [
        (Fault::answer_later(429, RetryAfter::Secs(20), Words::Nothing), 20),
        // Longer than anybody is waited for.
        (
            Fault::answer_later(429, RetryAfter::Date(3_600), Words::Nothing),
            300,
        ),
        (Fault::answer(502, Words::Html), 0),
        (Fault::answer_later(503, RetryAfter::Secs(5), Words::Transient), 5),
        (Fault::answer(500, Words::Exception), 0),
    ] {
        let (case, report) = Case::struck(Strike::times(2, Place::AnyFile, fault.clone())).await;
        assert_eq!(case.asked(Place::KickOff).len(), 1, "{fault:?}");
        // Where it is not said how long, half a second, of which up to a quarter is left out so that not all come at once.
        let waited = (secs * 1_000).max(375);
        assert!(report.ms >= waited, "{fault:?}: {} ms", report.ms);
    }
}

#[tokio::test]
async fn as_many_files_are_fetched_at_a_time_as_the_settings_and_the_servers_quirks_let() {
    for (wanted, most, others_first) in [(5, 0, true), (1, 0, false), (5, 1, false)] {
        // The first file hangs until its connection is given up.
        let silence = Strike::once(Place::File(0), Fault::Cut(Cut::Silence(10)));
        let mut case = Case::new(Manner::default(), vec![silence]).await;
        case.settings.parallel_downloads = wanted;
        case.quirks.parallel_downloads_max = most;
        case.whole().await;
        let files = case.files_asked();
        let again = files.iter().rposition(|file| *file == 0).unwrap();
        assert!(again > 0, "{files:?}");
        assert_eq!(
            files[..again].contains(&4),
            others_first,
            "{wanted} of {most}: {files:?}"
        );
    }
}

#[tokio::test]
async fn cl_13_the_job_is_deleted_at_the_end_whatever_the_server_says_to_that() {
    for status in [None, Some(404), Some(405), Some(500)] {
        let manner = Manner {
            delete_status: status,
            ..Manner::default()
        };
        let case = Case::new(manner, Vec::new()).await;
        case.whole().await;
        let asked = case.ehr.asked();
        let first = asked
            .iter()
            .position(|asked| asked.place == Some(Place::Delete))
            .expect("a DELETE");
        let last_file = asked.iter().rposition(|asked| asked.file().is_some()).unwrap();
        assert!(last_file < first, "files are fetched first");
    }
}

#[tokio::test]
async fn cl_13_a_server_that_takes_one_export_at_a_time_takes_the_next_one() {
    let manner = Manner {
        one_export_at_a_time: true,
        refuses_repeated_type: true,
        ..Manner::default()
    };
    let mut case = Case::new(manner, Vec::new()).await;
    case.parameters.types = vec!["Patient".to_owned(), "Observation".to_owned()];
    case.whole().await;
    std::fs::remove_dir_all(case.folder()).unwrap();
    case.whole().await;
    assert!(case.asked(Place::KickOff).iter().all(|asked| asked.status == 202));
}
