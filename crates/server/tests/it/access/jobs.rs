//! Jobs: what becomes of them when tokens and registrations change, and how many a client may have.

use fhirhose_fhir::instant::Instant;
use fhirhose_jobs::{JobId, JobState};
use fhirhose_server::{AuthSettings, SmartSettings};
use hyper::Method;
use serde_json::json;

use super::{become_client, by, populated};
use crate::fixture::{Held, Server, eventually, memory_store};
use crate::registered::{client, put_client};

const SCOPES: &str = "system/Patient.rs system/Observation.rs";

/// S-12, A-54, F-04: a token that ends stops no job; another one of the same client gets at it, if it covers all of it.
#[tokio::test]
async fn a_job_outlives_the_token_that_began_it_s_12_a_54_f_04() {
    let mut server = populated().await;
    let owner = become_client(&mut server, ("owner", SCOPES), |_| ()).await;
    let accepted = server.kick_off("$export?_type=Patient,Observation").await;
    let status_url = accepted.header("content-location").to_owned();
    // Revoked: its tokens are worth nothing from now on, and its job goes on.
    let mut record = client("owner", SCOPES, &owner.key);
    record.revoked = Some(Instant::from_micros(1));
    put_client(&server.store, &record).await;
    server.get(&status_url).await.refusal(401);
    let id: JobId = status_url.rsplit('/').next().unwrap().parse().expect("an id");
    eventually("the end of the job", async || {
        let job = server.store.catalog();
        let job = fhirhose_jobs::JobStore::job(&**job, &id).await.unwrap();
        (job.expect("the job is there").state == JobState::Succeeded).then_some(())
    })
    .await;
    record.revoked = None;
    put_client(&server.store, &record).await;
    let manifest = server.get(&status_url).await.json();
    let file = manifest["output"][0]["url"].as_str().unwrap().to_owned();
    server.token = Some(server.token_of(&owner, SCOPES).await);
    assert_eq!(server.get(&file).await.status, 200);
    // A token for one of the types is too small for any of the files, and for deleting them.
    let small = server.token_of(&owner, "system/Patient.rs").await;
    for (method, url) in [
        (Method::GET, &status_url),
        (Method::GET, &file),
        (Method::DELETE, &status_url),
    ] {
        let refusal = by(server.ask(method, url), Some(&small))
            .send()
            .await
            .refusal(403);
        assert!(refusal.contains("read Observation"), "{refusal}");
    }
    // What the registration loses, old tokens lose at once.
    let narrowed = client("owner", "system/Patient.rs", &owner.key);
    put_client(&server.store, &narrowed).await;
    server.get(&file).await.refusal(403);
    put_client(&server.store, &record).await;
    assert_eq!(server.delete(&status_url).await.status, 202);
    server.get(&file).await.refusal(404);
}

/// A-54: a job that was begun with everything needs everything.
#[tokio::test]
async fn an_export_of_everything_is_for_a_token_of_everything_a_54() {
    let mut server = populated().await;
    let owner = become_client(&mut server, ("owner", "system/*.rs"), |_| ()).await;
    let (status_url, _) = server.export("$export").await;
    let most = server
        .token_of(&owner, "system/Patient.rs system/Observation.rs system/Group.rs")
        .await;
    let refusal = by(server.ask(Method::GET, &status_url), Some(&most))
        .send()
        .await
        .refusal(403);
    assert!(refusal.contains("more"), "{refusal}");
    let other = server.register("other", "system/*.rs").await;
    let other = server.token_of(&other, "system/*.rs").await;
    by(server.ask(Method::GET, &status_url), Some(&other))
        .send()
        .await
        .refusal(404);
}

/// A-46: imports have a scope of their own, or writing every type.
#[tokio::test]
async fn imports_need_their_scope_or_writing_every_type_a_46() {
    let mut server = populated().await;
    for (id, scopes, status) in [
        ("named", "system/bulk-import", 202),
        ("all", "system/*.cu", 202),
        ("v1", "system/*.write", 202),
        ("part", "system/Patient.cruds system/Observation.cruds", 403),
        ("reader", "system/*.rs", 403),
        ("create", "system/*.crs", 403),
    ] {
        server.token = None;
        become_client(&mut server, (id, scopes), |_| ()).await;
        let url = server.input(
            &format!("{id}.ndjson"),
            r#"{"resourceType":"Patient","id":"new"}"#,
        );
        let answer = server.kick_off_import(&[(None, &url)]).await;
        assert_eq!(answer.status, status, "{scopes}: {}", answer.text());
    }
}

