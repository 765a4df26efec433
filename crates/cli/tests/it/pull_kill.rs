//! SIGKILL at random moments of a pull by the real binary: the same command goes on, and at no moment does a file show under its
//! name that is not whole.
//!
//! `FHIRHOSE_KILLS` and `FHIRHOSE_KILL_SEED` are those of `kill.rs`: half of the kills each from our own server and from a faulty EHR
//! that sends slowly.

use crate::http::{free_port, wait_for_health};
use crate::kill::{Kills, end, refs, start, text, words};
use crate::sample::{succeed, write_population};
use fhirhose_client::testing::{
    Asked, Cut, EhrSettings, EntityTag, Fault, FaultyEhr, Manner, Place, SlowBodies, SourceFile, Strike,
};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// Small files: many are whole when a kill comes.
const FILE_BYTES_MAX: &str = "2000000";

/// Of each type of the sample, this much is enough for the slow server.
const TYPE_BYTES_MAX: usize = 600_000;

/// About as long as a pull from the slow server takes.
const SLOW_SPAN: Duration = Duration::from_secs(3);

#[test]
fn cl_10_cl_13_a_pull_from_our_server_that_is_killed_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let server = OwnServer::start(place.path());
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
}

#[test]
fn cl_10_cl_13_a_pull_from_a_slow_server_that_is_killed_fetches_nothing_twice() {
    let place = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let files = sample(&place.path().join("population"));
    let truth: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|file| (format!("1.{}.ndjson", file.resource_type), file.text.to_vec()))
        .collect();
    let mut kills = Kills::new(6);
    let (mut parts, mut span) = (0, SLOW_SPAN);
    for round in 1.. {
        let ehr = runtime.block_on(slow_server(files.clone()));
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
        parts += asked.iter().filter(|asked| asked.status == 206).count();
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
    assert!(parts > 0, "files that were under way went on where they were");
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
                if path.is_file() && name != "manifest.json" && !name.starts_with("log.") {
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
        spend(kills, span, &log, begin);
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
        spend(kills, span, &log, begin);
        self.assert_equal(truth);
        // What kind of server it is may be asked again, of the export nothing.
        let asked = || ehr.asked().iter().filter(|asked| asked.place.is_some()).count();
        let asked_before = asked();
        succeed(&refs(&line));
        assert_eq!(asked(), asked_before, "a pull that is whole asks nothing");
        runs.into_inner()
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

/// Kills until a pull ends by itself. One that no kill has met says how long a pull takes at most: others run beside it or do not.
fn spend(kills: &mut Kills, span: &mut Duration, log: &Path, begin: impl Fn() -> Child) {
    let (began, left) = (Instant::now(), kills.left);
    kills.until_it_ends(*span, log, begin, |_| false);
    if kills.left == left {
        *span = (*span).min(began.elapsed());
    }
}

/// Each type of the sample as one file, not too long.
fn sample(population: &Path) -> Vec<SourceFile> {
    write_population(population);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(population)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let file = |path: PathBuf| {
        let mut text = std::fs::read(&path).unwrap();
        if text.len() > TYPE_BYTES_MAX {
            text.truncate(TYPE_BYTES_MAX);
            let end = text
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            text.truncate(end);
        }
        SourceFile::output(path.file_stem().unwrap().to_str().unwrap(), text)
    };
    paths.into_iter().map(file).collect()
}

/// Sends slowly, and breaks off now and then.
async fn slow_server(files: Vec<SourceFile>) -> FaultyEhr {
    let manner = Manner {
        slow_bodies: Some(SlowBodies {
            bytes: 20_000,
            pause: Duration::from_millis(20),
        }),
        entity_tag: EntityTag::Strong,
        ..Manner::default()
    };
    let script = vec![Strike::once(Place::File(2), Fault::Cut(Cut::Body(100_000)))];
    let settings = EhrSettings {
        files,
        manner,
        script,
    };
    FaultyEhr::start(settings).await
}

/// Our own server with the sample.
struct OwnServer {
    child: Child,
    port: u16,
}

impl OwnServer {
    fn start(place: &Path) -> Self {
        let (population, data) = (place.join("population"), place.join("data"));
        write_population(&population);
        succeed(&["load", "--data", text(&data), text(&population)]);
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let mut line = vec!["serve", "--listen", &listen, "--data", text(&data)];
        line.extend(["--file-bytes-max", FILE_BYTES_MAX]);
        line.extend(["--polls-burst-max", "1000000"]);
        line.extend(["--kick-offs-per-minute-max", "1000000"]);
        let mut child = start(&line, &place.join("server-said"));
        wait_for_health(&mut child, port);
        Self { child, port }
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
