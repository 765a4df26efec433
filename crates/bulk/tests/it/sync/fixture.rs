//! A source that changes, a target in memory that can fail, and a clock that does not wait.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fhirhose_bulk::sync::{
    Applied, ChangeFile, Fetched, Guide, Hook, LocalFilter, Point, Reports, RoundReport, Source, SourceFile,
    StateFolder, Sync, SyncSettings, Target, Wanted,
};
use fhirhose_bulk::{Error, ErrorKind};
use fhirhose_client::Clock;
use fhirhose_fhir::content_hash::{Ignoring, content_hash};
use fhirhose_fhir::instant::Instant;
use serde_json::Value;

/// Content hashes by `Type/id`.
pub(super) type Hashes = BTreeMap<String, String>;

/// Time that passes only when somebody sleeps.
#[derive(Debug, Clone)]
pub(super) struct TestClock(pub(super) Arc<Mutex<Instant>>);

impl TestClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(
            Instant::parse("2026-11-01T02:00:00Z").unwrap(),
        )))
    }

    pub(super) fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = Instant::from_micros(now.micros() + i64::try_from(time.as_micros()).unwrap());
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }

    async fn sleep(&self, wait: Duration) {
        self.pass(wait);
        tokio::task::yield_now().await;
    }
}

/// A source with its history. Each change is at an instant of its own.
#[derive(Debug, Clone, Default)]
pub(super) struct Ehr(pub(super) Arc<Mutex<EhrState>>);

#[derive(Debug, Default)]
pub(super) struct EhrState {
    tick: i64,
    resources: BTreeMap<String, (i64, String)>,
    gone: BTreeMap<String, i64>,
    pub(super) no_since: bool,
    /// Members of the Group, where it is one.
    pub(super) members: Option<BTreeSet<String>>,
    /// A file is missing so many times.
    pub(super) misses: u32,
    pub(super) fetches: u32,
}

impl Ehr {
    /// Creates or updates; `body` are further members of the resource.
    pub(super) fn put(&self, key: &str, body: &str) {
        let mut ehr = self.0.lock().unwrap();
        ehr.tick += 1;
        let (kind, id) = key.split_once('/').unwrap();
        let updated = instant(ehr.tick);
        let text = format!(
            r#"{{"resourceType":"{kind}","id":"{id}","meta":{{"versionId":"{}","lastUpdated":"{updated}"}}{}{body}}}"#,
            ehr.tick,
            if body.is_empty() { "" } else { "," }
        );
        let tick = ehr.tick;
        ehr.gone.remove(key);
        ehr.resources.insert(key.to_owned(), (tick, text));
    }

    pub(super) fn delete(&self, key: &str) {
        let mut ehr = self.0.lock().unwrap();
        ehr.tick += 1;
        let tick = ehr.tick;
        if ehr.resources.remove(key).is_some() {
            ehr.gone.insert(key.to_owned(), tick);
        }
    }

    pub(super) fn hashes(&self) -> Hashes {
        let ehr = self.0.lock().unwrap();
        ehr.resources
            .iter()
            .map(|(key, (_, text))| (key.clone(), hash(text)))
            .collect()
    }
}

fn instant(tick: i64) -> String {
    let base = Instant::parse("2026-10-01T00:00:00Z").unwrap();
    format!("{}", Instant::from_micros(base.micros() + tick * 1_000_000))
}

pub(super) fn hash(text: &str) -> String {
    content_hash(text.as_bytes(), Ignoring::SERVER_META)
        .unwrap()
        .to_string()
}

/// Whether a resource belongs to one of the members, by its subject.
fn is_of(text: &str, key: &str, members: &BTreeSet<String>) -> bool {
    let value: Value = serde_json::from_str(text).unwrap();
    let subject = value["subject"]["reference"].as_str().unwrap_or(key);
    let patient = subject
        .strip_prefix("Patient/")
        .or_else(|| key.strip_prefix("Patient/"));
    patient.is_none_or(|patient| members.contains(patient))
}

#[async_trait]
impl Source for Ehr {
    fn name(&self) -> String {
        "ehr".to_owned()
    }

    async fn fetch(&self, wanted: &Wanted, folder: &Path) -> fhirhose_bulk::Result<Option<Fetched>> {
        let mut ehr = self.0.lock().unwrap();
        ehr.fetches += 1;
        let cursor = wanted.cursor.clone().filter(|_| !ehr.no_since);
        let since = cursor
            .as_deref()
            .map_or(i64::MIN, |cursor| Instant::parse(cursor).unwrap().micros());
        let is_new = |tick: i64| Instant::parse(&instant(tick)).unwrap().micros() > since;
        let mut fetched = Fetched {
            is_whole: cursor.is_none(),
            transaction_time: instant(ehr.tick),
            members: ehr.members.clone(),
            ..Fetched::default()
        };
        if let (Some(members), Some(_)) = (&ehr.members, &cursor) {
            let before = wanted.members.clone().unwrap_or_default();
            fetched.joiners = members.difference(&before).cloned().collect();
        }
        let (mut output, mut deleted) = (String::new(), String::new());
        for (key, (tick, text)) in &ehr.resources {
            let member = ehr
                .members
                .as_ref()
                .is_none_or(|members| is_of(text, key, members));
            let joins = !fetched.joiners.is_empty() && is_of(text, key, &fetched.joiners);
            if member && (is_new(*tick) || joins) {
                output.push_str(&format!("{text}\n"));
            }
        }
        for (key, tick) in ehr
            .gone
            .iter()
            .filter(|(_, tick)| cursor.is_some() && is_new(**tick))
        {
            let _ = tick;
            deleted.push_str(&format!(
                r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"request":{{"method":"DELETE","url":"{key}"}}}}]}}"#
            ));
            deleted.push('\n');
        }
        std::fs::write(folder.join("output.ndjson"), output).unwrap();
        std::fs::write(folder.join("deleted.ndjson"), deleted).unwrap();
        fetched.files = vec![
            SourceFile::output(folder.join("output.ndjson")),
            SourceFile::deletions(folder.join("deleted.ndjson")),
        ];
        if ehr.misses > 0 {
            ehr.misses -= 1;
            fetched.files.pop();
            fetched.missing.push((
                "deleted/1.Bundle.ndjson".to_owned(),
                "the connection broke".to_owned(),
            ));
        }
        Ok(Some(fetched))
    }
}

