//! A small S3 by hand, and pulls that end in it.

use crate::client::{Place, stderr};
use crate::http::{ByHand, Request, answer, eventually};
use crate::pull_attachments::own_server;
use crate::sample::{fhirhose, succeed};
use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// What the bucket holds, and what happened.
#[derive(Default)]
struct Contents {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    /// Method and path of each request that changes something, in order.
    changes: Vec<String>,
    /// How often each object was put whole.
    completed: BTreeMap<String, usize>,
    /// So many more objects are taken; then nothing is answered any more.
    takes: Option<usize>,
}

/// A server of one bucket that knows what uploads need.
struct SmallS3 {
    port: u16,
    contents: Arc<Mutex<Contents>>,
}

impl SmallS3 {
    fn start() -> Self {
        let contents = Arc::new(Mutex::new(Contents::default()));
        let shared = Arc::clone(&contents);
        let server = ByHand::start(move |request, _| shared.lock().unwrap().answer(request));
        let port = server.port;
        Self { port, contents }
    }

    /// A pull of this server's everything into the bucket.
    fn pull(&self, place: &Place) -> Command {
        let base = format!("http://127.0.0.1:{}/fhir", place.port);
        let mut command = fhirhose(&["pull", &base, "--out", "s3://bucket/night/1"]);
        command
            .args(["--staging", &place.at("staging")])
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "hush")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, place: &Place) -> Output {
        self.pull(place).output().unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.contents.lock().unwrap().objects.keys().cloned().collect()
    }
}

impl Contents {
    /// The whole answer; `None` when the server does not answer any more.
    fn answer(&mut self, request: &Request) -> Option<Vec<u8>> {
        let (method, target, body) = (request.method(), request.target(), &request.body);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let multipart = query.contains("uploadId=") || query.contains("uploads");
        if method == "PUT" && !multipart || method == "POST" && query.contains("uploadId=") {
            if self.takes == Some(0) {
                return None;
            }
            self.takes = self.takes.map(|left| left - 1);
            *self.completed.entry(path.to_owned()).or_default() += 1;
        }
        if method != "GET" && method != "HEAD" {
            self.changes.push(format!("{method} {path}"));
        }
        let parts = self.uploads.entry(path.to_owned()).or_default();
        let answer = match method {
            "POST" if query.contains("uploads") => {
                let xml =
                    "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
                http("200 OK", xml.as_bytes())
            }
            "PUT" if multipart => {
                let number = query.split('&').find_map(|part| part.strip_prefix("partNumber="));
                parts.insert(number.unwrap().parse().unwrap(), body.clone());
                http("200 OK", b"")
            }
            "POST" => {
                let whole = std::mem::take(parts).into_values().flatten().collect();
                self.objects.insert(path.to_owned(), whole);
                let xml = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
                http("200 OK", xml.as_bytes())
            }
            "PUT" => {
                self.objects.insert(path.to_owned(), body.clone());
                http("200 OK", b"")
            }
            _ => match self.objects.get(path) {
                Some(object) => {
                    let mut answer = http("200 OK", object);
                    if method == "HEAD" {
                        answer.truncate(answer.len() - object.len());
                    }
                    answer
                }
                None => http("404 Not Found", b""),
            },
        };
        Some(answer)
    }
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let headers = "ETag: \"e\"\r\nLast-Modified: Sat, 21 Nov 2026 00:00:00 GMT\r\n";
    answer(status, headers, body)
}

/// A server over a population with one file that is put in parts.
fn place() -> Place {
    let mut place = Place::new();
    let (population, large) = (place.at("population"), place.path("large.ndjson"));
    succeed(&["generate", "--patients", "10", "--out", &population]);
    let mut text = String::new();
    for number in 0..400 {
        let note = "n".repeat(50_000);
        text.push_str(&format!(
            "{{\"resourceType\":\"Basic\",\"id\":\"b{number}\",\"code\":{{\"text\":\"{note}\"}},\"subject\":{{\"reference\":\"Patient/p1\"}}}}\n"
        ));
    }
    std::fs::write(&large, text).unwrap();
    succeed(&[
        "load",
        "--data",
        &place.at("store"),
        &population,
        large.to_str().unwrap(),
    ]);
    place.serve(&[]);
    place
}

