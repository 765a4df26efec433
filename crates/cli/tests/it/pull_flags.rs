//! What the flags of `fhirhose pull` come to: in the kick-off, at the server, in the folder.

use crate::client::stderr;
use crate::faulty::{Ehr, patients};
use crate::http::{ByHand, answer, exchange, free_port};
use crate::sample::{run, succeed, text};
use fhirhose_client::testing::{Counts, EhrSettings, Fault, Manner, Pages, Place, SourceFile, Strike};
use std::path::PathBuf;

/// The kick-off that these flags send: its first line, its `Prefer` and its body.
fn kick_off(flags: &[&str]) -> String {
    let server = ByHand::start(|_, _| Some(answer("400 Bad Request", "", b"")));
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (server.base(), folder.path().join("out"));
    let mut line = vec!["pull", "-f", &base, "--out", text(&out)];
    line.extend_from_slice(flags);
    let output = run(&line);
    assert_eq!(output.status.code(), Some(1), "{flags:?}: {}", stderr(&output));
    let requests = server.requests.lock().unwrap();
    let kick_off = requests.iter().find(|request| request.contains("$export"));
    let kick_off = kick_off.unwrap_or_else(|| panic!("no kick-off: {}", stderr(&output)));
    let (head, body) = kick_off.split_once("\r\n\r\n").unwrap();
    let prefer = head
        .lines()
        .find(|line| line.to_lowercase().starts_with("prefer"));
    let told = [head.lines().next().unwrap(), prefer.unwrap(), body];
    told.join("\n")
}

