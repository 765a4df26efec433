//! The state folder: what is refused, what is torn, and how held conflicts are decided.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::sync::both::{
    Both, BothSettings, Carried, Changes, ConflictPolicy, Ledger, Pair, Peer, Side, Write, Written,
};
use fhirhose_client::testing::Random;

use super::mock::{Shared, Stopped, World, lock, peers};

fn world() -> Shared {
    Arc::new(Mutex::new(World::new(Random::new(7))))
}

fn open(folder: &std::path::Path, world: &Shared, policy: ConflictPolicy) -> fhirhose_bulk::Result<Both> {
    let settings = BothSettings {
        policy,
        ..BothSettings::default()
    };
    Both::open(folder, peers(world), settings, Arc::new(Stopped))
}

#[tokio::test]
async fn a_state_folder_is_for_one_process_and_one_pair_of_servers() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    let both = open(folder.path(), &world, ConflictPolicy::Newest).expect("a new state");
    let second = open(folder.path(), &world, ConflictPolicy::Newest)
        .err()
        .expect("it is in use");
    assert_eq!(second.kind(), ErrorKind::InUse);
    assert!(second.to_string().contains("in use"), "{second}");
    drop(both);
    let others = Pair {
        source: "http://source.test/fhir".to_owned(),
        target: "http://elsewhere.test/fhir".to_owned(),
    };
    let error = Ledger::open(folder.path(), &others).expect_err("another pair");
    assert!(
        error
            .to_string()
            .contains("between http://source.test/fhir and http://target.test/fhir"),
        "{error}"
    );
    let empty = tempfile::tempdir().expect("a folder");
    let error = Ledger::open_existing(empty.path()).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn damage_within_the_ledger_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    (0..20).for_each(|_| lock(&world).edit());
    let mut both = open(folder.path(), &world, ConflictPolicy::Newest).expect("a new state");
    both.round().await.expect("a round");
    drop(both);
    let path = folder.path().join("ledger");
    let mut text = std::fs::read(&path).expect("a ledger");
    let middle = text.len() / 2;
    text[middle] ^= 1;
    std::fs::write(&path, text).expect("a damaged ledger");
    let error = Ledger::open_existing(folder.path()).expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_held_conflict_waits_for_a_decision_and_is_reported_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    let name = "Patient/p1";
    for (side, text) in [(Side::Source, "ours"), (Side::Target, "theirs")] {
        lock(&world).user(side, name, Some(text));
    }
    let round = async || {
        let mut both = open(folder.path(), &world, ConflictPolicy::Hold).expect("the state opens");
        both.round().await.expect("a round")
    };
    let first = round().await;
    assert_eq!((first.held, first.conflicts.values().sum::<u64>()), (1, 1));
    let second = round().await;
    assert_eq!(
        (second.held, second.conflicts.len(), second.is_whole()),
        (1, 0, false)
    );
    let mut ledger = Ledger::open_existing(folder.path()).expect("a ledger");
    assert!(
        ledger
            .resolve(Some(&["Patient/p2".to_owned()]), Side::Source)
            .is_err()
    );
    assert_eq!(
        ledger
            .resolve(Some(&[name.to_owned()]), Side::Source)
            .expect("it is held"),
        1
    );
    drop(ledger);
    // Who decided had not seen this one.
    lock(&world).user(Side::Target, name, Some("newer"));
    let third = round().await;
    assert_eq!((third.held, third.conflicts.values().sum::<u64>()), (1, 1));
    let mut ledger = Ledger::open_existing(folder.path()).expect("a ledger");
    assert!(matches!(
        ledger.carried().get(name),
        Some(Carried::Held { winner: None, .. })
    ));
    ledger.resolve(None, Side::Target).expect("all that is held");
    drop(ledger);
    let last = round().await;
    assert_eq!((last.held, last.written.source, last.is_whole()), (0, 1, true));
    assert_eq!(lock(&world).text(Side::Source, name).as_deref(), Some("newer"));
}

