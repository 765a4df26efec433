//! SIGKILL at random moments of a pull by the real binary: the same command goes on, and at no moment does a file show under its
//! name that is not whole.
//!
//! `FHIRHOSE_KILLS` and `FHIRHOSE_KILL_SEED` are those of `kill.rs`: half of the kills each from our own server and from a faulty EHR
//! that sends slowly.

use crate::faulty::{Ehr, patients, sample};
use crate::http::{eventually, free_port};
use crate::kill::{Kills, refs, start, words};
use crate::sample::{succeed, text, write_population};
use crate::served::Served;
use fhirhose_client::testing::{
    Asked, Cut, EhrSettings, EntityTag, Fault, FaultyEhr, FileCoding, Manner, Place, SlowBodies, SourceFile,
    Strike,
};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Small files: many are whole when a kill comes.
const FILE_BYTES_MAX: &str = "2000000";

/// Of each type of the sample, this much is enough for the slow server.
const TYPE_BYTES_MAX: usize = 600_000;

/// Of a file that a pull is killed within, this much is sent: more than the test waits for, less than the file has even compressed.
const SENT_BYTES: u64 = 3_500_000;

/// About as long as a pull from the slow server takes.
const SLOW_SPAN: Duration = Duration::from_secs(3);

#[test]
fn cl_10_cl_13_a_pull_from_our_server_that_is_killed_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let server = own_server(place.path());
    let base = server.base();
    let calm = Pulled::new(place.path().join("calm"));
    let began = Instant::now();
    succeed(&refs(&calm.line(&base)));
    let mut span = began.elapsed();
    let truth = calm.files();
    assert!(truth.len() > 20, "there are many files: {}", truth.len());

    let mut kills = Kills::new(5);
    for round in 1.. {
        let pulled = Pulled::new(place.path().join(format!("killed-{round}")));
        pulled.kill_until_it_ends(&mut kills, &mut span, &base, &truth);
        let kick_offs = pulled.log_of("kickoff");
        assert_eq!(
            kick_offs, 1,
            "round {round}: one kick-off, or the journal knew of none"
        );
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("pull");
}

#[test]
fn cl_10_cl_13_a_pull_from_a_slow_server_that_is_killed_fetches_nothing_twice() {
    let place = tempfile::tempdir().unwrap();
    let files = sample(&place.path().join("population"), TYPE_BYTES_MAX);
    let truth: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|file| (format!("1.{}.ndjson", file.resource_type), file.text.to_vec()))
        .collect();
    let mut kills = Kills::new(6);
    let mut span = SLOW_SPAN;
    for round in 1.. {
        let ehr = slow_server(files.clone());
        let pulled = Pulled::new(place.path().join(format!("slow-{round}")));
        let runs = pulled.kill_until_it_ends_seen(&mut kills, &mut span, &ehr, &truth);
        for (number, run) in runs.iter().enumerate() {
            let later = &ehr.asked()[run.asked..];
            assert_fetches_nothing_of(&run.whole, later, &files, number);
        }
        let asked = ehr.asked();
        let kick_offs = asked
            .iter()
            .filter(|asked| asked.place == Some(Place::KickOff))
            .count();
        let unnoted = runs.iter().skip(1).filter(|run| !run.knew_its_job).count();
        assert!(
            kick_offs <= 1 + unnoted,
            "{kick_offs} kick-offs, {unnoted} kills before the journal"
        );
        assert_eq!(
            ehr.asked_at(Place::Delete)
                .iter()
                .filter(|asked| asked.status == 202)
                .count(),
            1
        );
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("pull from a slow server");
}

#[test]
fn cl_10_a_large_file_goes_on_by_range_after_a_kill() {
    // What is compressed can be taken up at some places only: one each two mebibytes is noted.
    for (coding, part_bytes) in [(FileCoding::Identity, 1 << 20), (FileCoding::ZstdFrames, 3 << 20)] {
        let place = tempfile::tempdir().unwrap();
        let ehr = Ehr::start(EhrSettings {
            files: vec![patients(8_000)],
            manner: Manner {
                coding,
                ..Manner::default()
            },
            script: vec![Strike::once(Place::File(0), Fault::Cut(Cut::Silence(SENT_BYTES)))],
        });
        let pulled = Pulled::new(place.path().join("out"));
        pulled.killed_behind(part_bytes, &ehr.base());
        assert!(pulled.files()["1.Patient.ndjson"] == ehr.files()[0].text);
        let asked = ehr.asked_at(Place::File(0));
        let last = asked.last().unwrap();
        assert_eq!((asked.len(), last.status), (2, 206), "{coding:?}");
        let from = last.range_start().unwrap();
        assert!(from > 500_000, "{coding:?}: {from}");
        assert!(last.header("if-range").is_some(), "{coding:?}");
        assert_eq!(ehr.asked_at(Place::KickOff).len(), 1);
    }
}

