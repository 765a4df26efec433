//! `$import`: the seed's body, its status answer, and what may be read.

use std::sync::Arc;

use fhirhose_bulk::import::{Fetch, HttpFetch};
use fhirhose_client::{Addresses, FetchPolicy, Http, HttpSettings, PlainHttp, Resolver};
use fhirhose_jobs::{Failure, Outcome};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Held, Server, memory_store, names};

#[tokio::test]
async fn the_body_and_the_answer_have_the_seeds_shape() {
    let server = Server::start().await;
    let patients = server.input("Patient.ndjson", "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\n");
    let encounters = server.input(
        "Encounter.ndjson",
        "{\"resourceType\":\"Encounter\",\"id\":\"e1\"}\n",
    );
    let input = |resource_type: &str, url: &str| {
        json!({"name": "input", "part": [
            {"name": "type", "valueString": resource_type},
            {"name": "url", "valueUrl": url},
        ]})
    };
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "inputFormat", "valueString": "application/fhir+ndjson"},
        {"name": "inputSource", "valueUri": "https://example.org/fhir/import-source"},
        input("Patient", &patients),
        input("Encounter", &encounters),
    ]});
    // As curl sends the seed's line: with a Content-Type, and `*/*` for Accept.
    let ask = server.ask(Method::POST, "/fhir/$import").header("accept", "*/*");
    let accepted = ask.text("application/json", body.to_string()).send().await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let status_url = accepted.header("content-location");
    assert!(status_url.starts_with(&format!("{}/$import-status/", server.base)));
    let answer = server.finished(status_url).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    assert!(answer.has("expires"));
    let report = answer.json();
    assert_eq!(report["request"], format!("{}/$import", server.base));
    assert_eq!(report["requiresAccessToken"], json!(false));
    assert_eq!(report["error"], json!([]));
    assert!(report["transactionTime"].is_string());
    let output = |number: usize| {
        let output = &report["output"][number];
        (
            output["type"].clone(),
            output["count"].clone(),
            output["inputUrl"].clone(),
        )
    };
    assert_eq!(output(0), (json!("Patient"), json!(1), json!(patients)));
    assert_eq!(output(1), (json!("Encounter"), json!(1), json!(encounters)));
    let patient = server.get("/fhir/Patient/p1").await.json();
    assert_eq!(
        patient["meta"]["source"],
        "https://example.org/fhir/import-source"
    );
}

#[tokio::test]
async fn refused_lines_are_inline_in_a_file_of_outcomes_and_verbatim() {
    let server = Server::start().await;
    let bad = "{\"resourceType\":\"Patient\",\"id\":\"p2\",\"active\":tru}";
    let text = format!("{{\"resourceType\":\"Patient\",\"id\":\"p1\"}}\n{bad}\n");
    let url = server.input("Patient.ndjson", &text);
    let report = server.import(&[(Some("Patient"), &url)]).await;
    assert_eq!(report["output"][0]["count"], 1);
    let error = &report["error"][0];
    assert_eq!(
        (&error["type"], &error["count"], &error["inputUrl"]),
        (&json!("Patient"), &json!(1), &json!(url))
    );
    assert_eq!(error["errors"][0]["lineNumber"], 2);
    assert_eq!(error["errors"][0]["resourceId"], "Patient/p2");
    let outcomes_url = error["url"].as_str().unwrap();
    let outcomes = server.get(outcomes_url).await;
    assert_eq!(
        (outcomes.status, outcomes.header("content-type")),
        (200, "application/fhir+ndjson")
    );
    assert_eq!(outcomes.lines()[0]["resourceType"], "OperationOutcome");
    let rejects = server.get(&outcomes_url.replace("outcomes", "rejects")).await;
    assert_eq!(
        (rejects.status, rejects.header("content-type")),
        (200, "application/octet-stream")
    );
    assert_eq!(rejects.text(), format!("{bad}\n"));
}

#[tokio::test]
async fn gzip_zstd_and_plain_inputs_are_told_by_content() {
    let server = Server::start().await;
    let line = |id: &str| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, line("b").as_bytes()).expect("gzip");
    let inputs = [
        server.input("a", line("a")),
        server.input("b", gzip.finish().expect("gzip")),
        server.input("c", zstd::encode_all(line("c").as_bytes(), 1).expect("zstd")),
    ];
    let inputs: Vec<(Option<&str>, &str)> =
        inputs.iter().map(|url| (Some("Patient"), url.as_str())).collect();
    server.import(&inputs).await;
    let expected = names(&["Patient/a", "Patient/b", "Patient/c"]);
    assert_eq!(server.exported("$export").await, expected);
}