/// Flags of bulk-data-client, the same in ours, and what there is of each in the kick-off.
type Spelling = (
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const SINCE: &str = "2026-01-01T00:00:00.000Z";

const SPELLINGS: [Spelling; 9] = [
    (
        &["-t", "Patient,Condition", "-g", "g1", "-s", SINCE],
        &[
            "--type",
            "Patient",
            "--type",
            "Condition",
            "--group",
            "g1",
            "--since",
            SINCE,
        ],
        &[
            "GET /fhir/Group/g1/$export?",
            "_type=Patient%2CCondition",
            "_since=2026-01-01T00%3A00%3A00.000Z",
        ],
    ),
    (
        &[
            "--_type",
            "Patient",
            "--_since",
            SINCE,
            "--_elements",
            "Patient.name",
            "--lenient",
        ],
        &[
            "--type",
            "Patient",
            "--since",
            SINCE,
            "--elements",
            "Patient.name",
            "--lenient",
        ],
        &[
            "GET /fhir/Patient/$export?",
            "_type=Patient",
            "_since=2026-01-01T00%3A00%3A00.000Z",
            "_elements=Patient.name",
            "handling=lenient",
        ],
    ),
    (
        &[
            "--global",
            "-q",
            "Observation?status=final",
            "-i",
            "LatestProvenanceResources",
        ],
        &[
            "--global",
            "--type-filter",
            "Observation?status=final",
            "--include-associated-data",
            "LatestProvenanceResources",
        ],
        &[
            "GET /fhir/$export?",
            "_typeFilter=Observation%3Fstatus%3Dfinal",
            "includeAssociatedData=LatestProvenanceResources",
        ],
    ),
    (
        &["-p", "p1,p2", "-F", "ndjson", "-c", "a=1", "b=2"],
        &[
            "--patient",
            "p1",
            "--patient",
            "p2",
            "--output-format",
            "ndjson",
            "--custom",
            "a=1",
            "b=2",
        ],
        &[
            "POST /fhir/Patient/$export ",
            r#""reference":"Patient/p1""#,
            r#""reference":"Patient/p2""#,
            r#"{"name":"_outputFormat","valueString":"ndjson"}"#,
            r#"{"name":"a","valueString":"1"}"#,
            r#"{"name":"b","valueString":"2"}"#,
        ],
    ),
    (
        &["--_until", SINCE],
        &["--until", SINCE],
        &["GET ", "_until=2026-01-01T00%3A00%3A00.000Z"],
    ),
    (
        &["--organizeOutputBy", "Patient"],
        &["--organize-output-by", "Patient"],
        &["GET ", "organizeOutputBy=Patient"],
    ),
    (
        &["--allowPartialManifests"],
        &["--allow-partial-manifests"],
        &["GET ", "allowPartialManifests=true"],
    ),
    (
        &["--post", "-t", "Patient"],
        &["--post", "--type", "Patient"],
        &[
            "POST /fhir/Patient/$export ",
            r#"{"name":"_type","valueString":"Patient"}"#,
        ],
    ),
    (
        &["--stu4", "-t", "Patient"],
        &["--stu4", "--type", "Patient"],
        &[
            "POST /fhir/Patient/$export-v4 ",
            r#"{"name":"_type","valueString":"Patient"}"#,
        ],
    ),
];

#[test]
fn flags_of_bulk_data_client_and_ours_ask_for_the_same() {
    for (theirs, ours, asked) in SPELLINGS {
        let (theirs, ours) = (kick_off(theirs), kick_off(ours));
        assert_eq!(theirs, ours);
        for fragment in asked {
            assert!(ours.contains(fragment), "{fragment} in {ours}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_a_server_that_is_not_there_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let (out, keys) = (folder.path().join("out"), folder.path().join("keys"));
    succeed(&["client", "keygen", "--out", text(&keys)]);
    let key = keys.join("private-key.pem");
    let nowhere = format!("http://127.0.0.1:{}/fhir", free_port());
    for (flags, code) in [
        (&[][..], 2),
        (&["-f", &nowhere, "--since", "auto"], 2),
        (&["-f", &nowhere, "--output-format", "application/parquet"], 2),
        (&["-f", &nowhere, "--client-id", "app"], 2),
        (&["-f", &nowhere, "--custom", "_since=2026"], 2),
        (&["-f", &nowhere, "--group", "g", "--global"], 2),
        // Without a client a kick-off is tried for minutes.
        (&["-f", &nowhere, "--client-id", "app", "--key", text(&key)], 1),
    ] {
        let mut line = vec!["pull", "--out", text(&out)];
        line.extend_from_slice(flags);
        let output = run(&line);
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {}", stderr(&output));
    }
    assert!(!out.exists());
}

/// Pulls from a server that is like this into a folder of its own.
struct Pulled {
    ehr: Ehr,
    folder: tempfile::TempDir,
}

impl Pulled {
    fn from(manner: Manner, script: Vec<Strike>) -> Self {
        let second = SourceFile::output("Patient", "{\"resourceType\":\"Patient\",\"id\":\"q\"}\n");
        let settings = EhrSettings {
            files: vec![patients(1), second],
            manner,
            script,
        };
        Self {
            ehr: Ehr::start(settings),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The exit code of a pull with these flags.
    fn pull(&self, out: &str, flags: &[&str]) -> Option<i32> {
        let (base, out) = (self.ehr.base(), self.at(out));
        let line = ["pull", &base, "--out", text(&out), "--file-attempts-max", "1"];
        let output = run(&[&line[..], flags].concat());
        output.status.code()
    }

    fn asked(&self, place: Place) -> usize {
        self.ehr.asked_at(place).len()
    }
}

#[test]
fn what_is_left_at_the_server_and_in_the_folder_is_as_the_flags_say() {
    let pulled = Pulled::from(Manner::default(), Vec::new());
    assert_eq!(pulled.pull("kept", &["--no-delete", "--no-log"]), Some(0));
    assert_eq!(pulled.asked(Place::Delete), 0, "--no-delete");
    assert!(!pulled.at("kept/log.ndjson").exists(), "--no-log");
    assert_eq!(pulled.pull("else", &[]), Some(0));
    assert_eq!(pulled.asked(Place::Delete), 1);
    assert!(pulled.at("else/log.ndjson").is_file());
}

#[test]
fn an_export_that_was_kicked_off_elsewhere_is_gone_on_with() {
    let pulled = Pulled::from(Manner::default(), Vec::new());
    let base = pulled.ehr.base();
    let port = base.split([':', '/']).nth(4).unwrap();
    let asked = "GET /fhir/$export HTTP/1.1\r\nPrefer: respond-async\r\nConnection: close\r\n\r\n";
    let (asked, port) = (asked.to_owned(), port.parse().unwrap());
    // That server keeps its connections; the answer has come when the export is known.
    std::thread::spawn(move || exchange(port, &asked));
    crate::http::eventually("a kick-off", || (pulled.asked(Place::KickOff) == 1).then_some(()));
    let status = format!("{base}/jobs/1");
    assert_eq!(pulled.pull("out", &["--status", &status]), Some(0));
    assert_eq!(pulled.asked(Place::KickOff), 1, "no other export");
    assert!(pulled.at("out/2.Patient.ndjson").is_file());
    assert_eq!(
        pulled.pull("both", &["--status", &status, "--type", "Patient"]),
        Some(2)
    );
}

#[test]
fn a_file_with_another_count_or_type_than_announced_is_missing_unless_flags_take_it() {
    let counts = Manner {
        counts: Counts::TooMany,
        ..Manner::default()
    };
    let types = vec![Strike::always(Place::AnyFile, Fault::OtherType)];
    for (manner, script, flag) in [
        (counts, Vec::new(), "--no-count-check"),
        (Manner::default(), types, "--no-type-check"),
    ] {
        let pulled = Pulled::from(manner, script);
        assert_eq!(pulled.pull("checked", &[]), Some(3), "without {flag}");
        assert!(!pulled.at("checked/1.Patient.ndjson").exists());
        assert_eq!(pulled.pull("taken", &[flag]), Some(0), "{flag}");
        assert!(pulled.at("taken/1.Patient.ndjson").is_file());
    }
}

#[test]
fn pages_have_folders_of_their_own_where_that_is_asked_for() {
    let pages = Pages {
        files_each: Some(1),
        ..Pages::default()
    };
    let manner = Manner {
        pages,
        ..Manner::default()
    };
    let pulled = Pulled::from(manner, Vec::new());
    for (out, flags, names) in [
        ("one", &[][..], ["1.Patient.ndjson", "2.Patient.ndjson"]),
        (
            "each",
            &["--page-folders"],
            ["0/1.Patient.ndjson", "1/1.Patient.ndjson"],
        ),
    ] {
        assert_eq!(pulled.pull(out, flags), Some(0));
        for (name, file) in names.iter().zip(pulled.ehr.files()) {
            let text = std::fs::read(pulled.at(out).join(name));
            assert!(text.unwrap() == file.text, "{name}");
        }
    }
}
