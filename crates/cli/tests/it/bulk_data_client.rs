//! `fhirhose pull --config` with configurations of bulk-data-client.

use crate::client::{Place, stderr};
use crate::faulty::{Ehr, patients};
use crate::http::{ByHand, answer};
use crate::pull_attachments::{attachments, own_server, urls};
use crate::sample::{fhirhose, run, text};
use fhirhose_auth::SigningKey;
use fhirhose_client::testing::{Counts, EhrSettings, Fault, Manner, Place as At, Strike};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Writes a configuration, and gives its path.
fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    file
}

/// Everything that bulk-data-client knows, as its template has it: nothing set but the server and the folder.
const TEMPLATE: &str = r#"/**
 * @type {import("..").BulkDataClient.ConfigFileOptions}
 */
 module.exports = {

    // The server: FHIR base URL
    fhirUrl: "BASE",
    tokenUrl: "none", // an open one
    privateKey: {},
    clientId: "",
    scope: "system/*.read",
    accessTokenLifetime: 300,
    reporter: "cli",

    /* What to export */
    _outputFormat: "",
    _since: "",
    _type: "",
    _elements: '',
    patient: "",
    includeAssociatedData: "",
    _typeFilter: "",
    global: false,
    group: "",
    allowPartialManifests: false,
    organizeOutputBy: "",
    lenient: true,

    requests: {
        https: {
            rejectUnauthorized: true
        },
        timeout: 30000, // 30 seconds
        headers: {
            // "x-site": "a"
        }
    },
    parallelDownloads: 5,
    saveManifest: false,
    ndjsonMaxLineLength: 10000000,
    ndjsonValidateFHIRResourceType: true,
    ndjsonValidateFHIRResourceCount: true,
    addDestinationToManifest: false,
    forceStandardFileNames: true,
    downloadAttachments: false,
    inlineDocRefAttachmentsSmallerThan: 0,
    inlineDocRefAttachmentTypes: ["text/plain", "application/pdf"],
    ignoreAttachmentDownloadErrors: true,
    pdfToText: false,
    destination: "./downloads",
    awsApiVersion: "2006-03-01",
    awsRegion: "",
    awsAccessKeyId: "",
    awsSecretAccessKey: "",
    log: {
        enabled: true,
        metadata: {
            // siteId: "localhost"
        },
    },
    retryAfterMSec: 200,
    logResponseHeaders: "all",
    fileDownloadRetry: { limit: 5 },
}
"#;

