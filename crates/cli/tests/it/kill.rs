//! SIGKILL at random moments of an import and of an export of 38,473 real resources, from the command line and over
//! HTTP: started again, each ends as if nothing had happened.
//!
//! `FHIRHOSE_KILLS` says how many kills (default 20, half of them during imports, half during exports; as many again over
//! HTTP); every one of them meets a process that lives. `FHIRHOSE_KILL_SEED` draws the same moments again. Work that ends
//! before all kills are spent is begun anew; every round is compared with an undisturbed one.
#![allow(
    clippy::print_stdout,
    reason = "a run that fails is repeated by the seed that it printed"
)]

use crate::http::{LOOK, PATIENCE, eventually, exchange, free_port, get};
use crate::sample::{assert_same, exported, fhirhose, succeed, text, write_population};
use crate::served::Served;
use fhirhose_bulk::import::ImportResult;
use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings, Status};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::{JobFilter, JobState, SystemClock};
use fhirhose_store::{DataFolder, Holder, OpenMode, Store, StoreSettings};
use futures::TryStreamExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Small chunks and files make many checkpoints to be killed between.
const CHUNK_BYTES: &str = "400000";
const FILE_BYTES_MAX: &str = "1000000";

/// How many resources the sample has.
const RESOURCES: usize = 38_473;

/// The least span within which a kill is drawn.
const LEFT_MIN: Duration = Duration::from_millis(100);

#[test]
fn a_load_that_is_killed_ends_as_if_it_was_not() {
    let place = Place::new();
    let calm = place.at("calm");
    let began = Instant::now();
    succeed(&refs(&place.load(&calm)));
    let mut span = began.elapsed();
    let expected = place.contents(&calm);
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), RESOURCES);
    let results = import_results(&calm);

    let mut kills = Kills::new(1);
    for round in 1.. {
        let (store, log) = (place.at(&format!("killed-{round}")), place.at("log"));
        let line = place.load(&store);
        kills.until_it_ends(&mut span, &log, || start(&refs(&line), &log), |_| false);
        succeed(&["store", "check", "--data", text(&store)]);
        let mut killed = import_results(&store).into_iter();
        assert_eq!(
            killed.next().as_ref(),
            results.first(),
            "the report of the import"
        );
        // One that was killed after its import had ended was told to import again, what was all there.
        assert!(
            killed.all(|again| changes(&again) == 0),
            "an import was done twice"
        );
        assert_same(&expected, &place.contents(&store), "what the killed import left");
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("load");
}

#[test]
fn an_export_that_is_killed_ends_as_if_it_was_not() {
    let place = Place::new();
    let store = place.at("store");
    succeed(&refs(&place.load(&store)));
    let began = Instant::now();
    succeed(&refs(&place.export(&store, &place.at("calm"))));
    let mut span = began.elapsed();
    let expected = files_of(&place.at("calm"));
    assert!(expected.len() > 20, "there are many files: {}", expected.len());

    let mut kills = Kills::new(2);
    for round in 1.. {
        let (out, log) = (place.at(&format!("killed-{round}")), place.at("log"));
        let line = place.export(&store, &out);
        // One that was killed after its export had ended is told that the folder is not empty.
        let had_ended = |said: &str| said.contains("is not empty") && out.join("manifest.json").exists();
        kills.until_it_ends(&mut span, &log, || start(&refs(&line), &log), had_ended);
        let actual = files_of(&out);
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&actual), names(&expected), "the files of the killed export");
        let differs = expected.iter().find(|(name, text)| actual[*name] != **text);
        assert_eq!(
            differs.map(|(name, _)| name),
            None,
            "a file of the killed export differs"
        );
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("export");
}

