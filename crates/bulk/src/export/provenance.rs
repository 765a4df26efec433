//! Provenance: what the standard wants of it by default, and what `includeAssociatedData` chooses (spec §1.3).
//!
//! By default an export of patients has all Provenance of which a target is in one of their compartments. The store knows that of those
//! that name a Patient; of the others ([`write_unowned`]) the targets are looked up.
//!
//! With `includeAssociatedData` Provenance comes for the resources that are exported, and no other ([`write_chosen`]): pairs of target
//! and Provenance are sorted, and merged with what was exported. Its own `_since` and `_until` do not matter then, for it
//! belongs to what is exported; its `_typeFilter` does (T-07).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;

use fhirhose_fhir::export_request::AssociatedData;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::provenance::ProvenanceFacts;
use fhirhose_fhir::reference::{Reference, Target};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{Found, Happened, OutputName, ScanRequest, Selection, Sequence, StoredRow, key};
use serde_json::Value;
use tokio::runtime::Handle;

use super::cohort::row_key;
use super::files::FileCutter;
use super::keyed::{KeyedRows, merge};
use super::part::{Lines, ROWS_PER_LOOK};
use super::parts::Crew;
use super::side::{SideKind, create};
use super::state::{Next, Part};
use super::wanted::Times;
use crate::Result;
use crate::spill::{Entry, Merge, Sorter};

/// Text of rows whose targets are looked up together, in bytes.
const LOOKUP_BYTES: usize = 1 << 20;

/// Pairs that are sorted at a time, in bytes.
const SORTER_BYTES: usize = 16 << 20;

/// The keys of Provenance that names no Patient.
pub(super) fn unowned_range() -> KeyRange {
    let mut prefix = vec![ResourceType::PROVENANCE.code()];
    key::push_owner(None, &mut prefix);
    KeyRange::of_prefix(prefix)
}

