//! Polls, pages and their patience.

use std::time::Duration;

use fhirhose_client::testing::{Cut, Fault, ManifestShape, Manner, Pages, Place, RetryAfter, Strike, Words};
use fhirhose_client::{Clock, DataProvider, ErrorKind, ManifestPage, Patience, Quirks, Status};
use serde_json::json;

use super::{Scene, everything, url};
use crate::server::{Server, http, ok};

/// An export of two days, at a server that is so.
async fn two_days(retry_after: RetryAfter) -> Scene {
    let manner = Manner {
        takes: Duration::from_hours(24 * 2),
        retry_after,
        progress: Some("about 12 of 10 % – Fertig?".to_owned()),
        ..Manner::default()
    };
    Scene::new(1, manner, Vec::new()).await
}

#[tokio::test]
async fn polls_wait_as_the_server_asks_in_seconds_and_dates_and_no_longer_than_the_cap_cl_05() {
    for (asked, waited) in [
        (RetryAfter::Secs(240), 240),
        (RetryAfter::Date(240), 240),
        (RetryAfter::Secs(5 * 3_600), 300),
        (RetryAfter::Date(5 * 3_600), 300),
    ] {
        let scene = two_days(asked).await;
        assert_eq!(scene.export(&everything()).await.unwrap().len(), 1);
        let secs = scene.waits.secs();
        // A date has no fractions of a second.
        assert!(
            secs.iter().all(|secs| (waited - 1..=waited).contains(secs)),
            "{asked:?}"
        );
        assert!(secs.len() >= 2 * 24 * 3_600 / 300, "{asked:?}: {}", secs.len());
    }
}

#[tokio::test]
async fn polls_wait_longer_and_longer_where_the_server_says_nothing_that_can_be_read_cl_05() {
    for asked in [RetryAfter::None, RetryAfter::Nonsense] {
        let scene = two_days(asked).await;
        assert_eq!(scene.export(&everything()).await.unwrap().len(), 1);
        let secs = scene.waits.secs();
        assert!(secs[0] < 1 && secs[4] < 10, "{:?}", &secs[..8]);
        assert!(
            secs[20..].iter().all(|secs| (89..=120).contains(secs)),
            "{:?}",
            &secs[..30]
        );
    }
}

#[tokio::test]
async fn progress_is_told_as_it_was_written_cl_07() {
    let scene = two_days(RetryAfter::Secs(300)).await;
    scene.export(&everything()).await.unwrap();
    // What is no ASCII is no header value that can be shown.
    let waits = scene.waits.all();
    let status = scene.ehr.asked_at(Place::Status).len();
    assert_eq!(waits.len(), status - 1);
    let manner = Manner {
        takes: Duration::from_secs(10),
        progress: Some("about 12 of 10 %".to_owned()),
        ..Manner::default()
    };
    let scene = Scene::new(1, manner, Vec::new()).await;
    scene.export(&everything()).await.unwrap();
    assert!(scene.waits.all().iter().all(|(_, why)| why == "about 12 of 10 %"));
}

#[tokio::test]
async fn trouble_that_passes_is_borne_cl_05() {
    let script = [
        Fault::answer_later(429, RetryAfter::Secs(17), Words::Nothing),
        Fault::answer(502, Words::Html),
        Fault::answer(200, Words::Html),
        Fault::answer(404, Words::Html),
        Fault::answer(500, Words::Nothing),
        Fault::answer(500, Words::Transient),
        Fault::answer(400, Words::Transient),
        Fault::answer_later(503, RetryAfter::Date(17), Words::Exception),
        Fault::Cut(Cut::Before),
        Fault::Cut(Cut::Head),
        Fault::Cut(Cut::Body(20)),
    ];
    let count = script.len();
    let script = script.into_iter().map(|fault| Strike::once(Place::Status, fault));
    let scene = Scene::new(1, Manner::default(), script.collect()).await;
    assert_eq!(scene.export(&everything()).await.unwrap().len(), 1);
    assert_eq!(scene.ehr.asked_at(Place::Status).len(), count + 1);
    let waits = scene.waits.all();
    assert_eq!(waits[0].0, 17);
    assert!(
        waits[5].1.contains("500") && waits[5].1.contains("come again"),
        "{:?}",
        waits[5]
    );
    assert!((16..=17).contains(&waits[7].0));
}