#[test]
fn a_server_that_is_killed_ends_its_jobs_under_the_same_status_urls() {
    let place = Place::new();
    let port = free_port();
    let calm = Server {
        place: &place,
        data: place.at("calm"),
        port,
    };
    let served = calm.start();
    let began = Instant::now();
    let report = calm.await_done(&calm.kick_off_import());
    let mut span = began.elapsed();
    assert_eq!(
        sum(&report, "output", "count"),
        RESOURCES as u64,
        "every line was taken"
    );
    drop(served);
    let expected = place.contents(&calm.data);

    let mut kills = Kills::new(3);
    let mut data = place.at("killed-1");
    for round in 1.. {
        data = place.at(&format!("killed-{round}"));
        let server = Server {
            place: &place,
            data: data.clone(),
            port,
        };
        let mut served = server.start();
        let status = server.kick_off_import();
        let killed = server.kill_until_done(&mut served, &mut kills, &mut span, &status);
        drop(served);
        assert_eq!(killed["output"], report["output"], "the report of the import");
        assert_eq!(killed["error"], report["error"], "the report of the import");
        succeed(&["store", "check", "--data", text(&data)]);
        assert_same(&expected, &place.contents(&data), "what the killed import left");
        if kills.left == 0 {
            break;
        }
    }
    kills.sum_up("import over HTTP");

    let server = Server {
        place: &place,
        data,
        port,
    };
    let mut served = server.start();
    let began = Instant::now();
    let status = server.kick_off_export();
    server.await_done(&status);
    let mut span = began.elapsed();
    let expected = server.download(&status);
    assert!(expected.len() > 20, "there are many files: {}", expected.len());
    let mut kills = Kills::new(4);
    while kills.left > 0 {
        let export = server.kick_off_export();
        server.kill_until_done(&mut served, &mut kills, &mut span, &export);
        assert!(
            server.download(&export) == expected,
            "a file of the killed export differs"
        );
    }
    drop(served);
    kills.sum_up("export over HTTP");
}

/// The moments at which processes are killed.
pub(crate) struct Kills {
    seed: u64,
    /// Kills that are to come.
    pub(crate) left: u64,
    /// Kills that met a process.
    hit: u64,
    /// Moments that came after the end.
    missed: u64,
}

impl Kills {
    pub(crate) fn new(part: u64) -> Self {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = number("FHIRHOSE_KILL_SEED").unwrap_or(now.subsec_nanos().into());
        let left = number("FHIRHOSE_KILLS").unwrap_or(20).div_ceil(2);
        println!("FHIRHOSE_KILL_SEED={seed}, {left} kills");
        let seed = seed.wrapping_add(part << 32);
        Self {
            seed,
            left,
            hit: 0,
            missed: 0,
        }
    }

    /// A moment within `span` (SplitMix64).
    fn moment(&mut self, span: Duration) -> Duration {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        span.mul_f64((mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64)
    }

    /// When the next kill is due, within the work that is `left`; `None` when all are spent.
    fn next(&mut self, left: &mut Duration) -> Option<Instant> {
        if self.left == 0 {
            return None;
        }
        // Even a process that has nothing left to do takes a while to find that out.
        let moment = self.moment((*left).max(LEFT_MIN));
        *left = left.saturating_sub(moment);
        Some(Instant::now() + moment)
    }

    /// Kills with SIGKILL. Gives the status of a process that has just ended by itself.
    fn kill(&mut self, child: &mut Child) -> Option<ExitStatus> {
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal() != Some(9) {
            return Some(status);
        }
        self.left -= 1;
        self.hit += 1;
        None
    }

    /// Notes that work ended by itself. Where no kill has met it, the span within which the next are drawn gets shorter each time: it was
    /// measured while others ran beside it, or it was not. So kills meet the work in the end, however fast it has become.
    fn note_end(&mut self, is_late: bool, hit_before: u64, took: Duration, span: &mut Duration) {
        self.missed += u64::from(is_late);
        if self.hit == hit_before {
            *span = (*span).min(took).mul_f64(0.8);
        }
    }

    /// Starts the process and kills it at a random moment, again and again, until it ends by itself before. It must then have
    /// succeeded, or said something that is fine.
    pub(crate) fn until_it_ends(
        &mut self,
        span: &mut Duration,
        log: &Path,
        begin: impl Fn() -> Child,
        is_fine: impl Fn(&str) -> bool,
    ) {
        let (mut left, began, hit_before) = (*span, Instant::now(), self.hit);
        loop {
            let mut child = begin();
            let deadline = self.next(&mut left);
            let ended = wait_until(&mut child, deadline).or_else(|| self.kill(&mut child));
            if let Some(status) = ended {
                self.note_end(deadline.is_some(), hit_before, began.elapsed(), span);
                let said = std::fs::read_to_string(log).unwrap();
                assert!(status.success() || is_fine(&said), "{status}: {said}");
                return;
            }
        }
    }

    /// Says what was met: all kills that were to be have met work.
    pub(crate) fn sum_up(&self, what: &str) {
        println!("{what}: {} kills, {} moments too late", self.hit, self.missed);
        assert_eq!(self.left, 0, "{what}: kills are left");
    }
}

/// Waits for the process to end, until the deadline; without one it must end.
pub(crate) fn wait_until(child: &mut Child, deadline: Option<Instant>) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return None;
        }
        assert!(began.elapsed() < PATIENCE, "it has not ended in {PATIENCE:?}");
        std::thread::sleep(LOOK);
    }
}

