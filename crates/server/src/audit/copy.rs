//! Copies the trail into the store, where entries are AuditEvents that can be read and searched: [`Copier`].
//!
//! The trail is the truth; the copy follows it, and a cursor in the catalog says how far it has come. What was opened and what closes it
//! are versions of one resource. A step that a crash cuts off is made again and changes nothing, because of each resource only its
//! newest line in the step is written, and a line that is there already makes no version.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fhirhose_fhir::line::LineLimits;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::StopSignal;
use fhirhose_store::Store;
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotWrite, Origin, RecordExpect, RecordKind, Write};
use tokio::sync::watch;
use tracing::warn;

use super::chain::{ChainHead, LineHash, read_line};
use super::files::{AuditFiles, NEWEST, first_of, in_order};
use super::recover::{LINE_BYTES_MAX, Lines, first_number};
use crate::resource::prepare_line;

/// The name of the cursor in the catalog.
const CURSOR: &[u8] = b"audit";

/// Lines that one step takes.
const STEP_LINES_MAX: usize = 200;

/// How long it waits after a step that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// How long it lets lines gather, so that a step is worth its commit.
const GATHER: Duration = Duration::from_secs(1);

/// Lines that the copy may be behind without a word in the log.
const LAG_LINES: u64 = 10_000;

/// What went wrong with a step.
type StepError = Box<dyn StdError + Send + Sync>;

/// The line up to which the trail is in the store; the default before the first step.
///
/// # Errors
/// What reading the catalog gives.
pub(crate) async fn copied(store: &Store) -> fhirhose_store::Result<ChainHead> {
    let cursor = store.catalog().record(RecordKind::Cursor, CURSOR).await?;
    let text = cursor.and_then(|cursor| String::from_utf8(cursor).ok());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// Keeps the copy up to date.
pub(crate) struct Copier {
    pub(crate) store: Store,
    pub(crate) files: Arc<dyn AuditFiles>,
    /// The newest line that may be copied.
    pub(crate) durable: watch::Receiver<ChainHead>,
}

/// Where to read on: a file by the number of its first line, and how much of it was read.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: u64,
    read_bytes: u64,
}

/// Lines that were read.
struct Read {
    place: Place,
    head: ChainHead,
    /// The newest line about each event, in the order of the events' ids.
    lines: BTreeMap<String, Vec<u8>>,
}

impl Copier {
    /// Copies what is durable until `stop`, and then what is left.
    pub(crate) async fn run(mut self, stop: StopSignal) {
        let (mut place, mut was_behind) = (None, false);
        loop {
            let is_stopping = stop.stopping().is_some();
            let wait = match self.step(&mut place).await {
                Ok(0) if is_stopping => return,
                // The next start goes on; a stop does not wait for what takes long.
                Ok(left) if is_stopping && left > LAG_LINES => return,
                Ok(0) => None,
                Ok(left) => {
                    if left > LAG_LINES && !was_behind {
                        warn!(audit.lines = left, "the store is behind the audit trail");
                    }
                    was_behind = left > LAG_LINES;
                    continue;
                }
                Err(error) if is_stopping => {
                    warn!(
                        error = &*error as &dyn StdError,
                        "copying the end of the audit trail failed"
                    );
                    return;
                }
                Err(error) => {
                    warn!(error = &*error as &dyn StdError, "copying the audit trail failed");
                    place = None;
                    Some(PAUSE)
                }
            };
            let clock = Arc::clone(self.store.clock());
            tokio::select! {
                _ = stop.stopped() => continue,
                changed = self.durable.changed(), if wait.is_none() => if changed.is_err() { return },
                () = clock.sleep_until(clock.now().plus(wait.unwrap_or(Duration::MAX))) => continue,
            }
            tokio::select! {
                _ = stop.stopped() => {}
                () = clock.sleep_until(clock.now().plus(GATHER)) => {}
            }
        }
    }

    /// Copies some lines; gives how many were left before it.
    async fn step(&mut self, place: &mut Option<Place>) -> Result<u64, StepError> {
        let upto = *self.durable.borrow_and_update();
        let from = copied(&self.store).await?;
        let left = upto.number.saturating_sub(from.number);
        if left == 0 {
            return Ok(0);
        }
        let (files, at) = (Arc::clone(&self.files), *place);
        let reading = tokio::task::spawn_blocking(move || read(&*files, at, from.number, upto.number));
        let read = reading.await??;
        if read.head.number <= from.number {
            // The files do not have what was durable: the trail tells so when the server starts.
            return Err("lines of the audit trail are missing".into());
        }
        self.write(read.lines).await?;
        let cursor = read.head.to_string();
        let catalog = self.store.catalog();
        catalog
            .put_record(RecordKind::Cursor, CURSOR, cursor.as_bytes(), RecordExpect::Any)
            .await?;
        *place = Some(read.place);
        Ok(left)
    }

    async fn write(&self, lines: BTreeMap<String, Vec<u8>>) -> Result<(), StepError> {
        let limits = LineLimits {
            line_bytes_max: usize::try_from(LINE_BYTES_MAX).unwrap_or(usize::MAX),
            depth_max: 100,
        };
        let mut writes = Vec::with_capacity(lines.len());
        for line in lines.into_values() {
            let prepared = prepare_line(limits, &line, ResourceType::AUDIT_EVENT)?;
            writes.push(HotWrite {
                resource_type: prepared.resource_type,
                id: prepared.id,
                expect: Expect::Any,
                action: HotAction::Put(prepared.body),
            });
        }
        let commit = Commit {
            write: Write::Hot(writes),
            job: None,
            origin: Origin::default(),
        };
        self.store.catalog().commit(commit).await?;
        Ok(())
    }
}

/// Reads lines behind `after`, up to `upto`.
fn read(files: &dyn AuditFiles, place: Option<Place>, after: u64, upto: u64) -> io::Result<Read> {
    let mut read = Read {
        place: Place {
            first: 0,
            read_bytes: 0,
        },
        head: ChainHead::default(),
        lines: BTreeMap::new(),
    };
    for (name, first) in behind(files, after)? {
        let read_bytes = match place {
            Some(place) if place.first == first => place.read_bytes,
            _ => 0,
        };
        read.place = Place { first, read_bytes };
        let mut lines = Lines::open_behind(files, &name, read_bytes)?;
        while let Some(line) = lines.next_line()? {
            let Ok((event, link)) = read_line(line) else {
                break;
            };
            if link.number > upto || read.lines.len() >= STEP_LINES_MAX {
                return Ok(read);
            }
            read.place.read_bytes += line.len() as u64 + 1;
            if link.number <= after {
                continue;
            }
            read.head = ChainHead {
                number: link.number,
                hash: LineHash::of(line),
            };
            if let Some(id) = event.get("id").and_then(|id| id.as_str()) {
                read.lines.insert(id.to_owned(), line.to_vec());
            }
        }
    }
    Ok(read)
}

/// The files that can have lines behind `after`, with the numbers of their first lines.
fn behind(files: &dyn AuditFiles, after: u64) -> io::Result<Vec<(String, u64)>> {
    let mut found: Vec<(String, u64)> = Vec::new();
    for name in in_order(files.list()?) {
        let first = match first_of(&name) {
            Some(first) => Some(first),
            None if name == NEWEST => first_number(files, &name)?,
            None => None,
        };
        let Some(first) = first else {
            continue;
        };
        if first <= after + 1 {
            // All that is before it is older still.
            found.clear();
        }
        found.push((name, first));
    }
    Ok(found)
}
