//! What both sides agreed on, durably: [`Ledger`], one append-only file of checked lines in the state folder.
//!
//! A line counts once it is synced. A torn end is what a crash leaves and is cut off; damage anywhere else is an error. When the file
//! holds much more than is still true it is written anew beside itself and renamed. The ledger is held in memory while it is open.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fhirhose_fhir::content_hash::ContentHash;

use super::merge::{Known, Pair, Side};
use super::record::{Carried, FORMAT, Hex, Record};
use crate::durable::{self, Lock};
use crate::{Error, ErrorKind, Result};

const FILE: &str = "ledger";
const PARTIAL: &str = "ledger.partial";
const LOCK: &str = "lock";

/// A ledger shorter than this is never written anew, in bytes.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// What was about to be done when a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Intent {
    pub(super) to: Side,
    /// What was to be there; `None` for a deletion.
    pub(super) content: Option<ContentHash>,
}

/// The ledger of two servers. One process at a time has it.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    file: File,
    bytes: u64,
    /// Held as long as the ledger is open.
    _lock: Lock,
    servers: Pair<String>,
    agreed: HashMap<String, Pair<Known>>,
    carried: BTreeMap<String, Carried>,
    /// Writes of which it is not known whether they were done.
    intents: HashMap<String, Intent>,
    /// What was settled since the last cursors: whatever was pulled for this round may be older.
    touched: HashSet<String>,
    cursors: Pair<Option<String>>,
    round: u64,
}

/// What a step of a round adds to the ledger.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<Record>);

impl Entries {
    pub(super) fn agreed(&mut self, name: &str, pair: &Pair<Known>) {
        self.0.push(Record::agreed(name, pair));
    }

    pub(super) fn forgotten(&mut self, name: &str) {
        self.0.push(Record::Forgotten {
            name: name.to_owned(),
        });
    }

    pub(super) fn intent(&mut self, name: &str, to: Side, content: Option<ContentHash>) {
        self.0.push(Record::Intent {
            name: name.to_owned(),
            to,
            content: content.map(Hex),
        });
    }

    pub(super) fn carried(&mut self, name: &str, carried: Carried) {
        self.0.push(Record::Carried {
            name: name.to_owned(),
            carried,
        });
    }

    pub(super) fn settled(&mut self, name: &str) {
        self.0.push(Record::Settled {
            name: name.to_owned(),
        });
    }
}

impl Ledger {
    /// Opens the ledger of two servers in a folder, or begins one.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when another process has it; [`ErrorKind::Invalid`] when it is of other servers; [`ErrorKind::Corrupt`].
    pub fn open(folder: &Path, servers: &Pair<String>) -> Result<Self> {
        let mut ledger = Self::read(folder, Some(servers))?;
        if ledger.bytes == 0 {
            ledger.servers = servers.clone();
            let begin = ledger.begin();
            ledger.append(&[begin])?;
        }
        if ledger.servers != *servers {
            let text = format!(
                "{} is the state of a sync between {} and {}",
                folder.display(),
                ledger.servers.source,
                ledger.servers.target
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(ledger)
    }

    /// Opens a ledger that is there, of whatever servers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; as [`open`](Self::open).
    pub fn open_existing(folder: &Path) -> Result<Self> {
        if !folder.join(FILE).exists() {
            let text = format!("{} has no state of a two-way sync", folder.display());
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Self::read(folder, None)
    }

    fn read(folder: &Path, servers: Option<&Pair<String>>) -> Result<Self> {
        let failed = |source| Error::io(format!("opening the sync state in {}", folder.display()), source);
        if servers.is_some() {
            let made = std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder);
            made.map_err(failed)?;
        }
        let lock = Lock::take(&folder.join(LOCK), || {
            format!("{} is in use by another sync", folder.display())
        })?;
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(folder.join(FILE)).map_err(failed)?;
        durable::sync_parent(&folder.join(FILE))?;
        let mut ledger = Self {
            folder: folder.to_owned(),
            file,
            bytes: 0,
            _lock: lock,
            servers: Pair::default(),
            agreed: HashMap::new(),
            carried: BTreeMap::new(),
            intents: HashMap::new(),
            touched: HashSet::new(),
            cursors: Pair::default(),
            round: 0,
        };
        ledger.load().map_err(|error| match error {
            Load::Disk(source) => failed(source),
            Load::Damaged(at) => {
                let text = format!("{}: damaged at byte {at}", folder.join(FILE).display());
                Error::new(ErrorKind::Corrupt, text)
            }
        })?;
        Ok(ledger)
    }

    fn load(&mut self) -> Result<(), Load> {
        let length = self.file.metadata()?.len();
        let mut reader = BufReader::new(self.file.try_clone()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read =
                std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            match line.strip_suffix(b"\n").and_then(Record::read) {
                Some(record) => {
                    self.bytes += read as u64;
                    self.take(record);
                }
                // What was torn is the last that was written, and nothing was built on it.
                None if self.bytes + read as u64 == length => break,
                None => return Err(Load::Damaged(self.bytes)),
            }
        }
        self.file.set_len(self.bytes)?;
        Ok(())
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Begin { source, target, .. } => self.servers = Pair { source, target },
            Record::Agreed { name, source, target } => {
                self.intents.remove(&name);
                self.touched.insert(name.clone());
                let pair = Pair {
                    source: source.into(),
                    target: target.into(),
                };
                self.agreed.insert(name, pair);
            }
            Record::Forgotten { name } => {
                self.intents.remove(&name);
                self.agreed.remove(&name);
                self.touched.insert(name);
            }
            Record::Intent { name, to, content } => {
                let content = content.map(|hex| hex.0);
                self.intents.insert(name, Intent { to, content });
            }
            Record::Carried { name, carried } => {
                self.carried.insert(name, carried);
            }
            Record::Settled { name } => {
                self.carried.remove(&name);
                self.intents.remove(&name);
            }
            Record::Cursors { round, cursors } => {
                (self.round, self.cursors) = (round, cursors);
                self.touched.clear();
            }
        }
    }

    /// Adds entries, durably, before it returns.
    pub(super) fn add(&mut self, entries: Entries) -> Result<()> {
        self.append(&entries.0)
    }

    /// Ends a round: from now on changes are asked for since these times, of a side without one since the same as before.
    pub(super) fn end_round(&mut self, cursors: Pair<Option<String>>) -> Result<()> {
        let round = self.round + 1;
        let cursors = Pair {
            source: cursors.source.or_else(|| self.cursors.source.clone()),
            target: cursors.target.or_else(|| self.cursors.target.clone()),
        };
        self.append(&[Record::Cursors { round, cursors }])?;
        self.compact()
    }

    fn append(&mut self, records: &[Record]) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        records.iter().for_each(|record| record.write(&mut text));
        let written = durable::append(&mut self.file, self.bytes, &text);
        written.map_err(|source| self.failed("writing", source))?;
        self.bytes += text.len() as u64;
        records.iter().cloned().for_each(|record| self.take(record));
        Ok(())
    }

