//! `$export-status`: progress, manifest, failure, deletion.

use std::time::Duration;

use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{Clock, Failure, Outcome, Progress, SystemClock};
use hyper::Method;
use serde_json::json;

use crate::fixture::{Held, Server, eventually, memory_store};

/// Long enough to be still there when the test looks.
const KEPT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_running_export_answers_202_with_progress_and_integer_retry_after_s_01_s_03_s_05() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let progress = Progress {
        done: 12,
        total: 30,
        note: "12 of 30 parts ".repeat(20),
    };
    held.progress(&store, progress).await;
    let server = Server::over(store, |_| ()).await;
    let ask = server.ask(Method::GET, &format!("/fhir/$export-status/{}", held.id));
    let answer = ask.header("accept", "application/json").send().await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    assert!(
        answer
            .header("x-progress")
            .starts_with("40% complete, 12 of 30 parts")
    );
    assert!(answer.header("x-progress").len() < 100);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_waiting_export_says_so_s_05() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    held.put_off(&store).await;
    let server = Server::over(store, |_| ()).await;
    let answer = server.get(&format!("/fhir/$export-status/{}", held.id)).await;
    assert_eq!(
        (answer.status, answer.header("x-progress")),
        (202, "waiting to be tried again")
    );
}

#[tokio::test]
async fn a_failed_export_answers_5xx_with_an_outcome_s_07() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let failure = Failure::new("disk-full", "writing an output: no space left");
    held.finish(&store, Outcome::Failed(failure), KEPT).await;
    let server = Server::over(store, |_| ()).await;
    let path = format!("/fhir/$export-status/{}", held.id);
    let text = server.get(&path).await.refusal(507);
    assert!(text.contains("no space left"), "{text}");
    assert_eq!(server.delete(&path).await.status, 202);
    server.get(&path).await.refusal(404);
}

