//! The trail itself: it is crashed at every step of writing, tampered with, and read back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use fhirhose_jobs::SystemClock;
use fhirhose_server::audit::{
    AuditFiles, AuditReport, ChainHead, Event, MemoryFiles, Resumed, Trail, TrailSettings, verify,
};
use futures::FutureExt as _;
use serde_json::{Value, json};

/// What goes wrong at one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    DieBefore,
    DieHalfway,
    DieAfter,
    FailBefore,
    FailHalfway,
    FailAfter,
}

const FAULTS: [Fault; 6] = [
    Fault::DieBefore,
    Fault::DieHalfway,
    Fault::DieAfter,
    Fault::FailBefore,
    Fault::FailHalfway,
    Fault::FailAfter,
];

/// What outlives a process.
#[derive(Default, Clone)]
struct Disk {
    files: BTreeMap<String, Kept>,
}

#[derive(Default, Clone)]
struct Kept {
    bytes: Vec<u8>,
    /// How many of them a power cut leaves.
    durable: usize,
}

impl Disk {
    fn cut_power(&mut self) {
        for (name, kept) in &mut self.files {
            // The head is replaced in place and may be there though nobody asked for it.
            if name != "head" {
                kept.bytes.truncate(kept.durable);
            }
        }
    }
}

/// The files as one process sees them, until it dies.
struct Life {
    disk: Arc<Mutex<Disk>>,
    state: Mutex<(u64, bool)>,
    fault: Option<(u64, Fault)>,
}

impl Life {
    fn new(disk: &Arc<Mutex<Disk>>, fault: Option<(u64, Fault)>) -> Arc<Self> {
        Arc::new(Self {
            disk: Arc::clone(disk),
            state: Mutex::default(),
            fault,
        })
    }

    fn steps(&self) -> u64 {
        self.state.lock().unwrap().0
    }

    fn is_dead(&self) -> bool {
        self.state.lock().unwrap().1
    }

    fn step(&self, half: impl FnOnce(&mut Disk), whole: impl FnOnce(&mut Disk)) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if state.1 {
            return Err(io::Error::other("the process is dead"));
        }
        let number = state.0;
        state.0 += 1;
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        let mut disk = self.disk.lock().unwrap();
        match fault {
            None | Some(Fault::FailAfter | Fault::DieAfter) => whole(&mut disk),
            Some(Fault::FailHalfway | Fault::DieHalfway) => half(&mut disk),
            Some(Fault::FailBefore | Fault::DieBefore) => {}
        }
        match fault {
            None => Ok(()),
            Some(fault) => {
                state.1 = matches!(fault, Fault::DieBefore | Fault::DieHalfway | Fault::DieAfter);
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }
}

impl AuditFiles for Life {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.lock().unwrap().files.keys().cloned().collect())
    }

    fn read_from(&self, name: &str, from_bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let disk = self.disk.lock().unwrap();
        let kept = disk.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let rest = kept.bytes.get(from_bytes as usize..).unwrap_or_default();
        Ok(Box::new(io::Cursor::new(rest.to_vec())))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let add = |disk: &mut Disk, bytes: &[u8]| {
            disk.files.entry(name.to_owned()).or_default().bytes.extend(bytes);
        };
        self.step(
            |disk| add(disk, &bytes[..bytes.len() / 2]),
            |disk| add(disk, bytes),
        )
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let sync = |disk: &mut Disk| {
            let kept = disk.files.entry(name.to_owned()).or_default();
            kept.durable = kept.bytes.len();
        };
        self.step(|_| (), sync)
    }

    fn cut(&self, name: &str, length_bytes: u64) -> io::Result<()> {
        let cut = |disk: &mut Disk| {
            let kept = disk.files.entry(name.to_owned()).or_default();
            kept.bytes.truncate(length_bytes as usize);
            kept.durable = kept.bytes.len();
        };
        self.step(|_| (), cut)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let rename = |disk: &mut Disk| {
            let kept = disk.files.remove(from).unwrap();
            assert!(disk.files.insert(to.to_owned(), kept).is_none(), "{to} is lost");
        };
        self.step(|_| (), rename)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let put = |disk: &mut Disk| {
            disk.files.entry(name.to_owned()).or_default().bytes = bytes.to_vec();
        };
        self.step(|_| (), put)
    }
}

/// Numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn event(marker: &str) -> Event {
    let event = json!({"action": "E", "outcome": "0", "outcomeDesc": marker, "agent": [{"requestor": true}]});
    event.as_object().unwrap().clone()
}

fn start(files: Arc<dyn AuditFiles>) -> io::Result<(Trail, Resumed)> {
    let settings = TrailSettings {
        file_bytes_max: 4_000,
        sync_millis: 60_000,
    };
    Trail::start(files, Arc::new(SystemClock), settings, ChainHead::default())
}

fn check(files: &dyn AuditFiles) -> AuditReport {
    let names = fhirhose_server::audit::in_order(files.list().unwrap());
    let head = fhirhose_server::audit::read_head(files).unwrap();
    verify(files, &names, &head.into_iter().collect::<Vec<_>>()).unwrap()
}

/// What was promised to a caller.
#[derive(Default)]
struct Promised {
    opened: BTreeSet<u64>,
    /// The number and text of lines that are durable.
    durable: BTreeMap<u64, String>,
    /// The same of those that only a power cut takes.
    written: BTreeMap<u64, String>,
}

/// Opens, closes and records what the seed says, and notes what was promised.
async fn work(trail: &Trail, seed: u64) -> Promised {
    let (mut dice, mut promised, mut open) = (Dice(seed), Promised::default(), Vec::new());
    for round in 0..14 {
        let marker = format!("round {round}");
        match dice.below(6) {
            0 | 1 => {
                if let Ok(entry) = trail.open(event(&marker)).await {
                    promised.opened.insert(entry.number());
                    promised.durable.insert(entry.number(), marker);
                    open.push(entry);
                }
            }
            2 if !open.is_empty() => {
                let at = usize::try_from(dice.below(open.len() as u64)).unwrap();
                open.remove(at).close(event("done"));
                let _ = trail.sync().await;
            }
            3 => {
                if let Ok(number) = trail.record(event(&marker)).await {
                    promised.durable.insert(number, marker);
                }
            }
            _ => {
                if let Ok(number) = trail.record_soon(event(&marker)).await {
                    promised.written.insert(number, marker);
                }
            }
        }
    }
    // What is still open stays so: the process ends here.
    open.into_iter().for_each(std::mem::forget);
    promised
}

fn lines(files: &dyn AuditFiles) -> Vec<Value> {
    let mut lines = Vec::new();
    for name in fhirhose_server::audit::in_order(files.list().unwrap()) {
        let mut text = String::new();
        let mut file = files.read_from(&name, 0).unwrap();
        file.read_to_string(&mut text).unwrap();
        lines.extend(
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    lines
}

fn part<'a>(line: &'a Value, name: &str) -> &'a Value {
    let extensions = line["extension"].as_array().unwrap();
    let chain = extensions
        .iter()
        .find(|each| each["url"] == "urn:fhirhose:audit-chain");
    let parts = chain.unwrap()["extension"].as_array().unwrap();
    parts.iter().find(|part| part["url"] == name).unwrap()
}

#[tokio::test]
async fn a_trail_that_crashes_at_every_step_loses_no_line_that_was_promised() {
    for seed in [0x9e37_79b9, 0xdead_beef] {
        let disk = Arc::default();
        let life = Life::new(&disk, None);
        let (trail, _) = start(life.clone()).unwrap();
        work(&trail, seed).await;
        let steps = life.steps();
        assert!(steps > 20, "seed {seed}: {steps} steps");
        for (step, fault) in (0..steps).flat_map(|step| FAULTS.map(|fault| (step, fault))) {
            for power in [true, false] {
                let case = format!("seed {seed}, step {step}, {fault:?}, power cut {power}");
                crash(seed, (step, fault), power, &case).await;
            }
        }
    }
}

