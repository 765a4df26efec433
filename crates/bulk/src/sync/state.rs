//! What a sync remembers between rounds and through crashes: [`State`], in a [`StateFolder`] that one process holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fhirhose_fhir::instant::Instant;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::round::RoundReport;
use crate::durable::{self, Lock};
use crate::{Error, ErrorKind, Result};

/// The form of the state that this version writes.
const FORMAT: u32 = 1;

/// How far a sync is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The form of this file.
    pub format: u32,
    /// What the source is called.
    pub source: String,
    /// What the target is called.
    pub target: String,
    /// A hash of filter and command: another one makes the next round fetch and send everything.
    pub settings: String,
    /// What the first round was of, where the source tells.
    #[serde(default)]
    pub scope: Option<String>,
    /// The last `transactionTime` that was applied, verbatim (CL-12).
    pub cursor: Option<String>,
    /// The last round that was committed, from 1.
    pub round: u64,
    /// Resources in the ledger.
    pub entries: u64,
    /// Lines and deletions that the target has refused and that are tried again each round.
    pub pending: u64,
    /// The round that has begun and not ended.
    pub under_way: Option<UnderWay>,
    /// What the last committed round came to.
    pub last: Option<RoundReport>,
    /// When a round last ended well.
    pub last_success: Option<Instant>,
    /// Rounds that have failed in a row.
    pub failures_in_row: u64,
    /// Totals since the folder was made.
    pub totals: Totals,
}

/// Sums over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// Rounds that were committed.
    pub rounds: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Resources put.
    pub put: u64,
    /// Resources deleted.
    pub deleted: u64,
    /// Lines refused.
    pub refused: u64,
}

/// A round that has begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnderWay {
    /// Its number.
    pub round: u64,
    /// When it began.
    pub began: Instant,
    /// How far it is: `fetch`, `put` or `delete`.
    pub step: Step,
    /// Whether unchanged resources are sent too.
    pub resends: bool,
    /// The hash of the rules by which it began.
    pub settings: String,
    /// What the target has refused of the resources.
    pub refused: u64,
}

/// The steps of a round that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Fetch from the source, and plan.
    Fetch,
    /// Put the resources.
    Put,
    /// Apply the deletions.
    Delete,
}

/// The folder of one sync, locked for this process.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: Lock,
}

impl StateFolder {
    /// Opens or makes the folder.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] while another process has it.
    pub fn open(path: &Path) -> Result<Self> {
        durable::create_folder(path)?;
        let lock = Lock::take(&path.join("lock"), || {
            format!("another process syncs with the state in {}", path.display())
        })?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Reads a state without the lock, to look at it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where none is.
    pub fn look(path: &Path) -> Result<State> {
        let found = read(path)?;
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("there is no state of a sync in {}", path.display()),
            )
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells what this sync puts elsewhere from what other syncs of this machine put there.
    pub fn tag(&self) -> String {
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        format!("{:016x}", xxh3_64(path.as_os_str().as_encoded_bytes()))
    }

    pub(super) fn load(&self) -> Result<Option<State>> {
        read(&self.path)
    }

    pub(super) fn save(&self, state: &State) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(state).map_err(|source| {
            Error::new(ErrorKind::Storage, "writing the state of a sync").with_source(source)
        })?;
        durable::write(&state_path(&self.path), &bytes)
    }

    /// The ledger that a round wrote.
    pub(super) fn ledger(&self, round: u64) -> PathBuf {
        self.path.join(format!("ledger-{round}"))
    }

    /// The members that a round found, a line each in their order.
    pub(super) fn members(&self, round: u64) -> PathBuf {
        self.path.join(format!("members-{round}"))
    }

    /// The lines that the target refused in a round.
    pub(super) fn pending(&self, round: u64) -> PathBuf {
        self.path.join(format!("pending-{round}.ndjson"))
    }

    /// The Bundles of deletions that the target refused in a round.
    pub(super) fn pending_deletions(&self, round: u64) -> PathBuf {
        self.path.join(format!("pending-{round}.deleted.ndjson"))
    }

    /// The folder in which a round works.
    pub(super) fn work(&self, round: u64) -> PathBuf {
        self.path.join(format!("round-{round}"))
    }

    /// The folder of what a round could not take.
    pub(super) fn reports(&self, round: u64) -> PathBuf {
        self.path.join("reports").join(format!("{round}"))
    }

    /// The members of the Group that a round found.
    pub(super) fn read_members(&self, round: u64) -> Result<Option<BTreeSet<String>>> {
        let path = self.members(round);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.lines().map(str::to_owned).collect())),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io(format!("reading {}", path.display()), source)),
        }
    }

    pub(super) fn write_members(&self, round: u64, members: &BTreeSet<String>) -> Result<()> {
        let mut text = String::new();
        for member in members {
            text.push_str(member);
            text.push('\n');
        }
        durable::write(&self.members(round), text.as_bytes())
    }

    /// Removes what is of no committed round and of none that is under way.
    pub(super) fn sweep(&self, state: &State, reports_kept: u64) -> Result<()> {
        let failed = |source| Error::io(format!("listing {}", self.path.display()), source);
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let Some((kind, number)) = name.as_deref().and_then(|name| name.split_once('-')) else {
                continue;
            };
            let number: Option<u64> = number.split('.').next().and_then(|number| number.parse().ok());
            let under_way = state.under_way.as_ref().map(|round| round.round);
            let is_needed = match kind {
                "ledger" | "members" | "pending" => number == Some(state.round) || number == under_way,
                "round" => number == under_way,
                _ => true,
            };
            if !is_needed {
                durable::remove(&path)?;
            }
        }
        durable::remove(&self.reports(state.round.saturating_sub(reports_kept)))
    }
}

impl State {
    /// Begins a sync that has not done anything yet.
    pub(super) fn new(source: String, target: String, settings: String) -> Self {
        Self {
            format: FORMAT,
            source,
            target,
            settings,
            scope: None,
            cursor: None,
            round: 0,
            entries: 0,
            pending: 0,
            under_way: None,
            last: None,
            last_success: None,
            failures_in_row: 0,
            totals: Totals::default(),
        }
    }

    /// How far the target is behind the source's clock, in seconds: since the last `transactionTime` that was applied.
    pub fn lag_secs(&self, now: Instant) -> Option<u64> {
        let applied = Instant::parse(self.cursor.as_deref()?).ok()?;
        u64::try_from((now.micros() - applied.micros()) / 1_000_000).ok()
    }
}

fn state_path(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

fn read(folder: &Path) -> Result<Option<State>> {
    let path = state_path(folder);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io(format!("reading {}", path.display()), source)),
    };
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let broken =
        |source| Error::new(ErrorKind::Corrupt, format!("reading {}", path.display())).with_source(source);
    let Format { format } = serde_json::from_slice(&bytes).map_err(broken)?;
    if format > FORMAT {
        let problem = format!("{} was written by a newer fhirhose", path.display());
        return Err(Error::new(ErrorKind::Invalid, problem));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(broken)
}
