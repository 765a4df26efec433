//! Quirks: every data file says what it means and where it is known from, and what it says changes what is asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhirhose_client::testing::{EhrSettings, FaultyEhr, Manner, RetryAfter, SimulatedClock};
use fhirhose_client::{
    Begun, Coding, DataProvider, ErrorKind, ExportParameters, FileRequest, Pause, QuirkProfile, Quirks,
};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::id::Id;
use serde_json::{Value, json};

use crate::server::{Server, http, ok};

const ACCEPTED: &str =
    "HTTP/1.1 202 Accepted\r\nContent-Location: /status/1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What a server with these quirks is asked, or why it is not.
async fn asked(quirks: Value, parameters: &ExportParameters) -> Result<String, fhirhose_client::Error> {
    let server = Server::plain(|_| ACCEPTED.to_owned()).await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let quirks: Quirks = serde_json::from_value(quirks).unwrap();
    let provider = DataProvider::new(&http(|_| ()), &base)
        .unwrap()
        .with_quirks(quirks);
    let outcome = provider.kick_off(parameters).await;
    let requests = server.asked();
    assert_eq!(requests.is_empty(), outcome.is_err());
    outcome.map(|_| requests[0].lines().next().unwrap().to_owned())
}

fn patients(change: impl FnOnce(&mut ExportParameters)) -> ExportParameters {
    let mut parameters = ExportParameters::new(ExportLevel::AllPatients);
    change(&mut parameters);
    parameters
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn every_file_has_sources_and_does_or_tells_something() {
    for profile in QuirkProfile::known() {
        let name = &profile.name;
        assert!(
            profile.about.ends_with('.') && profile.quirks().name == *name,
            "{name}"
        );
        assert_eq!(profile.differences.is_empty(), name == "standard");
        let is_standard = matches!(name.as_str(), "standard" | "fhirhose");
        assert_eq!(profile.quirks().is_standard(), is_standard, "{name}");
        assert_eq!(
            profile.recognise == fhirhose_client::Signs::default(),
            name == "standard"
        );
        for difference in &profile.differences {
            let place = format!("{name}: {}", difference.id);
            assert!(difference.says.ends_with('.'), "{place}");
            assert!(!difference.sources.is_empty(), "{place}");
            assert!(
                difference
                    .sources
                    .iter()
                    .all(|source| source.starts_with("https://")),
                "{place}"
            );
        }
    }
    for name in [
        "standard",
        "epic",
        "oracle-health",
        "hapi",
        "bcda",
        "ab2d",
        "dpc",
        "fhirhose",
    ] {
        assert!(QuirkProfile::named(name).is_some(), "{name}");
    }
}

#[test]
fn a_file_with_a_member_that_means_nothing_is_refused() {
    let file = |workaround: Value| {
        let differences = json!([{"id": "d", "says": "It does.", "workaround": workaround, "sources": []}]);
        let file = json!({"name": "own", "title": "Own", "about": "Ours.", "recognise": {}, "differences": differences});
        QuirkProfile::parse(&file.to_string())
    };
    assert_eq!(file(json!({"pollSecsMin": 7})).unwrap().quirks().poll_secs_min, 7);
    for broken in [
        json!({"pollSecs": 7}),
        json!({"pollSecsMin": "often"}),
        json!({"name": "other"}),
    ] {
        assert_eq!(file(broken).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn servers_are_known_by_software_publisher_host_or_header() {
    let known = |base: &str, statement: Value, header: Option<(&'static str, &'static str)>| {
        let headers = header.into_iter();
        let headers = headers
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let profile = QuirkProfile::recognise(&base.parse().unwrap(), &statement, &headers);
        profile.map(|profile| profile.name.as_str())
    };
    let here = "https://ehr.example.org/fhir";
    let software = |name: &str| json!({"software": {"name": name}});
    assert_eq!(known(here, software("Epic"), None), Some("epic"));
    assert_eq!(known(here, software("Epicurus"), None), None);
    assert_eq!(
        known(here, json!({"publisher": "Cerner"}), None),
        Some("oracle-health")
    );
    assert_eq!(
        known("https://fhir-ehr-code.cerner.com/r4/x", Value::Null, None),
        Some("oracle-health")
    );
    assert_eq!(known("https://cerner.com.example.org", Value::Null, None), None);
    assert_eq!(known(here, software("HAPI FHIR Server"), None), Some("hapi"));
    let powered = Some((
        "x-powered-by",
        "HAPI FHIR 8.2.0 REST Server (FHIR Server; FHIR 4.0.1/R4)",
    ));
    assert_eq!(known(here, Value::Null, powered), Some("hapi"));
    assert_eq!(
        known("https://sandbox.ab2d.cms.gov/api/v2/fhir", Value::Null, powered),
        Some("ab2d")
    );
    assert_eq!(
        known("https://api.bcda.cms.gov/api/v2", Value::Null, None),
        Some("bcda")
    );
    assert_eq!(
        known(here, software("Data @ Point of Care API"), None),
        Some("dpc")
    );
    assert_eq!(known(here, software("fhirhose"), None), Some("fhirhose"));
    assert_eq!(known(here, json!({}), None), None);
}

#[tokio::test]
async fn lists_and_filters_are_written_as_the_server_takes_them_k_07() {
    let parameters = patients(|parameters| {
        parameters.types = texts(&["Patient", "Encounter"]);
        parameters.type_filters = texts(&["Encounter?status=planned,finished", "Patient?active=true"]);
    });
    let standard = asked(json!({}), &parameters).await.unwrap();
    assert!(standard.contains("_type=Patient%2CEncounter&"), "{standard}");
    assert!(
        standard.contains("planned%2Cfinished&_typeFilter=Patient"),
        "{standard}"
    );
    let repeats = asked(json!({"lists": "repeats"}), &parameters).await.unwrap();
    assert!(repeats.contains("_type=Patient&_type=Encounter&"), "{repeats}");
    let epic = json!({"typeFilters": "commas", "escapesFilterCommas": true});
    let epic = asked(epic, &parameters).await.unwrap();
    assert!(epic.contains("planned%252Cfinished%2CPatient%3Factive"), "{epic}");
}

#[tokio::test]
async fn an_export_without_since_gets_the_one_that_makes_it_a_full_one() {
    let quirks = json!({"sinceWhenNone": "2020-01-01T00:00:00-05:00"});
    let full = asked(quirks.clone(), &patients(|_| ())).await.unwrap();
    assert!(full.contains("_since=2020-01-01T00%3A00%3A00-05%3A00"), "{full}");
    let since = patients(|parameters| parameters.since = Some("2026-11-21T10:00:00Z".to_owned()));
    let since = asked(quirks, &since).await.unwrap();
    assert!(since.contains("_since=2026-11-21T10%3A00%3A00Z"), "{since}");
}

#[tokio::test]
async fn what_a_server_does_not_have_is_refused_before_it_is_asked() {
    let refused = |quirks: Value, parameters: ExportParameters| async move {
        let error = asked(quirks, &parameters).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        error.to_string()
    };
    let groups = json!({"name": "epic", "levels": ["group"]});
    let why = refused(groups.clone(), patients(|_| ())).await;
    assert!(
        why.contains("no export of all patients, only of a Group"),
        "{why}"
    );
    let group = ExportParameters::new(ExportLevel::Group(Id::parse("42").unwrap()));
    assert!(asked(groups, &group).await.unwrap().contains("/Group/42/"));
    let by_post = patients(|parameters| parameters.patients = texts(&["1"]));
    let why = refused(json!({"takesPost": false}), by_post).await;
    assert!(why.contains("POST"), "{why}");
    let elements = json!({"unsupportedParameters": ["_elements"]});
    let mut parameters = patients(|parameters| parameters.elements = texts(&["id"]));
    let why = refused(elements.clone(), parameters.clone()).await;
    assert!(why.contains("`_elements`"), "{why}");
    parameters.lenient = true;
    assert!(asked(elements, &parameters).await.is_ok());
}

#[tokio::test]
async fn a_file_that_broke_off_is_asked_for_anew_where_ranges_are_wrong() {
    let server = Server::plain(|_| ok("whole")).await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let url = format!("http://127.0.0.1:{}/file", server.port);
    for (no_ranges, has_range) in [(false, true), (true, false)] {
        let quirks: Quirks = serde_json::from_value(json!({"noRanges": no_ranges})).unwrap();
        let provider = DataProvider::new(&http(|_| ()), &base)
            .unwrap()
            .with_quirks(quirks);
        let mut request = FileRequest::new(&url, false);
        request.begun = Some(Begun {
            from: 3,
            etag: "\"a\"".to_owned(),
            coding: Coding::Identity,
        });
        assert_eq!(provider.open(&request).await.unwrap().from, 0);
        let asked = server.asked().pop().unwrap().to_ascii_lowercase();
        assert_eq!(asked.contains("range: bytes=3-"), has_range, "{asked}");
    }
}

#[tokio::test]
async fn a_server_is_polled_no_oftener_than_it_bears_and_waited_for_no_longer_than_is_sensible_cl_05() {
    let waits = |quirks: Value, retry_after: RetryAfter| async move {
        let clock = SimulatedClock::default();
        let settings = EhrSettings {
            manner: Manner {
                takes: Duration::from_secs(600),
                retry_after,
                ..Manner::default()
            },
            ..EhrSettings::default()
        };
        let ehr = FaultyEhr::simulated(settings, &clock).await;
        let quirks: Quirks = serde_json::from_value(quirks).unwrap();
        let provider = DataProvider::new(&http(|_| ()), &ehr.base()).unwrap();
        let provider = provider.with_quirks(quirks).with_clock(Arc::new(clock.clone()));
        let accepted = provider.kick_off(&patients(|_| ())).await.unwrap();
        let polls = Mutex::new(Vec::new());
        let waiting = |pause: &Pause<'_>| polls.lock().unwrap().push(pause.wait.as_secs());
        let mut pages = provider.pages(&accepted.status_url);
        while pages.next(&waiting).await.unwrap().is_some() {}
        polls.into_inner().unwrap()[0]
    };
    assert_eq!(waits(json!({}), RetryAfter::Secs(2)).await, 2);
    assert_eq!(waits(json!({"pollSecsMin": 60}), RetryAfter::Secs(2)).await, 60);
    assert_eq!(waits(json!({}), RetryAfter::Secs(18_000)).await, 300);
    assert_eq!(
        waits(json!({"retryAfterSecsMax": 900}), RetryAfter::Secs(18_000)).await,
        900
    );
}

#[test]
fn a_server_is_asked_for_no_more_files_at_a_time_than_it_bears() {
    let parallel = |most: usize, wanted: usize| {
        let quirks: Quirks = serde_json::from_value(json!({"parallelDownloadsMax": most})).unwrap();
        quirks.parallel(wanted)
    };
    assert_eq!(
        (parallel(0, 5), parallel(3, 5), parallel(3, 2), parallel(0, 0)),
        (5, 3, 2, 1)
    );
}

#[tokio::test]
async fn a_server_is_asked_once_what_it_is_and_taken_as_such() {
    let server =
        Server::plain(|_| ok(r#"{"resourceType":"CapabilityStatement","software":{"name":"Epic"}}"#)).await;
    let base = format!("http://127.0.0.1:{}/fhir/", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base)
        .unwrap()
        .discover_quirks()
        .await;
    assert_eq!(provider.quirks(), QuirkProfile::named("epic").unwrap().quirks());
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("GET /fhir/metadata HTTP/1.1"),
        "{}",
        asked[0]
    );
    let silent = Server::plain(|_| {
        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned()
    })
    .await;
    let base = format!("http://127.0.0.1:{}/fhir/", silent.port);
    let provider = DataProvider::new(&http(|_| ()), &base)
        .unwrap()
        .discover_quirks()
        .await;
    assert_eq!(*provider.quirks(), Quirks::default());
}

/// What is known of all servers, for people.
fn page() -> String {
    let mut page = include_str!("quirks.md").to_owned();
    for profile in QuirkProfile::known() {
        page.push_str(&format!(
            "\n## {} (`{}`)\n\n{}\n",
            profile.title, profile.name, profile.about
        ));
        for difference in &profile.differences {
            page.push_str(&format!("\n- {}", difference.says));
            if let Some(advice) = &difference.advice {
                page.push_str(&format!(" {advice}"));
            }
            if !difference.workaround.is_empty() {
                let workaround = Value::Object(difference.workaround.clone());
                page.push_str(&format!(" Done differently: `{workaround}`."));
            }
            let sources = difference.sources.iter().enumerate();
            for (index, source) in sources {
                page.push_str(&format!(" [[{}]]({source})", index + 1));
            }
        }
        if !profile.differences.is_empty() {
            page.push('\n');
        }
    }
    page
}

#[test]
fn the_page_for_people_says_what_the_files_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations/quirks.md");
    if std::env::var_os("FHIRHOSE_WRITE_DOCS").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let members = serde_json::to_value(Quirks::default()).unwrap();
    for member in members
        .as_object()
        .unwrap()
        .keys()
        .filter(|member| *member != "name")
    {
        assert!(page().contains(&format!("| `{member}` |")), "{member}");
    }
    let there = std::fs::read_to_string(path).unwrap();
    assert_eq!(there, page(), "FHIRHOSE_WRITE_DOCS=1 writes it anew");
}
