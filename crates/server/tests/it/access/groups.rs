//! Clients that were given certain Groups (K-10).

use fhirhose_auth::{Client, GroupAccess};
use fhirhose_fhir::id::Id;
use hyper::Method;
use serde_json::json;

use super::table::{Needs, each_case};
use super::{become_client, populated};
use crate::fixture::{Server, names};

const SCOPES: &str = "system/*.cruds system/bulk-import";

fn only(groups: &'static [&'static str]) -> impl FnOnce(&mut Client) {
    move |client| {
        let ids = groups.iter().map(|id| Id::parse(id).expect("an id"));
        client.groups = GroupAccess::Only(ids.collect());
    }
}

/// A server with a second Group, and a client that was given `g1` and one that is not there.
async fn held() -> Server {
    let mut server = populated().await;
    become_client(&mut server, ("second", "system/bulk-import"), |_| ()).await;
    server
        .import_lines(&[
            r#"{"resourceType":"Group","id":"g2","type":"person","actual":true,"member":[{"entity":{"reference":"Patient/p1"}},{"entity":{"reference":"Patient/p2"}}]}"#,
        ])
        .await;
    server.token = None;
    become_client(&mut server, ("held", SCOPES), only(&["g1", "gone"])).await;
    server
}

#[tokio::test]
async fn a_held_client_exports_its_groups_and_nothing_else_k_10() {
    let server = held().await;
    let found = server.exported("Group/g1/$export").await;
    let expected = ["Patient/p1", "Observation/o1", "Encounter/e1", "Device/d1"];
    // No Group: those of its patients name other patients.
    assert_eq!(found, names(&expected));
    for target in [
        "$export",
        "Patient/$export",
        "Patient/p1/$export",
        "Group/g1/$export?_type=Group",
    ] {
        server.kick_off(target).await.refusal(403);
    }
    let body = json!({"resourceType": "Parameters"});
    let v4 = server
        .ask(Method::POST, "/fhir/$export-v4")
        .asynchronous()
        .json(&body);
    v4.send().await.refusal(403);
}

/// K-10: what is there and what is not look alike.
#[tokio::test]
async fn groups_that_are_not_its_own_are_like_groups_that_are_not_there_k_10() {
    let server = held().await;
    for path in [
        "$export",
        "$export?_type=Patient",
        "$export?_dryRun=true",
        "$export?_type=Unknown",
    ] {
        let there = server.kick_off(&format!("Group/g2/{path}")).await;
        let nowhere = server.kick_off(&format!("Group/g3/{path}")).await;
        let own_nowhere = server.kick_off(&format!("Group/gone/{path}")).await;
        assert_eq!(there.refusal(404), nowhere.refusal(404), "{path}");
        if path == "$export" {
            assert_eq!(there.text(), own_nowhere.text());
        }
    }
    for path in ["", "/_history", "/_history/1"] {
        let there = server.get(&format!("/fhir/Group/g2{path}")).await;
        let nowhere = server.get(&format!("/fhir/Group/g3{path}")).await;
        assert_eq!(there.refusal(404), nowhere.refusal(404), "{path}");
    }
    let body = |patient: &str| json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}}]});
    for prefer in ["respond-async", "respond-async, handling=lenient"] {
        let ask = |patient: &str| {
            let ask = server
                .ask(Method::POST, "/fhir/Group/g1/$export")
                .json(&body(patient));
            ask.header("accept", "application/fhir+json")
                .header("prefer", prefer)
        };
        let (stranger, nobody) = (ask("p2").send().await, ask("p3").send().await);
        assert_eq!(stranger.status, nobody.status);
        if stranger.status != 202 {
            assert_eq!(stranger.refusal(400).replace("p2", "p3"), nobody.refusal(400));
        }
    }
}

