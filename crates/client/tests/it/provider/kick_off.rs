//! Kick-offs as servers want them.

use fhirhose_client::testing::{Cut, Fault, Manner, Place, RetryAfter, Strike, Words};
use fhirhose_client::{DataProvider, ErrorKind, ExportParameters, Quirks};
use fhirhose_fhir::export_request::{ExportLevel, Wire};
use fhirhose_fhir::id::Id;
use serde_json::{Value, json};

use super::{Scene, everything};
use crate::server::{Server, http, ok};

fn full(level: ExportLevel) -> ExportParameters {
    let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    ExportParameters {
        output_format: Some("application/fhir+ndjson".to_owned()),
        since: Some("2026-01-01T00:00:00.120+01:00".to_owned()),
        until: Some("2026-02-01T00:00:00Z".to_owned()),
        types: texts(&["Patient", "Observation"]),
        elements: texts(&["id", "Patient.name"]),
        associated_data: texts(&["LatestProvenanceResources"]),
        type_filters: texts(&["Observation?code=a b,c", "Patient?active=true"]),
        organize_output_by: Some("Patient".to_owned()),
        allow_partial_manifests: true,
        custom: vec![("_vendor".to_owned(), "x&y".to_owned())],
        lenient: true,
        ..ExportParameters::new(level)
    }
}

#[tokio::test]
async fn a_get_carries_every_parameter_k_05_k_22() {
    let scene = Scene::new(1, Manner::default(), Vec::new()).await;
    scene.provider.kick_off(&full(ExportLevel::System)).await.unwrap();
    let asked = &scene.ehr.asked_at(Place::KickOff)[0];
    assert_eq!((asked.method.as_str(), asked.path()), ("GET", "/fhir/$export"));
    assert_eq!(asked.header("accept"), Some("application/fhir+json"));
    assert_eq!(asked.header("prefer"), Some("respond-async, handling=lenient"));
    for (name, values) in [
        ("_outputFormat", &["application/fhir+ndjson"][..]),
        ("_since", &["2026-01-01T00:00:00.120+01:00"]),
        ("_until", &["2026-02-01T00:00:00Z"]),
        ("_type", &["Patient,Observation"]),
        ("_elements", &["id,Patient.name"]),
        ("includeAssociatedData", &["LatestProvenanceResources"]),
        ("_typeFilter", &["Observation?code=a b,c", "Patient?active=true"]),
        ("organizeOutputBy", &["Patient"]),
        ("allowPartialManifests", &["true"]),
        ("_vendor", &["x&y"]),
    ] {
        assert_eq!(asked.query(name), values, "{name}");
    }
    assert!(!asked.target.contains('+'), "{}", asked.target);
}

#[tokio::test]
async fn a_post_carries_every_parameter_k_05_k_07() {
    let scene = Scene::new(1, Manner::default(), Vec::new()).await;
    let mut parameters = full(ExportLevel::Group(Id::parse("g1").unwrap()));
    parameters.patients = vec!["p1".to_owned(), "Patient/p2".to_owned()];
    scene.provider.kick_off(&parameters).await.unwrap();
    parameters.wire = Wire::Stu4;
    scene.provider.kick_off(&parameters).await.unwrap();
    let asked = scene.ehr.asked_at(Place::KickOff);
    let paths: Vec<_> = asked
        .iter()
        .map(|asked| (asked.method.as_str(), asked.target.as_str()))
        .collect();
    let expected = ["/fhir/Group/g1/$export", "/fhir/Group/g1/$export-v4"];
    assert_eq!(paths, expected.map(|path| ("POST", path)));
    for (asked, provenance) in asked.iter().zip(["valueCode", "valueCoding"]) {
        assert_eq!(asked.header("content-type"), Some("application/fhir+json"));
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body["resourceType"], "Parameters");
        let all = body["parameter"].as_array().unwrap();
        let of = |name: &str| -> Vec<Value> {
            let mut items: Vec<Value> = all.iter().filter(|item| item["name"] == name).cloned().collect();
            for item in &mut items {
                item.as_object_mut().unwrap().remove("name");
            }
            items
        };
        let provenance = match provenance {
            "valueCode" => json!({"valueCode": "LatestProvenanceResources"}),
            coding => json!({coding: {"code": "LatestProvenanceResources"}}),
        };
        let patient = |id: &str| json!({"valueReference": {"reference": format!("Patient/{id}")}});
        let string = |text: &str| json!({"valueString": text});
        let mut carried = 0;
        for (name, values) in [
            ("_outputFormat", vec![string("application/fhir+ndjson")]),
            (
                "_since",
                vec![json!({"valueInstant": "2026-01-01T00:00:00.120+01:00"})],
            ),
            ("_until", vec![json!({"valueInstant": "2026-02-01T00:00:00Z"})]),
            ("_type", vec![string("Patient"), string("Observation")]),
            ("_elements", vec![string("id"), string("Patient.name")]),
            ("includeAssociatedData", vec![provenance]),
            (
                "_typeFilter",
                vec![string("Observation?code=a b,c"), string("Patient?active=true")],
            ),
            ("organizeOutputBy", vec![string("Patient")]),
            ("allowPartialManifests", vec![json!({"valueBoolean": true})]),
            ("patient", vec![patient("p1"), patient("p2")]),
            ("_vendor", vec![string("x&y")]),
        ] {
            assert_eq!(of(name), values, "{name}");
            carried += values.len();
        }
        assert_eq!(carried, all.len(), "{body}");
    }
}

