//! Batch Bundles: cut to size, repeated where a failure passes, single requests where a server takes none.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_client::{BatchEntry, BatchSettings, Batches, Clock, DataProvider, ErrorKind, SystemClock};
use fhirhose_fhir::instant::Instant;

use crate::server::{Server, http, ok};

/// Does not wait.
#[derive(Debug)]
struct Hasty;

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    async fn sleep(&self, _wait: Duration) {}
}

/// A server that gives these answers one after the other.
async fn scripted(answers: &[String]) -> Server {
    let answers = Mutex::new(VecDeque::from(answers.to_vec()));
    Server::plain(move |_| answers.lock().unwrap().pop_front().expect("no further request")).await
}

fn batches(server: &Server, settings: BatchSettings) -> Batches {
    let http = http(|settings| {
        settings.policy.addresses = fhirhose_client::Addresses::Any;
        settings.policy.plain_http = fhirhose_client::PlainHttp::Anywhere;
    });
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let provider = DataProvider::new(&http, &base).unwrap();
    Batches::new(provider.with_clock(std::sync::Arc::new(Hasty)), settings)
}

fn statuses(of: &[&str]) -> String {
    let entries = of.iter().map(|status| match status.starts_with('4') {
        true => format!(
            r#"{{"response":{{"status":"{status}","outcome":{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"conflict","details":{{"text":"no"}}}}]}}}}}}"#
        ),
        false => format!(r#"{{"response":{{"status":"{status}","etag":"W/\"7\""}}}}"#),
    });
    let entries: Vec<String> = entries.collect();
    ok(&format!(
        r#"{{"resourceType":"Bundle","type":"batch-response","entry":[{}]}}"#,
        entries.join(",")
    ))
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn patients(count: usize) -> Vec<BatchEntry> {
    let entry = |n| {
        let text = format!(r#"{{"resourceType":"Patient", "id":"p{n}","multipleBirthInteger":1.00}}"#);
        BatchEntry::put(format!("Patient/p{n}"), text.into_bytes())
    };
    (0..count).map(entry).collect()
}

#[tokio::test]
async fn entries_are_cut_into_bundles_and_texts_go_as_they_are() {
    let server = scripted(&[statuses(&["201 Created", "200"]), statuses(&["409 Conflict"])]).await;
    let settings = BatchSettings {
        entries_max: 2,
        ..BatchSettings::default()
    };
    let answers = batches(&server, settings).send(&patients(3)).await.unwrap();
    assert_eq!(
        answers.iter().map(|answer| answer.status).collect::<Vec<_>>(),
        [201, 200, 409]
    );
    assert_eq!(answers[0].etag.as_deref(), Some("W/\"7\""));
    assert_eq!(answers[2].issue_codes.as_deref(), Some("conflict"));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains(r#"{"resourceType":"Patient", "id":"p1","multipleBirthInteger":1.00}"#));
    assert!(asked[1].contains(r#""request":{"method":"PUT","url":"Patient/p2"}"#));
}

#[tokio::test]
async fn what_fails_in_passing_is_sent_again_and_nothing_else() {
    let script = [
        status("503 Service Unavailable"),
        statuses(&["201", "503", "201"]),
        statuses(&["200"]),
    ];
    let server = scripted(&script).await;
    let answers = batches(&server, BatchSettings::default())
        .send(&patients(3))
        .await;
    assert!(answers.unwrap().iter().all(fhirhose_client::BatchAnswer::is_done));
    let last = server.asked().pop().unwrap();
    assert!(last.contains("Patient/p1") && !last.contains("Patient/p0"));
}

#[tokio::test]
async fn a_bundle_that_is_too_large_is_halved() {
    let script = [
        status("413 Payload Too Large"),
        statuses(&["201"]),
        statuses(&["201", "201"]),
    ];
    let server = scripted(&script).await;
    let answers = batches(&server, BatchSettings::default())
        .send(&patients(3))
        .await;
    assert_eq!(answers.unwrap().len(), 3);
}

#[tokio::test]
async fn a_server_without_batches_gets_single_requests_from_then_on() {
    let script = [
        status("405 Method Not Allowed"),
        "HTTP/1.1 201 Created\r\nETag: W/\"1\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        status("412 Precondition Failed"),
        status("204 No Content"),
    ];
    let server = scripted(&script).await;
    let batches = batches(&server, BatchSettings::default());
    let mut entries = patients(2);
    entries[1] = entries[1].clone().if_match("W/\"4\"");
    let answers = batches.send(&entries).await.unwrap();
    assert_eq!((answers[0].status, answers[1].status), (201, 412));
    assert_eq!(answers[0].etag.as_deref(), Some("W/\"1\""));
    let deleted = batches.send(&[BatchEntry::delete("Patient/p0")]).await.unwrap();
    assert!(deleted[0].is_done());
    let asked = server.asked();
    assert!(asked[1].starts_with("PUT /fhir/Patient/p0 "));
    assert!(asked[2].to_ascii_lowercase().contains("if-match: w/\"4\""));
    assert!(asked[3].starts_with("DELETE /fhir/Patient/p0 "));
}

#[tokio::test]
async fn an_answer_with_another_number_of_entries_is_an_error() {
    let server = scripted(&[statuses(&["201"])]).await;
    let error = batches(&server, BatchSettings::default())
        .send(&patients(2))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_token_whose_time_is_over_is_renewed_and_nothing_is_lost_cl_02() {
    let script = [
        status("401 Unauthorized"),
        statuses(&["201", "201"]),
        status("405 Method Not Allowed"),
        status("401 Unauthorized"),
        status("204 No Content"),
    ];
    let server = scripted(&script).await;
    let given = std::sync::atomic::AtomicU32::new(0);
    let give = move || {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(format!("token-{number}"))
    };
    let provider = batches(&server, BatchSettings::default()).provider().clone();
    let provider = provider.with_given_bearers(Box::new(give));
    let batches = Batches::new(provider, BatchSettings::default());
    let answers = batches.send(&patients(2)).await.unwrap();
    assert!(answers.iter().all(|answer| answer.is_done()));
    let deleted = batches.send(&[BatchEntry::delete("Patient/p0")]).await.unwrap();
    assert!(deleted[0].is_done());
    let tokens = server.asked().into_iter().map(|asked| {
        let at = asked.find("token-").expect("each request shows a token");
        asked[at..at + 7].to_owned()
    });
    let tokens: Vec<String> = tokens.collect();
    assert_eq!(tokens, ["token-0", "token-1", "token-1", "token-1", "token-2"]);
}