#[tokio::test]
async fn a_held_client_reads_its_groups_and_does_nothing_else_k_10() {
    let server = held().await;
    for path in ["", "/_history", "/_history/1"] {
        let status = server.get(&format!("/fhir/Group/g1{path}")).await.status;
        assert!([200, 404].contains(&status), "{path}: {status}");
    }
    assert_eq!(server.get("/fhir/Group/g1").await.json()["id"], "g1");
    for path in [
        "Patient/p1",
        "Patient",
        "Group",
        "Patient/p1/$everything",
        "Observation/o1",
        "Binary/b1",
    ] {
        server.get(&format!("/fhir/{path}")).await.refusal(403);
    }
    let group = json!({"resourceType": "Group", "id": "g1", "type": "person", "actual": true, "member": [{"entity": {"reference": "Patient/p2"}}]});
    server.put(&group).await.refusal(403);
    server.delete("/fhir/Group/g1").await.refusal(403);
    let url = server.input("held.ndjson", r#"{"resourceType":"Patient","id":"new"}"#);
    server.kick_off_import(&[(None, &url)]).await.refusal(403);
    let entries = json!([
        {"request": {"method": "GET", "url": "Group/g1"}},
        {"request": {"method": "GET", "url": "Group/g2"}},
        {"request": {"method": "GET", "url": "Patient/p1"}},
        {"request": {"method": "GET", "url": "Group"}},
        {"request": {"method": "PUT", "url": "Group/g1"}, "resource": group},
    ]);
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": entries});
    let answers = server
        .ask(Method::POST, "/fhir")
        .json(&bundle)
        .send()
        .await
        .json();
    let statuses: Vec<&str> = answers["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["response"]["status"].as_str().unwrap()[..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "403", "403", "403"]);
}

/// A-54: what was taken from a client it does not get at by a job of before.
#[tokio::test]
async fn a_group_that_is_taken_away_takes_its_jobs_along_a_54() {
    let mut server = populated().await;
    let owner = become_client(&mut server, ("held", "system/*.rs"), only(&["g1"])).await;
    let (status_url, manifest) = server.export("Group/g1/$export").await;
    let file = manifest["output"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&file).await.status, 200);
    let mut record = crate::registered::client("held", "system/*.rs", &owner.key);
    only(&["g2"])(&mut record);
    crate::registered::put_client(&server.store, &record).await;
    server.get(&file).await.refusal(404);
    server.get(&status_url).await.refusal(404);
}

/// K-10: whatever routes there are, what is not public and not its own Group is closed.
#[tokio::test]
async fn no_route_opens_anything_else_to_a_held_client_k_10() {
    let server = held().await;
    let closed = each_case().filter(|(pattern, _, needs)| {
        let is_open = matches!(needs, Needs::Nothing | Needs::Proof);
        // The entries of a Bundle are checked one by one.
        !is_open && *pattern != "/fhir"
    });
    for (pattern, method, _) in closed {
        for (resource_type, id) in [("Patient", "p1"), ("Observation", "o1"), ("Group", "g2")] {
            let id = if pattern.contains("/Group/") { "g2" } else { id };
            let id = if pattern.contains("/Patient/") { "p1" } else { id };
            let path = pattern.replace("{type}", resource_type).replace("{id}", id);
            let path = path.replace("{version}", "1").replace(['{', '}'], "");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = server.ask(method.clone(), &path).send().await;
            assert!(
                [403, 404].contains(&answer.status),
                "{method} {path}: {}",
                answer.status
            );
        }
    }
}

/// K-10: who is in a cohort is known only once it is exported; until then nothing is told by which others could be counted or found.
#[tokio::test]
async fn a_cohort_tells_a_held_client_of_nobody_but_its_members_k_10() {
    let mut server = populated().await;
    become_client(&mut server, ("author", "system/*.cruds"), |_| ()).await;
    let filter = json!({"url": "http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter",
        "valueExpression": {"language": "application/x-fhir-query", "expression": "Patient?gender=female"}});
    let cohort = json!({"resourceType": "Group", "id": "g1", "type": "person", "actual": false, "name": "Women",
        "modifierExtension": [filter]});
    assert_eq!(server.put(&cohort).await.status, 200);
    become_client(&mut server, ("held", SCOPES), only(&["g1"])).await;
    server
        .kick_off("Group/g1/$export?_dryRun=true")
        .await
        .refusal(403);
    for prefer in ["respond-async", "respond-async, handling=lenient"] {
        let ask = |patient: &str| {
            let body = json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": format!("Patient/{patient}")}}]});
            let ask = server.ask(Method::POST, "/fhir/Group/g1/$export").json(&body);
            ask.header("accept", "application/fhir+json")
                .header("prefer", prefer)
        };
        let (stranger, nobody) = (ask("p2").send().await, ask("p3").send().await);
        assert_eq!(stranger.refusal(403), nobody.refusal(403));
    }
    let found = server.exported("Group/g1/$export?_type=Patient").await;
    assert_eq!(found, names(&["Patient/p1"]));
}