#[tokio::test]
async fn what_a_get_cannot_carry_goes_by_post_and_the_other_way_round_k_05() {
    let accept = "HTTP/1.1 202 Accepted\r\nContent-Location: /status/1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let refuse = |status: &str| ok("{}").replacen("200 OK", status, 1);
    let mut long = everything();
    long.types = (0..400).map(|number| format!("Vendor{number}Resource")).collect();
    for (parameters, refusals, methods) in [
        (&everything(), 1, &["GET", "POST"][..]),
        (&long, 0, &["POST"]),
        (&long, 1, &["POST", "GET"]),
    ] {
        let (asked, refused) = (
            std::sync::atomic::AtomicUsize::new(0),
            refuse("405 Method Not Allowed"),
        );
        let server = Server::plain(move |_| {
            match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < refusals {
                true => refused.clone(),
                false => accept.to_owned(),
            }
        })
        .await;
        let base = format!("http://127.0.0.1:{}/fhir", server.port);
        let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
        let accepted = provider.kick_off(parameters).await.unwrap();
        assert_eq!(accepted.status_url.path(), "/status/1");
        let asked = server.asked();
        let asked: Vec<&str> = asked
            .iter()
            .map(|asked| asked.split(' ').next().unwrap())
            .collect();
        assert_eq!(asked, methods);
    }
}

#[tokio::test]
async fn a_kick_off_is_tried_again_while_there_is_trouble_that_passes() {
    let script = vec![
        Strike::once(
            Place::KickOff,
            Fault::answer_later(429, RetryAfter::Secs(60), Words::Nothing),
        ),
        Strike::once(Place::KickOff, Fault::answer(503, Words::Html)),
        Strike::once(Place::KickOff, Fault::answer(500, Words::Transient)),
        Strike::once(Place::KickOff, Fault::Cut(Cut::Before)),
    ];
    let scene = Scene::new(1, Manner::default(), script).await;
    assert_eq!(scene.export(&everything()).await.unwrap().len(), 1);
    assert_eq!(scene.waits.all()[0].0, 60);
    assert_eq!(scene.ehr.asked_at(Place::KickOff).len(), 5);
    let always = Strike::always(Place::KickOff, Fault::answer(503, Words::Html));
    let scene = Scene::new(1, Manner::default(), vec![always]).await;
    assert_eq!(
        scene.export(&everything()).await.unwrap_err().kind(),
        ErrorKind::Busy
    );
    assert_eq!(scene.ehr.asked_at(Place::KickOff).len(), 10);
}

#[tokio::test]
async fn a_server_with_one_export_at_a_time_is_waited_for() {
    let script = Strike::times(40, Place::KickOff, Fault::answer(429, Words::Exception));
    let scene = Scene::new(1, Manner::default(), vec![script]).await;
    let quirks = Quirks {
        busy_kick_off_secs_max: 7 * 24 * 3_600,
        ..Quirks::default()
    };
    let provider = scene.provider.clone().with_quirks(quirks);
    let scene = Scene { provider, ..scene };
    assert_eq!(scene.export(&everything()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words_and_without_patients() {
    let outcome = json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "not-found", "diagnostics": "Patient/4711 and 4711. but not 47110"}]});
    let answer = ok(&outcome.to_string()).replacen("200 OK", "404 Not Found", 1);
    let server = Server::plain(move |_| answer.clone()).await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    let instance = ExportParameters::new(ExportLevel::Patient(Id::parse("4711").unwrap()));
    let mut listed = ExportParameters::new(ExportLevel::AllPatients);
    listed.patients = vec!["Patient/4711".to_owned()];
    for parameters in [instance, listed] {
        let error = provider.kick_off(&parameters).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        let text = error.to_string();
        assert!(text.ends_with("Patient/… and …. but not 47110"), "{text}");
        let answer = error.answer().unwrap();
        assert!(
            !answer.body.replace("47110", "").contains("4711"),
            "{}",
            answer.body
        );
    }
    assert_eq!(server.asked().len(), 2, "a refusal is not asked for again");
}

#[tokio::test]
async fn an_acceptance_without_a_place_is_an_error() {
    let server = Server::plain(|_| ok("{}").replacen("200 OK", "202 Accepted", 1)).await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    let error = provider.kick_off(&everything()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    // Nor is a 200 an acceptance.
    let server = Server::plain(|_| ok("{}")).await;
    let base = format!("http://127.0.0.1:{}/fhir", server.port);
    let provider = DataProvider::new(&http(|_| ()), &base).unwrap();
    assert_eq!(
        provider.kick_off(&everything()).await.unwrap_err().kind(),
        ErrorKind::Refused
    );
}
