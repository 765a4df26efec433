//! Partial manifests: pages that come while an export goes on, and after it.

use std::collections::BTreeMap;

use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings, Pause};
use fhirhose_fhir::export_request::ExportLevel;
use serde_json::{Value, json};

use crate::fixture::{Held, Server, memory_store};
use crate::http::Answer;

/// As many patients, each in a file of its own.
const FILES: usize = 200;

async fn slow() -> Server {
    let server = Server::start_with(|settings| {
        settings.export_file_bytes_max = 1;
        // A checkpoint after each file takes its turn beside the polls, on the one thread of the test's runtime.
        settings.export.checkpoint_millis = 0;
    })
    .await;
    let lines: Vec<String> = (0..FILES)
        .map(|number| format!(r#"{{"resourceType":"Patient","id":"p{number}"}}"#))
        .collect();
    server
        .import_lines(&lines.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    server
}

/// What of a page must never change: all but the link (M-22).
fn fixed(answer: &Answer) -> Value {
    let mut manifest = answer.json();
    manifest.as_object_mut().unwrap().remove("link");
    manifest
}

fn next(manifest: &Value) -> Option<&str> {
    let link = manifest["link"].as_array()?.first()?;
    assert_eq!(link["relation"], "next");
    link["url"].as_str()
}

#[tokio::test]
async fn pages_appear_while_the_export_goes_on_and_stay_as_they_are_m_20_m_21_m_22_m_23_m_24_s_06() {
    let server = slow().await;
    let accepted = server.kick_off("$export?allowPartialManifests=true").await;
    let status_url = accepted.header("content-location").to_owned();
    let (mut seen, mut files, mut early) = (BTreeMap::new(), BTreeMap::new(), 0);
    let (mut url, mut followed) = (status_url.clone(), 0);
    loop {
        let answer = server.get(&url).await;
        assert!([200, 202].contains(&answer.status), "{}", answer.text());
        if answer.body.is_empty() {
            assert_eq!(answer.status, 202, "a page that is not ready");
            continue;
        }
        assert_eq!(answer.header("content-type"), "application/json");
        let manifest = answer.json();
        if answer.status == 202 && seen.len() < 3 {
            early += 1;
            let file = manifest["output"][0]["url"].as_str().unwrap().to_owned();
            let text = server.get(&file).await;
            assert_eq!(text.status, 200, "a file that is listed can be had");
            files.insert(file, text.body);
        }
        let before = seen.insert(url.clone(), fixed(&answer));
        assert!(
            before.is_none_or(|before| before == fixed(&answer)),
            "a page never changes"
        );
        match next(&manifest) {
            Some(next) => (url, followed) = (next.to_owned(), followed + 1),
            None if answer.status == 200 => break,
            None => {}
        }
    }
    assert!(early > 0, "the first pages came before the end");
    assert_eq!((seen.len(), followed), (FILES / 10, FILES / 10 - 1));
    check_chain(&server, &status_url, &seen).await;
    for (file, text) in files {
        assert_eq!(server.get(&file).await.body, text, "a file never changes");
    }
}

/// The same pages again, now that the export is done: nothing twice, nothing lost, and all that pages share is the same.
async fn check_chain(server: &Server, status_url: &str, seen: &BTreeMap<String, Value>) {
    let (mut url, mut listed) = (status_url.to_owned(), Vec::new());
    let shared = |manifest: &Value| {
        let names = ["transactionTime", "request", "requiresAccessToken", "error"];
        names.map(|name| manifest[name].clone())
    };
    let first = shared(&seen[status_url]);
    loop {
        let answer = server.get(&url).await;
        assert_eq!(answer.status, 200);
        assert_eq!(seen[&url], fixed(&answer));
        let manifest = answer.json();
        assert_eq!(shared(&manifest), first);
        let output = manifest["output"].as_array().unwrap().clone();
        listed.extend(
            output
                .into_iter()
                .map(|file| file["url"].as_str().unwrap().to_owned()),
        );
        match next(&manifest) {
            Some(next) => url = next.to_owned(),
            None => break,
        }
    }
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), FILES);
}

#[tokio::test]
async fn there_is_one_page_without_the_parameter_m_20() {
    let server = Server::populated().await;
    let (status_url, manifest) = server.export("$export").await;
    assert_eq!(manifest["link"], Value::Null);
    let first = server.get(&format!("{status_url}?page=1")).await.json();
    assert_eq!(first, manifest);
    server.get(&format!("{status_url}?page=2")).await.refusal(404);
    for bad in ["0", "x", "-1", ""] {
        server.get(&format!("{status_url}?page={bad}")).await.refusal(400);
    }
}

#[tokio::test]
async fn a_page_asked_for_before_it_is_ready_is_202_m_27() {
    let store = memory_store();
    let spec = json!({"request": {"level": "system", "requestUrl": "u", "allowPartialManifests": true},
        "target": "outputs", "file_bytes_max": 1});
    let held = Held::take_with(&store, "export", spec.to_string().as_bytes()).await;
    let server = Server::over(store, |_| ()).await;
    let answer = server
        .get(&format!("/fhir/$export-status/{}?page=7", held.id))
        .await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    assert!(answer.has("x-progress") && answer.has("retry-after"));
    server
        .get(&format!("/fhir/$export-file/{}/1.Patient.ndjson", held.id))
        .await
        .refusal(404);
}

#[tokio::test]
async fn pages_go_with_their_export_d_04_d_05_m_25() {
    let server = slow().await;
    let accepted = server.kick_off("$export?allowPartialManifests=true").await;
    let status_url = accepted.header("content-location").to_owned();
    let early = loop {
        let answer = server.get(&status_url).await;
        if !answer.body.is_empty() {
            break answer.json();
        }
    };
    assert_eq!(server.delete(&status_url).await.status, 202);
    server.get(&format!("{status_url}?page=1")).await.refusal(404);
    server
        .get(early["output"][0]["url"].as_str().unwrap())
        .await
        .refusal(404);
}

#[tokio::test]
async fn outcomes_come_on_the_last_page_in_both_versions_m_26() {
    let server = Server::start_with(|settings| settings.export.page_files = 1).await;
    server
        .import_lines(&[
            r#"{"resourceType":"Patient","id":"p1"}"#,
            r#"{"resourceType":"Organization","id":"o1"}"#,
        ])
        .await;
    let body = json!({"resourceType": "Parameters", "parameter": [
        {"name": "allowPartialManifests", "valueBoolean": true}, {"name": "unheard", "valueString": "of"}]});
    for (operation, list) in [("$export", "error"), ("$export-v4", "outcome")] {
        let ask = server
            .ask(hyper::Method::POST, &format!("/fhir/{operation}"))
            .header("accept", "application/fhir+json")
            .header("prefer", "respond-async, handling=lenient");
        let accepted = ask.json(&body).send().await;
        let first = loop {
            let answer = server.get(accepted.header("content-location")).await;
            if answer.status == 200 {
                break answer.json();
            }
        };
        let (mut page, mut pages) = (first, 1);
        while let Some(url) = next(&page).map(str::to_owned) {
            assert!(page[list].as_array().is_none_or(Vec::is_empty), "{page}");
            page = server.get(&url).await.json();
            pages += 1;
        }
        assert_eq!(page[list].as_array().map(Vec::len), Some(1), "{page}");
        assert!(pages >= 2, "{page}");
    }
}

#[tokio::test]
async fn our_client_follows_the_pages_while_they_come_m_24_m_25_cl_09() {
    let server = slow().await;
    let http = Http::new(&HttpSettings::default()).expect("a client");
    let provider = DataProvider::new(&http, &server.base).expect("a base");
    let mut parameters = ExportParameters::new(ExportLevel::System);
    parameters.allow_partial_manifests = true;
    let accepted = provider.kick_off(&parameters).await.expect("an export");
    let mut pages = provider.pages(&accepted.status_url);
    let (mut files, mut indices) = (Vec::new(), Vec::new());
    while let Some(news) = pages.next(&|_: &Pause<'_>| ()).await.expect("a page") {
        files.extend(news.page.manifest.output.into_iter().map(|file| file.url));
        indices.push(news.index);
    }
    // The last page comes again where it came before the end.
    indices.dedup();
    assert_eq!(indices, (0..FILES / 10).collect::<Vec<_>>());
    files.sort_unstable();
    files.dedup();
    assert_eq!(files.len(), FILES);
}
