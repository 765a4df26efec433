//! What a server says on stderr, of everything that clients can do to it: nothing of patients, tokens and keys.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::http::{eventually, exchange};
use crate::sample::{succeed, write_population};
use crate::served::Served;

type Header<'a> = (&'a str, &'a str);

const JSON: Header<'_> = ("Content-Type", "application/fhir+json");
const FORM: Header<'_> = ("Content-Type", "application/x-www-form-urlencoded");
const ACCEPT: Header<'_> = ("Accept", "application/fhir+json");
const PREFER: Header<'_> = ("Prefer", "respond-async");

/// All that the client is granted.
const SCOPE: &str = "system/*.cruds system/bulk-import";

/// A number that no sample has.
const NUMBER: &str = "999-99-9999";

/// Patients of the sample whose identifiers are looked for.
const PATIENTS: usize = 25;

/// A server that says all that it can, into a file.
struct Server(Served);

impl Server {
    fn start(folder: &Path) -> Self {
        let root = text(folder, "population");
        let more = ["-vvv", "--auth", "smart", "--import-root", &root];
        Self(Served::start(&folder.join("store"), &more))
    }

    /// Sends a request as it stands and gives the whole answer.
    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        exchange(self.0.port, &request).expect("an answer")
    }
}

fn text(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Values of patients that belong into no log: ids, identifiers, names, addresses, telephone numbers.
fn telling(folder: &Path) -> BTreeSet<String> {
    let lines = std::fs::read_to_string(folder.join("population/Patient.ndjson")).unwrap();
    let mut found = BTreeSet::new();
    for line in lines.lines().take(PATIENTS) {
        let patient: Value = serde_json::from_str(line).unwrap();
        let mut add = |value: &Value| {
            // Short words, such as a state's letters, are everywhere.
            if let Some(text) = value.as_str().filter(|text| text.len() >= 6) {
                found.insert(text.to_owned());
            }
        };
        add(&patient["id"]);
        add(&patient["birthDate"]);
        for identifier in patient["identifier"].as_array().unwrap() {
            add(&identifier["value"]);
        }
        for name in patient["name"].as_array().unwrap() {
            add(&name["family"]);
            add(&name["given"][0]);
        }
        for telecom in patient["telecom"].as_array().into_iter().flatten() {
            add(&telecom["value"]);
        }
        for address in patient["address"].as_array().into_iter().flatten() {
            add(&address["line"][0]);
            add(&address["city"]);
        }
    }
    assert!(found.len() > PATIENTS * 4, "the sample has what is looked for");
    found
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let lines = answer.split("\r\n\r\n").next().unwrap().lines();
    let found = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no {name} in {answer}")).1
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn path(url: &str) -> &str {
    &url[url.find("/fhir").unwrap()..]
}

/// What a client has that must stay its own.
struct Credentials {
    key: String,
    token: String,
    assertion: String,
}

/// Loads the sample, registers a client that may do everything, and gives its key's file.
fn set_up(folder: &Path) -> String {
    write_population(&folder.join("population"));
    let at = |name: &str| text(folder, name);
    let (patients, observations) = (
        at("population/Patient.ndjson"),
        at("population/Observation.ndjson"),
    );
    succeed(&["load", "--data", &at("store"), &patients, &observations]);
    succeed(&["client", "keygen", "--out", &at("keys")]);
    let (store, jwks) = (at("store"), at("keys/jwks.json"));
    let registration = [
        "client", "add", "app", "--data", &store, "--name", "App", "--jwks", &jwks,
    ];
    succeed(&[&registration[..], &["--scope", SCOPE, "--allow-write"]].concat());
    at("keys/private-key.pem")
}

impl Credentials {
    fn of(server: &Server, key: String) -> Self {
        let token_url = format!("http://127.0.0.1:{}/auth/token", server.0.port);
        let asked = [
            "client",
            "token",
            "--token-url",
            &token_url,
            "--client-id",
            "app",
            "--key",
            &key,
        ];
        let said = |more: &[&str]| {
            let output = succeed(&[&asked[..], more].concat()).stdout;
            String::from_utf8(output).unwrap().trim().to_owned()
        };
        Self {
            token: said(&["--scope", SCOPE]),
            assertion: said(&["--assertion-only"]),
            key,
        }
    }

    /// Pieces of them that would be in a log if they were.
    fn pieces(&self) -> Vec<String> {
        let private = std::fs::read_to_string(&self.key).unwrap();
        let lines = private.lines().filter(|line| !line.starts_with("---"));
        let signed = self.token.split('.').chain(self.assertion.split('.'));
        signed
            .map(|piece| piece[..20].to_owned())
            .chain(lines.map(str::to_owned))
            .collect()
    }
}

/// Exports a patient and gives the paths of the status and of a file.
fn export(server: &Server, id: &str, authorized: Header<'_>) -> (String, String) {
    let target = format!("/fhir/Patient/{id}/$export?_type=Patient");
    let kicked = server.send("GET", &target, &[ACCEPT, PREFER, authorized], "");
    let status = path(header(&kicked, "content-location")).to_owned();
    let manifest = eventually("the end of an export", || {
        let answer = server.send("GET", &status, &[authorized], "");
        let (first, _) = answer.split_once("\r\n").unwrap();
        // Asked faster than it likes: 429.
        assert!(
            ["200", "202", "429"].iter().any(|known| first.contains(known)),
            "{first}"
        );
        first.contains("200").then_some(answer)
    });
    let manifest: Value = serde_json::from_str(body(&manifest)).unwrap();
    let file = path(manifest["output"][0]["url"].as_str().unwrap()).to_owned();
    (status, file)
}

fn token_request(scope: &str, assertion: &str) -> String {
    let proof = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    format!(
        "grant_type=client_credentials&scope={scope}&client_assertion_type={proof}&client_assertion={assertion}"
    )
}

/// An import of a file whose one line is broken behind the patient's id.
fn import_of_broken_line(folder: &Path, id: &str) -> String {
    let line = format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\",\"name\":[{{\"family\":}}]}}\n");
    std::fs::write(folder.join("population/broken.ndjson"), line).unwrap();
    let url = format!("file://{}", text(folder, "population/broken.ndjson"));
    json!({"resourceType": "Parameters", "parameter": [
        {"name": "inputFormat", "valueCode": "application/fhir+ndjson"},
        {"name": "inputSource", "valueUri": format!("https://example.org/{id}")},
        {"name": "input", "part": [{"name": "type", "valueCode": "Patient"}, {"name": "url", "valueUrl": url}]},
    ]})
    .to_string()
}

/// Sends what names the patient and holds credentials, honoured or refused, and gives the answers' first lines.
fn ask_everything(server: &Server, folder: &Path, id: &str, credentials: &Credentials) -> Vec<String> {
    let Credentials { token, assertion, .. } = credentials;
    let (bearer, half) = (format!("Bearer {token}"), &token[..token.len() / 2]);
    let (authorized, wrong) = (("Authorization", bearer.as_str()), format!("Bearer {half}"));
    let (status, file) = export(server, id, authorized);
    let patient = json!({"resourceType": "Patient", "id": id, "identifier": [{"value": NUMBER}]}).to_string();
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": format!("Patient/{id}")}}]});
    let stranger = json!({"resourceType": "Parameters", "parameter": [
        {"name": "patient", "valueReference": {"reference": format!("Patient/{id}x")}}]});
    let mut sent = Vec::new();
    let mut send = |method: &str, target: &str, headers: &[Header<'_>], body: &str| {
        let answer = server.send(method, target, headers, body);
        sent.push(answer.lines().next().unwrap_or_default().to_owned());
    };
    let mut get = |target: &str, headers: &[Header<'_>]| send("GET", target, headers, "");
    get(&file, &[authorized]);
    get(&file, &[]);
    get(&format!("/fhir/Patient/{id}"), &[authorized]);
    get(&format!("/fhir/Patient/{id}?access_token={token}"), &[]);
    get(&format!("/fhir/Patient/{id}"), &[("Authorization", &wrong)]);
    get(&format!("/fhir/Patient/{id}/$everything"), &[authorized]);
    get(
        &format!("/fhir/Patient?identifier={NUMBER}&patient={id}"),
        &[authorized],
    );
    get(
        &format!("/fhir/Observation?subject=Patient/{id}&_count=5"),
        &[authorized],
    );
    get(
        &format!("/fhir/Group/{id}/$export"),
        &[authorized, ACCEPT, PREFER],
    );
    let one = format!("/fhir/Patient/{id}");
    send(
        "POST",
        "/fhir/Patient/_search",
        &[authorized, FORM],
        &format!("_id={id}&identifier={NUMBER}"),
    );
    send("PUT", &one, &[authorized, JSON], &patient);
    send("PUT", &one, &[authorized, JSON], &patient.replace("}]", "]"));
    send(
        "POST",
        "/fhir/$import",
        &[authorized, JSON],
        &import_of_broken_line(folder, id),
    );
    send("POST", "/fhir", &[authorized, JSON], &batch.to_string());
    send(
        "POST",
        "/fhir/Patient/$export",
        &[authorized, ACCEPT, PREFER, JSON],
        &stranger.to_string(),
    );
    let all = "system%2F*.rs";
    for (scope, assertion) in [(all, &assertion[..]), (all, assertion), ("launch", half)] {
        send("POST", "/auth/token", &[FORM], &token_request(scope, assertion));
    }
    send(
        "POST",
        "/auth/introspect",
        &[FORM, authorized],
        &format!("token={token}"),
    );
    send("DELETE", &one, &[authorized], "");
    send("DELETE", &status, &[authorized], "");
    sent
}

#[test]
fn logs_hold_no_token_no_key_and_nothing_of_a_patient() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = set_up(folder);
    let mut secrets = telling(folder);
    let id = secrets.iter().find(|value| value.len() == 36).unwrap().clone();
    let server = Server::start(folder);
    let credentials = Credentials::of(&server, key);
    let sent = ask_everything(&server, folder, &id, &credentials);
    // Enough of them got through to where something could be said.
    let honoured = sent.iter().filter(|line| line.starts_with("HTTP/1.1 2")).count();
    assert!(honoured >= 10, "{sent:?}");
    let said = server.0.log.clone();
    drop(server);

    let log = std::fs::read_to_string(said).unwrap();
    assert!(
        log.lines().count() > sent.len(),
        "the server said something of each request"
    );
    secrets.insert(NUMBER.to_owned());
    secrets.extend(credentials.pieces());
    for secret in &secrets {
        let told = log.lines().find(|line| line.contains(secret.as_str()));
        let told = told.map(|line| line.replace(secret.as_str(), "***"));
        assert_eq!(told, None, "a line of the log holds what it must not");
    }
}
