//! Runs the laws over the corpus and seeded mutations of it for a bounded time, with stable Rust and no instrumentation:
//! `cargo run --release --no-default-features --features bounded --bin bounded -- [target|all] [seconds] [seed]`.
//!
//! The seed is printed first; the same seed and corpus give the same inputs in the same order. A broken law is written
//! to `artifacts/<target>/` and ends the run with an error. This finds less than libFuzzer, which sees coverage, and
//! does not add to the corpus.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use fhirhose_fuzz::{TARGETS, Target};

const INPUT_BYTES_MAX: usize = 4096;

/// Pieces that mean something to one of the targets.
const PIECES: &[&str] = &[
    "\"",
    "\\",
    "\\u0061",
    "\\uD83D\\uDE00",
    "\\uD800",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\n",
    "\r\n",
    "\u{feff}",
    "1e999",
    "01",
    "1.0",
    "-0",
    "null",
    "true",
    "\"id\":\"a\"",
    "\"meta\":{",
    "\"versionId\":\"1\"",
    "\"lastUpdated\":\"x\"",
    "\"source\":\"s\"",
    "\"tag\":[{\"code\":\"SUBSETTED\"}]",
    "\"reference\":\"Patient/a\"",
    "\"subject\":{",
    "Patient/",
    "/_history/1",
    "urn:",
    "?",
    "_type=",
    "_since=",
    "_elements=",
    "_outputFormat=",
    "Patient",
    "Observation",
    "Patient.birthDate",
    "status",
    "%2C",
    "%",
    "+",
    "&",
    "2026-01-01T00:00:00Z",
    "valueString",
    "valueInstant",
    "application/fhir+ndjson",
    "{\"name\":\"_type\",\"valueString\":\"",
    ":missing=true",
    ":not=",
    ":exact=",
    "date=ge2020-01",
    "value-quantity=ap5.40||mg",
    "code=http://loinc.org|8302-2",
    "code-value-quantity=a$1",
    "\\,",
    "$",
    "\"coding\":[{\"code\":\"a\"}]",
    "\"valueQuantity\":{\"value\":5.4}",
    ".",
    "eyJhbGciOiJFUzI1NiJ9",
    "\"alg\":\"none\"",
    "\"alg\":\"HS256\"",
    "\"crit\":[\"exp\"]",
    "\"kid\":\"a\"",
    "\"typ\":\"at+jwt\"",
    "\"aud\":[\"https://ehr.example.org\"]",
    "\"exp\":1795278407",
    "\"jti\":\"1\"",
    "\"kty\":\"RSA\"",
    "\"d\":\"AQAB\"",
    "\"use\":\"enc\"",
    "-----BEGIN PRIVATE KEY-----\n",
    " system/*.cruds",
    " system/AuditEvent.rs",
    ".read",
    "?category=laboratory",
    "\"transactionTime\":\"2026-01-01T00:00:00Z\"",
    "\"output\":[{\"type\":\"Patient\",\"url\":\"https://a/1\"}]",
    "\"deleted\":[{\"url\":\"1\",\"count\":\"2\"}]",
    "\"outcome\":[{\"url\":\"1\",\"countSeverity\":[{\"code\":\"error\",\"count\":1}]}]",
    "\"link\":[{\"relation\":\"next\",\"url\":\"?page=2\"}]",
    "\"outputOrganizedBy\":\"Patient\"",
    "\"requiresAccessToken\":\"true\"",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("all", String::as_str);
    let seconds = arguments.get(1).map_or(Some(10), |text| text.parse().ok());
    let seed = arguments.get(2).map_or(Some(1), |text| text.parse().ok());
    let chosen: Vec<&Target> = TARGETS
        .iter()
        .filter(|target| name == "all" || name == target.name)
        .collect();
    let (Some(seconds), Some(seed), false) = (seconds, seed, chosen.is_empty()) else {
        eprintln!(
            "usage: bounded [ndjson_cutter|line_checker|glance|manifest|kick_off|search|jwt|jwks|scope|all] [seconds] [seed]"
        );
        return ExitCode::from(2);
    };
    let held = chosen
        .iter()
        .filter(|target| run(target, Duration::from_secs(seconds), seed))
        .count();
    if held == chosen.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one target; tells whether its laws held.
fn run(target: &Target, time: Duration, seed: u64) -> bool {
    let corpus = read_corpus(target.name);
    eprintln!(
        "{}: {} inputs kept, seed {seed}, {} s",
        target.name,
        corpus.len(),
        time.as_secs()
    );
    let mut random = Random(seed);
    let mut inputs = 0u64;
    let end = Instant::now() + time;
    for input in &corpus {
        if !holds(target, input) {
            return false;
        }
    }
    while Instant::now() < end {
        let input = random.input(&corpus);
        inputs += 1;
        if !holds(target, &input) {
            return false;
        }
    }
    eprintln!("{}: {inputs} mutated inputs, all laws held", target.name);
    true
}

/// Runs the laws on an input, which is kept if it breaks one.
fn holds(target: &Target, input: &[u8]) -> bool {
    let check = target.check;
    if std::panic::catch_unwind(|| check(input)).is_ok() {
        return true;
    }
    let folder = root().join("artifacts").join(target.name);
    let path = folder.join("bounded");
    let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input));
    eprintln!(
        "{}: a law is broken; input kept at {}: {kept:?}",
        target.name,
        path.display()
    );
    false
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The kept inputs by file name, so that a run is the same on every machine; an empty input if there are none.
fn read_corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = root().join("corpus").join(name);
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    let mut inputs: Vec<Vec<u8>> = paths.iter().filter_map(|path| fs::read(path).ok()).collect();
    inputs.push(Vec::new());
    inputs
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A kept input with one to eight changes.
    fn input(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input, corpus);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + self.below(24)).min(input.len());
        match self.below(7) {
            0 => input.insert(at, self.next() as u8),
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..at, PIECES[self.below(PIECES.len())].bytes())),
            3 => drop(input.splice(at..end, PIECES[self.below(PIECES.len())].bytes())),
            4 => {
                let copied = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, copied));
            }
            5 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                drop(input.splice(at..end, other[from..].iter().take(64).copied()));
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}