/// Every object is the file that a pull into a folder has; the manifest says of the same files.
fn assert_delivered(s3: &SmallS3, place: &Place) {
    let base = format!("http://127.0.0.1:{}/fhir", place.port);
    succeed(&["pull", &base, "--out", &place.at("folder")]);
    let mut expected = 0;
    let contents = s3.contents.lock().unwrap();
    for entry in std::fs::read_dir(place.path("folder")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".ndjson") && name != "log.ndjson" {
            let object = contents.objects.get(&format!("/bucket/night/1/{name}"));
            assert!(
                object == Some(&std::fs::read(entry.path()).unwrap()),
                "{name} differs"
            );
            expected += 1;
        }
    }
    assert_eq!(
        contents.objects.len(),
        expected + 2,
        "and log.ndjson and manifest.json"
    );
    let last = contents.changes.last().unwrap();
    assert_eq!(last, "PUT /bucket/night/1/manifest.json");
}

#[test]
fn a_pull_into_object_storage_puts_whole_objects_and_the_manifest_last() {
    let (s3, place) = (SmallS3::start(), place());
    let output = s3.run(&place);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("hush"));
    assert!(
        !place.path("staging/bucket_2fnight_2f1/files").exists(),
        "nothing is left behind"
    );
    assert_delivered(&s3, &place);
    let puts = s3.contents.lock().unwrap().changes.len();
    let again = s3.run(&place);
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(stderr(&again).contains("already"), "{}", stderr(&again));
    assert_eq!(
        s3.contents.lock().unwrap().changes.len(),
        puts,
        "nothing is put twice"
    );
}

#[test]
fn a_delivery_that_is_killed_goes_on_and_puts_nothing_twice() {
    /// Objects that the bucket takes before the kill: more than are delivered at a time.
    const TAKEN: usize = 8;
    const DELIVERIES: usize = 3;
    let (s3, place) = (SmallS3::start(), place());
    s3.contents.lock().unwrap().takes = Some(TAKEN);
    let mut child = s3.pull(&place).spawn().unwrap();
    eventually("some objects", || (s3.names().len() == TAKEN).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !s3.names().iter().any(|name| name.contains("manifest")),
        "{:?}",
        s3.names()
    );
    s3.contents.lock().unwrap().takes = None;
    let output = s3.run(&place);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_delivered(&s3, &place);
    let contents = s3.contents.lock().unwrap();
    let twice = contents.completed.values().filter(|times| **times > 1).count();
    assert!(
        twice <= DELIVERIES && contents.completed.values().all(|times| *times <= 2),
        "only what was not noted yet at the kill is put again: {:?}",
        contents.completed
    );
}

#[test]
fn attachments_are_put_before_the_manifest_and_prove_themselves_where_they_came_to() {
    let (s3, (place, _)) = (SmallS3::start(), own_server());
    let output = s3.pull(&place).arg("--download-attachments").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let contents = s3.contents.lock().unwrap();
    let last = contents.changes.last().unwrap();
    assert_eq!(last, "PUT /bucket/night/1/manifest.json");
    let copy = place.path("copy");
    for (path, object) in &contents.objects {
        let file = copy.join(path.strip_prefix("/bucket/night/1/").unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, object).unwrap();
    }
    let proof = succeed(&["verify", &place.at("copy")]);
    assert!(
        stderr(&proof).contains("1 attachments of 20 B"),
        "{}",
        stderr(&proof)
    );
}

#[test]
fn a_place_of_another_pull_and_a_plain_endpoint_elsewhere_are_refused() {
    let (s3, mut place) = (SmallS3::start(), Place::new());
    place.serve(&[]);
    let manifest = "/bucket/night/1/manifest.json".to_owned();
    s3.contents
        .lock()
        .unwrap()
        .objects
        .insert(manifest, b"{}".to_vec());
    let output = s3.run(&place);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("another pull"), "{}", stderr(&output));
    let plain = s3
        .pull(&place)
        .env("AWS_ENDPOINT_URL", "http://10.0.0.1:9000")
        .output()
        .unwrap();
    assert_eq!(plain.status.code(), Some(1));
    assert!(stderr(&plain).contains("only https"), "{}", stderr(&plain));
}
