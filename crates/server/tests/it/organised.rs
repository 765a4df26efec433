//! `organizeOutputBy` and `includeAssociatedData` over HTTP (spec §1.3, §2.6).

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Server, names};

#[tokio::test]
async fn output_by_patient_has_blocks_and_no_types_in_both_versions() {
    let server = Server::populated().await;
    let body = json!({"resourceType": "Parameters",
        "parameter": [{"name": "organizeOutputBy", "valueString": "Patient"}]});
    for operation in ["$export", "$export-v4"] {
        let ask = server.ask(Method::POST, &format!("/fhir/Patient/{operation}"));
        let accepted = ask.asynchronous().json(&body).send().await;
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let manifest = server.finished(accepted.header("content-location")).await.json();
        assert_eq!(manifest["outputOrganizedBy"], "Patient");
        let mut lines = Vec::new();
        for file in manifest["output"].as_array().unwrap() {
            assert_eq!(file["type"], Value::Null, "{operation}");
            let answer = server.get(file["url"].as_str().unwrap()).await;
            assert_eq!(answer.header("content-type"), "application/fhir+ndjson");
            assert_eq!(file["count"], answer.lines().len());
            lines.extend(answer.lines());
        }
        check_blocks(&lines);
    }
}

/// Each block begins with its header and its patient, and has what belongs to the patient.
fn check_blocks(lines: &[Value]) {
    let mut blocks: Vec<(String, Vec<&Value>)> = Vec::new();
    for line in lines {
        if line["resourceType"] == "Parameters" {
            assert_eq!(line["parameter"][0]["name"], "header");
            let reference = &line["parameter"][0]["valueReference"]["reference"];
            blocks.push((reference.as_str().unwrap().to_owned(), Vec::new()));
        } else {
            blocks.last_mut().expect("a header comes first").1.push(line);
        }
    }
    let heads: Vec<&str> = blocks.iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!(heads, ["Patient/p1", "Patient/p2"]);
    for (head, resources) in &blocks {
        let name = |line: &Value| {
            let text = |member: &str| line[member].as_str().unwrap().to_owned();
            format!("{}/{}", text("resourceType"), text("id"))
        };
        assert_eq!(name(resources[0]), *head, "the patient itself comes first");
        for resource in resources {
            let subject = resource["subject"]["reference"].as_str();
            assert!(subject.is_none_or(|subject| subject == head), "{resource}");
        }
    }
}

/// Patients with more than fits into a file.
async fn clinic() -> Server {
    let server = Server::start_with(|settings| settings.export_file_bytes_max = 700).await;
    let mut lines = Vec::new();
    for patient in ["p1", "p2"] {
        lines.push(format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#));
        for number in 0..6 {
            lines.push(format!(
                r#"{{"resourceType":"Observation","id":"{patient}-{number}","subject":{{"reference":"Patient/{patient}"}}}}"#
            ));
        }
    }
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    server
}

fn header(line: &Value) -> Option<&str> {
    line["parameter"][0]["valueReference"]["reference"].as_str()
}

/// STU3, file organization: no `type` in `output`, `outputOrganizedBy`, a header before each block and after each split, and
/// `continuesInFile` with the URL of the next file.
#[tokio::test]
async fn files_are_blocks_of_patients_and_name_the_file_in_which_a_block_goes_on() {
    let server = clinic().await;
    let (_, manifest) = server.export("Patient/$export?organizeOutputBy=Patient").await;
    assert_eq!(manifest["outputOrganizedBy"], "Patient");
    let output = manifest["output"].as_array().unwrap();
    let (mut resources, mut continued, mut expected_next) = (0, 0, None);
    for file in output {
        assert!(file.get("type").is_none(), "{file}");
        let url = file["url"].as_str().unwrap();
        let answer = server.get(url).await;
        let text = answer.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(file["count"], lines.len());
        let first = header(&lines[0]).expect("a file begins with a header").to_owned();
        if let Some((next, block)) = expected_next.take() {
            assert_eq!(
                (url, first.clone()),
                (next, block),
                "the block goes on where the file before says"
            );
        }
        resources += lines.iter().filter(|line| header(line).is_none()).count();
        if let Some(next) = file["continuesInFile"].as_str() {
            let block = lines
                .iter()
                .filter_map(header)
                .next_back()
                .unwrap_or_default()
                .to_owned();
            expected_next = Some((next, block));
            continued += 1;
        }
    }
    assert_eq!((resources, expected_next), (14, None));
    assert!(continued >= 2, "both blocks are longer than a file");
}

#[tokio::test]
async fn associated_provenance_is_chosen_by_code() {
    let server = Server::populated().await;
    for (id, recorded) in [("old", "2020-01-01T00:00:00Z"), ("new", "2021-01-01T00:00:00Z")] {
        let provenance = json!({"resourceType": "Provenance", "id": id, "recorded": recorded,
            "target": [{"reference": "Patient/p1"}], "agent": [{"who": {"display": "somebody"}}]});
        assert_eq!(server.put(&provenance).await.status, 201);
    }
    let export = async |code: &str| {
        server
            .exported(&format!(
                "Patient/$export?_type=Patient&includeAssociatedData={code}"
            ))
            .await
    };
    let both = ["Patient/p1", "Patient/p2"];
    let with = |more: &[&'static str]| names(&[&both[..], more].concat());
    assert_eq!(
        export("LatestProvenanceResources").await,
        with(&["Provenance/new"])
    );
    assert_eq!(
        export("RelevantProvenanceResources").await,
        with(&["Provenance/new", "Provenance/old"])
    );
    assert_eq!(server.exported("Patient/$export?_type=Patient").await, with(&[]));
}

#[tokio::test]
async fn attachments_can_be_fetched_where_the_export_says_they_are_f_11_k_12() {
    let server = Server::populated().await;
    let binary =
        json!({"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "aGVsbG8="});
    assert_eq!(server.put(&binary).await.status, 201);
    let document = json!({"resourceType": "DocumentReference", "id": "doc", "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/b1"}}]});
    assert_eq!(server.put(&document).await.status, 201);
    let (_, manifest) = server.export("Patient/p1/$export").await;
    let files = manifest["output"].as_array().unwrap();
    assert!(files.iter().all(|file| file["type"] != "Binary"), "{manifest}");
    let file = files
        .iter()
        .find(|file| file["type"] == "DocumentReference")
        .unwrap();
    let lines = server.get(file["url"].as_str().unwrap()).await.lines();
    let attachment = &lines[0]["content"][0]["attachment"];
    let url = attachment["url"].as_str().unwrap();
    assert_eq!(
        url,
        format!("{}/Binary/b1", server.base),
        "absolute, and of this server"
    );
    assert_eq!(attachment["data"], Value::Null);
    let fetched = server
        .ask(Method::GET, url)
        .header("accept", "text/plain")
        .send()
        .await;
    assert_eq!((fetched.status, fetched.text()), (200, "hello"));
}
