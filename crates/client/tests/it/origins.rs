//! What goes to which origin.

use std::sync::Arc;

use fhirhose_client::doctor::{Doctor, DoctorSettings, Verdict};
use fhirhose_client::testing::SimulatedClock;
use fhirhose_client::{DataProvider, ErrorKind};

use crate::provider::url;
use crate::server::{Server, http, ok};

const DONE: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NOTHING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn at(server: &Server, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", server.port)
}

#[tokio::test]
async fn a_server_cannot_have_us_delete_at_another_one_cl_13() {
    let own = Server::plain(|_| DONE.to_owned()).await;
    let other = Server::plain(|_| DONE.to_owned()).await;
    let provider = DataProvider::new(&http(|_| ()), &at(&own, "/fhir")).unwrap();
    provider.delete(&url(&at(&own, "/status/1"))).await.unwrap();
    let elsewhere = url(&at(&other, "/Patient/1"));
    let refused = provider.delete(&elsewhere).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    assert_eq!((own.asked().len(), other.asked().len()), (1, 0));
    let trusting = provider.with_trusted_file_origins(&[at(&other, "")]).unwrap();
    trusting.delete(&elsewhere).await.unwrap();
    assert!(other.asked()[0].starts_with("DELETE /Patient/1 "));
}

#[tokio::test]
async fn the_doctor_deletes_nothing_at_another_origin() {
    let manifest = r#"{"transactionTime":"2026-11-21T10:00:00Z","request":"x","requiresAccessToken":false,"output":[],"error":[]}"#;
    let other = Server::plain(move |_| ok(manifest)).await;
    let status_url = at(&other, "/status/1");
    let accepted = DONE.replacen("\r\n", &format!("\r\nContent-Location: {status_url}\r\n"), 1);
    let own = Server::plain(move |path| match path.contains("$export") {
        true => accepted.clone(),
        false => NOTHING.to_owned(),
    })
    .await;
    let provider = DataProvider::new(&http(|_| ()), &at(&own, "/fhir")).unwrap();
    let doctor = Doctor {
        provider: provider.with_clock(Arc::new(SimulatedClock::default())),
        tokens: None,
        profile: None,
        settings: DoctorSettings::default(),
    };
    let diagnosis = doctor.examine().await;
    let check = diagnosis.checks.iter().find(|check| check.id == "D-02");
    assert_eq!(check.unwrap().verdict, Verdict::NotTried, "{diagnosis:#?}");
    let asked = other.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.starts_with("GET ")));
}