async fn crash(seed: u64, fault: (u64, Fault), power: bool, case: &str) {
    let disk = Arc::default();
    let life = Life::new(&disk, Some(fault));
    let promised = match start(life.clone()) {
        Ok((trail, _)) => work(&trail, seed).await,
        Err(_) => Promised::default(),
    };
    if life.is_dead() && power {
        disk.lock().unwrap().cut_power();
    }
    // Whoever wrote until now must not write any more.
    let survived = Arc::new(Mutex::new(disk.lock().unwrap().clone()));
    let next = Life::new(&survived, None);
    let (trail, resumed) = start(next.clone()).unwrap_or_else(|error| panic!("{case}: {error}"));
    trail.sync().await.unwrap();
    assert_eq!(resumed.damage, None, "{case}");
    let report = check(&*next);
    assert!(report.is_whole(), "{case}: {report:?}");
    assert_eq!(report.open, Vec::<u64>::new(), "{case}");
    let lines = lines(&*next);
    let of_number = |number: u64| {
        lines
            .iter()
            .find(|line| part(line, "number")["valueDecimal"] == number)
    };
    let mut wanted: Vec<(&u64, &String)> = promised.durable.iter().collect();
    if !(life.is_dead() && power) {
        wanted.extend(&promised.written);
    }
    for (number, marker) in wanted {
        let line = of_number(*number).unwrap_or_else(|| panic!("{case}: line {number} is lost"));
        assert_eq!(line["outcomeDesc"], *marker, "{case}");
    }
    for number in promised.opened {
        let closes = |line: &&Value| {
            part(line, "phase")["valueCode"] == "closed" && part(line, "opened")["valueDecimal"] == number
        };
        assert_eq!(lines.iter().filter(closes).count(), 1, "{case}: {number}");
    }
}

#[tokio::test]
async fn what_a_crash_left_open_is_closed_as_interrupted_by_the_next_start() {
    let files = Arc::new(MemoryFiles::default());
    let (trail, resumed) = start(files.clone()).unwrap();
    assert_eq!(resumed, Resumed::default());
    let entry = trail.open(event("an export")).await.unwrap();
    std::mem::forget(entry);
    // So much that the line that opened it lies in an older file.
    for number in 0..40 {
        trail.record(event(&format!("filler {number}"))).await.unwrap();
    }
    let (trail, resumed) = start(files.clone()).unwrap();
    assert_eq!(resumed.interrupted, [1]);
    trail.sync().await.unwrap();
    let lines = lines(&*files);
    let last = lines.last().unwrap();
    assert_eq!(last["outcome"], "8");
    assert_eq!(last["id"], "audit-1", "a version of what was opened");
    assert!(last["outcomeDesc"].as_str().unwrap().contains("interrupted"));
    assert_eq!(last["agent"], json!([{"requestor": true}]), "it says who it was");
    let (_, resumed) = start(files.clone()).unwrap();
    assert_eq!(resumed.interrupted, Vec::<u64>::new(), "none is closed twice");
    assert!(files.list().unwrap().len() > 3, "it was rotated");
    assert!(check(&*files).is_whole());
}

#[tokio::test]
async fn dropping_what_is_open_closes_it_as_failed() {
    let files = Arc::new(MemoryFiles::default());
    let (trail, _) = start(files.clone()).unwrap();
    drop(trail.open(event("a download")).await.unwrap());
    trail.sync().await.unwrap();
    let report = check(&*files);
    assert_eq!((report.lines, report.open.len()), (2, 0));
    assert_eq!(lines(&*files)[1]["outcome"], "8");
}