/// The folder of one test, with the sample as plain NDJSON.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_population(&folder.path().join("population"));
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, store: &Path) -> Vec<String> {
        let population = self.at("population");
        words(&[
            "load",
            "--chunk-bytes",
            CHUNK_BYTES,
            "--data",
            text(store),
            text(&population),
        ])
    }

    fn export(&self, store: &Path, out: &Path) -> Vec<String> {
        words(&[
            "export",
            "--file-bytes-max",
            FILE_BYTES_MAX,
            "--data",
            text(store),
            "--out",
            text(out),
        ])
    }

    /// All that a store holds, but for versions and times.
    fn contents(&self, store: &Path) -> BTreeMap<String, Vec<String>> {
        let out = tempfile::tempdir_in(self.folder.path()).unwrap();
        let out = out.path().join("out");
        succeed(&["export", "--data", text(store), "--out", text(&out)]);
        exported(&out)
    }
}

/// The results of the imports of a store, oldest first, without their times. All must have succeeded.
fn import_results(data: &Path) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let jobs = runtime.block_on(async {
        let folder =
            DataFolder::open(data, OpenMode::Existing, &Holder::this_process("test", "now")).unwrap();
        let store = Store::open(folder, Arc::new(SystemClock), StoreSettings::default())
            .await
            .unwrap();
        let filter = JobFilter {
            kind: Some("import".to_owned()),
            ..JobFilter::default()
        };
        store.catalog().jobs(&filter).await.unwrap()
    });
    let result = |job: fhirhose_jobs::JobRecord| {
        assert_eq!(job.state, JobState::Succeeded, "{:?}", job.failure);
        let mut result = serde_json::to_value(ImportResult::parse(&job.result.unwrap()).unwrap()).unwrap();
        result["transaction_time"].take();
        result
    };
    // The newest comes first.
    jobs.into_iter().rev().map(result).collect()
}

/// How many resources an import created or updated.
fn changes(result: &Value) -> u64 {
    let inputs = result["inputs"].as_array().unwrap();
    inputs
        .iter()
        .map(|input| {
            input["counts"]["created"].as_u64().unwrap() + input["counts"]["updated"].as_u64().unwrap()
        })
        .sum()
}

/// The files of a folder, hidden ones too, byte for byte; of the manifest what does not tell the time.
fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        if name == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            manifest["transactionTime"].take();
            // The receipt tells of its own time too, and is signed with it.
            let receipt = &mut manifest["extension"]["urn:fhirhose:receipt"];
            let receipt = receipt.as_object_mut().expect("an export leaves a receipt");
            receipt.retain(|name, _| {
                !["createdAt", "transactionTime", "signature", "digest"].contains(&&**name)
            });
            bytes = manifest.to_string().into_bytes();
        }
        files.insert(name, bytes);
    }
    files
}

pub(crate) fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn sum(report: &Value, list: &str, number: &str) -> u64 {
    let items = report[list].as_array().unwrap();
    items.iter().map(|item| item[number].as_u64().unwrap()).sum()
}

/// Starts the binary and does not wait; what it says goes to `log`, replacing what was there: nobody empties a pipe.
pub(crate) fn start(line: &[&str], log: &Path) -> Child {
    let log = std::fs::File::create(log).unwrap();
    let mut command = fhirhose(line);
    command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

struct Server<'a> {
    place: &'a Place,
    data: PathBuf,
    port: u16,
}

