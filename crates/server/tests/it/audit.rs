//! What is told of requests and jobs: who, what, by which right, and what came of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_server::ServerSettings;
use fhirhose_server::audit::{AuditFiles, MemoryFiles, in_order, verify};
use fhirhose_store::Found;
use hyper::Method;
use serde_json::{Value, json};

use crate::fixture::{POPULATION, Server, memory_store};
use crate::http::Ask;

/// Stops the server and gives all that was told.
async fn told(server: Server) -> Vec<Value> {
    let audit = Arc::clone(&server.audit);
    server.stop().await.unwrap();
    let lines = audit.lines();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn code(event: &Value) -> &str {
    let codes = event["subtype"].as_array().unwrap();
    let own = codes
        .iter()
        .find(|code| code["system"] == "urn:fhirhose:audit-event");
    own.unwrap()["code"].as_str().unwrap()
}

fn chain<'a>(event: &'a Value, name: &str) -> &'a Value {
    let extensions = event["extension"].as_array().unwrap();
    let chain = extensions
        .iter()
        .find(|each| each["url"] == "urn:fhirhose:audit-chain");
    let parts = chain.unwrap()["extension"].as_array().unwrap();
    parts.iter().find(|part| part["url"] == name).unwrap()
}

fn phase(event: &Value) -> &str {
    chain(event, "phase")["valueCode"].as_str().unwrap()
}

fn detail(event: &Value, name: &str) -> String {
    let entities = event["entity"].as_array().into_iter().flatten();
    let mut details = entities.flat_map(|entity| entity["detail"].as_array().into_iter().flatten());
    let found = details.find(|detail| detail["type"] == name);
    found.map_or_else(String::new, |detail| {
        detail["valueString"].as_str().unwrap().to_owned()
    })
}

fn references(event: &Value) -> Vec<&str> {
    let entities = event["entity"].as_array().into_iter().flatten();
    entities
        .filter_map(|entity| entity["what"]["reference"].as_str())
        .collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| code(event) == name).collect()
}

#[tokio::test]
async fn an_export_is_told_from_its_kick_off_to_its_deletion() {
    let server = Server::populated().await;
    let (status_url, manifest) = server.export("Group/g1/$export?_type=Patient,Observation").await;
    let url = manifest["output"][0]["url"].as_str().unwrap().to_owned();
    let file = server.get(&url).await;
    assert_eq!(file.status, 200);
    assert_eq!(server.delete(&status_url).await.status, 202);
    server.get(&url).await.refusal(404);
    let events = told(server).await;
    let job = status_url.rsplit('/').next().unwrap();
    let kick_off = of(&events, "export-kick-off");
    assert_eq!(
        kick_off.iter().map(|event| phase(event)).collect::<Vec<_>>(),
        ["opened", "closed"]
    );
    assert_eq!(kick_off[0]["id"], kick_off[1]["id"], "two versions of one event");
    assert_eq!(references(kick_off[1]), ["Group/g1"]);
    assert_eq!(detail(kick_off[1], "types"), "Patient,Observation");
    assert!(kick_off[1].to_string().contains(job));
    let agent = &kick_off[1]["agent"][0];
    assert_eq!(agent["who"]["identifier"]["value"], "127.0.0.1");
    assert_eq!(agent["network"], json!({"address": "127.0.0.1", "type": "2"}));
    assert!(
        agent["policy"]
            .as_array()
            .unwrap()
            .iter()
            .any(|scope| scope == "system/*.cruds")
    );
    let ended = of(&events, "job-end");
    let ended = ended
        .iter()
        .find(|event| event.to_string().contains(job))
        .unwrap();
    assert_eq!(detail(ended, "resources"), "2");
    assert_eq!(of(&events, "export-complete").len(), 1, "the first delivery only");
    let download = of(&events, "download");
    assert_eq!(
        download.iter().map(|event| phase(event)).collect::<Vec<_>>(),
        ["opened", "closed"]
    );
    assert_eq!(detail(download[1], "bytes"), file.body.len().to_string());
    assert_eq!(
        (detail(download[1], "whole").as_str(), &download[1]["outcome"]),
        ("true", &json!("0"))
    );
    assert_eq!(of(&events, "job-delete").len(), 2);
    let refused = of(&events, "refused");
    assert_eq!(
        (refused.len(), &refused[0]["outcome"]),
        (1, &json!("4")),
        "the file was gone"
    );
}

