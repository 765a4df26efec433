//! One round after another: [`Both`].
//!
//! A round pulls the changes of both sides, decides resource by resource, writes, deletes, and ends with both cursors in one line of the
//! ledger. What it is about to write stands in the ledger before it is sent, and what became of it after: so a crash anywhere costs a
//! repetition and nothing else. What a crash has left unclear, and what was settled after the pull, is read from both sides again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fhirhose_client::Clock;

use super::conflicts::{ConflictLine, ConflictLog, ConflictVersion};
use super::ledger::{Entries, Ledger};
use super::merge::{ConflictPolicy, Decision, Known, Now, Over, Pair, Side, Step, decide};
use super::peer::{Changes, Peer, Write, Written};
use super::record::Carried;
use super::report::BothReport;
use super::told::Told;
use crate::{Error, ErrorKind, Result};

/// Limits of a two-way sync, and its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BothSettings {
    /// Who wins a conflict. Default: newest.
    pub policy: ConflictPolicy,
    /// Resources that are written, deleted or read in one call. Default: 100.
    pub batch_entries: usize,
    /// The longest resource, in bytes. Default: 64 MiB.
    pub line_bytes_max: usize,
    /// Resources that may change at a side between two rounds; they are held in memory, as the ledger is, at about 300 bytes each.
    /// Default: 5,000,000.
    pub changes_max: usize,
    /// Resources that may be unsettled at a time. Default: 100,000.
    pub carried_max: usize,
    /// The length of the report of conflicts, in bytes, after which no conflict is decided any more. Default: 1 GiB.
    pub conflicts_bytes_max: u64,
}

impl Default for BothSettings {
    fn default() -> Self {
        Self {
            policy: ConflictPolicy::Newest,
            batch_entries: 100,
            line_bytes_max: 64 << 20,
            changes_max: 5_000_000,
            carried_max: 100_000,
            conflicts_bytes_max: 1 << 30,
        }
    }
}

/// A sync between two servers, open.
pub struct Both {
    peers: Pair<Arc<dyn Peer>>,
    ledger: Ledger,
    conflicts: ConflictLog,
    folder: PathBuf,
    settings: BothSettings,
    clock: Arc<dyn Clock>,
}

/// A write that waits for others to go with it.
struct Pending {
    name: String,
    over: Over,
    /// What the ledger has when it is done: of the side it came from; the other has the same content.
    from: Option<Known>,
}

/// What one round has gathered and not yet done.
#[derive(Default)]
struct Work {
    entries: Entries,
    entries_count: usize,
    lines: Vec<ConflictLine>,
    writes: Pair<Vec<Pending>>,
    deletions: Pair<Vec<Pending>>,
    report: BothReport,
}