/// K-43: a client's own limit counts instead of the server's.
#[tokio::test]
async fn a_client_has_its_own_limit_of_jobs_k_43() {
    let store = memory_store();
    for owner in ["few", "many"] {
        Held::take_of(&store, "export", owner).await;
    }
    let mut server = Server::over(store, |settings| {
        settings.auth = AuthSettings::Smart(SmartSettings::default());
    })
    .await;
    become_client(&mut server, ("few", "system/*.rs"), |client| {
        client.limits.jobs_live_max = Some(1)
    })
    .await;
    server.kick_off("$export").await.refusal(429);
    server.token = None;
    become_client(&mut server, ("many", "system/*.rs"), |client| {
        client.limits.jobs_live_max = Some(2)
    })
    .await;
    assert_eq!(server.kick_off("$export").await.status, 202);
}

/// A cursor is for the client that was given it, and for its own search.
#[tokio::test]
async fn a_cursor_is_good_for_its_own_client_alone() {
    let mut server = populated().await;
    become_client(&mut server, ("first", "system/*.rs"), |_| ()).await;
    for target in ["/fhir/Patient?_count=1", "/fhir/Patient/p1/$everything?_count=1"] {
        let page = server.get(target).await.json();
        let links = page["link"].as_array().unwrap();
        let next = links
            .iter()
            .find(|link| link["relation"] == "next")
            .expect("a next page");
        let next = next["url"].as_str().unwrap().to_owned();
        assert_eq!(server.get(&next).await.status, 200, "{target}");
        let other = server.register("second", "system/*.rs").await;
        let other = server.token_of(&other, "system/*.rs").await;
        by(server.ask(Method::GET, &next), Some(&other))
            .send()
            .await
            .refusal(400);
        assert_eq!(page["total"], json!(null));
    }
}

/// K-43: the room for jobs is everybody's, and no client can use it up for the others, not even by jobs that have ended.
#[tokio::test]
async fn a_client_that_keeps_many_jobs_leaves_room_for_others_k_43() {
    let server = Server::smart_with(|settings| {
        settings.jobs_kept_per_client_max = 2;
        settings.jobs_request_bytes_per_client_max = 20_000;
    })
    .await;
    let export = async |token: &str| {
        let ask = server
            .ask(Method::GET, "/fhir/$export?_type=Patient")
            .asynchronous();
        ask.bearer(token).send().await
    };
    let hoarder = server.register("hoarder", "system/Patient.rs").await;
    let hoarder = server.token_of(&hoarder, "system/Patient.rs").await;
    let other = server.register("other", "system/Patient.rs").await;
    let other = server.token_of(&other, "system/Patient.rs").await;
    let first = export(&hoarder).await.header("content-location").to_owned();
    assert_eq!(export(&hoarder).await.status, 202);
    let refusal = export(&hoarder).await;
    assert!(refusal.refusal(429).contains("of this client are kept"));
    assert_eq!(export(&other).await.status, 202);
    // Deleting makes room once the files are gone.
    let deleted = server.ask(Method::DELETE, &first).bearer(&hoarder).send().await;
    assert_eq!(deleted.status, 202);
    let taken = eventually("room for another", async || {
        Some(export(&hoarder).await).filter(|answer| answer.status != 429)
    });
    assert_eq!(taken.await.status, 202);
}

/// K-43: the same for what its requests come to.
#[tokio::test]
async fn a_client_with_long_requests_leaves_room_for_others_k_43() {
    let server = Server::smart_with(|settings| settings.jobs_request_bytes_per_client_max = 20_000).await;
    let export = async |token: &str| {
        let filter = format!("Patient?name={}", "x".repeat(12_000));
        let target = format!(
            "/fhir/$export?_type=Patient&_typeFilter={}",
            filter.replace('?', "%3F")
        );
        let ask = server.ask(Method::GET, &target).asynchronous();
        ask.bearer(token).send().await
    };
    let hoarder = server.register("hoarder", "system/Patient.rs").await;
    let hoarder = server.token_of(&hoarder, "system/Patient.rs").await;
    let other = server.register("other", "system/Patient.rs").await;
    let other = server.token_of(&other, "system/Patient.rs").await;
    let mut taken = 0;
    while export(&hoarder).await.status == 202 {
        taken += 1;
    }
    assert!((1..=2).contains(&taken), "{taken}");
    assert!(export(&hoarder).await.refusal(429).contains("requests"));
    assert_eq!(export(&other).await.status, 202);
}