impl Server<'_> {
    /// Starts the server and waits until it answers.
    fn start(&self) -> Served {
        let root = self.place.at("population");
        let mut more = vec!["--import-root", text(&root), "--chunk-bytes", CHUNK_BYTES];
        more.extend(["--file-bytes-max", FILE_BYTES_MAX]);
        // Looking far more often than told is what this test is about.
        more.extend(["--polls-burst-max", "1000000"]);
        more.extend(["--kick-offs-per-minute-max", "1000000"]);
        Served::start_at(self.port, &self.data, &more)
    }

    /// Kicks an import of the sample off, and gives its status URL.
    fn kick_off_import(&self) -> String {
        let mut inputs = vec![r#"{"name":"inputFormat","valueString":"application/fhir+ndjson"}"#.to_owned()];
        for entry in std::fs::read_dir(self.place.at("population")).unwrap() {
            let path = entry.unwrap().path();
            let (kind, url) = (path.file_stem().unwrap().to_str().unwrap(), path.display());
            inputs.push(format!(
                r#"{{"name":"input","part":[{{"name":"type","valueString":"{kind}"}},{{"name":"url","valueUrl":"file://{url}"}}]}}"#
            ));
        }
        inputs.sort();
        let body = format!(
            r#"{{"resourceType":"Parameters","parameter":[{}]}}"#,
            inputs.join(",")
        );
        let head =
            "Content-Type: application/fhir+json\r\nAccept: application/fhir+json\r\nPrefer: respond-async";
        let request = format!(
            "POST /fhir/$import HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        );
        let answer = exchange(self.port, &request).expect("the server answers");
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-location: "));
        location
            .unwrap_or_else(|| panic!("no status URL: {answer}"))
            .trim()
            .to_owned()
    }

    /// Kicks an export of everything off; gives its status URL.
    fn kick_off_export(&self) -> String {
        let everything = ExportParameters::new(ExportLevel::System);
        let accepted = block_on(self.provider().kick_off(&everything)).unwrap();
        accepted.status_url.into()
    }

    /// A client of its own: connections of an earlier one may lead to a dead server.
    fn provider(&self) -> DataProvider {
        let base = format!("http://127.0.0.1:{}/fhir", self.port);
        DataProvider::new(&http(), &base).unwrap()
    }

    /// Polls until the job is done; gives the answer.
    fn await_done(&self, status: &str) -> Value {
        eventually("the end of a job", || self.poll(status))
    }

    fn poll(&self, status: &str) -> Option<Value> {
        match get(status) {
            (202, _) => None,
            (200, body) => Some(serde_json::from_str(&body).unwrap()),
            (other, body) => panic!("a poll is answered {other}: {body}"),
        }
    }

    /// Kills the server at random moments and starts it again, until the job is done.
    fn kill_until_done(
        &self,
        served: &mut Served,
        kills: &mut Kills,
        span: &mut Duration,
        status: &str,
    ) -> Value {
        let (mut left, began, hit_before) = (*span, Instant::now(), kills.hit);
        loop {
            let (deadline, started) = (kills.next(&mut left), Instant::now());
            loop {
                if let Some(answer) = self.poll(status) {
                    kills.note_end(deadline.is_some(), hit_before, began.elapsed(), span);
                    return answer;
                }
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    break;
                }
                let is_patient = started.elapsed() < PATIENCE;
                assert!(is_patient, "the job is not done after {PATIENCE:?}");
                std::thread::sleep(LOOK);
            }
            assert_eq!(kills.kill(&mut served.child), None, "the server ended by itself");
            *served = self.start();
        }
    }

    /// Type and text of each file of an export that is done.
    fn download(&self, export: &str) -> Vec<(String, Vec<u8>)> {
        let done = block_on(self.provider().status(&export.parse().unwrap())).unwrap();
        let Status::Complete(page) = done else {
            panic!("it is done")
        };
        let files = page.manifest.output.into_iter().map(|file| {
            let text = block_on(async {
                let fetched = http().fetch(&file.url, 0, None).await.unwrap();
                let chunks: Vec<_> = fetched.stream.try_collect().await.unwrap();
                chunks.concat()
            });
            let lines = text.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(file.count, Some(lines as u64), "what the manifest says");
            (file.resource_type.unwrap(), text)
        });
        files.collect()
    }
}

fn http() -> Http {
    Http::new(&HttpSettings::default()).unwrap()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}
