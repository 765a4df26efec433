//! Flags go where they are meant to go: what is for one server never to another, and none is taken and ignored.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use crate::client::{Place, stderr};
use crate::http::{ByHand, answer, free_port};
use crate::sample::{fhirhose, succeed, text};
use crate::served::Served;

/// A server behind a relay that keeps what it is sent.
struct Overheard {
    relay: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _server: Served,
    _data: tempfile::TempDir,
}

impl Overheard {
    fn start(patients: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (store, seed) = (data.path().join("store"), data.path().join("seed.ndjson"));
        let line = |id: &&str| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n");
        std::fs::write(&seed, patients.iter().map(line).collect::<String>()).unwrap();
        succeed(&["load", "--data", text(&store), text(&seed)]);
        let port = free_port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let relay = relay(port, &heard);
        let base = format!("http://127.0.0.1:{relay}/fhir");
        Self {
            relay,
            heard,
            _server: Served::start_at(port, &store, &["--base-url", &base]),
            _data: data,
        }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.relay)
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

/// Hands bytes on in both directions as long as the test runs, and keeps those that are sent to the server.
fn relay(server: u16, heard: &Arc<Mutex<Vec<u8>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                return;
            };
            let heard = Arc::clone(&heard);
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || hand_on(from, to, |bytes| heard.lock().unwrap().extend(bytes)));
            std::thread::spawn(move || hand_on(server, client, |_| {}));
        }
    });
    port
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, keep: impl Fn(&[u8])) {
    let mut bytes = vec![0; 1 << 16];
    // Either end may go at any time.
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        keep(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The binary with secrets for the first server, by each way in which they come.
fn with_secrets(arguments: &[&str]) -> Output {
    let secrets = ["--header", "X-Api-Key: hush"];
    fhirhose(&[arguments, &secrets].concat())
        .env("FHIRHOSE_BEARER_TOKEN", "hush-token")
        .output()
        .unwrap()
}

#[test]
fn nothing_that_the_first_server_is_shown_reaches_the_second() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--both", "--to"] {
        let (first, second) = (Overheard::start(&["one"]), Overheard::start(&["two"]));
        let state = folder.path().join(&flag[2..]);
        let (source, target) = (first.base(), second.base());
        let state = text(&state);
        let line = [
            "sync", &source, flag, &target, "--state", state, "--once", "--global",
        ];
        let output = with_secrets(&line);
        assert_eq!(output.status.code(), Some(0), "{flag}: {}", stderr(&output));
        let shown = first.heard();
        assert!(shown.contains("x-api-key: hush") || shown.contains("X-Api-Key: hush"));
        assert!(shown.contains("Bearer hush-token"), "{flag}");
        let heard = second.heard();
        assert!(heard.contains("Patient/one"), "{flag}: the round wrote there");
        assert!(!heard.contains("hush"), "{flag}: a secret went along");
    }
}

#[test]
fn the_second_servers_own_token_goes_there_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Overheard::start(&["one"]), Overheard::start(&["two"]));
    let state = folder.path().join("state");
    let (source, target) = (first.base(), second.base());
    let line = [
        "sync",
        &source,
        "--both",
        &target,
        "--state",
        text(&state),
        "--once",
        "--global",
    ];
    let output = fhirhose(&line)
        .env("FHIRHOSE_OTHER_BEARER_TOKEN", "hush-other")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(second.heard().contains("Bearer hush-other"));
    assert!(!first.heard().contains("hush"), "a secret went along");
}

/// Runs a command line, its words parted by spaces, in a folder of its own; variables make it `NAME=value`. `NOWHERE` is a server that refuses
/// everything.
fn typed(line: &str, variables: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n";
    std::fs::write(files.join("1.Patient.ndjson"), patient).unwrap();
    in_folder(folder.path(), line, variables)
}

fn in_folder(folder: &Path, line: &str, variables: &str) -> Output {
    let refusing = ByHand::start(|_, _| Some(answer("400 Bad Request", "", b"")));
    let line = line.replace("NOWHERE", &refusing.base());
    let words: Vec<&str> = line.split(' ').collect();
    let variables = variables
        .split_whitespace()
        .filter_map(|each| each.split_once('='));
    let mut command = fhirhose(&words);
    command.current_dir(folder).envs(variables).output().unwrap()
}

