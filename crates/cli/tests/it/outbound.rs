//! Imports from another server, over TLS with an authority of one's own.

use crate::http::{eventually, exchange, finished, free_port, polled};
use crate::sample::{start, succeed};
use crate::served::Served;
use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings, Status, roots_from_pem};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Exports at a server over TLS and gives the manifest's files as inputs of an import.
fn exported(port: u16, pem: &str) -> Vec<Value> {
    let settings = HttpSettings {
        extra_roots: roots_from_pem(pem.as_bytes()).unwrap(),
        ..HttpSettings::default()
    };
    let http = Http::new(&settings).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let provider = DataProvider::new(&http, &format!("https://localhost:{port}/fhir")).unwrap();
    let everything = ExportParameters::new(ExportLevel::System);
    // The server may not be there yet.
    let export = eventually("a kick-off", || {
        runtime.block_on(provider.kick_off(&everything)).ok()
    });
    let manifest = polled("the end of an export", || {
        match runtime.block_on(provider.status(&export.status_url)) {
            Ok(Status::Complete(page)) => Some(page.manifest),
            Ok(Status::Running { .. }) => None,
            Err(error) => panic!("a poll: {error}"),
        }
    });
    let input = |url: &str| json!({"name": "input", "part": [{"name": "url", "valueUrl": url}]});
    manifest.output.iter().map(|file| input(&file.url)).collect()
}

fn post(port: u16, path: &str, body: &Value) -> String {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(port, &request).expect("an answer")
}

fn parameters(inputs: Vec<Value>) -> Value {
    let mut parameter = vec![json!({"name": "inputFormat", "valueString": "application/fhir+ndjson"})];
    parameter.extend(inputs);
    json!({"resourceType": "Parameters", "parameter": parameter})
}

/// Waits for the end of an import that was accepted.
fn report(accepted: &str) -> Value {
    let location = accepted
        .lines()
        .find(|line| line.to_lowercase().starts_with("content-location: "));
    let status_url = &location.expect("a status URL")["content-location: ".len()..];
    let (status, body) = finished(status_url);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn one_server_imports_from_another_over_tls_and_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = pair.cert.pem();
    std::fs::write(at("cert.pem"), &pem).unwrap();
    std::fs::write(at("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(at("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    succeed(&["generate", "--patients", "5", "--out", &at("population")]);
    succeed(&["load", "--data", &at("source"), &at("population")]);

    let port = free_port();
    let (listen, base) = (
        format!("127.0.0.1:{port}"),
        format!("https://localhost:{port}/fhir"),
    );
    let (data, cert, key) = (at("source"), at("cert.pem"), at("key.pem"));
    let source = [
        "serve",
        "--data",
        &data,
        "--listen",
        &listen,
        "--base-url",
        &base,
        "--tls-cert",
        &cert,
        "--tls-key",
        &key,
    ];
    let _source = Server(start(&source));
    let inputs = exported(port, &pem);
    assert!(inputs.len() > 3, "{} files", inputs.len());

    let mut more = vec!["--headers", "default", "--import-ca", &cert];
    more.extend(["--import-host", "localhost", "--polls-burst-max", "1000000"]);
    let target = Served::start(Path::new(&at("target")), &more);
    let port = target.port;
    let elsewhere =
        json!({"name": "input", "part": [{"name": "url", "valueUrl": "https://files.example.org/x"}]});
    let refused = post(port, "/fhir/$import", &parameters(vec![elsewhere]));
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert!(
        refused.contains("not one of those that may be fetched from"),
        "{refused}"
    );

    let accepted = post(port, "/fhir/$import", &parameters(inputs));
    assert!(accepted.starts_with("HTTP/1.1 202"), "{accepted}");
    let report = report(&accepted);
    assert_eq!(report["error"], json!([]), "{report}");
}