#[tokio::test]
async fn an_import_is_told_with_its_end() {
    let server = Server::populated().await;
    let events = told(server).await;
    assert_eq!(of(&events, "import-kick-off").len(), 2);
    assert_eq!(of(&events, "import-complete").len(), 1);
    let ended = of(&events, "job-end")[0];
    assert_eq!(detail(ended, "kind"), "import");
    assert!(detail(ended, "types").contains("Practitioner"));
    let dicom = "http://dicom.nema.org/resources/ontology/DCM";
    let subtypes = of(&events, "import-kick-off")[0]["subtype"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        subtypes
            .iter()
            .any(|each| each["system"] == dicom && each["code"] == "110107")
    );
}

#[tokio::test]
async fn who_saw_whom_is_told_of_reads_searches_and_writes() {
    let server = Server::populated().await;
    assert_eq!(server.get("/fhir/Observation/o1").await.status, 200);
    assert_eq!(server.get("/fhir/Observation?code=x,y").await.status, 200);
    assert_eq!(server.get("/fhir/Observation").await.status, 200);
    assert_eq!(server.get("/fhir/Patient/p2/$everything").await.status, 200);
    assert_eq!(server.get("/fhir/Patient/nobody").await.status, 404);
    let written = json!({"resourceType": "Observation", "id": "o9", "status": "final",
        "code": {"text": "secret word"}, "subject": {"reference": "Patient/p2"}});
    assert_eq!(server.put(&written).await.status, 201);
    assert_eq!(server.delete("/fhir/Observation/o9").await.status, 204);
    let events = told(server).await;
    let read = of(&events, "read");
    assert_eq!(references(read[0]), ["Patient/p1", "Observation/o1"]);
    let profile = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PatientRead";
    assert_eq!(read[0]["meta"]["profile"], json!([profile]));
    assert_eq!(
        (read[0]["type"]["code"].as_str(), read[0]["action"].as_str()),
        (Some("rest"), Some("R"))
    );
    assert_eq!(
        (references(read[1]), &read[1]["outcome"]),
        (vec!["Patient/nobody"], &json!("4"))
    );
    let searches = of(&events, "search");
    assert_eq!(references(searches[0]), Vec::<&str>::new());
    let query = searches[0]["entity"].as_array().unwrap().last().unwrap()["query"].as_str();
    assert_eq!(query, Some("L2ZoaXIvT2JzZXJ2YXRpb24/Y29kZT14LHk="));
    assert_eq!(references(searches[1]), ["Patient/p1", "Patient/p2"]);
    assert_eq!(references(of(&events, "everything")[0]), ["Patient/p2"]);
    assert_eq!(
        references(of(&events, "update")[0]),
        ["Patient/p2", "Observation/o9"]
    );
    assert_eq!(
        references(of(&events, "delete")[0]),
        ["Patient/p2", "Observation/o9"]
    );
    let all = json!(events).to_string();
    assert!(
        !all.contains("secret word") && !all.contains("valueQuantity"),
        "no content"
    );
}

/// What somebody could be taken for a client by is in no event, though it was sent in a URL by mistake.
#[tokio::test]
async fn assertions_and_tokens_in_urls_are_not_told() {
    let mut server = Server::smart().await;
    server.sign_in("reader", "system/*.rs").await;
    let asked = Ask::new(
        server.address,
        Method::POST,
        "/auth/token?client_assertion=eyJzZWNyZXQ",
    );
    assert_eq!(asked.send().await.status, 400);
    for name in ["access_token", "%61ccess_token"] {
        server
            .get(&format!("/fhir/Patient?{name}=eyJzZWNyZXQ"))
            .await
            .refusal(400);
    }
    let events = told(server).await;
    let entities = events
        .iter()
        .flat_map(|event| event["entity"].as_array().into_iter().flatten());
    for query in entities.filter_map(|entity| entity["query"].as_str()) {
        let query = BASE64_STANDARD.decode(query).expect("base64");
        let query = String::from_utf8(query).expect("text");
        assert!(!query.contains("eyJ"), "{query}");
    }
    let text = serde_json::to_string(&events).expect("JSON");
    assert!(!text.contains("eyJzZWNyZXQ"), "{text}");
}

#[tokio::test]
async fn a_bundle_tells_of_all_its_entries() {
    let server = Server::populated().await;
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": "Observation/o2"}},
        {"request": {"method": "GET", "url": "Encounter"}},
        {"resource": {"resourceType": "Patient", "id": "p7"}, "request": {"method": "PUT", "url": "Patient/p7"}},
    ]});
    let answer = server.ask(Method::POST, "/fhir").json(&bundle).send().await;
    assert_eq!(answer.status, 200);
    let events = told(server).await;
    let told = of(&events, "bundle")[0];
    assert_eq!(
        references(told),
        [
            "Patient/p1",
            "Patient/p2",
            "Patient/p7",
            "Observation/o2",
            "Patient/p7"
        ]
    );
}

