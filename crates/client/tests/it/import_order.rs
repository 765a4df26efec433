//! `$import` of other servers: tokens that end, waits that are asked for, jobs that fail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_client::{Clock, DataProvider, ErrorKind, ImportOrder, SystemClock};
use fhirhose_fhir::instant::Instant;

use crate::provider::url;
use crate::server::{Server, http, ok};

/// Does not wait, and writes down for how long it would have.
#[derive(Debug, Default, Clone)]
pub(crate) struct Noted(Arc<Mutex<Vec<u64>>>);

impl Noted {
    /// The waits, in seconds.
    pub(crate) fn secs(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl Clock for Noted {
    fn now(&self) -> Instant {
        SystemClock.now()
    }

    async fn sleep(&self, wait: Duration) {
        self.0.lock().unwrap().push(wait.as_secs());
    }
}

/// A server that gives these answers one after the other.
pub(crate) async fn scripted(answers: &[String]) -> Server {
    let answers = Mutex::new(VecDeque::from(answers.to_vec()));
    Server::plain(move |_| answers.lock().unwrap().pop_front().expect("no further request")).await
}

/// An answer of this status, with further headers.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

pub(crate) fn provider(server: &Server, clock: &Noted) -> DataProvider {
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    provider.with_clock(Arc::new(clock.clone()))
}

const EXCEPTION: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"it broke"}]}"#;

#[tokio::test]
async fn a_token_that_ends_while_an_import_is_waited_for_is_got_anew_cl_02() {
    let script = [
        answer("401 Unauthorized", "", ""),
        answer("202 Accepted", "Content-Location: /fhir/jobs/1\r\n", ""),
        answer("202 Accepted", "Retry-After: 0\r\n", ""),
        answer("401 Unauthorized", "", ""),
        answer("202 Accepted", "Retry-After: 2\r\n", ""),
        answer("503 Service Unavailable", "Retry-After: 7\r\n", ""),
        ok(r#"{"output":[]}"#),
    ];
    let (server, clock) = (scripted(&script).await, Noted::default());
    let given = std::sync::atomic::AtomicU32::new(0);
    let give = move || {
        let number = given.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(format!("token-{number}"))
    };
    let provider = provider(&server, &clock).with_given_bearers(Box::new(give));
    let order = ImportOrder {
        source: None,
        inputs: vec![(None, "https://files.example.org/1.ndjson".to_owned())],
    };
    let status_url = provider.kick_off_import(&order).await.unwrap();
    assert_eq!(status_url.path(), "/fhir/jobs/1");
    let report = provider.import_report(&status_url).await.unwrap();
    assert!(report["output"].is_array());
    assert_eq!(clock.secs(), [0, 2, 7]);
    let asked = server.asked();
    let tokens: Vec<&str> = asked
        .iter()
        .map(|asked| &asked[asked.find("token-").expect("each request shows a token")..][..7])
        .collect();
    let expected = [
        "token-0", "token-1", "token-1", "token-1", "token-2", "token-2", "token-2",
    ];
    assert_eq!(tokens, expected);
    assert!(asked[1].to_ascii_lowercase().contains("prefer: respond-async"));
}

#[tokio::test]
async fn an_import_that_has_failed_is_not_waited_for() {
    let (server, clock) = (
        scripted(&[answer("500 Internal Server Error", "", EXCEPTION)]).await,
        Noted::default(),
    );
    let status_url = url(&format!("http://127.0.0.1:{}/fhir/jobs/1", server.port));
    let error = provider(&server, &clock)
        .import_report(&status_url)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("it broke"), "{error}");
    assert_eq!(clock.secs(), [0_u64; 0]);
}
