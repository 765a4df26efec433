//! What the operator sees of jobs, and does to them.

use std::time::Duration;

use fhirhose_jobs::{Checkpoint, Outcome, Progress, Tally};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{Held, Server, memory_store};
use crate::http::Answer;

async fn act(server: &Server, job: &str, action: &str) -> Answer {
    server
        .ask(Method::POST, &format!("/jobs/{job}/{action}"))
        .send()
        .await
}

fn ids(list: &Answer) -> Vec<Value> {
    assert_eq!(list.status, 200, "{}", list.text());
    let jobs = list.json()["jobs"].as_array().unwrap().clone();
    jobs.into_iter().map(|job| job["id"].clone()).collect()
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_filters_and_pages() {
    let store = memory_store();
    let mut all = Vec::new();
    for (kind, client) in [
        ("export", "127.0.0.1"),
        ("import", "127.0.0.1"),
        ("export", "127.0.0.2"),
    ] {
        let held = Held::take_of(&store, kind, client).await;
        all.insert(0, json!(held.id.to_string()));
    }
    let server = Server::over(store, |_| ()).await;
    assert_eq!(ids(&server.get("/jobs").await), all);
    for (query, expected) in [
        ("kind=export", vec![&all[0], &all[2]]),
        ("client=127.0.0.1", vec![&all[1], &all[2]]),
        ("client=127.0.0.1&kind=import&state=running", vec![&all[1]]),
        ("state=paused", vec![]),
    ] {
        let found = ids(&server.get(&format!("/jobs?{query}")).await);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let mut pages = Vec::new();
    let mut next = Some("/jobs?limit=2".to_owned());
    while let Some(path) = next {
        let page = server.get(&path).await;
        pages.push(ids(&page));
        next = page.json()["next"].as_str().map(str::to_owned);
    }
    assert_eq!(pages, [all[..2].to_vec(), all[2..].to_vec()]);
    for wrong in ["state=unheard", "limit=0", "limit=1001", "after=x", "unheard=of"] {
        server.get(&format!("/jobs?{wrong}")).await.refusal(400);
    }
}

#[tokio::test]
async fn a_running_job_tells_types_rows_bytes_rate_and_estimate() {
    let store = memory_store();
    let held = Held::take_of(&store, "export", "127.0.0.1").await;
    let tally = |name: &str, rows, bytes| Tally {
        name: name.to_owned(),
        rows,
        bytes,
        files: 1,
    };
    let progress = Progress {
        done: 40_000,
        total: 100_000,
        note: "3 resources".to_owned(),
    };
    let write = Checkpoint::new().progress(progress).tallies(vec![
        tally("Observation", 30, 30_000),
        tally("Patient", 10, 10_000),
    ]);
    held.checkpoint(&store, write).await;
    let server = Server::over(store, |_| ()).await;
    let job = server.get(&format!("/jobs/{}", held.id)).await.json();
    assert_eq!(job["state"], "running");
    assert_eq!(job["client"], "127.0.0.1");
    assert_eq!(
        (&job["rows"], &job["bytes"], &job["files"]),
        (&json!(40), &json!(40_000), &json!(2))
    );
    assert_eq!(
        job["types"][0],
        json!({"type": "Observation", "rows": 30, "bytes": 30_000, "files": 1})
    );
    assert_eq!(job["progress"]["percent"], 40);
    let rate = job["rate"]["donePerSecond"].as_f64().unwrap();
    assert!(rate > 0.0, "{job}");
    let left = job["estimatedSecondsLeft"].as_f64().unwrap();
    assert!((left - 60_000.0 / rate).abs() <= 1.0 + left / 10.0, "{job}");
}

#[tokio::test]
async fn a_finished_export_tells_what_it_wrote_and_nothing_of_its_request() {
    let server = Server::populated().await;
    let (status_url, _) = server.export("Patient/p1/$export").await;
    let id = status_url.rsplit('/').next().unwrap();
    let answer = server.get(&format!("/jobs/{id}")).await;
    let job = answer.json();
    assert_eq!(
        (&job["state"], &job["kind"]),
        (&json!("succeeded"), &json!("export"))
    );
    assert_eq!(job["types"][0]["type"], "Device");
    assert_eq!(job["rows"], job["files"], "one resource of each type");
    assert_eq!(job["progress"]["text"], "done");
    assert!(!answer.text().contains("p1"), "{}", answer.text());
    let text = act(&server, id, "cancel").await.refusal(409);
    assert!(text.contains("DELETE"), "{text}");
    act(&server, id, "pause").await.refusal(409);
    assert_eq!(
        server.get(&status_url).await.status,
        200,
        "its files are still there"
    );
}

#[tokio::test]
async fn a_paused_job_waits_and_its_client_is_told_so_s_05() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let progress = Progress {
        done: 1,
        total: 4,
        note: "7 resources".to_owned(),
    };
    held.progress(&store, progress).await;
    let server = Server::over(store.clone(), |_| ()).await;
    let id = held.id.to_string();
    let paused = act(&server, &id, "pause").await;
    assert_eq!(
        (paused.status, &paused.json()["state"]),
        (200, &json!("pausing")),
        "its worker has not stopped yet"
    );
    let poll = server.get(&format!("/fhir/$export-status/{id}")).await;
    assert_eq!(
        (poll.status, poll.header("x-progress")),
        (202, "paused by the operator, 25% complete, 7 resources")
    );
    held.put_off(&store).await;
    let job = act(&server, &id, "pause").await.json();
    assert_eq!(job["state"], "paused", "pausing twice is pausing once");
    assert!(job["pausedSince"].is_string());
    assert_eq!(ids(&server.get("/jobs?state=paused").await), [json!(id)]);
    assert_eq!(act(&server, &id, "resume").await.json()["state"], "queued");
    assert_eq!(act(&server, &id, "resume").await.json()["state"], "queued");
    assert_eq!(act(&server, &id, "cancel").await.status, 200);
    server
        .get(&format!("/fhir/$export-status/{id}"))
        .await
        .refusal(404);
}

#[tokio::test]
async fn a_failed_job_tells_why_and_unknown_ones_are_404() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let failure = fhirhose_jobs::Failure::new("disk-full", "no space left");
    held.finish(&store, Outcome::Failed(failure), Duration::from_secs(60))
        .await;
    let server = Server::over(store, |_| ()).await;
    let job = server.get(&format!("/jobs/{}", held.id)).await.json();
    assert_eq!(job["state"], "failed");
    assert_eq!(
        job["failure"],
        json!({"code": "disk-full", "message": "no space left"})
    );
    for id in ["0123456789abcdef0123456789abcdef", "unknown"] {
        server.get(&format!("/jobs/{id}")).await.refusal(404);
        for action in ["pause", "resume", "cancel"] {
            act(&server, id, action).await.refusal(404);
        }
    }
}
