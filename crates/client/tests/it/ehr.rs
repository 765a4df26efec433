//! The faulty EHR itself, and the clock that jumps: what the tests of pulls stand on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhirhose_client::testing::{
    Cut, Fault, FaultyEhr, FileHost, Host, Manner, Place, RetryAfter, SimulatedClock, SourceFile, Strike,
    Words,
};
use fhirhose_client::{
    Begun, Clock, Coding, DataProvider, ErrorKind, ExportParameters, FileRequest, Http, ManifestPage, Status,
};
use fhirhose_fhir::export_request::ExportLevel;
use futures::StreamExt;

use crate::server::{http, text};

const PATIENTS: &str =
    "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n{\"resourceType\":\"Patient\",\"id\":\"b\"}\n";

async fn ehr(clock: &SimulatedClock, manner: Manner, script: Vec<Strike>) -> FaultyEhr {
    crate::case::ehr(
        clock,
        vec![SourceFile::output("Patient", PATIENTS)],
        manner,
        script,
    )
    .await
}

/// Kicks off and asks until it is done.
async fn manifest(http: &Http, ehr: &FaultyEhr, clock: &SimulatedClock) -> ManifestPage {
    let provider = DataProvider::new(http, &ehr.base()).unwrap();
    let provider = provider.with_clock(Arc::new(clock.clone()));
    let accepted = provider
        .kick_off(&ExportParameters::new(ExportLevel::System))
        .await
        .unwrap();
    for _ in 0..10_000 {
        match provider.status(&accepted.status_url).await.unwrap() {
            Status::Complete(page) => return page,
            Status::Running { retry_after, .. } => {
                clock
                    .sleep(retry_after.unwrap_or(Duration::from_secs(3_600)))
                    .await;
            }
        }
    }
    panic!("the export does not end");
}

#[tokio::test]
async fn who_sleeps_shorter_wakes_first_and_weeks_pass_at_once() {
    let clock = SimulatedClock::default();
    let (began, woken) = (clock.now(), Arc::new(Mutex::new(Vec::new())));
    let mut sleepers = Vec::new();
    for days in [21, 1, 14, 7] {
        let (clock, woken) = (clock.clone(), Arc::clone(&woken));
        sleepers.push(tokio::spawn(async move {
            clock.sleep(Duration::from_hours(24 * days)).await;
            woken.lock().unwrap().push(days);
        }));
    }
    for sleeper in sleepers {
        sleeper.await.unwrap();
    }
    assert_eq!(*woken.lock().unwrap(), [1, 7, 14, 21]);
    assert_eq!(clock.now().micros() - began.micros(), 21 * 86_400 * 1_000_000);
}

#[tokio::test]
async fn a_cut_body_ends_in_an_error_and_goes_on_by_range() {
    let clock = SimulatedClock::default();
    let strike = Strike::once(Place::File(0), Fault::Cut(Cut::Body(10)));
    let ehr = ehr(&clock, Manner::default(), vec![strike]).await;
    let http = http(|_| ());
    let page = manifest(&http, &ehr, &clock).await;
    let url = &page.manifest.output[0].url;
    let mut first = http.fetch(url, 0, None).await.unwrap();
    let mut arrived = Vec::new();
    let error = loop {
        match first.stream.next().await.expect("it does not end well") {
            Ok(bytes) => arrived.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert_eq!((arrived.len(), error.kind()), (10, ErrorKind::Unreachable));
    let mut rest = http.fetch(url, 10, first.etag.as_deref()).await.unwrap();
    assert_eq!(rest.from, 10);
    while let Some(bytes) = rest.stream.next().await {
        arrived.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(String::from_utf8(arrived).unwrap(), PATIENTS);
    let asked = ehr.asked_at(Place::AnyFile);
    let ranges: Vec<_> = asked
        .iter()
        .map(|asked| (asked.status, asked.range_start()))
        .collect();
    assert_eq!(ranges, [(200, None), (206, Some(10))]);
}

#[tokio::test]
async fn cl_10_what_lacks_no_byte_but_the_end_of_its_answer_is_not_fetched_again() {
    let clock = SimulatedClock::default();
    let refused = Strike::times(1, Place::File(0), Fault::RangeRefused).after(1);
    let ehr = ehr(&clock, Manner::default(), vec![refused]).await;
    let http = http(|_| ());
    let page = manifest(&http, &ehr, &clock).await;
    let provider = DataProvider::new(&http, &ehr.base()).unwrap();
    let mut request = FileRequest::new(&page.manifest.output[0].url, false);
    let begun = |from: usize| {
        Some(Begun {
            from: from as u64,
            etag: "\"file-0-\"".to_owned(),
            coding: Coding::Identity,
        })
    };
    request.begun = begun(PATIENTS.len());
    let mut opened = provider.open(&request).await.unwrap();
    assert_eq!(opened.encoded_bytes, Some(PATIENTS.len() as u64));
    assert!(opened.stream.next().await.is_none());
    // Bytes that are wanted and refused are another thing.
    request.begun = begun(10);
    assert_eq!(
        provider.open(&request).await.unwrap_err().kind(),
        ErrorKind::Changed
    );
    assert_eq!(ehr.asked_at(Place::File(0)).len(), 2);
}

#[tokio::test]
async fn both_hosts_write_down_what_they_hear() {
    let clock = SimulatedClock::default();
    let manner = Manner {
        file_host: FileHost::Redirected(307),
        ..Manner::default()
    };
    let ehr = ehr(&clock, manner, Vec::new()).await;
    let http = http(|_| ());
    let page = manifest(&http, &ehr, &clock).await;
    assert_eq!(text(&http, &page.manifest.output[0].url).await.unwrap(), PATIENTS);
    let asked = ehr.asked_at(Place::File(0));
    let heard: Vec<_> = asked.iter().map(|asked| (asked.host, asked.status)).collect();
    assert_eq!(heard, [(Host::Fhir, 307), (Host::Files, 200)]);
}

#[tokio::test]
async fn an_export_takes_its_time_and_a_script_is_played_once() {
    let clock = SimulatedClock::default();
    let manner = Manner {
        takes: Duration::from_hours(24 * 14),
        retry_after: RetryAfter::Secs(300),
        ..Manner::default()
    };
    let strike = Strike::once(Place::KickOff, Fault::answer(503, Words::Transient));
    let ehr = ehr(&clock, manner, vec![strike]).await;
    let http = http(|_| ());
    let provider = DataProvider::new(&http, &ehr.base()).unwrap();
    let parameters = ExportParameters::new(ExportLevel::System);
    let error = provider.kick_off(&parameters).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    let page = manifest(&http, &ehr, &clock).await;
    assert_eq!(page.manifest.output.len(), 1);
    let polls = ehr.asked_at(Place::Status).len();
    assert!(
        (4_000..4_100).contains(&polls),
        "two weeks of five minutes: {polls}"
    );
}
