//! Batches and servers in trouble: waits that are asked for, and words that are not passed on without end.

use fhirhose_client::{BatchEntry, BatchSettings, Batches, ErrorKind};

use crate::import_order::{Noted, answer, provider, scripted};
use crate::server::ok;

fn patient() -> Vec<BatchEntry> {
    vec![BatchEntry::put(
        "Patient/p0",
        br#"{"resourceType":"Patient","id":"p0"}"#.to_vec(),
    )]
}

fn done() -> String {
    ok(r#"{"resourceType":"Bundle","type":"batch-response","entry":[{"response":{"status":"201"}}]}"#)
}

fn outcome(words: &str) -> String {
    let issue = format!(r#"{{"severity":"error","code":"exception","diagnostics":"{words}"}}"#);
    format!(r#"{{"resourceType":"OperationOutcome","issue":[{issue}]}}"#)
}

#[tokio::test]
async fn a_server_that_asks_to_wait_gets_its_batch_no_earlier() {
    let script = [
        answer("503 Service Unavailable", "Retry-After: 20\r\n", ""),
        answer("429 Too Many Requests", "Retry-After: 36000\r\n", ""),
        answer("500 Internal Server Error", "", &outcome("that went wrong")),
        answer("405 Method Not Allowed", "", ""),
        answer("503 Service Unavailable", "Retry-After: 90\r\n", ""),
        answer("201 Created", "", ""),
    ];
    let (server, clock) = (scripted(&script).await, Noted::default());
    let batches = Batches::new(provider(&server, &clock), BatchSettings::default());
    let answers = batches.send(&patient()).await.unwrap();
    assert_eq!(answers[0].status, 201);
    // Hours are not waited, and a 500 without a word on time gets the usual pause.
    assert_eq!(clock.secs(), [20, 300, 4, 90]);
}

#[tokio::test]
async fn a_batch_that_never_gets_through_says_so_in_few_words() {
    let words = "a resource, quoted ".repeat(500);
    let trouble = answer("500 Internal Server Error", "", &outcome(&words));
    let script = [trouble.clone(), trouble, done()];
    let (server, clock) = (scripted(&script).await, Noted::default());
    let settings = BatchSettings {
        attempts_max: 2,
        ..BatchSettings::default()
    };
    let batches = Batches::new(provider(&server, &clock), settings);
    let error = batches.send(&patient()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "a later round may get through");
    assert!(error.to_string().len() < 700, "{}", error.to_string().len());
    assert!(batches.send(&patient()).await.unwrap()[0].is_done());
}