#[tokio::test]
async fn an_edit_that_makes_held_sides_equal_ends_the_conflict() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    let name = "Basic/b1";
    for (side, text) in [(Side::Source, "one"), (Side::Target, "two")] {
        lock(&world).user(side, name, Some(text));
    }
    let mut both = open(folder.path(), &world, ConflictPolicy::Hold).expect("a new state");
    assert_eq!(both.round().await.expect("a round").held, 1);
    lock(&world).user(Side::Source, name, Some("two"));
    let report = both.round().await.expect("a round");
    assert_eq!((report.held, report.agreed, report.is_whole()), (0, 1, true));
}

#[tokio::test]
async fn what_a_failed_write_has_left_is_cut_off_before_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    let mut both = open(folder.path(), &world, ConflictPolicy::Newest).expect("a new state");
    both.round().await.expect("a round");
    let files = ["ledger", "conflicts.ndjson"].map(|name| folder.path().join(name));
    for path in &files {
        let mut text = std::fs::read(path).expect("a file");
        text.extend(vec![b'x'; 200_000]);
        std::fs::write(path, text).expect("a file with a torn end");
    }
    for (side, text) in [(Side::Source, "ours"), (Side::Target, "theirs")] {
        lock(&world).user(side, "Basic/b1", Some(text));
    }
    let report = both.round().await.expect("a round");
    assert_eq!(report.conflicts.values().sum::<u64>(), 1);
    drop(both);
    assert_eq!(
        Ledger::open_existing(folder.path())
            .expect("a whole ledger")
            .round(),
        2
    );
    let conflicts = std::fs::read_to_string(&files[1]).expect("a report");
    assert_eq!(conflicts.lines().count(), 1);
    assert!(
        conflicts.starts_with('{') && conflicts.ends_with("}\n"),
        "no torn line"
    );
}

/// A side that tells of errors, and notes since when it was asked.
struct Erring {
    peer: Arc<dyn Peer>,
    errors: AtomicU64,
    since: Mutex<Vec<Option<String>>>,
}

#[async_trait]
impl Peer for Erring {
    fn name(&self) -> String {
        self.peer.name()
    }

    async fn changes(&self, since: Option<&str>, folder: &Path) -> fhirhose_bulk::Result<Changes> {
        self.since.lock().expect("a lock").push(since.map(str::to_owned));
        let changes = self.peer.changes(since, folder).await?;
        let errors = self.errors.load(Ordering::Relaxed);
        Ok(Changes { errors, ..changes })
    }

    async fn read(&self, names: &[String]) -> fhirhose_bulk::Result<Vec<Option<Vec<u8>>>> {
        self.peer.read(names).await
    }

    async fn write(&self, writes: &[Write]) -> fhirhose_bulk::Result<Vec<Written>> {
        self.peer.write(writes).await
    }
}

#[tokio::test]
async fn a_side_that_could_not_tell_of_everything_is_asked_since_the_same_time_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = world();
    let mocks = peers(&world);
    let source = Arc::new(Erring {
        peer: mocks.source,
        errors: AtomicU64::new(0),
        since: Mutex::default(),
    });
    let sides: Pair<Arc<dyn Peer>> = Pair {
        source: source.clone(),
        target: mocks.target,
    };
    let settings = BothSettings::default();
    let open = || Both::open(folder.path(), sides.clone(), settings.clone(), Arc::new(Stopped));
    let mut since = Vec::new();
    for errors in [2, 0, 3, 0] {
        lock(&world).user(Side::Source, "Basic/b1", Some(&format!("with {errors} errors")));
        source.errors.store(errors, Ordering::Relaxed);
        // A new process each time.
        let mut both = open().expect("the state opens");
        let before = both.ledger().cursor(Side::Target).map(str::to_owned);
        let report = both.round().await.expect("a round");
        assert_eq!((report.source_errors, report.is_whole()), (errors, errors == 0));
        let ledger = both.ledger();
        assert_ne!(
            ledger.cursor(Side::Target).map(str::to_owned),
            before,
            "the other side's moves"
        );
        since.push(ledger.cursor(Side::Source).map(str::to_owned));
    }
    assert_eq!((since[0].as_ref(), &since[1]), (None, &since[2]));
    assert_ne!(since[2], since[3]);
    since.insert(0, None);
    assert_eq!(*source.since.lock().expect("a lock"), since[..4]);
}
