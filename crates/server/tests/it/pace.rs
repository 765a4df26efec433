//! How many jobs a client may have, and how often it may poll.

use fhirhose_jobs::{Outcome, Progress};
use hyper::Method;
use std::time::Duration;

use crate::fixture::{Held, Server, eventually, memory_store};
use crate::http::Answer;

/// Kicks an export off that waits: the server runs none at a time that another process holds.
async fn kick_off_from(server: &Server, client: &str) -> Answer {
    let ask = server.ask(Method::GET, "/fhir/$export").from(client);
    ask.asynchronous().send().await
}

/// A server whose one place is taken for long, so that exports wait.
async fn busy_server(change: impl FnOnce(&mut fhirhose_server::ServerSettings)) -> Server {
    Server::over(memory_store(), |settings| {
        settings.exports_parallel = 1;
        change(settings);
    })
    .await
}

#[tokio::test]
async fn a_client_with_too_many_live_jobs_gets_429_and_others_do_not_k_43() {
    let store = memory_store();
    let held = Held::take_of(&store, "export", "127.0.0.1").await;
    let server = Server::over(store.clone(), |settings| settings.jobs_live_per_client_max = 1).await;
    let answer = kick_off_from(&server, "127.0.0.1").await;
    let text = answer.refusal(429);
    assert!(
        text.contains("throttled") && text.contains("this client"),
        "{text}"
    );
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(kick_off_from(&server, "127.0.0.2").await.status, 202);
    held.finish(
        &store,
        Outcome::Succeeded(b"{}".to_vec()),
        Duration::from_secs(60),
    )
    .await;
    assert_eq!(kick_off_from(&server, "127.0.0.1").await.status, 202);
}

#[tokio::test]
async fn too_many_live_or_kept_jobs_of_all_clients_get_429_k_43() {
    let store = memory_store();
    let held = Held::take_of(&store, "import", "127.0.0.7").await;
    let server = Server::over(store.clone(), |settings| {
        (settings.jobs_live_max, settings.jobs_kept_max) = (1, 1);
    })
    .await;
    kick_off_from(&server, "127.0.0.1").await.refusal(429);
    held.finish(
        &store,
        Outcome::Succeeded(b"{}".to_vec()),
        Duration::from_secs(60),
    )
    .await;
    let text = kick_off_from(&server, "127.0.0.1").await.refusal(429);
    assert!(text.contains("kept"), "{text}");
}

#[tokio::test]
async fn a_kick_off_remembers_its_client() {
    let server = busy_server(|_| ()).await;
    for client in ["127.0.0.1", "127.0.0.3"] {
        assert_eq!(kick_off_from(&server, client).await.status, 202);
        let jobs = server.store.catalog().jobs(&Default::default()).await.unwrap();
        assert!(jobs.iter().any(|job| job.owner == client), "{client}");
    }
}

#[tokio::test]
async fn who_polls_too_fast_gets_429_and_the_job_goes_on_s_04() {
    let store = memory_store();
    let held = Held::take(&store, "export").await;
    let server = Server::over(store.clone(), |settings| settings.floods.polls_burst_max = 3).await;
    let path = format!("/fhir/$export-status/{}", held.id);
    for _ in 0..3 {
        assert_eq!(server.get(&path).await.status, 202, "a few may come early");
    }
    for _ in 0..20 {
        server.get(&path).await;
    }
    // A slow test gets through now and then.
    let refused = eventually("a refusal", async || {
        Some(server.get(&path).await).filter(|answer| answer.status == 429)
    })
    .await;
    let text = refused.refusal(429);
    assert!(text.contains("throttled"), "{text}");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let other = server.ask(Method::GET, &path).from("127.0.0.2").send().await;
    assert_eq!(other.status, 202, "another client is counted by itself");
    let progress = Progress {
        done: 1,
        total: 2,
        note: String::new(),
    };
    held.progress(&store, progress).await;
    held.finish(&store, Outcome::Failed(failure()), Duration::from_secs(60))
        .await;
    server.get(&path).await.refusal(500);
    server.get(&path).await.refusal(500);
}

fn failure() -> fhirhose_jobs::Failure {
    fhirhose_jobs::Failure::new("test", "it failed by itself")
}

#[tokio::test]
async fn a_poll_right_after_the_kick_off_is_answered_s_03_s_04() {
    let server = Server::start_with(|settings| settings.floods.polls_burst_max = 10).await;
    for _ in 0..5 {
        let accepted = server.kick_off("$export").await;
        let status = server.get(accepted.header("content-location")).await.status;
        assert!([200, 202].contains(&status), "{status}");
    }
}

#[tokio::test]
async fn imports_are_counted_and_paced_alike_k_43_s_04() {
    let store = memory_store();
    let held = Held::take_of(&store, "import", "127.0.0.1").await;
    let server = Server::over(store, |settings| {
        (settings.jobs_live_per_client_max, settings.floods.polls_burst_max) = (1, 1);
    })
    .await;
    let url = server.input("a.ndjson", "");
    server.kick_off_import(&[(None, &url)]).await.refusal(429);
    let path = format!("/fhir/$import-status/{}", held.id);
    assert_eq!(server.get(&path).await.status, 202);
    server.get(&path).await.refusal(429);
}

#[tokio::test]
async fn requests_that_are_kept_with_jobs_take_no_more_than_their_limit_k_43() {
    let server = Server::start_with(|settings| settings.jobs_request_bytes_max = 1).await;
    assert_eq!(server.kick_off("$export").await.status, 202);
    let refused = server.kick_off("$export").await;
    assert!(refused.refusal(429).contains("bytes of requests"));
    assert!(refused.has("retry-after"));
}