#[tokio::test]
async fn a_finished_export_answers_its_manifest_s_09_s_10_s_11_s_13() {
    let server = Server::populated().await;
    let before = Instant::from_micros(SystemClock.now().as_micros());
    let accepted = server
        .kick_off("Patient/$export?_type=Patient,Observation,Goal&_outputFormat=ndjson")
        .await;
    let status_url = accepted.header("content-location");
    let answer = server.finished(status_url).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    let expires = Instant::parse_http_date(answer.header("expires")).expect("a date");
    let date = Instant::parse_http_date(answer.header("date")).expect("a date");
    assert!(
        expires > date,
        "{} {}",
        answer.header("expires"),
        answer.header("date")
    );
    let manifest = answer.json();
    let kick_off = format!(
        "{}/Patient/$export?_type=Patient,Observation,Goal&_outputFormat=ndjson",
        server.base
    );
    assert_eq!(manifest["request"], kick_off);
    assert_eq!(manifest["requiresAccessToken"], json!(false));
    assert_eq!(manifest["error"], json!([]));
    let snapshot = Instant::parse(manifest["transactionTime"].as_str().unwrap()).expect("an instant");
    let written = server
        .put(&json!({"resourceType": "Patient", "id": "later"}))
        .await
        .json();
    let written = Instant::parse(written["meta"]["lastUpdated"].as_str().unwrap()).expect("an instant");
    assert!(
        before <= snapshot && snapshot < written,
        "{before} {snapshot} {written}"
    );
    let listed: Vec<_> = manifest["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["type"])
        .collect();
    assert_eq!(listed, ["Observation", "Patient"], "no empty files");
    for file in manifest["output"].as_array().unwrap() {
        assert!(file["url"].as_str().unwrap().starts_with(&server.base));
    }
    assert_eq!(
        server.get(status_url).await.json(),
        manifest,
        "a manifest can be fetched again"
    );
}

#[tokio::test]
async fn an_export_of_nothing_has_an_empty_output() {
    let server = Server::start().await;
    let (_, manifest) = server.export("$export").await;
    assert_eq!(
        (&manifest["output"], &manifest["error"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn an_unknown_job_is_404_s_14() {
    let server = Server::populated().await;
    for id in [
        "0123456789abcdef0123456789abcdef",
        "unknown",
        "..",
        "0123456789ABCDEF0123456789ABCDEF",
    ] {
        server
            .get(&format!("/fhir/$export-status/{id}"))
            .await
            .refusal(404);
        server
            .delete(&format!("/fhir/$export-status/{id}"))
            .await
            .refusal(404);
    }
    let import = server
        .kick_off_import(&[(None, &server.input("a.ndjson", ""))])
        .await;
    let path = import
        .header("content-location")
        .replace("$import-status", "$export-status");
    server.get(&path).await.refusal(404);
}

#[tokio::test]
async fn a_running_export_is_cancelled_by_delete_d_01_d_02_d_04() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let server = Server::over(store, |_| ()).await;
    let path = format!("/fhir/$export-status/{}", held.id);
    let deleted = server.delete(&path).await;
    assert_eq!(deleted.status, 202);
    assert_eq!(deleted.json()["resourceType"], "OperationOutcome");
    server.get(&path).await.refusal(404);
    server.delete(&path).await.refusal(404);
}

#[tokio::test]
async fn after_a_delete_everything_is_404_d_03_d_04_d_05() {
    let server = Server::populated().await;
    let (status_url, manifest) = server.export("$export").await;
    assert_eq!(server.delete(&status_url).await.status, 202);
    server.get(&status_url).await.refusal(404);
    server.delete(&status_url).await.refusal(404);
    for file in manifest["output"].as_array().unwrap() {
        server.get(file["url"].as_str().unwrap()).await.refusal(404);
    }
}

#[tokio::test]
async fn an_expired_export_is_404() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    held.finish(&store, Outcome::Succeeded(b"{}".to_vec()), Duration::ZERO)
        .await;
    let server = Server::over(store, |_| ()).await;
    server
        .get(&format!("/fhir/$export-status/{}", held.id))
        .await
        .refusal(404);
}

#[tokio::test]
async fn a_separate_export_status_is_agreed_on_and_told_in_a_header_k_23() {
    let server = Server::populated().await;
    let ask = server
        .ask(Method::GET, "/fhir/$export?_type=Patient")
        .header("accept", "application/fhir+json")
        .header("prefer", "respond-async")
        .header("prefer", "separate-export-status");
    let accepted = ask.send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    assert_eq!(
        accepted.header("preference-applied"),
        "respond-async, separate-export-status"
    );
    let status_url = accepted.header("content-location");
    let finished = loop {
        let answer = server.get(status_url).await;
        assert_eq!(answer.status, 200, "the answer itself is always fine");
        if answer.header("x-export-status") != "202 Accepted" {
            break answer;
        }
        assert!(answer.body.is_empty() && answer.has("x-progress") && answer.has("retry-after"));
    };
    assert_eq!(finished.header("x-export-status"), "200 OK");
    assert_eq!(finished.header("content-type"), "application/json");
    assert_eq!(finished.json()["output"][0]["type"], "Patient");
    assert_eq!(server.delete(status_url).await.status, 202);
    assert_eq!(
        server.get(status_url).await.status,
        404,
        "there is no export any more"
    );
    let plain = server.kick_off("$export").await;
    assert!(!plain.has("preference-applied"));
    let done = server.finished(plain.header("content-location")).await;
    assert!(!done.has("x-export-status"));
}

#[tokio::test]
async fn a_failed_export_is_told_in_the_header_too_s_07_k_23() {
    let store = memory_store();
    let spec = br#"{"request":{"separateStatus":true}}"#;
    let held = Held::take_with(&store, "export", spec).await;
    let failure = Failure::new("disk-full", "writing an output: no space left");
    held.finish(&store, Outcome::Failed(failure), KEPT).await;
    let server = Server::over(store, |_| ()).await;
    let answer = server.get(&format!("/fhir/$export-status/{}", held.id)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-export-status"), "507 Insufficient Storage");
    assert_eq!(answer.header("content-type"), "application/fhir+json");
    assert_eq!(answer.json()["resourceType"], "OperationOutcome");
}

#[tokio::test]
async fn progress_never_goes_back_s_05() {
    let server = Server::start().await;
    let lines: Vec<String> = (0..300)
        .map(|number| format!(r#"{{"resourceType":"Patient","id":"p{number}"}}"#))
        .collect();
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let accepted = server.kick_off("$export").await;
    let status_url = accepted.header("content-location");
    let mut last = 0;
    loop {
        let answer = server.get(status_url).await;
        if answer.status == 200 {
            break;
        }
        let text = answer.header("x-progress").to_owned();
        if let Some((percent, _)) = text.split_once('%') {
            let percent: u64 = percent.parse().expect("a number");
            assert!(last <= percent && percent <= 100, "{last}% and then {text}");
            last = percent;
        }
    }
}

/// A public certification suite polls once right after the kick-off and wants 202.
#[tokio::test]
async fn the_first_status_can_be_held_at_202_for_those_who_want_to_see_one_s_05() {
    let server = Server::start_with(|settings| settings.status_hold_millis = 3_600_000).await;
    let accepted = server.kick_off("$export").await;
    let status_url = accepted.header("content-location");
    let id = status_url.rsplit('/').next().unwrap().parse().unwrap();
    eventually("the end of the export", async || {
        let job = server.store.catalog().job(&id).await.unwrap().unwrap();
        job.state.is_ended().then_some(())
    })
    .await;
    let answer = server.get(status_url).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    assert!(answer.has("x-progress") && answer.has("retry-after"));
}
