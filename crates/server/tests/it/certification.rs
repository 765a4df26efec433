//! The public certification suites' tests of kick-off, status and download, done as they do them: each level in turn, by GET and
//! by POST, with just the headers that they send. Comments have the titles of the suites' tests; those about tokens are in `certification_tokens.rs`.

use fhirhose_fhir::instant::Instant;
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::{Answer, Ask};
use crate::kick_off::parameters;

/// Patients, all of the system, a Group: the levels that the suites test.
const LEVELS: [&str; 3] = ["Patient/$export", "$export", "Group/g1/$export"];

/// A server as one that is to be certified would be set up: its exports are seen active at least once.
async fn server() -> Server {
    holding(100).await
}

/// A server whose exports are seen active for so long.
async fn holding(millis: u64) -> Server {
    let server = Server::start_with(|settings| settings.status_hold_millis = millis).await;
    server.import_lines(&crate::fixture::POPULATION).await;
    server
}

fn get(server: &Server, target: &str) -> Ask {
    server.ask(Method::GET, &format!("/fhir/{target}"))
}

fn post(server: &Server, target: &str, list: &[(&str, &str, &str)]) -> Ask {
    let ask = server.ask(Method::POST, &format!("/fhir/{target}"));
    ask.json(&parameters(list))
}

fn lenient(ask: Ask) -> Ask {
    let ask = ask.header("accept", "application/fhir+json");
    ask.header("prefer", "respond-async, handling=lenient")
}

/// A kick-off that must be refused: 4xx with an OperationOutcome.
fn assert_refused(answer: &Answer, what: &str) {
    assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
    assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{what}");
}

/// A kick-off that must be accepted; the export is deleted again, as the suites do.
async fn assert_accepted(server: &Server, answer: &Answer, what: &str) {
    assert_eq!(answer.status, 202, "{what}: {}", answer.text());
    let location = answer.header("content-location");
    assert!(location.starts_with("http://"), "{what}: {location}");
    assert_eq!(answer.json()["resourceType"], "OperationOutcome", "{what}");
    assert_eq!(server.delete(location).await.status, 202, "{what}");
}

// "Requires Accept header", "Requires the Prefer header to contain respond-async": GET and POST.
#[tokio::test]
async fn headers_are_required_at_each_level_by_get_and_post_k_20_k_21() {
    let server = server().await;
    for level in LEVELS {
        for is_post in [false, true] {
            let ask = |level: &str| match is_post {
                true => post(&server, level, &[]),
                false => get(&server, level),
            };
            let without_accept = ask(level).header("prefer", "respond-async");
            assert_refused(&without_accept.send().await, level);
            let without_prefer = ask(level).header("accept", "application/fhir+json");
            assert_refused(&without_prefer.send().await, level);
            let both = ask(level).asynchronous().send().await;
            assert_accepted(&server, &both, level).await;
        }
    }
}

// "Allows Prefer: respond-async, handling=lenient", with a parameter that nobody supports.
#[tokio::test]
async fn lenient_kick_offs_are_accepted_at_each_level_k_22() {
    let server = server().await;
    for level in LEVELS {
        let answer = lenient(get(&server, &format!("{level}?unsupported=1")))
            .send()
            .await;
        assert_accepted(&server, &answer, level).await;
        let answer = lenient(post(&server, level, &[("unsupported", "valueString", "1")]));
        assert_accepted(&server, &answer.send().await, level).await;
    }
}

// "Accepts _outputFormat=…", "Rejects unsupported formats": GET and POST.
#[tokio::test]
async fn formats_are_accepted_and_refused_by_get_and_post_k_06_k_47() {
    let server = server().await;
    for level in LEVELS {
        for (in_query, format) in [
            ("application%2Ffhir%2Bndjson", "application/fhir+ndjson"),
            ("application%2Fndjson", "application/ndjson"),
            ("ndjson", "ndjson"),
        ] {
            let answer = get(&server, &format!("{level}?_outputFormat={in_query}"));
            assert_accepted(&server, &answer.asynchronous().send().await, format).await;
            let answer = post(&server, level, &[("_outputFormat", "valueString", format)]);
            assert_accepted(&server, &answer.asynchronous().send().await, format).await;
        }
        for format in ["application/xml", "text/html", "x-custom"] {
            let answer = get(&server, &format!("{level}?_outputFormat={format}"));
            assert_refused(&answer.asynchronous().send().await, format);
            let answer = post(&server, level, &[("_outputFormat", "valueString", format)]);
            assert_refused(&answer.asynchronous().send().await, format);
        }
    }
}

