//! The doctor against servers of many kinds: what differs is found, and little is asked.

use std::time::Duration;

use fhirhose_client::doctor::{Check, Diagnosis, Doctor, DoctorSettings, Exports, Outlook, Verdict};
use fhirhose_client::testing::{FaultyEhr, FileCoding, Host, Manner, RetryAfter, SimulatedClock, SourceFile};
use fhirhose_client::{DataProvider, QuirkProfile};
use fhirhose_fhir::id::Id;
use std::sync::Arc;

use crate::server::{Server, http, nobody, ok};

const PATIENTS: &str = "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n";

fn doctor(base: &str, clock: &SimulatedClock) -> Doctor {
    let provider = DataProvider::new(&http(|_| ()), base).unwrap();
    Doctor {
        provider: provider.with_clock(Arc::new(clock.clone())),
        tokens: None,
        profile: None,
        settings: DoctorSettings::default(),
    }
}

async fn examined(manner: Manner) -> (Diagnosis, FaultyEhr) {
    let clock = SimulatedClock::default();
    let files = vec![SourceFile::output("Patient", PATIENTS)];
    let ehr = crate::case::ehr(&clock, files, manner, Vec::new()).await;
    let diagnosis = doctor(&ehr.base(), &clock).examine().await;
    (diagnosis, ehr)
}

fn check<'a>(diagnosis: &'a Diagnosis, id: &str) -> &'a Check {
    let found = diagnosis.checks.iter().find(|check| check.id == id);
    found.unwrap_or_else(|| panic!("{id} in {diagnosis:#?}"))
}

#[tokio::test]
async fn a_good_server_is_asked_little_and_its_export_is_deleted() {
    let (diagnosis, ehr) = examined(Manner {
        coding: FileCoding::Gzip,
        ..Manner::default()
    })
    .await;
    for id in ["R-02", "K-40", "K-07", "F-12", "F-08", "F-02", "D-02", "D-04"] {
        assert_eq!(
            check(&diagnosis, id).verdict,
            Verdict::Ok,
            "{id} in {diagnosis:#?}"
        );
    }
    assert_eq!(
        diagnosis.outlook,
        Outlook::WorksWithWorkarounds,
        "it has no CapabilityStatement"
    );
    let asked = ehr.asked();
    assert!(asked.len() <= 10, "{} requests", asked.len());
    let kick_offs = asked.iter().filter(|asked| asked.target.contains("$export"));
    assert_eq!(kick_offs.count(), 1);
    let kick_off = asked
        .iter()
        .find(|asked| asked.target.contains("$export"))
        .unwrap();
    assert!(
        kick_off.target.contains("_type=Patient&_since="),
        "{}",
        kick_off.target
    );
    let ends: Vec<(&str, u16)> = asked
        .iter()
        .rev()
        .take(2)
        .map(|asked| (&*asked.method, asked.status))
        .collect();
    assert_eq!(ends, [("GET", 404), ("DELETE", 202)]);
}

#[tokio::test]
async fn what_differs_is_told_with_what_a_pull_does_about_it() {
    let (diagnosis, _ehr) = examined(Manner {
        takes: Duration::from_secs(5),
        retry_after: RetryAfter::Secs(18_000),
        progress: Some("p".repeat(120)),
        relative_urls: true,
        ignores_ranges: true,
        delete_status: Some(500),
        ..Manner::default()
    })
    .await;
    assert_eq!(diagnosis.outlook, Outlook::WorksWithWorkarounds);
    for id in ["FHIR", "K-40", "S-05", "S-03", "S-10", "F-12", "F-08", "D-02"] {
        let check = check(&diagnosis, id);
        assert_eq!(check.verdict, Verdict::Differs, "{id} in {diagnosis:#?}");
        assert!(check.standard.is_some(), "{id}");
        assert!(check.workaround.is_some() || id == "S-05", "{id}");
    }
    assert_eq!(check(&diagnosis, "S-03").seen, "18000 s");
}

#[tokio::test]
async fn an_export_that_takes_long_is_cancelled_after_a_few_polls() {
    let (diagnosis, ehr) = examined(Manner {
        takes: Duration::from_hours(24 * 21),
        retry_after: RetryAfter::Date(60),
        ..Manner::default()
    })
    .await;
    assert_eq!(check(&diagnosis, "S-03").verdict, Verdict::Ok);
    assert_eq!(check(&diagnosis, "S-10").verdict, Verdict::NotTried);
    assert_eq!(check(&diagnosis, "D-02").verdict, Verdict::Ok);
    assert!(ehr.asked().len() <= 20, "{} requests", ehr.asked().len());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_or_lets_nobody_in_will_not_work() {
    let clock = SimulatedClock::default();
    let diagnosis = doctor(&format!("http://{}/fhir", nobody().await), &clock)
        .examine()
        .await;
    assert_eq!(diagnosis.outlook, Outlook::WillNotWork);
    assert_eq!(diagnosis.checks.len(), 1);
    let closed = Server::plain(|_| {
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    })
    .await;
    let base = format!("http://127.0.0.1:{}/fhir", closed.port);
    let diagnosis = doctor(&base, &clock).examine().await;
    assert_eq!(diagnosis.outlook, Outlook::WillNotWork);
    assert!(
        diagnosis.reasons[0].contains("no token was sent"),
        "{:?}",
        diagnosis.reasons
    );
    // A certificate that nobody has signed.
    let server = Server::tls(&["localhost"], |_| ok("{}")).await;
    let base = format!("https://localhost:{}/fhir", server.port);
    let diagnosis = doctor(&base, &clock).examine().await;
    assert_eq!(
        (check(&diagnosis, "R-02").title, diagnosis.outlook),
        ("TLS", Outlook::WillNotWork)
    );
}

#[tokio::test]
async fn a_server_that_gives_few_exports_is_not_robbed_of_one() {
    let clock = SimulatedClock::default();
    let statement =
        r#"{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"Epic"}}"#;
    let server = Server::plain(|path| {
        if path.ends_with("/metadata") {
            ok(statement)
        } else {
            ok("{}")
        }
    })
    .await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let mut epic = doctor(&base, &clock);
    epic.settings.group = Id::parse("42");
    let diagnosis = epic.examine().await;
    assert_eq!(
        (&*diagnosis.quirks, diagnosis.outlook),
        ("epic", Outlook::NotTried)
    );
    assert!(diagnosis.known.iter().any(|known| known.says.contains("_since")));
    assert_eq!(check(&diagnosis, "K-40").verdict, Verdict::NotTried);
    assert!(server.asked().iter().all(|asked| !asked.contains("$export")));
    let mut standard = doctor(&base, &clock);
    standard.profile = QuirkProfile::named("standard").cloned();
    standard.settings.exports = Exports::Never;
    assert_eq!(standard.examine().await.quirks, "standard");
    assert!(server.asked().iter().all(|asked| !asked.contains("$export")));
}

#[tokio::test]
async fn links_to_files_and_what_is_in_them_stay_out_of_the_diagnosis_cl_04() {
    let (diagnosis, ehr) = examined(Manner {
        links_last: Some(Duration::from_secs(600)),
        ..Manner::default()
    })
    .await;
    let files: Vec<_> = ehr
        .asked()
        .into_iter()
        .filter(|asked| asked.file().is_some())
        .collect();
    assert!(files.len() == 2 && files.iter().all(|asked| asked.host == Host::Fhir));
    let json = serde_json::to_string(&diagnosis).unwrap();
    assert!(!json.contains("sig=") && !json.contains("\"id\":\"a\""), "{json}");
}
