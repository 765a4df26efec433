//! Two servers in memory with versions, conditions, exports since an instant and deletions; users edit them, and calls fail at random.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use fhirhose_bulk::sync::both::{Changes, Over, Pair, Peer, Side, Write, Written};
use fhirhose_bulk::{Error, ErrorKind, Result};
use fhirhose_client::Clock;
use fhirhose_client::testing::Random;
use fhirhose_fhir::instant::Instant;

/// A version that a side once had; `None` for a deletion.
#[derive(Debug, Clone)]
struct Past {
    step: u64,
    text: Option<String>,
    by_user: bool,
    seconds: u64,
}

/// All versions of each resource, by side and name; the last one is what is there.
#[derive(Default)]
pub(super) struct World {
    pasts: Pair<BTreeMap<String, Vec<Past>>>,
    step: u64,
    seconds: u64,
    /// User edits so far.
    pub(super) edits: u64,
    pub(super) random: Option<Random>,
    /// One call in so many fails; 0 for none.
    pub(super) faults: u64,
    /// One call in so many is interrupted by an edit; 0 for none.
    pub(super) meanwhile: u64,
    /// What sync wrote over although the other side never had it: it has to be in the report.
    pub(super) owed: Vec<(Side, String, Option<String>)>,
    /// Calls that failed.
    pub(super) crashes: u64,
}

pub(super) type Shared = Arc<Mutex<World>>;

pub(super) fn lock(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().expect("no test panics while it holds the world")
}

impl World {
    /// Two empty sides, whose users are random.
    pub(super) fn new(random: Random) -> Self {
        Self {
            random: Some(random),
            ..Self::default()
        }
    }

    fn current(&self, side: Side, name: &str) -> Option<&Past> {
        self.pasts.of(side).get(name)?.last()
    }

    pub(super) fn text(&self, side: Side, name: &str) -> Option<String> {
        self.current(side, name)?.text.clone()
    }

    fn version(&self, side: Side, name: &str) -> Option<String> {
        let versions = self.pasts.of(side).get(name)?;
        versions.last()?.text.as_ref()?;
        Some(versions.len().to_string())
    }

    fn put(&mut self, side: Side, name: &str, text: Option<String>, by_user: bool) {
        self.step += 1;
        let past = Past {
            step: self.step,
            text,
            by_user,
            seconds: self.seconds,
        };
        self.pasts
            .of_mut(side)
            .entry(name.to_owned())
            .or_default()
            .push(past);
    }

    pub(super) fn user(&mut self, side: Side, name: &str, text: Option<&str>) {
        self.put(side, name, text.map(str::to_owned), true);
    }

    pub(super) fn names(&self) -> Vec<String> {
        let keys = self.pasts.source.keys().chain(self.pasts.target.keys());
        let mut names: Vec<String> = keys.cloned().collect();
        names.sort();
        names.dedup();
        names
    }

    /// A user of one or both sides creates, changes or deletes something.
    pub(super) fn edit(&mut self) {
        let random = self.random.as_mut().expect("it is seeded");
        let (kind, number) = (random.below(2), random.below(60));
        let (what, whose, ticks) = (random.below(10), random.below(10), random.below(3));
        self.seconds += ticks;
        let name = format!("{}/r{number}", ["Patient", "Basic"][kind as usize]);
        let sides: &[Side] = match whose {
            0..4 => &[Side::Source],
            4..8 => &[Side::Target],
            _ => &[Side::Source, Side::Target],
        };
        for side in sides {
            self.edits += 1;
            let is_there = self.text(*side, &name).is_some();
            match (what, is_there) {
                (0..3, true) => self.put(*side, &name, None, true),
                _ => {
                    // One edit in ten is the same on both sides.
                    let mark = match what {
                        9 => self.edits - u64::from(*side == Side::Target && sides.len() == 2),
                        _ => self.edits,
                    };
                    self.put(*side, &name, Some(format!("edit {mark}")), true);
                }
            }
        }
    }

    /// What every call begins and ends with.
    fn call(&mut self) -> Result<()> {
        let (meanwhile, faults) = (self.meanwhile, self.faults);
        let random = self.random.as_mut().expect("it is seeded");
        let (edits, fails) = (
            meanwhile > 0 && random.chance(meanwhile),
            faults > 0 && random.chance(faults),
        );
        if edits {
            self.edit();
        }
        match fails {
            true => {
                self.crashes += 1;
                Err(Error::new(ErrorKind::Unreachable, "the process is killed here"))
            }
            false => Ok(()),
        }
    }

    fn line(&self, side: Side, name: &str) -> Option<String> {
        let past = self.current(side, name)?;
        let (kind, id) = name.split_once('/').expect("Type/id");
        let text = past.text.as_ref()?;
        let version = self.version(side, name)?;
        let updated = instant(past.seconds);
        // The sides write the same content differently.
        Some(match side {
            Side::Source => format!(
                r#"{{"resourceType":"{kind}","id":"{id}","meta":{{"versionId":"{version}","lastUpdated":"{updated}"}},"language":"{text}"}}"#
            ),
            Side::Target => format!(
                r##"{{ "id":"{id}", "language":"{text}", "meta":{{"lastUpdated":"{updated}","source":"#x","versionId":"{version}"}}, "resourceType":"{kind}" }}"##
            ),
        })
    }

