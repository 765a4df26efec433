//! Quirks: every data file says what it means and where it is known from, and what it says changes what is asked.

use fhirhose_client::{DataProvider, ErrorKind, ExportParameters, QuirkProfile, Quirks};
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