    /// Writes the file anew when most of it is not true any more.
    fn compact(&mut self) -> Result<()> {
        let live: usize = self.agreed.keys().map(|name| name.len() + 256).sum();
        if self.bytes < COMPACT_BYTES_MIN || self.bytes / 2 < live as u64 {
            return Ok(());
        }
        let (file, bytes) = self
            .rewritten()
            .map_err(|source| self.failed("writing anew", source))?;
        (self.file, self.bytes) = (file, bytes);
        Ok(())
    }

    fn rewritten(&self) -> std::io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let partial = self.folder.join(PARTIAL);
        let mut out = std::io::BufWriter::new(options.open(&partial)?);
        let mut bytes = 0;
        let mut put = |record: Record| {
            let mut line = Vec::new();
            record.write(&mut line);
            bytes += line.len() as u64;
            out.write_all(&line)
        };
        put(self.begin())?;
        for (name, pair) in &self.agreed {
            put(Record::agreed(name, pair))?;
        }
        for (name, carried) in &self.carried {
            let (name, carried) = (name.clone(), carried.clone());
            put(Record::Carried { name, carried })?;
        }
        for (name, Intent { to, content }) in &self.intents {
            let (name, to, content) = (name.clone(), *to, content.map(Hex));
            put(Record::Intent { name, to, content })?;
        }
        if self.round > 0 {
            let (round, cursors) = (self.round, self.cursors.clone());
            put(Record::Cursors { round, cursors })?;
        }
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&partial, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()?;
        Ok((file, bytes))
    }

    fn begin(&self) -> Record {
        Record::Begin {
            format: FORMAT,
            source: self.servers.source.clone(),
            target: self.servers.target.clone(),
        }
    }

    fn failed(&self, what: &str, source: std::io::Error) -> Error {
        Error::io(
            format!("{what} the sync state in {}", self.folder.display()),
            source,
        )
    }

    /// Between whom.
    pub fn servers(&self) -> &Pair<String> {
        &self.servers
    }

    /// The time since which changes of a side are asked for; `None` until it has told of everything once.
    pub fn cursor(&self, side: Side) -> Option<&str> {
        self.cursors.of(side).as_deref()
    }

    /// How many rounds have ended.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// How many resources both sides agree on.
    pub fn agreed_count(&self) -> usize {
        self.agreed.len()
    }

    /// What both sides have of a resource, by `Type/id`.
    pub fn agreed(&self, name: &str) -> Option<&Pair<Known>> {
        self.agreed.get(name)
    }

    /// What is not settled, by `Type/id`.
    pub fn carried(&self) -> &BTreeMap<String, Carried> {
        &self.carried
    }

    /// What has to be read from both sides, whatever was pulled.
    pub(super) fn unsure(&self) -> impl Iterator<Item = &String> {
        self.carried.keys().chain(self.intents.keys())
    }

    /// What was settled since the last round ended.
    pub(super) fn touched(&self) -> impl Iterator<Item = &String> {
        self.touched.iter()
    }

    pub(super) fn intent(&self, name: &str) -> Option<Intent> {
        self.intents.get(name).copied()
    }

    /// Decides who wins a conflict that is held; the next round does it. Says how many were decided.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a name of which nothing is held.
    pub fn resolve(&mut self, names: Option<&[String]>, winner: Side) -> Result<u64> {
        let held = |name: &String| match self.carried.get(name) {
            Some(Carried::Held { contents, .. }) => Some(*contents),
            _ => None,
        };
        let names: Vec<String> = match names {
            Some(names) => names.to_vec(),
            None => self
                .carried
                .keys()
                .filter(|name| held(name).is_some())
                .cloned()
                .collect(),
        };
        let mut entries = Entries::default();
        for name in &names {
            let contents = held(name);
            let contents = contents.ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    "a resource that is named has no conflict that is held",
                )
            })?;
            let winner = Some(winner);
            entries.carried(name, Carried::Held { contents, winner });
        }
        self.add(entries)?;
        Ok(names.len() as u64)
    }
}

enum Load {
    Disk(std::io::Error),
    /// At which byte.
    Damaged(u64),
}

impl From<std::io::Error> for Load {
    fn from(source: std::io::Error) -> Self {
        Self::Disk(source)
    }
}