#[test]
fn the_template_pulls_into_the_folder_beside_it() {
    let mut place = Place::new();
    place.serve(&[]);
    let base = place.server().base();
    let folder = place.path("settings");
    std::fs::create_dir(&folder).unwrap();
    let file = write(&folder, "defaults.js", &TEMPLATE.replace("BASE", &base), 0o644);
    let output = run(&["pull", "--config", text(&file)]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    for name in ["1.Patient.ndjson", "manifest.json", "log.ndjson"] {
        assert!(folder.join("downloads").join(name).is_file(), "{name}");
    }
    assert!(!told.contains("defaults.js"), "nothing needs saying: {told}");
    let again = run(&["pull", "--config", text(&file)]);
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
}

/// The kick-off that a configuration sends to a server that refuses it.
fn kick_off(settings: &str, flags: &[&str]) -> String {
    let server = ByHand::start(|_, _| Some(answer("400 Bad Request", "", b"")));
    let folder = tempfile::tempdir().unwrap();
    let base = server.base();
    let object = format!("{{\"fhirUrl\": \"{base}\", \"destination\": \"out\", {settings}}}");
    // It is told by its content.
    let file = write(folder.path(), "settings", &object, 0o644);
    let output = run(&[&["pull", "--config", text(&file)], flags].concat());
    assert_eq!(output.status.code(), Some(1), "{settings}: {}", stderr(&output));
    let requests = server.requests.lock().unwrap();
    let kick_off = requests.iter().find(|request| request.contains("$export"));
    kick_off
        .unwrap_or_else(|| panic!("no kick-off: {}", stderr(&output)))
        .clone()
}

#[test]
fn what_is_to_be_exported_is_asked_for_as_the_file_says() {
    let wanted = r#""_outputFormat": "ndjson", "_since": "2020-03", "_type": "Patient, Condition", "_elements": "id",
        "includeAssociatedData": "LatestProvenanceResources", "_typeFilter": "Patient?active=true", "group": "g1",
        "allowPartialManifests": true, "organizeOutputBy": "Patient", "lenient": true, "custom": ["a=1", "b=2"],
        "requests": {"headers": {"x-site": "here"}}"#;
    let asked = kick_off(wanted, &[]);
    for part in [
        "GET /fhir/Group/g1/$export?",
        "_outputFormat=ndjson",
        "_since=2020-03-01T00%3A00%3A00Z",
        "_type=Patient%2CCondition",
        "_elements=id",
        "includeAssociatedData=LatestProvenanceResources",
        "_typeFilter=Patient%3Factive%3Dtrue",
        "allowPartialManifests=true",
        "organizeOutputBy=Patient",
        "handling=lenient",
        "a=1",
        "b=2",
        "x-site: here",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(kick_off(r#""global": true"#, &[]).starts_with("GET /fhir/$export"));
    assert!(kick_off(r#""post": true"#, &[]).starts_with("POST /fhir/Patient/$export "));
    let patient = kick_off(r#""patient": "p1""#, &[]);
    assert!(patient.starts_with("POST /fhir/Patient/$export "), "{patient}");
    assert!(patient.contains(r#""reference":"Patient/p1""#), "{patient}");
}

#[test]
fn what_is_typed_counts_more_than_the_file() {
    let group = kick_off(
        r#""global": true, "_type": "Condition""#,
        &["-g", "g", "-t", "Patient"],
    );
    assert!(
        group.starts_with("GET /fhir/Group/g/$export?_type=Patient "),
        "{group}"
    );
    let since = kick_off(r#""_since": "2020""#, &["--since", "2021-02"]);
    assert!(since.contains("_since=2021-02-01T00%3A00%3A00Z"), "{since}");
    let folder = tempfile::tempdir().unwrap();
    let ehr = Ehr::with(vec![patients(1)]);
    let nowhere = r#"{"fhirUrl": "http://127.0.0.1:1/fhir", "destination": "of-file", "global": true}"#;
    let file = write(folder.path(), "config.json", nowhere, 0o644);
    let out = folder.path().join("typed");
    let mut command = fhirhose(&["pull", "--config", text(&file), "-d", text(&out)]);
    let output = command.env("FHIRHOSE_FHIR_URL", ehr.base()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(out.join("1.Patient.ndjson").is_file());
    assert!(!folder.path().join("of-file").exists());
}

/// The exit code of a pull from such a server by such a configuration, and where it went.
fn pulled(ehr: &Ehr, settings: &str) -> (Option<i32>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let object = format!(
        "{{fhirUrl: '{}', destination: './out', fileDownloadRetry: {{limit: 0}}, {settings}}}",
        ehr.base()
    );
    let file = write(folder.path(), "config.cjs", &object, 0o644);
    let output = run(&["pull", "--config", text(&file)]);
    (output.status.code(), folder)
}

#[test]
fn files_are_held_to_what_the_file_says() {
    let lying = || {
        let manner = Manner {
            counts: Counts::TooMany,
            ..Manner::default()
        };
        Ehr::start(EhrSettings {
            files: vec![patients(1)],
            manner,
            script: Vec::new(),
        })
    };
    let other_type = || {
        Ehr::start(EhrSettings {
            files: vec![patients(1)],
            manner: Manner::default(),
            script: vec![Strike::always(At::AnyFile, Fault::OtherType)],
        })
    };
    for (ehr, settings, code) in [
        (lying(), "saveManifest: true", 3),
        (lying(), "ndjsonValidateFHIRResourceCount: false", 0),
        (other_type(), "", 3),
        (other_type(), "ndjsonValidateFHIRResourceType: false", 0),
        (Ehr::with(vec![patients(1)]), "ndjsonMaxLineLength: 100", 3),
        (Ehr::with(vec![patients(1)]), "ndjsonMaxLineLength: 2000", 0),
    ] {
        let (ended, folder) = pulled(&ehr, settings);
        assert_eq!(ended, Some(code), "{settings}");
        assert_eq!(ehr.asked_at(At::AnyFile).len(), 1, "one try, {settings}");
        assert_eq!(folder.path().join("out/1.Patient.ndjson").is_file(), code == 0);
        assert!(folder.path().join("out/log.ndjson").is_file());
    }
    let ehr = Ehr::with(vec![patients(1)]);
    let (ended, folder) = pulled(&ehr, "log: {enabled: false}");
    assert_eq!(ended, Some(0));
    assert!(!folder.path().join("out/log.ndjson").exists());
    let (_, folder) = pulled(&other_type(), "fileDownloadRetry: {limit: 1}");
    let log = std::fs::read_to_string(folder.path().join("out/log.ndjson")).unwrap();
    assert!(log.contains("download_error"), "{log}");
}

#[test]
fn attachments_come_as_the_file_says() {
    let (_place, base) = own_server();
    for (settings, lie_there, is_inline) in [
        (
            "downloadAttachments: false, ignoreAttachmentDownloadErrors: true",
            false,
            false,
        ),
        (
            "downloadAttachments: true, inlineDocRefAttachmentsSmallerThan: 0",
            true,
            false,
        ),
        ("downloadAttachments: ['text/']", true, false),
        ("downloadAttachments: ['image/png']", false, false),
        (
            "inlineDocRefAttachmentsSmallerThan: 5 * 1024, ignoreAttachmentDownloadErrors: true",
            false,
            true,
        ),
        (
            "inlineDocRefAttachmentsSmallerThan: 5 * 1024, inlineDocRefAttachmentTypes: ['application/pdf']",
            true,
            false,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let object = format!("module.exports = {{fhirUrl: '{base}', destination: 'out', {settings}}}");
        let file = write(folder.path(), "config.js", &object, 0o644);
        let output = run(&["pull", "--config", text(&file)]);
        assert_eq!(output.status.code(), Some(0), "{settings}: {}", stderr(&output));
        let out = folder.path().join("out");
        let is_there = out.join("attachments").is_dir() && !attachments(&out).is_empty();
        assert_eq!(is_there, lie_there, "{settings}");
        let url = &urls(&out)[0];
        assert_eq!(url.starts_with("./attachments/"), lie_there, "{settings}: {url}");
        assert_eq!(url.is_empty(), is_inline, "{settings}: {url}");
    }
}

/// Settings that are refused, and the name that is told.
#[rustfmt::skip]
const REFUSED: [(&str, &str); 31] = [
    ("requests: {https: {rejectUnauthorized: false}}", "`requests.https.rejectUnauthorized`"),
    ("requests: {https: {rejectUnauthorized: false}}", "--ca FILE"),
    ("requests: {https: {key: 'hush'}}", "`requests.https.key`"),
    ("requests: {retry: 5}", "`requests.retry`"),
    ("requests: 5", "`requests`"),
    ("requests: {timeout: {request: 5}}", "`requests.timeout`"),
    ("requests: {headers: {Authorization: 'Bearer hush'}}", "`requests.headers`"),
    ("requests: {headers: {'a b': 'hush'}}", "`requests.headers`"),
    ("accessTokenLifetime: 3600", "`accessTokenLifetime`"),
    ("reporter: 'hush'", "`reporter`"),
    ("_since: 'yesterday'", "`_since`"),
    ("_since: '2020-03-01T10:00'", "`_since`"),
    ("global: true, group: 'g'", "`global` and `group`"),
    ("global: 'hush'", "`global`"),
    ("parallelDownloads: 0", "`parallelDownloads`"),
    ("ndjsonMaxLineLength: Infinity", "`ndjsonMaxLineLength`"),
    ("forceStandardFileNames: false", "`forceStandardFileNames`"),
    ("inlineDocRefAttachmentsSmallerThan: Infinity", "`inlineDocRefAttachmentsSmallerThan`"),
    ("pdfToText: true", "`pdfToText`"),
    ("destination: 'https://user:hush@a.example/'", "`destination`"),
    ("destination: 'none'", "`destination`"),
    ("destination: ''", "`destination`"),
    ("awsAccessKeyId: 'hush'", "`awsAccessKeyId` and `awsSecretAccessKey`"),
    ("log: {file: 'hush.ndjson'}", "`log.file`"),
    ("log: {metadata: {site: 'hush'}}", "`log.metadata`"),
    ("fileDownloadRetry: {methods: ['GET']}", "`fileDownloadRetry.methods`"),
    ("tokenUrl: 'https://a.example/token'", "`tokenUrl` wants `clientId`"),
    ("privateKey: {d: 'hush'}, tokenUrl: ''", "`privateKey` wants `clientId`"),
    ("typeFilter: 'hush'", "is it `_typeFilter`?"),
    ("colour: 'hush'", "`colour`"),
    ("pdfToText: true, colour: 'hush'", "`colour`"),
];

#[test]
fn what_is_not_done_is_refused_by_its_name_and_shows_no_value() {
    let folder = tempfile::tempdir().unwrap();
    for (settings, told) in REFUSED {
        let object = format!("module.exports = {{fhirUrl: 'http://127.0.0.1:1/fhir', {settings}}};");
        let file = write(folder.path(), "config.js", &object, 0o600);
        let output = run(&["pull", "-vvv", "--config", text(&file)]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{settings}: {said}");
        assert!(
            said.contains(told) && said.contains("config.js"),
            "{settings}: {said}"
        );
        assert!(!said.contains("hush"), "{settings}: {said}");
    }
}

#[test]
fn what_is_no_object_is_an_error_with_its_place_and_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for (name, object, place) in [
        ("config.json", "{\"fhirUrl\": \"hush\n\"}", "line 1 column 18"),
        ("config.json", "{\"a\": [", "line 1 column 7"),
        ("config.json", "", "line 1 column 1"),
        (
            "config.js",
            "module.exports = {\n  privateKey: process.env.HUSH\n}",
            "line 2 column 15",
        ),
        (
            "config.mjs",
            "export default {\n  a: 5 + 1024\n}",
            "line 2 column 8",
        ),
        (
            "config.cjs",
            "const hush = 5;\nmodule.exports = { a: hush };",
            "line 1 column 1",
        ),
    ] {
        let file = write(folder.path(), name, object, 0o644);
        let output = run(&["pull", "--config", text(&file)]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{object}: {said}");
        assert!(said.contains(place) && said.contains(name), "{object}: {said}");
        assert!(
            said.contains("node -p") && !said.to_lowercase().contains("hush"),
            "{said}"
        );
    }
}

#[test]
fn other_commands_say_that_such_a_file_is_for_pull() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "config.json", "{}", 0o644);
    for command in ["doctor", "sync", "serve"] {
        let output = run(&[command, "--config", text(&file)]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("is for `fhirhose pull`"), "{said}");
    }
    let files = folder.path().join("files");
    let mut generate = fhirhose(&["generate", "--patients", "1", "--out", text(&files)]);
    let output = generate.env("FHIRHOSE_CONFIG", &file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "set for all: {}", stderr(&output));
    let output = fhirhose(&["pull"])
        .env("FHIRHOSE_CONFIG", &file)
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("base URL of the server is missing"),
        "{}",
        stderr(&output)
    );
    let toml = "[pull]\nfhir-url = \"http://127.0.0.1:1/fhir\"\nstaging = \"t\"\nout = \"d\"\n";
    let file = write(folder.path(), "settings", toml, 0o644);
    let output = run(&["pull", "--config", text(&file)]);
    assert!(
        stderr(&output).contains("--staging is for --out s3://"),
        "TOML is read"
    );
}

/// A server with authorization, and a configuration with a key for it.
struct Authorized {
    place: Place,
    secret: String,
    object: String,
}

impl Authorized {
    fn start() -> Self {
        let mut place = Place::new();
        place.serve(&["--auth", "smart"]);
        place.keygen("keys");
        place.add("app", "keys", &["--scope", "system/*.rs"]);
        let pem = std::fs::read_to_string(place.path("keys/private-key.pem")).unwrap();
        let jwk = SigningKey::from_pem(&pem).unwrap().private_jwk();
        let base = place.server().base();
        let object = format!(
            "module.exports = {{fhirUrl: '{base}', destination: 'out', tokenUrl: '', clientId: 'app',\n\
             scope: 'system/*.rs', privateKey: {jwk}}};"
        );
        Self {
            secret: jwk["d"].as_str().unwrap().to_owned(),
            place,
            object,
        }
    }

    fn pull(&self, mode: u32, more: &[&str]) -> Output {
        let folder = self.place.path("settings");
        std::fs::create_dir_all(&folder).unwrap();
        let file = write(&folder, "config.js", &self.object, mode);
        run(&[&["pull", "-vvv", "--config", text(&file)], more].concat())
    }
}

#[test]
fn the_key_of_the_file_gets_tokens_and_is_shown_nowhere_cl_01() {
    let authorized = Authorized::start();
    let open = authorized.pull(0o644, &[]);
    assert_eq!(open.status.code(), Some(2), "{}", stderr(&open));
    assert!(stderr(&open).contains("`privateKey`") && stderr(&open).contains("chmod 600"));
    let done = authorized.pull(0o600, &[]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let out = authorized.place.path("settings/out");
    assert!(out.join("1.Patient.ndjson").is_file());
    let wrong = authorized.pull(0o600, &["--no-such-flag"]);
    assert_eq!(wrong.status.code(), Some(2));
    let mut shown = Vec::new();
    for output in [open, done, wrong] {
        shown.extend([output.stdout, output.stderr]);
    }
    for name in ["manifest.json", "log.ndjson"] {
        shown.push(std::fs::read(out.join(name)).unwrap());
    }
    for text in shown {
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(!text.contains(&authorized.secret), "{text}");
    }
}

#[test]
fn keys_of_aws_in_the_file_sign_unless_the_environment_has_some() {
    let folder = tempfile::tempdir().unwrap();
    for (variables, credential) in [
        (&[][..], "Credential=of-file/"),
        (
            &[("AWS_ACCESS_KEY_ID", "of-env"), ("AWS_SECRET_ACCESS_KEY", "x")][..],
            "Credential=of-env/",
        ),
    ] {
        let staging = folder.path().join(format!("staging-{}", variables.len()));
        let server = ByHand::start(|_, _| Some(answer("404 Not Found", "", b"")));
        let object = format!(
            "{{fhirUrl: '{}', destination: 's3://bucket/a', awsRegion: 'eu-north-1', awsAccessKeyId: 'of-file', \
             awsSecretAccessKey: 'hush'}}",
            server.base()
        );
        let file = write(folder.path(), "config.json", &object, 0o600);
        let mut command = fhirhose(&[
            "pull",
            "-vvv",
            "--config",
            text(&file),
            "--staging",
            text(&staging),
        ]);
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        let command = command
            .env("AWS_ENDPOINT_URL", endpoint)
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(server.asked(credential), server.asked("AWS4-HMAC-SHA256"));
        assert!(server.asked(credential) > 0 && server.asked("/eu-north-1/s3/") > 0);
        assert!(!stderr(&output).contains("hush"), "{}", stderr(&output));
    }
}
