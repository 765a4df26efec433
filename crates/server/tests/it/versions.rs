//! `$export-v4`: the kick-off, the parameters and the manifest as the STU4 ballot has them, beside `$export`.

use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Server, names};
use crate::http::Answer;

async fn post(server: &Server, path: &str, parameter: &Value) -> Answer {
    let body = json!({"resourceType": "Parameters", "parameter": parameter});
    let ask = server.ask(Method::POST, path).asynchronous();
    ask.json(&body).send().await
}

async fn exported(server: &Server, path: &str, parameter: &Value) -> Value {
    let accepted = post(server, path, parameter).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    server.finished(accepted.header("content-location")).await.json()
}

#[tokio::test]
async fn stu4_speaks_at_each_level_by_post_only_k_05() {
    let server = Server::populated().await;
    for level in ["", "Patient/", "Patient/p1/", "Group/g1/"] {
        let path = format!("/fhir/{level}$export-v4");
        let manifest = exported(
            &server,
            &path,
            &json!([{"name": "_type", "valueCode": "Patient"}]),
        )
        .await;
        assert_eq!(manifest["output"][0]["type"], "Patient", "{level}");
        let get = server.ask(Method::GET, &path).asynchronous().send().await;
        assert_eq!(get.header("allow"), "POST");
        assert!(get.refusal(405).contains("$export takes GET"));
    }
}

#[tokio::test]
async fn the_manifest_of_stu4_has_its_own_shape() {
    let server = Server::populated().await;
    let ask = server
        .ask(Method::POST, "/fhir/$export-v4")
        .header("accept", "application/fhir+json")
        .header("prefer", "respond-async, handling=lenient");
    let parameter =
        json!([{"name": "_type", "valueCode": "Device"}, {"name": "unheard", "valueString": "of"}]);
    let body = json!({"resourceType": "Parameters", "parameter": parameter});
    let accepted = ask.json(&body).send().await;
    let manifest = server.finished(accepted.header("content-location")).await.json();
    assert_eq!(
        manifest["manifestType"],
        "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/BulkDataManifest"
    );
    assert_eq!(manifest["outputFormat"], "application/fhir+ndjson");
    for stu3 in ["request", "error", "deleted"] {
        assert_eq!(manifest[stu3], Value::Null, "{stu3}");
    }
    assert_eq!(server.names(&manifest["output"]).await, names(&["Device/d1"]));
    let file = server.get(manifest["output"][0]["url"].as_str().unwrap()).await;
    assert_eq!(manifest["output"][0]["fileSize"], file.body.len());
    assert_eq!(manifest["outcome"][0]["type"], Value::Null);
    assert_eq!(
        manifest["outcome"][0]["countSeverity"],
        json!([{"code": "warning", "count": 1}])
    );
    let outcomes = server.get(manifest["outcome"][0]["url"].as_str().unwrap()).await;
    assert_eq!(outcomes.lines().len(), 1);
}

#[tokio::test]
async fn a_comma_list_is_one_value_in_stu4_k_07() {
    let server = Server::start().await;
    let list = json!([{"name": "_type", "valueString": "Patient,Device"}]);
    let refused = post(&server, "/fhir/$export-v4", &list).await;
    assert!(refused.refusal(400).contains("_type"));
    assert_eq!(post(&server, "/fhir/$export", &list).await.status, 202);
}

#[tokio::test]
async fn the_manifest_of_stu3_echoes_the_url_of_a_post_without_its_parameters() {
    let server = Server::populated().await;
    let manifest = exported(
        &server,
        "/fhir/Patient/$export",
        &json!([{"name": "_type", "valueString": "Device"}]),
    )
    .await;
    assert_eq!(manifest["request"], format!("{}/Patient/$export", server.base));
    assert_eq!(manifest["error"], json!([]));
}