#[test]
fn cl_10_a_large_compressed_file_of_our_server_goes_on_by_range_after_a_kill() {
    let place = tempfile::tempdir().unwrap();
    let (population, data) = (place.path().join("Patient.ndjson"), place.path().join("data"));
    std::fs::write(&population, patients(8_000).text).unwrap();
    succeed(&["load", "--data", text(&data), text(&population)]);
    let port = free_port();
    let (way, asked) = stopped_way(port);
    let base = format!("http://127.0.0.1:{way}/fhir");
    let _served = Served::start_at(port, &data, &["--base-url", &base]);
    let pulled = Pulled::new(place.path().join("killed"));
    pulled.killed_behind(3 << 20, &base);
    let asked = String::from_utf8(asked.lock().unwrap().clone())
        .unwrap()
        .to_lowercase();
    let ranges = asked
        .lines()
        .filter_map(|line| line.strip_prefix("range: bytes="));
    let ranges: Vec<u64> = ranges
        .map(|from| from.trim_end_matches('-').parse().unwrap())
        .collect();
    assert!(matches!(ranges[..], [from] if from > 500_000), "{ranges:?}");
    assert_eq!(pulled.log_of("kickoff"), 1);
    assert!(asked.contains("accept-encoding: zstd"), "{asked}");
    let calm = Pulled::new(place.path().join("calm"));
    succeed(&["pull", &base, "--out", text(&calm.folder), "--no-compression"]);
    pulled.assert_equal(&calm.files());
}

/// A port that passes on what comes to another port and what is answered, and all that was sent there. The first long answer stops
/// after [`SENT_BYTES`], until its client is gone.
fn stopped_way(to: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (kept, is_stopped) = (Arc::clone(&sent), Arc::new(AtomicBool::new(false)));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, kept, is_stopped) = (client.unwrap(), Arc::clone(&kept), Arc::clone(&is_stopped));
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                continue;
            };
            let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (stays, gone) = mpsc::channel::<()>();
            pass(client, server, move |sent| {
                // Dropped with this when the client is gone.
                let _ = &stays;
                kept.lock().unwrap().extend_from_slice(sent);
            });
            let mut answered = 0;
            pass(server_too, client_too, move |sent| {
                answered += sent.len() as u64;
                if answered > SENT_BYTES && !is_stopped.swap(true, Ordering::Relaxed) {
                    let _ = gone.recv();
                }
            });
        }
    });
    (port, sent)
}