impl Both {
    /// Opens the state of a sync in a folder, or begins it.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open(
        folder: &Path,
        peers: Pair<Arc<dyn Peer>>,
        settings: BothSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let names = Pair {
            source: peers.source.name(),
            target: peers.target.name(),
        };
        if names.source == names.target {
            return Err(Error::new(
                ErrorKind::Invalid,
                "both sides of the sync are the same server",
            ));
        }
        let ledger = Ledger::open(folder, &names)?;
        let conflicts = ConflictLog::open(folder, settings.conflicts_bytes_max)?;
        Ok(Self {
            peers,
            ledger,
            conflicts,
            folder: folder.to_owned(),
            settings,
            clock,
        })
    }

    /// What both sides agreed on.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Does one round. After an error the next call goes on with it.
    ///
    /// # Errors
    /// What ends the round: a side that cannot be reached, a full disk, a limit.
    pub async fn round(&mut self) -> Result<BothReport> {
        let number = self.ledger.round() + 1;
        let folders = Pair {
            source: self.folder.join(format!("pull-{number}-source")),
            target: self.folder.join(format!("pull-{number}-target")),
        };
        self.sweep(Some(&folders))?;
        let (mut told, cursors) = self.pull(&folders).await?;
        self.read_unsure(&mut told).await?;
        let mut work = Work::default();
        work.report.round = number;
        for side in [Side::Source, Side::Target] {
            work.report.unusable_lines += told.of(side).refused;
            work.report.source_errors += told.of(side).errors;
            *work.report.told.of_mut(side) = told.of(side).names().count() as u64;
        }
        let names: BTreeSet<String> = told.source.names().chain(told.target.names()).cloned().collect();
        for name in names {
            self.take(&name, &told, &mut work).await?;
        }
        // Writes come before deletions: what refers to something never outlives it for long.
        for side in [Side::Source, Side::Target] {
            self.send(side, false, &told, &mut work).await?;
        }
        for side in [Side::Source, Side::Target] {
            while !work.deletions.of(side).is_empty() {
                self.send(side, true, &told, &mut work).await?;
            }
        }
        self.put_down(&mut work)?;
        self.ledger.end_round(cursors)?;
        drop(told);
        self.sweep(None)?;
        let mut report = work.report;
        for carried in self.ledger.carried().values() {
            match carried {
                Carried::Behind => report.behind += 1,
                Carried::Held { .. } => report.held += 1,
                Carried::Refused { creates, .. } => {
                    report.refused += 1;
                    report.refused_creates += u64::from(*creates);
                }
            }
        }
        Ok(report)
    }

    /// Gives what both sides tell, and from when on they are asked next: not for a side that could not tell of everything.
    async fn pull(&self, folders: &Pair<PathBuf>) -> Result<(Pair<Told>, Pair<Option<String>>)> {
        let (source, target) = tokio::join!(
            self.peers
                .source
                .changes(self.ledger.cursor(Side::Source), &folders.source),
            self.peers
                .target
                .changes(self.ledger.cursor(Side::Target), &folders.target),
        );
        let (source, target) = (source?, target?);
        let cursor = |changes: &Changes| (changes.errors == 0).then(|| changes.cursor.clone());
        let cursors = Pair {
            source: cursor(&source),
            target: cursor(&target),
        };
        let limits = (self.settings.line_bytes_max, self.settings.changes_max);
        let reading = move || {
            Ok::<_, Error>(Pair {
                source: Told::read(&source, limits)?,
                target: Told::read(&target, limits)?,
            })
        };
        let told = tokio::task::spawn_blocking(reading).await;
        let told = told.map_err(|source| {
            Error::new(ErrorKind::Storage, "reading what was pulled").with_source(source)
        })??;
        Ok((told, cursors))
    }

    /// Reads from both sides what the pull does not tell for sure.
    async fn read_unsure(&mut self, told: &mut Pair<Told>) -> Result<()> {
        let carried = self.ledger.carried().len();
        if carried > self.settings.carried_max {
            let text = format!("{carried} resources are refused or held: too many to go on");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let mut names: BTreeSet<String> = self.ledger.unsure().cloned().collect();
        names.extend(
            self.ledger
                .touched()
                .filter(|name| self.is_doubtful(name, told))
                .cloned(),
        );
        names.extend(told.source.unclear.drain(..));
        names.extend(told.target.unclear.drain(..));
        let names: Vec<String> = names.into_iter().collect();
        for some in names.chunks(self.settings.batch_entries.max(1)) {
            for side in [Side::Source, Side::Target] {
                let texts = self.peers.of(side).read(some).await?;
                for (name, text) in some.iter().zip(texts) {
                    told.of_mut(side).take_fresh(name, text);
                }
            }
        }
        self.recognise_intents(&names, told)
    }

    /// Whether what was pulled would change something that was settled after it was pulled.
    fn is_doubtful(&self, name: &str, told: &Pair<Told>) -> bool {
        let now = now(told, name);
        let decision = decide(self.ledger.agreed(name), &now, ConflictPolicy::Hold);
        match decision.step {
            Step::Nothing => false,
            Step::Agree(_) => decision.echoes == 0,
            _ => true,
        }
    }

    /// A write whose answer was never heard was done if its side has what was to be written.
    fn recognise_intents(&mut self, names: &[String], told: &Pair<Told>) -> Result<()> {
        let mut entries = Entries::default();
        for name in names {
            let Some(intent) = self.ledger.intent(name) else {
                continue;
            };
            match (told.of(intent.to).now(name), intent.content) {
                (Now::There(present), Some(content)) if present.content == content => {
                    let known = |version| Known {
                        content,
                        version,
                        is_ours: false,
                    };
                    let mut pair = Pair {
                        source: known(None),
                        target: known(None),
                    };
                    pair.of_mut(intent.to).version = present.version;
                    entries.agreed(name, &pair);
                }
                (Now::Gone, None) => entries.forgotten(name),
                _ => {}
            }
        }
        self.ledger.add(entries)
    }

    /// Decides on one resource, and does what is to be done with others like it.
    async fn take(&mut self, name: &str, told: &Pair<Told>, work: &mut Work) -> Result<()> {
        let now = now(told, name);
        let (decision, policy, is_resolved) = self.decide(name, &now);
        work.report.echoes += decision.echoes;
        if let Some(conflict) = decision.conflict
            && !self.is_held_already(name, &now, &decision)
        {
            work.report.count(name, conflict);
            let version = |side: Side| {
                let text = told.of(side).text(name)?;
                Ok::<_, Error>(ConflictVersion::of(now.of(side), text))
            };
            let versions = Pair {
                source: version(Side::Source)?,
                target: version(Side::Target)?,
            };
            let found = (self.clock.now(), name);
            work.lines.push(ConflictLine::new(
                found,
                (conflict, policy, is_resolved),
                versions,
            ));
            if decision.step == Step::Hold {
                work.carry(name, held(&now));
            }
        }
        let is_carried = self.ledger.carried().contains_key(name) || self.ledger.intent(name).is_some();
        match decision.step {
            Step::Nothing if is_carried => work.settle(name),
            Step::Nothing | Step::Hold => {}
            Step::Agree(pair) => {
                work.report.agreed += u64::from(decision.echoes == 0);
                work.entries.agreed(name, &pair);
                work.entries_count += 1;
                if is_carried {
                    work.settle(name);
                }
            }
            Step::Forget => {
                work.entries.forgotten(name);
                work.settle(name);
            }
            Step::Write(to, over) => work.writes.of_mut(to).push(Pending {
                name: name.to_owned(),
                over,
                from: known(now.of(to.other())),
            }),
            Step::Delete(to, over) => work.deletions.of_mut(to).push(Pending {
                name: name.to_owned(),
                over,
                from: None,
            }),
        }
        for side in [Side::Source, Side::Target] {
            if work.writes.of(side).len() >= self.settings.batch_entries {
                self.send(side, false, told, work).await?;
            }
        }
        if work.entries_count + work.lines.len() >= self.settings.batch_entries {
            self.put_down(work)?;
        }
        Ok(())
    }

    /// Decides by the policy, or as somebody decided who saw these very contents.
    fn decide(&self, name: &str, now: &Pair<Now>) -> (Decision, ConflictPolicy, bool) {
        let agreed = self.ledger.agreed(name);
        let resolved = match self.ledger.carried().get(name) {
            Some(Carried::Held {
                contents,
                winner: Some(winner),
            }) if *contents == contents_of(now) => Some(*winner),
            _ => None,
        };
        let policy = match resolved {
            Some(Side::Source) => ConflictPolicy::Source,
            Some(Side::Target) => ConflictPolicy::Target,
            None => self.settings.policy,
        };
        (decide(agreed, now, policy), policy, resolved.is_some())
    }

    /// Whether this very conflict is held and was reported.
    fn is_held_already(&self, name: &str, now: &Pair<Now>, decision: &Decision) -> bool {
        let held = match self.ledger.carried().get(name) {
            Some(Carried::Held { contents, .. }) => *contents == contents_of(now),
            _ => false,
        };
        held && decision.step == Step::Hold
    }

    /// Writes down what needs no server. Conflicts come first: nothing is overwritten that is not reported.
    fn put_down(&mut self, work: &mut Work) -> Result<()> {
        self.conflicts.add(&std::mem::take(&mut work.lines))?;
        work.entries_count = 0;
        self.ledger.add(std::mem::take(&mut work.entries))
    }

    /// Sends the writes to a side, or the first of its deletions.
    async fn send(&mut self, to: Side, deletes: bool, told: &Pair<Told>, work: &mut Work) -> Result<()> {
        let waiting = match deletes {
            true => work.deletions.of_mut(to),
            false => work.writes.of_mut(to),
        };
        let count = waiting.len().min(self.settings.batch_entries.max(1));
        let sent: Vec<Pending> = waiting.drain(..count).collect();
        if sent.is_empty() {
            return Ok(());
        }
        self.put_down(work)?;
        let mut intents = Entries::default();
        let mut writes = Vec::new();
        for pending in &sent {
            intents.intent(
                &pending.name,
                to,
                pending.from.as_ref().map(|known| known.content),
            );
            let text = match deletes {
                true => None,
                false => told.of(to.other()).text(&pending.name)?,
            };
            writes.push(Write {
                name: pending.name.clone(),
                text,
                over: pending.over.clone(),
            });
        }
        self.ledger.add(intents)?;
        let written = self.peers.of(to).write(&writes).await?;
        if written.len() != sent.len() {
            return Err(Error::new(
                ErrorKind::Storage,
                "a side answered to another number of writes",
            ));
        }
        for (pending, written) in sent.iter().zip(written) {
            work.written(to, pending, written);
        }
        self.put_down(work)
    }

    /// Removes what earlier rounds pulled; `kept` is what this round goes on with.
    fn sweep(&self, kept: Option<&Pair<PathBuf>>) -> Result<()> {
        let failed = |source| Error::io(format!("clearing {}", self.folder.display()), source);
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let is_kept = kept.is_some_and(|kept| path == kept.source || path == kept.target);
            if entry.file_name().to_string_lossy().starts_with("pull-") && !is_kept {
                std::fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

impl Work {
    fn carry(&mut self, name: &str, carried: Carried) {
        self.entries.carried(name, carried);
        self.entries_count += 1;
    }

    fn settle(&mut self, name: &str) {
        self.entries.settled(name);
        self.entries_count += 1;
    }

    /// Notes what became of a write.
    fn written(&mut self, to: Side, pending: &Pending, written: Written) {
        let name = pending.name.as_str();
        match (written, &pending.from) {
            (Written::Behind, _) => self.carry(name, Carried::Behind),
            (Written::Refused { status }, _) => self.carry(
                name,
                Carried::Refused {
                    by: to,
                    status,
                    creates: pending.over == Over::Nothing,
                },
            ),
            (Written::Done { .. }, None) => {
                *self.report.deleted.of_mut(to) += 1;
                self.entries.forgotten(name);
                self.settle(name);
            }
            (Written::Done { version }, Some(from)) => {
                *self.report.written.of_mut(to) += 1;
                let mut pair = Pair {
                    source: from.clone(),
                    target: from.clone(),
                };
                *pair.of_mut(to) = Known {
                    content: from.content,
                    version,
                    is_ours: true,
                };
                self.entries.agreed(name, &pair);
                self.settle(name);
            }
        }
    }
}

fn now(told: &Pair<Told>, name: &str) -> Pair<Now> {
    Pair {
        source: told.source.now(name),
        target: told.target.now(name),
    }
}

fn known(now: &Now) -> Option<Known> {
    match now {
        Now::There(present) => Some(Known {
            content: present.content,
            version: present.version.clone(),
            is_ours: false,
        }),
        Now::Untold | Now::Gone => None,
    }
}

fn contents_of(now: &Pair<Now>) -> Pair<Option<fhirhose_fhir::content_hash::ContentHash>> {
    let content = |now: &Now| known(now).map(|known| known.content);
    Pair {
        source: content(&now.source),
        target: content(&now.target),
    }
}

fn held(now: &Pair<Now>) -> Carried {
    Carried::Held {
        contents: contents_of(now),
        winner: None,
    }
}