    /// Notes what a write of the sync takes away, unless the other side had it before.
    fn owe(&mut self, side: Side, name: &str) {
        let own = self.pasts.of(side).get(name).cloned().unwrap_or_default();
        let others = self.pasts.of(side.other()).get(name).cloned().unwrap_or_default();
        let Some(last) = own.last().filter(|last| last.by_user) else {
            return;
        };
        let is_owed = match &last.text {
            Some(_) => !others.iter().any(|past| past.text == last.text),
            None => {
                // The deletion of what both once had, which the other side never followed.
                let before = own.iter().rev().find_map(|past| past.text.clone());
                let mut all = own.iter().chain(&others);
                let was_synced = all.any(|past| !past.by_user && past.text == before);
                let mut ends = others.iter().skip(1).map(|next| next.step).chain([u64::MAX]);
                let followed = others.iter().any(|past| {
                    let until = ends.next().unwrap_or(u64::MAX);
                    past.text.is_none() && until > last.step
                });
                was_synced && !followed
            }
        };
        if is_owed {
            self.owed.push((side, name.to_owned(), last.text.clone()));
        }
    }

    fn write(&mut self, side: Side, write: &Write) -> Written {
        let current = self.version(side, &write.name);
        let is_met = match &write.over {
            Over::Nothing => current.is_none(),
            Over::Version(version) => current.as_ref() == Some(version),
            Over::Content(_) => panic!("all versions are known here"),
        };
        if !is_met {
            return Written::Behind;
        }
        self.owe(side, &write.name);
        let text = write.text.as_ref().map(|text| {
            let value: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            value["language"].as_str().expect("what was edited").to_owned()
        });
        self.put(side, &write.name, text, false);
        Written::Done {
            version: self.version(side, &write.name),
        }
    }
}

pub(super) fn instant(seconds: u64) -> Instant {
    Instant::from_micros(1_700_000_000_000_000 + i64::try_from(seconds).expect("few") * 1_000_000)
}

/// One side.
pub(super) struct Mock {
    pub(super) side: Side,
    pub(super) world: Shared,
}

#[async_trait]
impl Peer for Mock {
    fn name(&self) -> String {
        format!("http://{}.test/fhir", self.side)
    }

    async fn changes(&self, since: Option<&str>, folder: &Path) -> Result<Changes> {
        let mut world = lock(&self.world);
        world.call()?;
        let changes = Changes {
            cursor: String::new(),
            output: vec![folder.join("1.ndjson")],
            deleted: vec![folder.join("2.ndjson")],
            errors: 0,
        };
        let cursor = folder.join("cursor");
        if let Ok(cursor) = std::fs::read_to_string(&cursor) {
            return Ok(Changes { cursor, ..changes });
        }
        let since: u64 = since.map_or(0, |since| since.parse().expect("a cursor of this server"));
        let (mut output, mut deleted) = (String::new(), String::new());
        for (name, pasts) in world.pasts.of(self.side) {
            let last = pasts.last().expect("one at least");
            if last.step <= since {
                continue;
            }
            match world.line(self.side, name) {
                Some(line) => output.push_str(&(line + "\n")),
                None => deleted.push_str(&format!(
                    r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"request":{{"method":"DELETE","url":"{name}"}}}}]}}{}"#,
                    "\n"
                )),
            }
        }
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(&changes.output[0], output).expect("a file");
        std::fs::write(&changes.deleted[0], deleted).expect("a file");
        let text = world.step.to_string();
        std::fs::write(&cursor, &text).expect("a file");
        world.call()?;
        Ok(Changes {
            cursor: text,
            ..changes
        })
    }

    async fn read(&self, names: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut world = lock(&self.world);
        world.call()?;
        let texts = names
            .iter()
            .map(|name| world.line(self.side, name).map(String::into_bytes));
        Ok(texts.collect())
    }

    async fn write(&self, writes: &[Write]) -> Result<Vec<Written>> {
        let mut world = lock(&self.world);
        world.call()?;
        let mut written = Vec::new();
        for write in writes {
            written.push(world.write(self.side, write));
            if writes.len() > 1 {
                world.call()?;
            }
        }
        world.call()?;
        Ok(written)
    }
}

/// A clock that nobody waits by.
#[derive(Debug)]
pub(super) struct Stopped;

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> Instant {
        instant(0)
    }

    async fn sleep(&self, _wait: std::time::Duration) {}
}

pub(super) fn peers(world: &Shared) -> Pair<Arc<dyn Peer>> {
    let mock = |side| -> Arc<dyn Peer> {
        Arc::new(Mock {
            side,
            world: Arc::clone(world),
        })
    };
    Pair {
        source: mock(Side::Source),
        target: mock(Side::Target),
    }
}