/// Writes the Provenance without an owner of which a target is in a wanted compartment.
pub(super) fn write_unowned(
    crew: &Arc<Crew>,
    times: Times,
    range: KeyRange,
    cutter: FileCutter<'_>,
) -> Result<()> {
    let request = ScanRequest {
        range,
        snapshot: crew.state.snapshot.sequence,
        after: match times {
            Times::Asked => crew.state.after,
            Times::BeforeJoining => Sequence::ZERO,
        },
        selection: Selection::All,
    };
    let scan = Handle::current().block_on(crew.store.scan(request))?;
    let mut rows = crew.wanted.rows_of(times, ResourceType::PROVENANCE);
    let mut held = Held {
        crew,
        times,
        lines: Lines::new(crew, ResourceType::PROVENANCE),
        cutter,
        rows: Vec::new(),
        bytes: 0,
    };
    let mut goes_on = ControlFlow::Continue(());
    let (mut failed, mut looked) = (None, 0u64);
    scan.for_each(&mut |row| {
        looked += 1;
        if looked.is_multiple_of(ROWS_PER_LOOK) {
            goes_on = crew.go_on_in_file();
        }
        if goes_on.is_break() || !rows.takes(&row) {
            return Ok(goes_on);
        }
        let done = held.push(&row);
        match done {
            Ok(done) => goes_on = done,
            Err(error) => {
                failed = Some(error);
                goes_on = ControlFlow::Break(());
            }
        }
        Ok(goes_on)
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    if goes_on.is_continue() && held.write()?.is_continue() {
        held.cutter.finish()?;
    }
    Ok(())
}

/// Rows that wait for their targets to be looked up, in order.
struct Held<'c> {
    crew: &'c Arc<Crew>,
    times: Times,
    lines: Lines<'c>,
    cutter: FileCutter<'c>,
    rows: Vec<HeldRow>,
    bytes: usize,
}

struct HeldRow {
    key: Vec<u8>,
    id: String,
    line: Vec<u8>,
    targets: Vec<(ResourceType, String)>,
}

impl Held<'_> {
    fn push(&mut self, row: &StoredRow<'_>) -> Result<ControlFlow<()>> {
        let mut line = Vec::new();
        self.lines.render(row, &mut line);
        self.bytes += line.len() + row.body.len();
        self.rows.push(HeldRow {
            key: row_key(ResourceType::PROVENANCE, row),
            id: row.id.to_owned(),
            line,
            targets: read_loosely(row.body).targets,
        });
        match self.bytes {
            LOOKUP_BYTES.. => self.write(),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    fn write(&mut self) -> Result<ControlFlow<()>> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.rows);
        let targets: BTreeSet<_> = rows.iter().flat_map(|row| &row.targets).cloned().collect();
        let at = self.crew.state.snapshot.sequence;
        let wanted = in_compartment(self.crew, (self.times, Deleted::Nowhere), targets, at)?;
        for row in rows {
            if !row.targets.iter().any(|target| wanted.contains(target)) {
                continue;
            }
            let write = |line: &mut Vec<u8>| line.extend_from_slice(&row.line);
            let goes_on = self
                .cutter
                .resource((ResourceType::PROVENANCE, &row.id), write, || row.key.clone())?;
            if goes_on.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// What is known of a Provenance, whatever its form.
struct Facts {
    recorded: Option<Instant>,
    targets: Vec<(ResourceType, String)>,
}

/// Reads a Provenance. The store takes what is JSON, and one with members of another form than FHIR's must not fail every export that
/// looks at it: of such a one counts what can be read.
fn read_loosely(provenance: &[u8]) -> Facts {
    let owned = |target: Reference<'_>| (target.resource_type, target.id.to_owned());
    if let Ok(facts) = ProvenanceFacts::read(provenance) {
        return Facts {
            recorded: facts.recorded,
            targets: facts.targets().map(owned).collect(),
        };
    }
    let value: Value = serde_json::from_slice(provenance).unwrap_or_default();
    let target = &value["target"];
    let targets = target.as_array().map_or(slice::from_ref(target), Vec::as_slice);
    let texts = targets.iter().filter_map(|target| target["reference"].as_str());
    let targets = texts.filter_map(|text| match Target::parse(text) {
        Target::Resource(reference) => Some(owned(reference)),
        Target::Unresolvable | Target::Other => None,
    });
    Facts {
        recorded: value["recorded"]
            .as_str()
            .and_then(|text| Instant::parse(text).ok()),
        targets: targets.collect(),
    }
}

/// In whose compartments a deleted resource is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Nowhere,
    /// Where its last version was.
    AsBefore,
}

/// Those resources that are in a wanted compartment as they are at a sequence.
fn in_compartment(
    crew: &Crew,
    (times, of_deleted): (Times, Deleted),
    targets: BTreeSet<(ResourceType, String)>,
    at: Sequence,
) -> Result<BTreeSet<(ResourceType, String)>> {
    let ids: Vec<_> = targets
        .iter()
        .map(|(resource_type, id)| (*resource_type, id.as_str()))
        .collect();
    let runtime = Handle::current();
    let newest = runtime.block_on(crew.store.catalog().newest(&ids))?;
    let mut wanted = BTreeSet::new();
    for (target, newest) in targets.iter().zip(newest) {
        let Some(newest) = newest else { continue };
        let (resource_type, id) = (target.0, target.1.as_str());
        let holds =
            |owner: Option<&str>, version| crew.wanted.holds(times, (resource_type, id), owner, version);
        let was_deleted = |at: Sequence| -> Result<bool> {
            if of_deleted == Deleted::Nowhere {
                return Ok(false);
            }
            let last = runtime
                .block_on(crew.store.history(resource_type, id, at, 1))?
                .pop();
            Ok(match last.map(|last| (last.happened, last.sequence)) {
                Some((Happened::Written { owner }, version)) => holds(owner.as_deref(), version),
                // Nobody knows any more: a deletion too many does no harm.
                Some((Happened::Deleted, _)) | None => true,
            })
        };
        let is_wanted = if newest.sequence <= at {
            match newest.deleted {
                true => was_deleted(newest.sequence)?,
                false => holds(newest.owner.as_deref(), newest.sequence),
            }
        } else {
            // Written again since then, maybe under another owner.
            match runtime.block_on(crew.store.read_at(resource_type, id, at))? {
                Some(Found::Resource(found)) => holds(found.owner.as_deref(), found.version.sequence),
                Some(Found::Deleted(deleted_at)) => was_deleted(deleted_at)?,
                None => false,
            }
        };
        if is_wanted {
            wanted.insert(target.clone());
        }
    }
    Ok(wanted)
}

/// Whether a deleted Provenance without an owner was about a resource in a wanted compartment, one that was deleted before it too.
pub(super) fn was_about_wanted(crew: &Crew, last_version: &[u8], at: Sequence) -> Result<bool> {
    let targets = read_loosely(last_version).targets.into_iter().collect();
    Ok(!in_compartment(crew, (Times::Asked, Deleted::AsBefore), targets, at)?.is_empty())
}

/// Writes the Provenance that `includeAssociatedData` chooses for what has been exported.
pub(super) fn write_chosen(
    crew: &Arc<Crew>,
    number: usize,
    part: &Part,
    cutter: FileCutter<'_>,
) -> Result<()> {
    let Some(pairs) = sort_pairs(crew, number)? else {
        return Ok(());
    };
    let mut pairs = merge(crew, number, pairs)?;
    let mut exported = merge(crew, number, crew.sides(SideKind::Resources)?)?;
    let mut chosen = Spill::new(crew, number, "chosen");
    let mut pair = pairs.next()?;
    let mut looked = 0u64;
    while let Some(resource) = exported.next()? {
        looked += 1;
        if looked.is_multiple_of(ROWS_PER_LOOK) && crew.go_on_in_file().is_break() {
            return Ok(());
        }
        pair = choose(crew, &resource, pair, &mut pairs, &mut chosen)?;
    }
    let from = match &part.next {
        Next::Key(key) => key.clone(),
        Next::Start | Next::Line { .. } | Next::Done => Vec::new(),
    };
    let mut rows = KeyedRows::new(crew, ResourceType::PROVENANCE, cutter, from);
    let mut chosen = merge(crew, number, chosen.finish()?)?;
    while let Some(entry) = chosen.next()? {
        if rows.push(entry.0)?.is_break() {
            return Ok(());
        }
    }
    rows.finish()
}

/// Takes the pairs of one exported resource, and gives the first pair after them.
fn choose(
    crew: &Crew,
    resource: &Entry,
    mut pair: Option<Entry>,
    pairs: &mut Merge<Entry>,
    chosen: &mut Spill<'_>,
) -> Result<Option<Entry>> {
    let only_latest = crew.request.associated_data == AssociatedData::LatestProvenance;
    let mut latest: Option<Entry> = None;
    while let Some(next) = pair {
        let target = target_of(&next);
        if target > resource.0.as_slice() {
            pair = Some(next);
            break;
        }
        if target == resource.0.as_slice() {
            if only_latest {
                latest = Some(next);
            } else {
                chosen.push(provenance_of(&next))?;
            }
        }
        pair = pairs.next()?;
        if pair.is_none() {
            break;
        }
    }
    if let Some(latest) = latest {
        chosen.push(provenance_of(&latest))?;
    }
    Ok(pair)
}

/// Sorts pairs of target and Provenance: target ‖ recorded ‖ sequence ‖ the Provenance's key, so that the newest comes last. `None` when
/// the export is to stop.
fn sort_pairs(crew: &Arc<Crew>, number: usize) -> Result<Option<Vec<OutputName>>> {
    let request = ScanRequest {
        range: KeyRange::of_type(ResourceType::PROVENANCE),
        snapshot: crew.state.snapshot.sequence,
        after: Sequence::ZERO,
        selection: Selection::All,
    };
    let scan = Handle::current().block_on(crew.store.scan(request))?;
    let mut pairs = Spill::new(crew, number, "pairs");
    let mut failed = None;
    let (mut stopped, mut looked) = (false, 0u64);
    scan.for_each(&mut |row| {
        looked += 1;
        stopped = looked.is_multiple_of(ROWS_PER_LOOK) && crew.go_on_in_file().is_break();
        if stopped {
            return Ok(ControlFlow::Break(()));
        }
        if !crew
            .wanted
            .matches(ResourceType::PROVENANCE, row.body, row.instant)
        {
            return Ok(ControlFlow::Continue(()));
        }
        match push_pairs(&row, &mut pairs) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) => {
                failed = Some(error);
                Ok(ControlFlow::Break(()))
            }
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None if stopped => Ok(None),
        None => pairs.finish().map(Some),
    }
}

fn push_pairs(row: &StoredRow<'_>, pairs: &mut Spill<'_>) -> Result<()> {
    let facts = read_loosely(row.body);
    let micros = facts.recorded.map_or(i64::MIN, |recorded| recorded.micros());
    let mut entry = Vec::new();
    for (resource_type, id) in facts.targets {
        entry.clear();
        entry.push(resource_type.code());
        key::push_id(&id, &mut entry);
        // With the sign turned around, numbers sort as their bytes.
        entry.extend_from_slice(&(micros ^ i64::MIN).to_be_bytes());
        entry.extend_from_slice(&row.sequence.0.to_be_bytes());
        entry.extend_from_slice(&row_key(ResourceType::PROVENANCE, row));
        pairs.push(&entry)?;
    }
    Ok(())
}

/// Where in a pair the target ends.
fn target_len(pair: &[u8]) -> usize {
    let id = pair.get(1..).and_then(key::split_id);
    id.map_or(pair.len(), |(_, rest)| pair.len() - rest.len())
}

fn target_of(pair: &Entry) -> &[u8] {
    &pair.0[..target_len(&pair.0)]
}

fn provenance_of(pair: &Entry) -> &[u8] {
    pair.0.get(target_len(&pair.0) + 16..).unwrap_or_default()
}

/// Sorts entries of any number into files that are of no use after the part is done.
struct Spill<'c> {
    crew: &'c Arc<Crew>,
    part: usize,
    kind: &'static str,
    sorter: Sorter,
    names: Vec<OutputName>,
}

impl<'c> Spill<'c> {
    fn new(crew: &'c Arc<Crew>, part: usize, kind: &'static str) -> Self {
        Self {
            crew,
            part,
            kind,
            sorter: Sorter::new(SORTER_BYTES),
            names: Vec::new(),
        }
    }

    fn push(&mut self, entry: &[u8]) -> Result<()> {
        self.sorter.push(entry);
        match self.sorter.is_full() {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<()> {
        let file = format!(
            "{}-{}-{}.{}",
            self.part,
            self.names.len(),
            self.crew.fence,
            self.kind
        );
        let (name, writer) = create(self.crew, &file)?;
        self.sorter.write(writer)?;
        self.names.push(name);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<OutputName>> {
        if !self.sorter.is_empty() {
            self.write()?;
        }
        Ok(self.names)
    }
}
