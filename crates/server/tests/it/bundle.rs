//! `POST [base]`: batches and transactions.

use std::sync::Arc;

use fhirhose_jobs::{Clock, SystemClock};
use fhirhose_store::catalog::{Kv, KvCatalog, MemoryKv};
use fhirhose_store::testing::{Fault, FaultPlan, FaultyKv, Operation as FaultOperation};
use fhirhose_store::{Store, StoreSettings};
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::http::Answer;

async fn post(server: &Server, kind: &str, entries: &Value) -> Answer {
    let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": entries});
    server.ask(Method::POST, "/fhir").json(&bundle).send().await
}

/// The statuses of the entries of an answer, in order.
fn statuses(answer: &Answer, kind: &str) -> Vec<u16> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let bundle = answer.json();
    assert_eq!(bundle["type"], format!("{kind}-response"));
    let status = |entry: &Value| {
        let status = entry["response"]["status"].as_str().expect("a status");
        status.split(' ').next().unwrap().parse().expect("a number")
    };
    bundle["entry"]
        .as_array()
        .expect("entries")
        .iter()
        .map(status)
        .collect()
}

fn patient(family: &str) -> Value {
    json!({"resourceType": "Patient", "name": [{"family": family}]})
}

async fn total(server: &Server, query: &str) -> Value {
    server.get(&format!("/fhir/{query}")).await.json()["total"].clone()
}

#[tokio::test]
async fn a_transaction_gives_ids_and_links_its_resources() {
    let server = Server::start().await;
    let ada = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a";
    let entries = json!([
        {"request": {"method": "POST", "url": "Observation"}, "fullUrl": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9",
         "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "w"}, "subject": {"reference": ada},
            "identifier": [{"system": "urn:ietf:rfc:3986", "value": ada}], "valueQuantity": {"value": 1.00}}},
        {"request": {"method": "POST", "url": "Patient"}, "fullUrl": ada, "resource": patient("Ada")},
        {"request": {"method": "PUT", "url": "Encounter/e1"}, "fullUrl": "http://elsewhere.example/fhir/Encounter/e1",
         "resource": {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"},
            "subject": {"reference": ada}}},
    ]);
    let answer = post(&server, "transaction", &entries).await;
    assert_eq!(statuses(&answer, "transaction"), [201, 201, 201]);
    let bundle = answer.json();
    let id = bundle["entry"][1]["resource"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_ne!(id, "61ebe359-bfdc-4613-8bf2-c5e300945f0a");
    let observation = server
        .get(bundle["entry"][0]["response"]["location"].as_str().unwrap())
        .await
        .json();
    assert_eq!(observation["subject"]["reference"], format!("Patient/{id}"));
    assert_eq!(
        observation["identifier"][0]["value"], ada,
        "what is no link stays"
    );
    assert_eq!(
        total(&server, &format!("Encounter?patient={id}")).await,
        1,
        "it lies with its new patient"
    );
    let versions: Vec<&Value> = (0..3)
        .map(|at| &bundle["entry"][at]["response"]["etag"])
        .collect();
    assert!(
        versions.iter().all(|version| *version == versions[0]),
        "one commit: {versions:?}"
    );
}

#[tokio::test]
async fn a_transaction_resolves_conditions_once_and_for_all_entries() {
    let server = Server::start().await;
    let create = |name: &str| {
        json!({"request": {"method": "POST", "url": "Practitioner", "ifNoneExist": format!("identifier=npi|{name}")},
            "fullUrl": format!("urn:uuid:{name}"),
            "resource": {"resourceType": "Practitioner", "identifier": [{"system": "npi", "value": name}]}})
    };
    let encounter = |reference: &str| {
        json!({"request": {"method": "POST", "url": "Encounter"}, "resource": {"resourceType": "Encounter", "status": "finished",
            "class": {"code": "AMB"}, "participant": [{"individual": {"reference": reference}}]}})
    };
    let first = post(
        &server,
        "transaction",
        &json!([create("1"), encounter("urn:uuid:1")]),
    )
    .await;
    assert_eq!(statuses(&first, "transaction"), [201, 201]);
    let again = json!([
        create("1"),
        encounter("urn:uuid:1"),
        encounter("Practitioner?identifier=npi|1")
    ]);
    let again = post(&server, "transaction", &again).await;
    assert_eq!(statuses(&again, "transaction"), [200, 201, 201]);
    let practitioner = again.json()["entry"][0]["resource"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        total(
            &server,
            &format!("Encounter?practitioner=Practitioner/{practitioner}")
        )
        .await,
        3
    );
    let dangling = json!([
        encounter("urn:uuid:1"),
        encounter("Practitioner?identifier=npi|2")
    ]);
    let told = post(&server, "transaction", &dangling).await.refusal(412);
    assert!(told.contains("Bundle.entry[1]"), "{told}");
    assert_eq!(
        total(&server, "Encounter?_summary=count").await,
        3,
        "nothing of it was done"
    );
    let update = json!([{"request": {"method": "PUT", "url": "Practitioner?identifier=npi|1"},
        "resource": {"resourceType": "Practitioner", "identifier": [{"system": "npi", "value": "1"}], "active": true}}]);
    assert_eq!(
        statuses(&post(&server, "transaction", &update).await, "transaction"),
        [200]
    );
    assert_eq!(total(&server, "Practitioner?active=true").await, 1);
}

