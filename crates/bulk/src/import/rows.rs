//! The rows of one chunk in the making: lines in, in file order; a sorted run and its rows out.
//!
//! Later lines of the same type and id replace earlier ones, and are counted as if each line had been committed by itself.
//! Bodies and texts of all rows lie in two buffers that are used again for the next chunk; only small marks are sorted.

use std::collections::HashSet;

use bytes::Bytes;
use fhirhose_fhir::import_report::ImportCounts;
use fhirhose_fhir::line::CheckedLine;
use fhirhose_fhir::meta::{StoredLine, write_stored};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::{NewRow, RowBatch};
use fhirhose_store::key;
use fhirhose_store::run::{Row, RowCommit, RunBuilder, RunSettings, RunSummary};
use xxhash_rust::xxh3::xxh3_64;

use super::references::prefix;
use super::result::TypeTaken;
use super::targets::Targets;
use crate::Result;

/// Resources by type and id.
pub(super) type ResourceSet = HashSet<(ResourceType, String)>;

/// The rows of one chunk.
#[derive(Default)]
pub(super) struct Rows {
    /// Stored bodies, one after another.
    bodies: Vec<u8>,
    /// Owners, ids and further patients.
    texts: String,
    rows: Vec<RowFacts>,
    /// Further patients of the rows.
    others: Vec<Text>,
    pub(super) targets: Targets,
    /// Lines taken by type code.
    taken: Vec<u64>,
    pub(super) counts: ImportCounts,
    pub(super) unresolvable: u64,
    keys: Vec<u8>,
    order: Vec<Mark>,
}

/// A piece of `Rows::texts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Text {
    at: u32,
    length: u8,
}

struct RowFacts {
    resource_type: ResourceType,
    subsetted: bool,
    /// A later line of the chunk replaces this row.
    replaced: bool,
    owner: Option<Text>,
    id: Text,
    /// Where in `Rows::others`.
    others: (u32, u32),
    body_at: usize,
    body_bytes: u32,
    stored: StoredLine,
    hash: u64,
    /// The hash of the first line of this resource in the chunk, if there was an earlier one.
    first_hash: Option<u64>,
}

/// What is sorted: the first 32 bytes of a row's key, and where the rest is.
struct Mark {
    prefix: (u128, u128),
    key_at: u32,
    key_bytes: u8,
    row: u32,
}

/// A line would put a cut copy of a resource over a fuller one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WouldCut;

/// A run that is ready to be stored.
pub(super) struct NewRun {
    pub(super) bytes: Bytes,
    pub(super) summary: RunSummary,
    pub(super) rows: RowBatch,
}

impl Rows {
    pub(super) fn clear(&mut self) {
        self.bodies.clear();
        self.texts.clear();
        self.rows.clear();
        self.others.clear();
        self.targets.clear();
        self.taken.clear();
        self.taken.resize(256, 0);
        self.counts = ImportCounts::default();
        self.unresolvable = 0;
    }

    /// Adds a line, unless it is a cut copy of a resource that the chunk has whole, or that is in `fuller`.
    pub(super) fn push(
        &mut self,
        (line, line_number): (&[u8], u64),
        checked: &CheckedLine<'_>,
        source: Option<&str>,
        fuller: &ResourceSet,
    ) -> Result<(), WouldCut> {
        let number = small(self.rows.len());
        let target = self.targets.entry(checked.resource_type, checked.id);
        let before = target.row;
        if checked.subsetted {
            let whole_before = before.is_some_and(|row| !self.rows[row as usize].subsetted);
            let fuller =
                !fuller.is_empty() && fuller.contains(&(checked.resource_type, checked.id.to_owned()));
            if whole_before || fuller {
                return Err(WouldCut);
            }
        }
        target.row = Some(number);
        let body_at = self.bodies.len();
        let stored = write_stored(line, checked, source, &mut self.bodies);
        let hash = xxh3_64(&self.bodies[body_at..]);
        let first_hash = before.map(|row| self.replace(row, hash));
        let others = self.add_others(checked);
        let facts = RowFacts {
            resource_type: checked.resource_type,
            subsetted: checked.subsetted,
            replaced: false,
            owner: checked.owner.map(|owner| self.add_owner(owner)),
            id: self.add_text(checked.id),
            others,
            body_at,
            body_bytes: small(self.bodies.len() - body_at),
            stored,
            hash,
            first_hash,
        };
        self.rows.push(facts);
        self.taken[usize::from(checked.resource_type.code())] += 1;
        self.unresolvable += checked.unresolvable as u64;
        self.add_references(checked, line_number);
        Ok(())
    }