// "Rejects _since={invalid date} parameter", "Rejects _since={future date} parameter": GET and POST. The first value has the shape
// of an instant, and is none.
#[tokio::test]
async fn impossible_and_future_instants_are_refused_at_the_kick_off_k_48() {
    let server = server().await;
    for level in LEVELS {
        for since in ["0000-60-01T30:70:80+05:00", "2057-01-01T00:00:00+00:00"] {
            let in_query = since.replace('+', "%2B");
            let answer = get(&server, &format!("{level}?_since={in_query}"));
            assert_refused(&answer.asynchronous().send().await, since);
            let answer = post(&server, level, &[("_since", "valueInstant", since)]);
            assert_refused(&answer.asynchronous().send().await, since);
        }
        let answer = get(&server, &format!("{level}?_since=2010-01-01T00:00:00%2B05:00"));
        assert_accepted(
            &server,
            &answer.asynchronous().send().await,
            "an offset, no fraction",
        )
        .await;
        let answer = post(
            &server,
            level,
            &[("_since", "valueInstant", "2010-01-01T00:00:00+05:00")],
        );
        assert_accepted(
            &server,
            &answer.asynchronous().send().await,
            "an offset, no fraction",
        )
        .await;
    }
}

// "Validates the _type parameter", "Accepts multiple _type parameters": GET and POST.
#[tokio::test]
async fn types_are_validated_and_may_repeat_k_07_k_48() {
    let server = server().await;
    for level in LEVELS {
        let answer = get(&server, &format!("{level}?_type=MissingType"));
        assert_refused(&answer.asynchronous().send().await, level);
        let answer = post(&server, level, &[("_type", "valueString", "MissingType")]);
        assert_refused(&answer.asynchronous().send().await, level);
        let answer = get(&server, &format!("{level}?_type=Patient&_type=Observation"));
        assert_accepted(&server, &answer.asynchronous().send().await, level).await;
        let two = [
            ("_type", "valueString", "Patient"),
            ("_type", "valueString", "Observation"),
        ];
        let answer = post(&server, level, &two).asynchronous().send().await;
        assert_accepted(&server, &answer, level).await;
    }
}

// "The _typeFilter parameter": v1, v2, several, POST. An error or 202; a lenient client must get 202, although Patient has no
// search parameter `status`.
#[tokio::test]
async fn the_suites_probe_of_filters_is_refused_and_ignored_when_lenient_k_22_t_11() {
    let server = server().await;
    const PROBE: &str = "Patient?status=active";
    for level in LEVELS {
        for query in [
            "_typeFilter=Patient%3Fstatus%3Dactive",
            "_typeFilter=Patient%3Fstatus%3Dactive&_typeFilter=Patient%3Fstatus%3Dinactive",
            "_typeFilter=Patient%3Fstatus%3Dactive,Patient%3Fstatus%3Dinactive",
        ] {
            let answer = get(&server, &format!("{level}?{query}"))
                .asynchronous()
                .send()
                .await;
            assert_refused(&answer, query);
            let answer = lenient(get(&server, &format!("{level}?{query}"))).send().await;
            assert_accepted(&server, &answer, query).await;
        }
        let probe = || post(&server, level, &[("_typeFilter", "valueString", PROBE)]);
        assert_refused(&probe().asynchronous().send().await, PROBE);
        assert_accepted(&server, &lenient(probe()).send().await, PROBE).await;
    }
}