#[tokio::test]
async fn a_transaction_is_done_whole_or_not_at_all() {
    let server = Server::populated().await;
    let good = json!({"request": {"method": "POST", "url": "Patient"}, "resource": patient("Ada")});
    let stale = json!({"request": {"method": "PUT", "url": "Patient/p1", "ifMatch": "W/\"999\""},
        "resource": {"resourceType": "Patient", "id": "p1"}});
    let put = |id: &str| {
        json!({"request": {"method": "PUT", "url": format!("Patient/{id}")},
        "resource": {"resourceType": "Patient", "id": id}})
    };
    let deletion = json!({"request": {"method": "DELETE", "url": "Patient/p2"}});
    let cases = [
        (412, json!([good, deletion, stale])),
        (400, json!([good, put("x"), put("x")])),
        (400, json!([good, put("p2"), deletion])),
        (
            400,
            json!([good, {"request": {"method": "POST", "url": "Patient"}}]),
        ),
        (
            400,
            json!([good, {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Group"}}]),
        ),
        (
            400,
            json!([good, {"request": {"method": "POST", "url": "Patient/$match"}, "resource": patient("x")}]),
        ),
        (
            405,
            json!([good, {"request": {"method": "PATCH", "url": "Patient/p1"}, "resource": patient("x")}]),
        ),
        (
            400,
            json!([good, {"request": {"method": "PUT", "url": "Patient/x"}, "resource": {"resourceType": "Patient", "id": "y"}}]),
        ),
        (400, json!([good, {"resource": patient("x")}])),
    ];
    for (status, entries) in cases {
        let told = post(&server, "transaction", &entries).await.refusal(status);
        assert!(told.contains("Bundle.entry["), "{told}");
        assert!(!told.contains("Ada"), "{told}");
    }
    assert_eq!(
        total(&server, "Patient?_summary=count").await,
        2,
        "nothing of all that was done"
    );
    let all = json!([{"request": {"method": "GET", "url": "Patient/p2"}}, {"request": {"method": "GET", "url": "Patient?family=Ada"}},
        deletion, good]);
    let answer = post(&server, "transaction", &all).await;
    assert_eq!(
        statuses(&answer, "transaction"),
        [410, 200, 204, 201],
        "reads come last"
    );
    assert_eq!(answer.json()["entry"][1]["resource"]["total"], 1);
}

#[tokio::test]
async fn a_batch_does_each_entry_for_itself() {
    let server = Server::populated().await;
    let entries = json!([
        {"request": {"method": "GET", "url": "Patient/p1"}},
        {"request": {"method": "GET", "url": "Patient/nobody"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": patient("Ada")},
        {"request": {"method": "PUT", "url": "Patient/p2"}, "resource": {"resourceType": "Patient", "id": "p1"}},
        {"request": {"method": "DELETE", "url": "Patient/p2"}},
        {"request": {"method": "GET", "url": "Observation?subject=Patient/p1&_summary=count"}},
        {"request": {"method": "GET", "url": format!("{}/Patient/p1/_history", server.base)}},
        {"request": {"method": "GET", "url": "Observation?colour=red"}},
        {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "family=Ada"}, "resource": patient("Ada")},
    ]);
    let answer = post(&server, "batch", &entries).await;
    assert_eq!(
        statuses(&answer, "batch"),
        [200, 404, 201, 400, 204, 200, 200, 400, 200]
    );
    let bundle = answer.json();
    assert_eq!(bundle["entry"][5]["resource"]["total"], 1);
    assert_eq!(bundle["entry"][6]["resource"]["type"], "history");
    assert_eq!(
        bundle["entry"][7]["response"]["outcome"]["resourceType"],
        "OperationOutcome"
    );
}

#[tokio::test]
async fn bundles_that_are_none_or_too_long_are_refused() {
    let server = Server::start_with(|settings| settings.rest.bundle_entries_max = 3).await;
    for (kind, entries) in [
        ("searchset", json!([])),
        ("transaction", json!({})),
        ("batch", json!([1])),
    ] {
        post(&server, kind, &entries).await.refusal(400);
    }
    let many = Value::Array(vec![json!({"request": {"method": "GET", "url": "Patient"}}); 4]);
    assert!(
        post(&server, "batch", &many)
            .await
            .refusal(400)
            .contains("3 entries")
    );
    for body in [
        "",
        "[]",
        "{}",
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Bundle","type":"batch","type":"batch"}"#,
    ] {
        let ask = server
            .ask(Method::POST, "/fhir")
            .text("application/fhir+json", body);
        ask.send().await.refusal(400);
    }
    assert_eq!(
        post(&server, "transaction", &json!([])).await.json(),
        json!({"resourceType": "Bundle", "type": "transaction-response"})
    );
}

#[tokio::test]
async fn a_small_bundle_cannot_ask_for_any_amount() {
    let server = Server::start_with(|settings| settings.rest.bundle_reads_bytes_max = 100).await;
    server
        .import_lines(&[r#"{"resourceType":"Patient","id":"p1","active":true}"#])
        .await;
    let reads = Value::Array(vec![
        json!({"request": {"method": "GET", "url": "Patient/p1"}});
        4
    ]);
    assert_eq!(
        statuses(&post(&server, "batch", &reads).await, "batch"),
        [200, 422, 422, 422]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_on_the_same_resources_come_one_after_another() {
    let server = Server::start().await;
    let one = json!([
        {"request": {"method": "POST", "url": "Organization", "ifNoneExist": "name=Ward"}, "fullUrl": "urn:uuid:w",
         "resource": {"resourceType": "Organization", "name": "Ward"}},
        {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient", "managingOrganization": {"reference": "urn:uuid:w"}}},
    ]);
    let posts = (0..6).map(|_| post(&server, "transaction", &one));
    let answers = futures::future::join_all(posts).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(total(&server, "Organization?_summary=count").await, 1);
    let ward = answers[0].json()["entry"][0]["resource"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(total(&server, &format!("Patient?organization={ward}")).await, 6);
}

/// A store over rows that outlive it, for one process that lives by `plan`.
fn process(rows: &Arc<MemoryKv>, plan: &Arc<FaultPlan>) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let rows: Arc<dyn Kv> = Arc::clone(rows) as Arc<dyn Kv>;
    let kv = FaultyKv::new(rows, Arc::clone(plan));
    let catalog = KvCatalog::open(Box::new(kv), Arc::clone(&clock)).expect("a catalog");
    Store::over(Arc::new(catalog), clock, StoreSettings::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_there_whole_or_not_at_all_wherever_the_process_dies() {
    let entries = json!([
        {"request": {"method": "POST", "url": "Patient"}, "fullUrl": "urn:uuid:a", "resource": patient("Ada")},
        {"request": {"method": "PUT", "url": "Observation/o"}, "resource": {"resourceType": "Observation", "id": "o",
            "status": "final", "code": {"text": "c"}, "subject": {"reference": "urn:uuid:a"}}},
        {"request": {"method": "DELETE", "url": "Patient/old"}},
    ]);
    let (mut done, mut undone) = (0, 0);
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        for number in 0..20 {
            let rows = Arc::new(MemoryKv::default());
            let before = process(&rows, &FaultPlan::none());
            let old = Server::over(before, |_| ()).await;
            assert_eq!(
                old.put(&json!({"resourceType": "Patient", "id": "old"}))
                    .await
                    .status,
                201
            );
            old.stop().await.expect("it stops");
            let plan = FaultPlan::at(FaultOperation::Change, number, fault);
            let server = Server::over(process(&rows, &plan), |_| ()).await;
            let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
            let ask = server.ask(Method::POST, "/fhir").json(&bundle);
            // A server whose store has died may be gone before it answers.
            let answered = tokio::spawn(async move { ask.send().await.status }).await;
            // Whatever it died of, or not, what is found by the next process counts.
            drop(server);
            let server = Server::over(process(&rows, &FaultPlan::none()), |_| ()).await;
            let there = server.get("/fhir/Observation/o").await.status == 200;
            let found = total(&server, "Patient?family=Ada&_summary=count").await;
            let kept = server.get("/fhir/Patient/old").await.status == 200;
            assert_eq!((found == 1, !kept), (there, there), "{fault:?} at {number}");
            assert!(
                there || answered.ok() != Some(200),
                "what was acknowledged is there"
            );
            if there {
                done += 1
            } else {
                undone += 1
            }
            if !plan.has_struck() {
                break;
            }
        }
    }
    assert!(done > 0 && undone > 0, "{done} done, {undone} not");
}

#[tokio::test]
async fn a_bundle_that_is_nested_without_end_is_refused() {
    let server = Server::start().await;
    for kind in ["batch", "transaction"] {
        let (open, close) = ("[".repeat(50_000), "]".repeat(50_000));
        let text = format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"request":{{"method":"POST","url":"Basic"}},"resource":{{"a":{open}{close}}}}}]}}"#
        );
        let ask = server
            .ask(Method::POST, "/fhir")
            .text("application/fhir+json", text);
        ask.send().await.refusal(400);
    }
}

#[tokio::test]
async fn many_entries_that_find_one_resource_are_not_all_answered_with_it() {
    let server = Server::start_with(|settings| settings.rest.bundle_reads_bytes_max = 1).await;
    assert_eq!(
        server
            .put(&json!({"resourceType": "Practitioner", "id": "dr1", "identifier": [{"value": "1"}]}))
            .await
            .status,
        201
    );
    let entry = json!({"request": {"method": "POST", "url": "Practitioner", "ifNoneExist": "identifier=1"},
        "resource": {"resourceType": "Practitioner"}});
    for kind in ["batch", "transaction"] {
        let answer = post(&server, kind, &Value::Array(vec![entry.clone(); 3])).await;
        assert_eq!(statuses(&answer, kind), [200; 3]);
        let bundle = answer.json();
        for number in 0..3 {
            let entry = &bundle["entry"][number];
            assert_eq!(entry.get("resource").is_some(), number == 0, "{kind} {number}");
            let location = entry["response"]["location"].as_str().expect("a location");
            assert!(location.contains("/Practitioner/dr1/_history/"), "{location}");
        }
    }
}

/// What one Bundle may look at has a limit of its own: many searches that are each within theirs are a lot together.
#[tokio::test]
async fn the_searches_of_a_bundle_share_a_budget() {
    let server = Server::start_with(|settings| settings.rest.bundle_rows_max = 3).await;
    server
        .import_lines(&[
            r#"{"resourceType":"Patient","id":"p1","gender":"female"}"#,
            r#"{"resourceType":"Patient","id":"p2","gender":"male"}"#,
        ])
        .await;
    let search = json!({"request": {"method": "GET", "url": "Patient?gender=male"}});
    let create = json!({"request": {"method": "POST", "url": "Patient", "ifNoneExist": "gender=other"}, "resource": patient("Other")});
    let by_id = json!({"request": {"method": "GET", "url": "Patient/p2"}});
    let batch = json!([search, search, create, by_id]);
    let answer = post(&server, "batch", &batch).await;
    assert_eq!(statuses(&answer, "batch"), [200, 200, 422, 200]);
    let entries = answer.json()["entry"].clone();
    assert_eq!(entries[0]["resource"]["total"], 1);
    // The second was cut, and says where it goes on.
    assert_eq!(entries[1]["resource"]["link"][1]["relation"], "next");
    // By itself each is fine, and so is a Bundle of fewer.
    assert_eq!(total(&server, "Patient?gender=male").await, 1);
    let answer = post(&server, "batch", &json!([create])).await;
    assert_eq!(statuses(&answer, "batch"), [201]);
}