#[tokio::test]
async fn what_a_server_told_is_one_whole_chain_from_start_to_stop() {
    let server = Server::populated().await;
    server.export("$export").await;
    let audit = Arc::clone(&server.audit);
    server.stop().await.unwrap();
    let report = verify(&*audit, &in_order(audit.list().unwrap()), &[]).unwrap();
    assert!(report.is_whole() && report.open.is_empty(), "{report:?}");
    let lines = audit.lines();
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(code(&events[0]), "server-start");
    assert_eq!(code(events.last().unwrap()), "server-stop");
    for event in &events {
        assert_eq!(event["resourceType"], "AuditEvent");
        assert!(event["agent"].as_array().is_some_and(|agents| !agents.is_empty()));
        assert!(event["source"]["observer"].is_object() && event["recorded"].is_string());
    }
}

#[tokio::test]
async fn the_store_has_the_newest_of_each_event() {
    let (store, trail) = (memory_store(), Arc::new(MemoryFiles::default()));
    let start = || {
        let copying = |settings: &mut ServerSettings| settings.audit.store_copy = true;
        Server::auditing(store.clone(), trail.clone(), copying)
    };
    let server = start().await;
    server.import_lines(&POPULATION).await;
    let names = server.exported("$export").await;
    assert!(!names.iter().any(|name| name.starts_with("AuditEvent")));
    server.stop().await.unwrap();
    let lines = trail.lines();
    // What ended last is copied by the next process, which goes on where this one stopped.
    start().await.stop().await.unwrap();
    let events: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut newest = BTreeMap::new();
    for event in &events {
        newest.insert(event["id"].as_str().unwrap(), event);
    }
    assert!(newest.len() > 6 && newest.len() < events.len());
    for (id, event) in newest {
        let found = store.read(ResourceType::AUDIT_EVENT, id).await.unwrap();
        let Some(Found::Resource(resource)) = found else {
            panic!("{id} is not there");
        };
        let copy: Value = serde_json::from_slice(&resource.text).unwrap();
        assert_eq!(
            (&copy["extension"], &copy["entity"]),
            (&event["extension"], &event["entity"])
        );
    }
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_told_together() {
    let server = Server::populated().await;
    for _ in 0..50 {
        let answer = server
            .ask(Method::GET, "/fhir/metadata")
            .header("host", "evil.example")
            .send()
            .await;
        answer.refusal(421);
    }
    let events = told(server).await;
    let refused = of(&events, "refused");
    assert_eq!(refused.len(), 2);
    assert_eq!(detail(refused[1], "requests"), "49");
    assert_eq!(detail(refused[1], "status"), "421");
    assert_eq!(detail(refused[1], "route"), "/fhir/metadata");
}

/// A trail on a disk that can be full.
#[derive(Default)]
struct Full {
    files: MemoryFiles,
    is_full: AtomicBool,
}

impl Full {
    fn room(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl AuditFiles for Full {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn read_from(&self, name: &str, from_bytes: u64) -> io::Result<Box<dyn io::Read + Send>> {
        self.files.read_from(name, from_bytes)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.room()?;
        self.files.append(name, bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.room()?;
        self.files.sync(name)
    }

    fn cut(&self, name: &str, length_bytes: u64) -> io::Result<()> {
        self.files.cut(name, length_bytes)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.put(name, bytes)
    }
}

#[tokio::test]
async fn nothing_is_done_while_the_trail_cannot_be_written() {
    let full = Arc::new(Full::default());
    let server = Server::auditing(memory_store(), full.clone(), |_| ()).await;
    server.import_lines(&POPULATION).await;
    let (_, manifest) = server.export("$export").await;
    let url = manifest["output"][0]["url"].as_str().unwrap();
    full.is_full.store(true, Ordering::Relaxed);
    server.kick_off("$export").await.refusal(507);
    server.get(url).await.refusal(507);
    server.get("/fhir/Patient/p1").await.refusal(507);
    let patient = json!({"resourceType": "Patient", "id": "p8"});
    server.put(&patient).await.refusal(507);
    assert_eq!(server.get("/health").await.status, 200, "what is public goes on");
    full.is_full.store(false, Ordering::Relaxed);
    assert_eq!(
        server.get("/fhir/Patient/p8").await.status,
        404,
        "it was not written"
    );
    assert_eq!(server.get(url).await.status, 200);
    server.stop().await.unwrap();
    let report = verify(&*full, &in_order(full.list().unwrap()), &[]).unwrap();
    assert!(report.is_whole() && report.open.is_empty(), "{report:?}");
}