/// Passes on what comes, part by part. Who is gone at either end ends the connection, and that is all.
fn pass(mut from: TcpStream, mut to: TcpStream, mut each: impl FnMut(&[u8]) + Send + 'static) {
    std::thread::spawn(move || {
        let mut part = vec![0; 50_000];
        while let Some(length) = from.read(&mut part).ok().filter(|length| *length > 0) {
            each(&part[..length]);
            if to.write_all(&part[..length]).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// Files that were whole at a kill are not asked for again.
fn assert_fetches_nothing_of(whole: &BTreeSet<String>, later: &[Asked], files: &[SourceFile], number: usize) {
    for asked in later {
        let name = asked
            .file()
            .map(|index| format!("1.{}.ndjson", files[index].resource_type));
        assert!(
            !name.as_ref().is_some_and(|name| whole.contains(name)),
            "{name:?} was whole before run {number} and was fetched again"
        );
    }
}

/// What was known before a run.
struct Before {
    /// Files that were whole.
    whole: BTreeSet<String>,
    /// How many requests there had been.
    asked: usize,
    /// Whether the journal held a status URL.
    knew_its_job: bool,
}

/// A folder that is pulled into.
struct Pulled {
    folder: PathBuf,
}

impl Pulled {
    fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn line(&self, base: &str) -> Vec<String> {
        words(&["pull", base, "--out", text(&self.folder)])
    }

    /// The files of data, byte for byte.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for sub in ["", "deleted", "error"] {
            let Ok(entries) = std::fs::read_dir(self.folder.join(sub)) else {
                continue;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                // What is hidden is no file of data: a manifest that was being written at a kill.
                let is_data = !name.starts_with('.') && name != "manifest.json" && !name.starts_with("log.");
                if path.is_file() && is_data {
                    let name = if sub.is_empty() {
                        name
                    } else {
                        format!("{sub}/{name}")
                    };
                    files.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        files
    }

    /// Whatever shows under its name is the file; gives the names.
    fn whole_so_far(&self, truth: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
        let files = self.files();
        for (name, bytes) in &files {
            let right = truth.get(name).unwrap_or_else(|| panic!("nobody knows {name}"));
            assert!(
                bytes == right,
                "{name} shows and is not whole: {} of {}",
                bytes.len(),
                right.len()
            );
        }
        files.into_keys().collect()
    }

    fn assert_equal(&self, truth: &BTreeMap<String, Vec<u8>>) {
        let whole = self.whole_so_far(truth);
        let missing: Vec<_> = truth.keys().filter(|name| !whole.contains(*name)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "files that are not there");
        let manifest = std::fs::read(self.folder.join("manifest.json")).unwrap();
        serde_json::from_slice::<Value>(&manifest).unwrap();
        let kept = std::fs::read_dir(self.folder.join(".fhirhose-pull")).unwrap();
        let partials = kept.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().ends_with(".partial")
        });
        assert_eq!(partials.count(), 0, "parts of files are left");
        assert!(!self.folder.join(".manifest.json.partial").exists());
    }

    fn kill_until_it_ends(
        &self,
        kills: &mut Kills,
        span: &mut Duration,
        base: &str,
        truth: &BTreeMap<String, Vec<u8>>,
    ) {
        let (line, log) = (self.line(base), self.folder.with_extension("said"));
        let begin = || {
            self.whole_so_far(truth);
            start(&refs(&line), &log)
        };
        kills.until_it_ends(span, &log, begin, |_| false);
        self.assert_equal(truth);
        succeed(&refs(&line));
    }

    /// As [`kill_until_it_ends`](Self::kill_until_it_ends); gives what was known before each run.
    fn kill_until_it_ends_seen(
        &self,
        kills: &mut Kills,
        span: &mut Duration,
        ehr: &FaultyEhr,
        truth: &BTreeMap<String, Vec<u8>>,
    ) -> Vec<Before> {
        let (line, log) = (self.line(&ehr.base()), self.folder.with_extension("said"));
        let runs = RefCell::new(Vec::new());
        let begin = || {
            runs.borrow_mut().push(Before {
                whole: self.whole_so_far(truth),
                asked: ehr.asked().len(),
                knew_its_job: self.knows_its_job(),
            });
            start(&refs(&line), &log)
        };
        kills.until_it_ends(span, &log, begin, |_| false);
        self.assert_equal(truth);
        // What kind of server it is may be asked again, of the export nothing.
        let asked = || ehr.asked().iter().filter(|asked| asked.place.is_some()).count();
        let asked_before = asked();
        succeed(&refs(&line));
        assert_eq!(asked(), asked_before, "a pull that is whole asks nothing");
        runs.into_inner()
    }

    /// Pulls and kills when so much of the first file of Patients is there, and pulls again to the end.
    fn killed_behind(&self, part_bytes: u64, base: &str) {
        let line = self.line(base);
        let mut child = start(&refs(&line), &self.folder.with_extension("said"));
        let partial = self.folder.join(".fhirhose-pull/1.Patient.ndjson.partial");
        eventually("a part of the file", || {
            assert_eq!(child.try_wait().unwrap(), None, "it is under way");
            let written = std::fs::metadata(&partial).map_or(0, |found| found.len());
            (written >= part_bytes).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        succeed(&refs(&line));
    }

    fn knows_its_job(&self) -> bool {
        let journal = std::fs::read_to_string(self.folder.join(".fhirhose-pull/journal"));
        journal.is_ok_and(|journal| journal.contains("/fhir/jobs/"))
    }

    fn log_of(&self, event: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.join("log.ndjson")).unwrap();
        let is_event =
            |line: &str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["eventId"] == event);
        log.lines().filter(|line| is_event(line)).count()
    }
}

/// Sends slowly, and breaks off now and then.
fn slow_server(files: Vec<SourceFile>) -> Ehr {
    let manner = Manner {
        slow_bodies: Some(SlowBodies {
            bytes: 20_000,
            pause: Duration::from_millis(20),
        }),
        entity_tag: EntityTag::Strong,
        ..Manner::default()
    };
    let script = vec![Strike::once(Place::File(2), Fault::Cut(Cut::Body(100_000)))];
    Ehr::start(EhrSettings {
        files,
        manner,
        script,
    })
}

/// Our own server with the sample.
fn own_server(place: &Path) -> Served {
    let (population, data) = (place.join("population"), place.join("data"));
    write_population(&population);
    succeed(&["load", "--data", text(&data), text(&population)]);
    let mut more = vec!["--file-bytes-max", FILE_BYTES_MAX];
    more.extend(["--polls-burst-max", "1000000"]);
    more.extend(["--kick-offs-per-minute-max", "1000000"]);
    Served::start(&data, &more)
}