// "The _elements parameter": by GET, POST, and with several elements. `meta` survives and says SUBSETTED.
#[tokio::test]
async fn elements_leave_meta_and_tag_every_resource() {
    let server = server().await;
    for query in [
        "_elements=id",
        "_elements=id,Patient.gender",
        "_elements=id&_elements=Patient.gender",
    ] {
        let (_, manifest) = server
            .export(&format!("Patient/$export?_type=Patient&{query}"))
            .await;
        let file = server.get(manifest["output"][0]["url"].as_str().unwrap()).await;
        for patient in file.lines() {
            let tag = &patient["meta"]["tag"][0];
            assert_eq!(tag["code"], "SUBSETTED", "{query}: {patient}");
            assert!(patient["meta"]["lastUpdated"].is_string() && patient["id"].is_string());
        }
    }
}

// "Responds with 202 for active exports"; then "Replies properly in case of finished export": headers, keys, absolute URLs.
#[tokio::test]
async fn an_export_is_active_first_and_then_has_a_valid_manifest_s_01_s_05_s_10_s_11() {
    // However late the first poll comes.
    let active = holding(3_600_000).await;
    let server = server().await;
    for level in LEVELS {
        let accepted = active.kick_off(level).await;
        let poll = active.ask(Method::GET, accepted.header("content-location"));
        let first = poll.header("accept", "application/json").send().await;
        assert_eq!((first.status, first.body.len()), (202, 0), "{level}");
        assert!(first.header("retry-after").parse::<u64>().unwrap() > 0);
        assert!(first.header("x-progress").len() < 100);
        let accepted = server.kick_off(level).await;
        let status_url = accepted.header("content-location");
        let finished = server.finished(status_url).await;
        assert_eq!(
            (finished.status, finished.header("content-type")),
            (200, "application/json")
        );
        let date = |name: &str| Instant::parse_http_date(finished.header(name)).expect("a date");
        assert!(date("expires") > date("date"));
        let manifest = finished.json();
        assert_eq!(manifest["request"], format!("{}/{level}", server.base));
        assert!(Instant::parse(manifest["transactionTime"].as_str().unwrap()).is_ok());
        assert!(manifest["requiresAccessToken"].is_boolean() && manifest["error"].is_array());
        for file in manifest["output"].as_array().unwrap() {
            assert!(file["url"].as_str().unwrap().starts_with("http://"), "{file}");
            assert!(
                file["type"].is_string() && file["count"].as_u64().unwrap() > 0,
                "{file}"
            );
        }
    }
}

// "Exports can be canceled": 202, and afterwards 404 with an OperationOutcome, to GET and to a second DELETE.
#[tokio::test]
async fn a_cancelled_export_is_gone_d_01_d_02_d_04() {
    let server = server().await;
    for level in LEVELS {
        let accepted = server.kick_off(level).await;
        let status_url = accepted.header("content-location");
        assert_eq!(server.delete(status_url).await.status, 202);
        server.get(status_url).await.refusal(404);
        server.delete(status_url).await.refusal(404);
    }
}

// "Replies properly with a valid file", "Export has at least two patients", "Patient IDs match those expected in Group", "404 for
// deleted files". The suites send the FHIR media type of NDJSON and gzip.
#[tokio::test]
async fn files_are_valid_and_those_of_a_deleted_export_are_404_f_01_f_02_f_09_d_05() {
    let server = server().await;
    let patients = server.exported("Patient/$export?_type=Patient").await;
    assert!(patients.len() >= 2);
    let (status_url, manifest) = server.export("Group/g1/$export").await;
    let mut members = Vec::new();
    for file in manifest["output"].as_array().unwrap() {
        let url = file["url"].as_str().unwrap();
        let ask = server
            .ask(Method::GET, url)
            .header("accept", "application/fhir+ndjson");
        let answer = ask.send().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/fhir+ndjson")
        );
        assert!(answer.text().lines().all(|line| !line.is_empty()));
        let lines = answer.lines();
        assert_eq!(file["count"], lines.len());
        assert!(lines.iter().all(|line| line["resourceType"] == file["type"]));
        let ids = lines.iter().filter(|line| line["resourceType"] == "Patient");
        members.extend(ids.map(|line| line["id"].clone()));
    }
    assert_eq!(members, ["p1"]);
    assert_eq!(server.delete(&status_url).await.status, 202);
    for file in manifest["output"].as_array().unwrap() {
        server.get(file["url"].as_str().unwrap()).await.refusal(404);
    }
}