/// A target in memory. It fails when `fuel` runs out, in the middle of what it does.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(pub(super) Arc<Mutex<MemoryState>>);

#[derive(Debug, Default)]
pub(super) struct MemoryState {
    pub(super) texts: BTreeMap<String, String>,
    /// What was done, in order.
    pub(super) done: Vec<String>,
    /// How many more lines it takes; `None`: all.
    pub(super) fuel: Option<u64>,
    /// Keys that it refuses.
    pub(super) refuses: BTreeSet<String>,
}

impl Memory {
    pub(super) fn hashes(&self) -> Hashes {
        let memory = self.0.lock().unwrap();
        memory
            .texts
            .iter()
            .map(|(key, text)| (key.clone(), hash(text)))
            .collect()
    }

    pub(super) fn done(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().done)
    }
}

impl MemoryState {
    fn burn(&mut self) -> fhirhose_bulk::Result<()> {
        match &mut self.fuel {
            Some(0) => Err(Error::new(ErrorKind::Unreachable, "the target is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Target for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn put(&self, files: &[ChangeFile], reports: &Reports) -> fhirhose_bulk::Result<Applied> {
        let mut memory = self.0.lock().unwrap();
        for file in files {
            for line in std::fs::read_to_string(&file.path).unwrap().lines() {
                memory.burn()?;
                let value: Value = serde_json::from_str(line).unwrap();
                let text = |name: &str| value[name].as_str().unwrap().to_owned();
                let key = format!("{}/{}", text("resourceType"), text("id"));
                if memory.refuses.contains(&key) {
                    reports.refuse(line.as_bytes(), "not today")?;
                    continue;
                }
                memory.done.push(format!("put {key}"));
                memory.texts.insert(key, line.to_owned());
            }
        }
        Ok(Applied {
            done: 0,
            refused: reports.refused(),
        })
    }

    async fn delete(&self, files: &[ChangeFile], _: &Reports) -> fhirhose_bulk::Result<Applied> {
        let mut memory = self.0.lock().unwrap();
        for file in files {
            for line in std::fs::read_to_string(&file.path).unwrap().lines() {
                let value: Value = serde_json::from_str(line).unwrap();
                for entry in value["entry"].as_array().unwrap() {
                    memory.burn()?;
                    let key = entry["request"]["url"].as_str().unwrap().to_owned();
                    memory.texts.remove(&key);
                    memory.done.push(format!("delete {key}"));
                }
            }
        }
        Ok(Applied::default())
    }
}

/// Ends the round at the point with this number.
pub(super) struct CrashAt(pub(super) Mutex<u32>);

impl Guide for CrashAt {
    fn reached(&self, point: Point) -> fhirhose_bulk::Result<()> {
        let mut left = self.0.lock().unwrap();
        if *left == 0 {
            return Err(Error::new(ErrorKind::Storage, format!("crashed at {point:?}")));
        }
        *left -= 1;
        Ok(())
    }
}

/// A source, a target, and a folder in which syncs between them are made.
pub(super) struct Ground {
    pub(super) ehr: Ehr,
    pub(super) memory: Memory,
    pub(super) clock: TestClock,
    pub(super) folder: tempfile::TempDir,
    pub(super) types: Vec<String>,
    pub(super) type_filters: Vec<String>,
    pub(super) hook: Option<Hook>,
    pub(super) settings: SyncSettings,
}

impl Ground {
    pub(super) fn new() -> Self {
        Self {
            ehr: Ehr::default(),
            memory: Memory::default(),
            clock: TestClock::new(),
            folder: tempfile::tempdir().unwrap(),
            types: Vec::new(),
            type_filters: Vec::new(),
            hook: None,
            settings: SyncSettings {
                // Small, so that sorting spills.
                sort_bytes: 2_000,
                ..SyncSettings::default()
            },
        }
    }

    /// A sync as a process makes it that is started now.
    pub(super) fn sync(&self) -> Sync {
        let filter = LocalFilter::new(&self.types, &self.type_filters, "http://localhost/fhir").unwrap();
        let state = StateFolder::open(&self.folder.path().join("state")).unwrap();
        Sync::new(
            Box::new(self.ehr.clone()),
            Box::new(self.memory.clone()),
            (filter, self.hook.clone()),
            self.settings.clone(),
            (state, Arc::new(self.clock.clone())),
        )
    }

    /// Runs a round that nothing disturbs.
    pub(super) async fn round(&self) -> RoundReport {
        let round = self.sync().run_round(&fhirhose_bulk::sync::Unguided).await;
        round.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    #[track_caller]
    pub(super) fn check_equal(&self, what: &str) {
        assert!(
            self.memory.hashes() == self.ehr.hashes(),
            "{what}: source and target differ"
        );
    }
}