#[tokio::test]
async fn nothing_but_trouble_ends_in_a_bounded_time_cl_05() {
    for (fault, hours) in [
        (Fault::answer(502, Words::Html), 6.0),
        (Fault::Cut(Cut::Before), 6.0),
        (Fault::answer(403, Words::Html), 1.0 / 6.0),
    ] {
        let scene = Scene::new(1, Manner::default(), vec![Strike::always(Place::Status, fault)]).await;
        let began = scene.clock.now();
        let error = scene.export(&everything()).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Busy | ErrorKind::Unreachable),
            "{error}"
        );
        let took = (scene.clock.now().micros() - began.micros()) as f64 / 3.6e9;
        assert!((hours..hours + 0.1).contains(&took), "{took} hours");
    }
}

#[tokio::test]
async fn a_job_that_failed_ends_with_the_servers_words_cl_05() {
    for status in [400, 404, 500] {
        let manner = Manner {
            job_fails: Some(status),
            ..Manner::default()
        };
        let scene = Scene::new(1, manner, Vec::new()).await;
        let error = scene.export(&everything()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().ends_with("the export has failed"), "{error}");
        let answer = error.answer().unwrap();
        assert!(answer.status == status && answer.body.contains("OperationOutcome"));
        assert_eq!(scene.ehr.asked_at(Place::Status).len(), 1);
    }
}

#[tokio::test]
async fn an_export_takes_no_longer_than_it_may() {
    let scene = two_days(RetryAfter::Secs(300)).await;
    let provider = scene.provider.clone().with_patience(Patience {
        export_secs_max: 24 * 3_600,
        ..Patience::default()
    });
    let scene = Scene { provider, ..scene };
    let error = scene.export(&everything()).await.unwrap_err();
    assert!(error.to_string().contains("not done after 86"), "{error}");
    // Nor does the server ask for polls more often than its quirks have it.
    let quirks = Quirks {
        poll_secs_min: 600,
        ..Quirks::default()
    };
    let scene = Scene {
        provider: scene
            .provider
            .clone()
            .with_quirks(quirks)
            .with_patience(Patience::default()),
        ..scene
    };
    let before = scene.waits.secs().len();
    scene.export(&everything()).await.unwrap();
    assert!(
        scene.waits.secs()[before..]
            .iter()
            .all(|secs| *secs == 300 || *secs == 600)
    );
}