    /// Lines taken, by type.
    pub(super) fn types(&self) -> Vec<TypeTaken> {
        let counted = (0..=u8::MAX).zip(&self.taken).filter(|(_, lines)| **lines > 0);
        counted
            .filter_map(|(code, &lines)| {
                ResourceType::from_code(code).map(|resource_type| TypeTaken { resource_type, lines })
            })
            .collect()
    }

    /// The resources that are in the chunk only as cut copies.
    pub(super) fn subsetted(&self) -> Vec<(ResourceType, String)> {
        let cut = self.rows.iter().filter(|row| row.subsetted);
        cut.map(|row| (row.resource_type, self.text(row.id).to_owned()))
            .collect()
    }

    /// Sorts and compresses; `None` if there is no row.
    pub(super) fn build_run(&mut self, settings: RunSettings) -> Result<Option<NewRun>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.sort();
        let mut builder = RunBuilder::new(settings)?;
        let mut batch = RowBatch::default();
        for mark in &self.order {
            let row = &self.rows[mark.row as usize];
            let (owner, id) = (row.owner.map(|owner| self.text(owner)), self.text(row.id));
            builder.push(Row {
                resource_type: row.resource_type,
                owner,
                id_at: row.stored.id_at,
                id_len: row.id.length,
                body: &self.bodies[row.body_at..][..row.body_bytes as usize],
                splice: row.stored.splice,
                commit: RowCommit::Own,
            })?;
            let (from, to) = row.others;
            let others: Vec<&str> = self.others[from as usize..to as usize]
                .iter()
                .map(|other| self.text(*other))
                .collect();
            batch.push(NewRow {
                resource_type: row.resource_type,
                owner,
                id,
                others: &others,
                hash: row.hash,
                subsetted: row.subsetted,
                first_hash: row.first_hash,
            });
        }
        batch.seal();
        let (bytes, summary) = builder.finish()?;
        Ok(Some(NewRun {
            bytes,
            summary,
            rows: batch,
        }))
    }

    /// Marks a row as replaced by one with this hash; gives the hash of the first row of that resource.
    fn replace(&mut self, row: u32, hash: u64) -> u64 {
        let before = &mut self.rows[row as usize];
        before.replaced = true;
        if before.hash == hash {
            self.counts.unchanged += 1;
        } else {
            self.counts.updated += 1;
        }
        before.first_hash.unwrap_or(before.hash)
    }

    /// Adds an owner; neighbouring lines are mostly of one patient, whose id is kept once.
    fn add_owner(&mut self, owner: &str) -> Text {
        let last = self.rows.last().and_then(|row| row.owner);
        match last {
            Some(last) if self.text(last) == owner => last,
            _ => self.add_text(owner),
        }
    }

    fn add_others(&mut self, checked: &CheckedLine<'_>) -> (u32, u32) {
        let from = small(self.others.len());
        for other in checked.other_patients.iter() {
            let text = self.add_text(other);
            self.others.push(text);
        }
        (from, small(self.others.len()))
    }

    fn add_references(&mut self, checked: &CheckedLine<'_>, line_number: u64) {
        for reference in checked.references.iter() {
            let target = self.targets.entry(reference.resource_type, reference.id);
            if target.references == 0 {
                target.first_line = line_number;
            }
            target.references += 1;
        }
    }

    fn add_text(&mut self, text: &str) -> Text {
        let at = small(self.texts.len());
        self.texts.push_str(text);
        Text {
            at,
            length: u8::try_from(text.len()).expect("an id has at most 64 characters"),
        }
    }

    fn text(&self, text: Text) -> &str {
        &self.texts[text.at as usize..][..usize::from(text.length)]
    }

    /// Puts the rows that stay into the order of the store.
    fn sort(&mut self) {
        let (mut keys, mut order) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.order));
        keys.clear();
        order.clear();
        for (number, row) in (0u32..).zip(&self.rows) {
            if row.replaced {
                continue;
            }
            let key_at = keys.len();
            let owner = row.owner.map(|owner| self.text(owner));
            key::encode(row.resource_type, owner, self.text(row.id), &mut keys);
            let key = &keys[key_at..];
            order.push(Mark {
                prefix: (prefix(key), prefix(key.get(16..).unwrap_or_default())),
                key_at: small(key_at),
                key_bytes: u8::try_from(key.len()).expect("a key has at most 133 bytes"),
                row: number,
            });
        }
        let key = |mark: &Mark| &keys[mark.key_at as usize..][..usize::from(mark.key_bytes)];
        order.sort_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))));
        (self.keys, self.order) = (keys, order);
    }
}

/// A chunk has at most 256 MiB of text; its rows, ids and single lines are far from 4 GiB.
fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a chunk is too short for 4 GiB of marks")
}