#[tokio::test]
async fn one_server_imports_what_another_exports() {
    let source = Server::populated().await;
    let (_, manifest) = source.export("$export").await;
    let http = Http::new(&HttpSettings::default()).expect("a client");
    let target = Server::fetching(memory_store(), Some(Arc::new(HttpFetch::new(http))), |_| ()).await;
    let inputs: Vec<(Option<&str>, &str)> = manifest["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["type"].as_str(), file["url"].as_str().unwrap()))
        .collect();
    let report = target.import(&inputs).await;
    assert_eq!(report["error"], json!([]), "{report}");
    assert_eq!(target.exported("$export").await, source.exported("$export").await);
    let text = |server: &Value| server["valueQuantity"].to_string();
    let read = async |server: &Server| text(&server.get("/fhir/Observation/o1").await.json());
    assert_eq!(read(&target).await, read(&source).await);
}

#[tokio::test]
async fn inputs_that_may_not_be_read_are_refused_at_the_kick_off() {
    let server = Server::start().await;
    for url in [
        "file:///etc/passwd",
        "http://10.0.0.1/Patient.ndjson",
        "https://10.0.0.1/Patient.ndjson",
        "https://0xa000001/Patient.ndjson",
        "https://[::ffff:169.254.169.254]/Patient.ndjson",
        "ftp://example.org/Patient.ndjson",
        "Patient.ndjson",
    ] {
        server.kick_off_import(&[(None, url)]).await.refusal(400);
    }
    let closed = Server::start_with(|settings| settings.import_root = None).await;
    let url = server.input("a.ndjson", "");
    closed.kick_off_import(&[(None, &url)]).await.refusal(400);
}

#[tokio::test]
async fn an_input_on_a_host_that_is_not_in_the_list_is_refused_at_the_kick_off() {
    let listed = |settings: &mut fhirhose_server::ServerSettings| {
        settings.import_fetch.hosts = vec!["*.example.org".parse().expect("a pattern")];
    };
    let server = Server::start_with(listed).await;
    let elsewhere = server
        .kick_off_import(&[(None, "https://example.net/Patient.ndjson")])
        .await;
    assert!(elsewhere.refusal(400).contains("not one of those"));
    let listed = server
        .kick_off_import(&[(None, "https://files.example.org/Patient.ndjson")])
        .await;
    assert_eq!(listed.status, 202);
}

#[tokio::test]
async fn an_input_whose_name_stands_for_a_private_address_fails_and_the_next_is_read() {
    let policy = FetchPolicy {
        addresses: Addresses::Public,
        plain_http: PlainHttp::Anywhere,
        ..FetchPolicy::default()
    };
    let settings = HttpSettings {
        policy: policy.clone(),
        ..HttpSettings::default()
    };
    let http = Http::with_resolver(&settings, Arc::new(ThisMachine)).expect("a client");
    let fetch = Some(Arc::new(HttpFetch::new(http)) as Arc<dyn Fetch>);
    let server = Server::fetching(memory_store(), fetch, |settings| settings.import_fetch = policy).await;
    let private = format!("http://files.example.org:{}/fhir/metadata", server.address.port());
    let good = server.input("good", "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n");
    let report = server.import(&[(None, &private), (None, &good)]).await;
    let error = server
        .get(report["error"][0]["url"].as_str().expect("a report"))
        .await;
    assert!(
        error
            .text()
            .contains("cannot be reached, or fetching from its address is not allowed")
    );
    assert!(!error.text().contains("127.0.0.1"), "{}", error.text());
    assert_eq!(server.exported("$export").await, names(&["Patient/a"]));
}

/// Says that every name is this machine.
struct ThisMachine;

impl Resolver for ThisMachine {
    fn resolve(
        &self,
        _: &str,
    ) -> futures::future::BoxFuture<'static, std::io::Result<Vec<std::net::IpAddr>>> {
        Box::pin(async { Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()]) })
    }
}

#[tokio::test]
async fn bad_bodies_are_refused() {
    let server = Server::start().await;
    let post = || server.ask(Method::POST, "/fhir/$import");
    post()
        .json(&json!({"resourceType": "Parameters"}))
        .send()
        .await
        .refusal(400);
    post()
        .json(&json!({"resourceType": "Patient", "id": "p1"}))
        .send()
        .await
        .refusal(400);
    post().text("application/json", "{").send().await.refusal(400);
    post().text("text/plain", "{}").send().await.refusal(415);
}

#[tokio::test]
async fn a_failed_import_says_why_and_can_be_deleted() {
    let store = memory_store();
    let held = Held::take(&store, "import").await;
    let failure = Failure::new(
        "input-changed",
        "the input is not the one that the job began with",
    );
    let kept = std::time::Duration::from_secs(60);
    held.finish(&store, Outcome::Failed(failure), kept).await;
    let server = Server::over(store, |_| ()).await;
    let path = format!("/fhir/$import-status/{}", held.id);
    assert!(server.get(&path).await.refusal(409).contains("input-changed"));
    assert_eq!(server.delete(&path).await.status, 202);
    server.get(&path).await.refusal(404);
    server.delete(&path).await.refusal(404);
}