#[tokio::test]
async fn the_status_of_the_job_is_told_apart_from_the_questions_cl_06() {
    let manner = Manner {
        takes: Duration::from_secs(100),
        separate_status: true,
        ..Manner::default()
    };
    // Without the job's status, that of HTTP says nothing of the job.
    let strike = Strike::once(Place::Status, Fault::answer(500, Words::Exception));
    let scene = Scene::new(1, manner.clone(), vec![strike.clone()]).await;
    let mut parameters = everything();
    parameters.separate_status = true;
    assert_eq!(scene.export(&parameters).await.unwrap().len(), 1);
    let kick_off = scene.ehr.asked_at(Place::KickOff);
    assert_eq!(
        kick_off[0].header("prefer"),
        Some("respond-async, separate-export-status")
    );
    // Where it was not agreed on, it is the job's.
    let scene = Scene::new(1, manner.clone(), vec![strike]).await;
    let error = scene.export(&everything()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let failing = Manner {
        job_fails: Some(500),
        ..manner
    };
    let scene = Scene::new(1, failing, Vec::new()).await;
    let error = scene.export(&parameters).await.unwrap_err();
    assert!(error.to_string().ends_with("the export has failed"), "{error}");
}

#[tokio::test]
async fn manifests_of_all_versions_are_read_cl_08() {
    for shape in [
        ManifestShape::Stu1,
        ManifestShape::Stu2,
        ManifestShape::Stu3,
        ManifestShape::Stu4,
    ] {
        for relative_urls in [false, true] {
            let manner = Manner {
                shape,
                relative_urls,
                checksums: true,
                ..Manner::default()
            };
            let scene = Scene::new(2, manner, Vec::new()).await;
            let urls = scene.export(&everything()).await.unwrap();
            assert_eq!(urls.len(), 2);
            assert!(
                urls.iter().all(|url| url.starts_with("http://127.0.0.1:")),
                "{urls:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_transaction_time_that_is_no_instant_is_kept_as_it_is_cl_08_cl_12() {
    let at = url("https://ehr.example.org/status/1");
    for text in ["2026-11-21T10:00:00.1234567+01:00", "2026-11-21 10:00", ""] {
        let body = json!({"transactionTime": text, "output": [{"type": "Patient", "url": "http://ehr.example.org/1"}]});
        let page = ManifestPage::read(body.to_string().as_bytes(), &at).unwrap();
        assert_eq!(page.transaction_time, text);
        // A server behind a proxy does not know that it is spoken to by https.
        assert_eq!(page.manifest.output[0].url, "https://ehr.example.org/1");
    }
    for body in ["{}", r#"{"transactionTime":7}"#, "[]", ""] {
        let error = ManifestPage::read(body.as_bytes(), &at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
    }
}

#[tokio::test]
async fn the_coding_of_a_manifest_is_undone_or_named_cl_08() {
    let manifest = br#"{"transactionTime":"2026-11-21T10:00:00Z","output":[]}"#;
    let answer = ok(std::str::from_utf8(manifest).unwrap());
    let labelled = |coding: &str| answer.replacen("\r\n", &format!("\r\nContent-Encoding: {coding}\r\n"), 1);
    for (coding, kind) in [
        ("identity", None),
        ("br", Some(ErrorKind::Protocol)),
        ("gzip", Some(ErrorKind::Corrupt)),
    ] {
        let answer = labelled(coding);
        let server = Server::plain(move |_| answer.clone()).await;
        let base = format!("http://127.0.0.1:{}/fhir", server.port);
        let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
        let status = provider.status(&url(&base)).await;
        assert_eq!(status.err().map(|error| error.kind()), kind, "{coding}");
    }
}

#[tokio::test]
async fn pages_are_followed_while_the_export_runs_and_after_it_cl_09() {
    for takes in [0, 1_000] {
        let manner = Manner {
            takes: Duration::from_secs(takes),
            pages: Pages {
                files_each: Some(2),
                ..Pages::default()
            },
            ..Manner::default()
        };
        let scene = Scene::new(7, manner, Vec::new()).await;
        let mut parameters = everything();
        parameters.allow_partial_manifests = true;
        let accepted = scene.provider.kick_off(&parameters).await.unwrap();
        let mut pages = scene.provider.pages(&accepted.status_url);
        let (began, mut seen) = (scene.clock.now(), Vec::new());
        while let Some(news) = pages.next(&scene.waits).await.unwrap() {
            let secs = (scene.clock.now().micros() - began.micros()) / 1_000_000;
            seen.push((news.index, news.page.files(), news.is_last, secs));
        }
        let shapes: Vec<_> = seen
            .iter()
            .map(|(index, files, last, _)| (*index, *files, *last))
            .collect();
        assert_eq!(
            shapes,
            [(0, 2, false), (1, 2, false), (2, 2, false), (3, 1, true)],
            "{takes}"
        );
        // The first page came long before the end.
        assert!(
            seen[0].3 <= takes as i64 * 2 / 3 && seen[3].3 >= takes as i64,
            "{seen:?}"
        );
        let Status::Complete(again) = scene.provider.status(&accepted.status_url).await.unwrap() else {
            panic!("it is done")
        };
        assert_eq!(again.files(), 2);
    }
}

#[tokio::test]
async fn pages_that_go_round_in_circles_or_on_and_on_are_an_error_cl_09() {
    let page = |next: &str| {
        let link = json!([{"relation": "next", "url": next}]);
        ok(&json!({"transactionTime": "2026-11-21T10:00:00Z", "output": [], "link": link}).to_string())
    };
    let server = Server::plain(move |path| match path.strip_prefix("/on/") {
        Some(number) => page(&format!("/on/{}", number.parse::<u64>().unwrap() + 1)),
        None => page("/circle"),
    })
    .await;
    let base = format!("http://127.0.0.1:{}", server.port);
    let patience = Patience {
        pages_max: 20,
        ..Patience::default()
    };
    let provider = DataProvider::new(&http(|_| ()), &base)
        .unwrap()
        .with_patience(patience);
    for (path, words) in [("/circle", "came before"), ("/on/1", "20th page")] {
        let mut pages = provider.pages(&url(&format!("{base}{path}")));
        let mut taken = 0;
        let error = loop {
            match pages.next(&|_: &fhirhose_client::Pause<'_>| ()).await {
                Ok(news) => assert!(news.is_some()),
                Err(error) => break error,
            }
            taken += 1;
            assert!(taken <= 20, "{path}: page after page is taken");
        };
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.to_string().contains(words), "{error}");
    }
}
