//! `GET [base]/{Type}/{id}/_history` and its versions.

use serde_json::{Value, json};

use crate::fixture::Server;

async fn put(server: &Server, value: u64, patient: &str) -> String {
    let resource = json!({"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "c"},
        "subject": {"reference": format!("Patient/{patient}")}, "valueInteger": value});
    let answer = server.put(&resource).await;
    assert!(answer.status < 300, "{}", answer.text());
    answer.json()["meta"]["versionId"]
        .as_str()
        .expect("a version")
        .to_owned()
}

fn told(bundle: &Value) -> Vec<(String, Value)> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let told = entries
        .into_iter()
        .filter(|entry| entry.get("request").is_some())
        .map(|entry| {
            let method = entry["request"]["method"].as_str().expect("a method").to_owned();
            (method, entry["resource"]["valueInteger"].clone())
        });
    told.collect()
}

#[tokio::test]
async fn a_history_tells_all_versions_and_deletions_whoever_the_patient_was() {
    let server = Server::start().await;
    let first = put(&server, 1, "p1").await;
    let second = put(&server, 2, "p2").await;
    assert_eq!(server.delete("/fhir/Observation/o").await.status, 204);
    put(&server, 3, "p1").await;
    let history = server.get("/fhir/Observation/o/_history").await;
    assert_eq!(history.status, 200);
    let history = history.json();
    let expected = [
        ("PUT", json!(3)),
        ("DELETE", Value::Null),
        ("PUT", json!(2)),
        ("PUT", json!(1)),
    ];
    let expected: Vec<(String, Value)> = expected
        .map(|(method, value)| (method.to_owned(), value))
        .to_vec();
    assert_eq!(told(&history), expected);
    assert_eq!(
        (&history["type"], &history["total"]),
        (&json!("history"), &json!(4))
    );
    assert_eq!(history["entry"][3]["response"]["etag"], format!("W/\"{first}\""));
    for (version, value) in [(&first, 1), (&second, 2)] {
        let read = server
            .get(&format!("/fhir/Observation/o/_history/{version}"))
            .await;
        assert_eq!((read.status, &read.json()["valueInteger"]), (200, &json!(value)));
        assert_eq!(read.header("etag"), format!("W/\"{version}\""));
    }
    server.get("/fhir/Observation/o/_history/99").await.refusal(404);
    server.get("/fhir/Observation/o/_history/01").await.refusal(404);
    server.get("/fhir/Observation/nobody/_history").await.refusal(404);
}

#[tokio::test]
async fn a_history_comes_in_pages_and_since_an_instant() {
    let server = Server::start().await;
    let mut instants = Vec::new();
    for value in 0..7 {
        put(&server, value, "p1").await;
        let read = server.get("/fhir/Observation/o").await.json();
        instants.push(
            read["meta"]["lastUpdated"]
                .as_str()
                .expect("an instant")
                .to_owned(),
        );
    }
    let (mut values, mut target) = (Vec::new(), "/fhir/Observation/o/_history?_count=2".to_owned());
    loop {
        let page = server.get(&target).await.json();
        values.extend(
            told(&page)
                .into_iter()
                .map(|(_, value)| value.as_u64().expect("a number")),
        );
        // What is written meanwhile is newer than all that is still to come.
        put(&server, 100 + values.len() as u64, "p1").await;
        let links = page["link"].as_array().expect("links");
        let Some(next) = links.iter().find(|link| link["relation"] == "next") else {
            break;
        };
        target = next["url"].as_str().expect("a URL").to_owned();
    }
    assert_eq!(values, [6, 5, 4, 3, 2, 1, 0]);
    let since = server
        .get(&format!("/fhir/Observation/o/_history?_since={}", instants[5]))
        .await
        .json();
    let values: Vec<u64> = told(&since)
        .into_iter()
        .filter_map(|(_, value)| value.as_u64())
        .collect();
    assert!(values.ends_with(&[6, 5]) && !values.contains(&4), "{values:?}");
    server
        .get("/fhir/Observation/o/_history?_at=2020")
        .await
        .refusal(400);
    server
        .get("/fhir/Observation/o/_history?_count=0")
        .await
        .refusal(400);
    server
        .get("/fhir/Observation/o/_history?_cursor=x")
        .await
        .refusal(400);
}