// "Rejects system-level exports with the patient parameter"; "Can start an export with patient".
#[tokio::test]
async fn patients_are_chosen_by_post_but_not_at_the_system_level() {
    let server = server().await;
    let one = [("patient", "valueReference", "Patient/p1")];
    let body = |list: &[(&str, &str, &str)]| {
        let list: Vec<Value> = list
            .iter()
            .map(|(name, _, value)| json!({"name": name, "valueReference": {"reference": value}}))
            .collect();
        json!({"resourceType": "Parameters", "parameter": list})
    };
    let ask = |level: &str| {
        let ask = server.ask(Method::POST, &format!("/fhir/{level}"));
        ask.asynchronous().json(&body(&one))
    };
    assert_refused(&ask("$export").send().await, "the system level");
    for level in ["Patient/$export", "Group/g1/$export"] {
        assert_accepted(&server, &ask(level).send().await, level).await;
    }
}

// "Accepts the includeAssociatedData parameter", "… multiple … values as comma separated list", "… multiple … parameters".
#[tokio::test]
async fn associated_data_is_taken_once_as_a_list_and_repeated() {
    let server = server().await;
    let (latest, relevant) = ("LatestProvenanceResources", "RelevantProvenanceResources");
    let name = "includeAssociatedData";
    for level in LEVELS {
        for query in [
            format!("{name}={latest}"),
            format!("{name}={latest},{relevant}"),
            format!("{name}={latest}&{name}={relevant}"),
        ] {
            let answer = get(&server, &format!("{level}?{query}"))
                .asynchronous()
                .send()
                .await;
            assert_accepted(&server, &answer, &query).await;
        }
    }
}

// "Supports binary file attachments in DocumentReference resources".
#[tokio::test]
async fn an_attachment_has_an_absolute_url_that_can_be_fetched_f_11_k_12() {
    let server = server().await;
    server
        .import_lines(&[
            r#"{"resourceType":"Binary","id":"b1","contentType":"text/plain","data":"aGVsbG8="}"#,
            r#"{"resourceType":"DocumentReference","id":"doc1","status":"current","subject":{"reference":"Patient/p1"},"content":[{"attachment":{"contentType":"text/plain","url":"Binary/b1"}}]}"#,
        ])
        .await;
    for level in LEVELS {
        let (_, manifest) = server.export(&format!("{level}?_type=DocumentReference")).await;
        let file = server.get(manifest["output"][0]["url"].as_str().unwrap()).await;
        let lines = file.lines();
        assert_eq!(lines.len(), 1);
        let attachment = &lines[0]["content"][0]["attachment"];
        assert_eq!(attachment["contentType"], "text/plain");
        assert!(attachment.get("data").is_none());
        let url = attachment["url"].as_str().unwrap();
        assert!(url.starts_with("http"), "{url}");
        let content = server.get(url).await;
        assert_eq!((content.status, content.text()), (200, "hello"), "{level}");
    }
}

// Metadata of both suites: `instantiates`; "export", "patient-export" and "group-export"; and `export` on Patient and Group.
#[tokio::test]
async fn the_statement_declares_the_operations_as_either_suite_looks_for_them() {
    let server = server().await;
    let statement = server.get("/fhir/metadata").await.json();
    let bulk_data = json!("http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data");
    assert!(statement["instantiates"].as_array().unwrap().contains(&bulk_data));
    let rest = &statement["rest"][0];
    let has = |operations: &Value, name: &str| {
        let operations = operations.as_array().expect("operations");
        operations.iter().any(|operation| operation["name"] == name)
    };
    assert!(has(&rest["operation"], "export"));
    for (resource, own) in [("Patient", "patient-export"), ("Group", "group-export")] {
        let listed = rest["resource"].as_array().unwrap();
        let entry = listed.iter().find(|entry| entry["type"] == resource).unwrap();
        assert!(
            has(&entry["operation"], "export") && has(&entry["operation"], own),
            "{resource}"
        );
    }
}