/// A command, flags that it refuses, and what it says.
type Refusal = (&'static str, &'static str, &'static str);

const PULL: &str = "pull NOWHERE";
const SYNC: &str = "sync NOWHERE --state s";
const SYNC_FILES: &str = "sync files --state s";
const RECONCILE: &str = "reconcile files";

#[rustfmt::skip]
const REFUSALS: [Refusal; 21] = [
    (PULL, "--out d --staging t", "--staging is for --out s3://"),
    (PULL, "--out d --s3-allow-http", "--s3-allow-http is for --out s3://"),
    (PULL, "--into d --staging t", "--staging is for --out s3://"),
    (PULL, "--into d --out e", "--into are two places: name one"),
    (PULL, "--out d --output-key-file k", "--output-key-file is for --into DIR"),
    (PULL, "--out d --output-key-command k", "--output-key-command is for --into DIR"),
    (PULL, "--type Patient", "--out DIR, --out s3://bucket/prefix or --into DIR"),
    (SYNC, "--to NOWHERE --output-key-file k", "--output-key-file is for --to store:DIR"),
    (SYNC, "--both NOWHERE --output-key-file k", "--output-key-file is for --to store:DIR"),
    (SYNC, "--to store:d --batch-entries 7", "--batch-entries is for a server as target"),
    (SYNC, "--to store:d --other-client-id a", "--other-client-id is for a server as target"),
    (SYNC, "--to store:d --every 1h --metrics-listen 192.0.2.1:9102", "an address of this machine only"),
    (SYNC_FILES, "--to NOWHERE --client-id a", "--client-id is for a server as source"),
    (SYNC_FILES, "--to NOWHERE --header a:b", "begins with --other"),
    (SYNC_FILES, "--to store:d --ca c", "--ca is for a server as source"),
    (RECONCILE, "files --quirks standard", "--quirks is for a side that is a server"),
    (RECONCILE, "files --no-compression", "--no-compression is for a side that is a server"),
    (RECONCILE, "files --other-key k", "--other-key is for a side that is a server"),
    (RECONCILE, "NOWHERE --other-client-id a", "--other-client-id is for a second server"),
    ("doctor --list-quirks", "--json", "cannot be used with"),
    ("doctor --show-quirks epic", "--group g", "cannot be used with"),
];

#[test]
fn a_flag_that_would_change_nothing_is_refused_and_told_what_it_is_for() {
    for (line, flag, said) in REFUSALS {
        let output = typed(&format!("{line} {flag}"), "");
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{line} {flag}: {told}");
        assert!(told.contains(said), "{line} {flag}: {told}");
    }
}

#[test]
fn what_goes_with_a_clients_id_is_refused_without_one() {
    for (line, flag) in [
        ("pull NOWHERE --out d", "--kid k"),
        ("pull NOWHERE --out d", "--jku https://example.org/jwks"),
        ("doctor NOWHERE", "--scope system/*.rs"),
        ("pull NOWHERE --out d", "--token-url https://example.org/token"),
        ("sync NOWHERE --to store:d", "--scope system/*.rs"),
        ("sync NOWHERE --to NOWHERE --state s", "--other-scope system/*.rs"),
        ("sync NOWHERE --both NOWHERE --state s", "--other-key k"),
        (
            "reconcile NOWHERE NOWHERE",
            "--other-token-url https://example.org/token",
        ),
        ("reconcile files NOWHERE", "--scope system/*.rs"),
    ] {
        let output = typed(&format!("{line} {flag}"), "");
        let told = stderr(&output);
        let (flag, _) = flag.split_once(' ').unwrap();
        assert_eq!(output.status.code(), Some(2), "{line} {flag}: {told}");
        let said = format!("{flag} wants the client's id beside it: --");
        assert!(told.contains(&said), "{told}");
    }
    let open = typed("pull NOWHERE --out d --token-url none", "");
    assert_eq!(open.status.code(), Some(1), "{}", stderr(&open));
}

#[test]
fn a_variable_that_is_set_for_all_commands_is_in_nobodys_way() {
    let pull = "FHIRHOSE_OUT=e FHIRHOSE_STAGING=t FHIRHOSE_S3_ALLOW_HTTP=true FHIRHOSE_OUTPUT_KEY_FILE=k";
    let access = "FHIRHOSE_TOKEN_URL=https://example.org/token FHIRHOSE_SCOPE=system/*.rs FHIRHOSE_CLIENT_KID=k \
                  FHIRHOSE_OTHER_CLIENT_ID=a FHIRHOSE_OTHER_SCOPE=system/*.rs";
    for (line, variables, code) in [
        ("pull NOWHERE --into d", "FHIRHOSE_OUT=e FHIRHOSE_STAGING=t", 1),
        ("pull NOWHERE", pull, 1),
        ("pull NOWHERE --out d", access, 1),
        ("sync NOWHERE --to store:d", access, 1),
        ("sync files --to store:d --state s", "FHIRHOSE_CLIENT_ID=a", 0),
        ("reconcile files files", "FHIRHOSE_CLIENT_ID=a", 0),
    ] {
        let output = typed(line, variables);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
    }
}

#[test]
fn a_place_that_is_typed_counts_more_than_the_one_in_the_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |text: &str| std::fs::write(folder.path().join("fhirhose.toml"), text).unwrap();
    settings("[pull]\nout = \"files\"\nstaging = \"t\"\n");
    let into = in_folder(folder.path(), "pull NOWHERE --into store", "");
    assert_eq!(into.status.code(), Some(1), "{}", stderr(&into));
    settings("[pull]\ninto = \"other\"\n");
    for (line, variables) in [("pull NOWHERE --out d", ""), ("pull NOWHERE", "FHIRHOSE_OUT=e")] {
        let out = in_folder(folder.path(), line, variables);
        assert_eq!(out.status.code(), Some(1), "{}", stderr(&out));
        assert!(!folder.path().join("other").exists(), "{line}");
    }
}