#[tokio::test]
async fn all_that_wait_at_a_time_wait_for_one_sync() {
    let disk: Arc<Mutex<Disk>> = Arc::default();
    let life = Life::new(&disk, None);
    let (trail, _) = start(life.clone()).unwrap();
    let before = life.steps();
    let waiting = (0..200).map(|number| {
        let trail = trail.clone();
        async move { trail.record(event(&format!("{number}"))).await.unwrap() }
    });
    let mut all = Box::pin(futures::future::join_all(waiting));
    {
        // While the disk does not answer, all of them come to wait.
        let _busy = disk.lock().unwrap();
        assert!(all.as_mut().now_or_never().is_none());
    }
    let mut numbers = all.await;
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200, "each has a number of its own");
    // A piece is an append, a sync and the head, and perhaps a file that is begun anew before.
    assert!(life.steps() - before < 60, "{} steps", life.steps() - before);
}

/// A trail in memory with some lines in several files.
async fn written() -> Arc<MemoryFiles> {
    let files = Arc::new(MemoryFiles::default());
    let (trail, _) = start(files.clone()).unwrap();
    for number in 0..30 {
        let entry = trail.open(event(&format!("thing {number}"))).await.unwrap();
        entry.close(event("done"));
    }
    trail.sync().await.unwrap();
    assert!(check(&*files).is_whole());
    files
}

fn tampered(name: &str, change: impl Fn(&mut Vec<String>), files: &MemoryFiles) -> AuditReport {
    let mut lines: Vec<String> = files.text(name).lines().map(str::to_owned).collect();
    change(&mut lines);
    let copy = MemoryFiles::default();
    for each in files.list().unwrap() {
        let text = if each == name {
            lines.iter().map(|line| format!("{line}\n")).collect()
        } else {
            files.text(&each)
        };
        copy.put(&each, text.as_bytes()).unwrap();
    }
    check(&copy)
}

#[tokio::test]
async fn no_change_and_no_gap_goes_unnoticed() {
    let files = written().await;
    for name in fhirhose_server::audit::in_order(files.list().unwrap()) {
        let count = files.text(&name).lines().count();
        for at in 0..count {
            let seen = |what: &str, report: AuditReport| {
                assert!(!report.is_whole(), "{what} line {at} of {name}");
            };
            seen("without", tampered(&name, |lines| drop(lines.remove(at)), &files));
            let change = |lines: &mut Vec<String>| lines[at] = lines[at].replacen("\"0\"", "\"4\"", 1);
            seen("changed", tampered(&name, change, &files));
            let twice = |lines: &mut Vec<String>| lines.insert(at, lines[at].clone());
            seen("twice", tampered(&name, twice, &files));
            if at + 1 < count {
                seen("swapped", tampered(&name, |lines| lines.swap(at, at + 1), &files));
            }
            seen("cut behind", tampered(&name, |lines| lines.truncate(at), &files));
        }
    }
}

#[tokio::test]
async fn a_cut_at_the_end_shows_against_a_head_from_elsewhere() {
    let files = written().await;
    let head: ChainHead = check(&*files).head.parse().unwrap();
    let names = fhirhose_server::audit::in_order(files.list().unwrap());
    let fewer = &names[..names.len() - 1];
    assert!(
        verify(&*files, fewer, &[]).unwrap().is_whole(),
        "nothing else shows it"
    );
    let report = verify(&*files, fewer, &[head]).unwrap();
    assert!(report.problems[0].text.contains("cut off"), "{report:?}");
    // A process that starts over it goes on behind the gap, and says so.
    let copy = MemoryFiles::default();
    for name in fewer.iter().map(String::as_str).chain(["head"]) {
        copy.put(name, files.text(name).as_bytes()).unwrap();
    }
    let (trail, resumed) = start(Arc::new(copy)).unwrap();
    assert!(resumed.damage.is_some());
    assert_eq!(resumed.head, head);
    assert!(trail.record(event("on")).await.unwrap() > head.number);
}

#[tokio::test]
async fn older_files_may_be_taken_away() {
    let files = written().await;
    let names = fhirhose_server::audit::in_order(files.list().unwrap());
    let report = verify(&*files, &names[1..], &[]).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert!(report.first > 1);
}