#[test]
fn a_repair_asks_for_a_token_that_lets_it_write_and_says_that_all_is_mended() {
    let mut place = Place::new();
    place.serve(&["--auth", "smart"]);
    place.keygen("keys");
    place.add("app", "keys", &["--scope", "system/*.cruds", "--allow-write"]);
    let (base, key) = (
        format!("http://127.0.0.1:{}/fhir", place.port),
        place.at("keys/private-key.pem"),
    );
    let files = place.path("files");
    std::fs::create_dir(&files).unwrap();
    let patients = ["p1", "p2"].map(|id| format!("{{\"resourceType\":\"Patient\",\"id\":\"{id}\"}}\n"));
    std::fs::write(files.join("1.Patient.ndjson"), patients.concat()).unwrap();
    let sides = ["reconcile", text(&files), &base];
    let access = ["--type", "Patient", "--client-id", "app", "--key", &key];
    let repaired = succeed(&[&sides[..], &access, &["--repair", "a-to-b"]].concat());
    let told = stderr(&repaired);
    assert!(
        told.contains("the sides differed; every difference was repaired"),
        "{told}"
    );
    let equal = succeed(&[&sides[..], &access].concat());
    assert!(
        stderr(&equal).contains("both sides hold the same"),
        "{}",
        stderr(&equal)
    );
}

#[test]
fn bundles_of_a_two_way_sync_are_as_large_as_asked() {
    let ids: Vec<String> = (0..120).map(|number| format!("p{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Overheard::start(&ids), Overheard::start(&["two"]));
    let state = folder.path().join("state");
    let (source, target) = (first.base(), second.base());
    let line = [
        "sync",
        &source,
        "--both",
        &target,
        "--once",
        "--batch-entries",
        "150",
    ];
    succeed(&[&line[..], &["--state", text(&state)]].concat());
    let heard = second.heard();
    assert!(heard.contains("Patient/p119"), "the round wrote there");
    let bundles = heard.matches("\"type\":\"batch\"").count();
    assert_eq!(bundles, 1, "all in one");
}
