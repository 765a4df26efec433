//! Joins two sorted folders, and writes what they differ in.

use std::collections::BTreeMap;
use std::io::{self, Read};

use fhirhose_client::receipt::PulledFolder;
use fhirhose_fhir::bundle::DELETED_ENTRIES_MAX;
use fhirhose_fhir::bundle_writer::{BundleEntry, BundleWriter};
use fhirhose_fhir::content_hash::ContentHash;
use fhirhose_fhir::instant::Instant;

use super::comparable::Scope;
use super::index::{Found, Index, LinePlace};
use super::output::{Finish, Output};
use super::sort::{Row, Sorted, Sorter, read_array};
use super::{DiffReport, DiffSettings, TypeDiff};
use crate::{Error, ErrorKind, Result};

/// A line of B that comes out. By place, so that B's files are read front to back.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    place: LinePlace,
    resource_type: String,
    /// The digest of the line as it was read, so that a file that changes meanwhile is seen.
    hash: [u8; 32],
}

impl Row for Wanted {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.resource_type.len() + 16
    }

    fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        self.place.write(out)?;
        out.write_all(&(self.resource_type.len() as u16).to_le_bytes())?;
        out.write_all(self.resource_type.as_bytes())?;
        out.write_all(&self.hash)
    }

    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let place = LinePlace::read(from)?;
        let mut resource_type = vec![0; usize::from(u16::from_le_bytes(read_array(from)?))];
        from.read_exact(&mut resource_type)?;
        Ok(Self {
            place,
            resource_type: String::from_utf8(resource_type).map_err(|_| io::ErrorKind::InvalidData)?,
            hash: read_array(from)?,
        })
    }
}

/// Joins the two sides and finishes the output.
pub(super) fn join(
    (mut a, mut b): (Index, Index),
    newer: &PulledFolder,
    scope: Scope,
    mut output: Output,
    settings: &DiffSettings,
    created_at: Instant,
) -> Result<DiffReport> {
    output.file_bytes_max = settings.file_bytes_max;
    let mut join = Join {
        counts: BTreeMap::new(),
        wanted: Sorter::new(&output.scratch("wanted"), settings.sort_bytes)?,
        removed: Vec::new(),
        incomplete: 0,
        output,
        scope,
        settings,
    };
    while let Some(pair) = next_pair(&mut a, &mut b)? {
        join.take(pair)?;
    }
    join.write_removed()?;
    let Join {
        wanted,
        mut output,
        mut scope,
        counts,
        incomplete,
        ..
    } = join;
    copy(newer, wanted.finish()?, settings, &mut output)?;
    for (repeats, which) in [(a.repeats, "older"), (b.repeats, "newer")] {
        if repeats > 0 {
            scope.notes.push(format!(
                "{repeats} lines of the {which} folder repeat a resource: the newest counts"
            ));
        }
    }
    if incomplete > 0 {
        scope.notes.push(format!(
            "{incomplete} incomplete copies (SUBSETTED) replace nothing"
        ));
    }
    let finish = Finish {
        newer,
        scope: &scope,
        key: settings.receipt_key.as_deref(),
        created_at,
    };
    let files = output.finish(&finish)?;
    Ok(DiffReport {
        transaction_time: scope.transaction_time,
        since: scope.since,
        types: counts.into_values().collect(),
        files,
        notes: scope.notes,
    })
}

/// The next resource by name, from the sides that have it.
fn next_pair(a: &mut Index, b: &mut Index) -> Result<Option<(Option<Found>, Option<Found>)>> {
    let (from_a, from_b) = match (a.peek(), b.peek()) {
        (None, None) => return Ok(None),
        (Some(_), None) => (true, false),
        (None, Some(_)) => (false, true),
        (Some(of_a), Some(of_b)) => (of_a <= of_b, of_b <= of_a),
    };
    let older = if from_a { a.next()? } else { None };
    let newer = if from_b { b.next()? } else { None };
    Ok(Some((older, newer)))
}

struct Join<'s> {
    counts: BTreeMap<String, TypeDiff>,
    wanted: Sorter<Wanted>,
    /// `Type/id` of what is gone, for the next Bundle.
    removed: Vec<String>,
    /// Incomplete copies that would have replaced complete ones.
    incomplete: u64,
    output: Output,
    scope: Scope,
    settings: &'s DiffSettings,
}

impl Join<'_> {
    fn take(&mut self, pair: (Option<Found>, Option<Found>)) -> Result<()> {
        let Some(either) = pair.0.as_ref().or(pair.1.as_ref()) else {
            return Ok(());
        };
        let resource_type = either.resource_type().to_owned();
        if !self.scope.compares(&resource_type) {
            return Ok(());
        }
        let counts = self
            .counts
            .entry(resource_type.clone())
            .or_insert_with(|| TypeDiff {
                resource_type: resource_type.clone(),
                ..TypeDiff::default()
            });
        match pair {
            (None, Some(newer)) => {
                counts.added += 1;
                self.want(newer)
            }
            (Some(older), Some(newer)) if older.hash == newer.hash => {
                counts.same += 1;
                Ok(())
            }
            (Some(older), Some(newer)) if older.is_whole && !newer.is_whole && self.settings.subsetted => {
                counts.same += 1;
                self.incomplete += 1;
                Ok(())
            }
            (Some(_), Some(newer)) => {
                counts.changed += 1;
                self.want(newer)
            }
            (Some(older), None) if self.scope.can_be_gone(&resource_type) => {
                counts.removed += 1;
                self.removed.push(older.name);
                match self.removed.len() == DELETED_ENTRIES_MAX {
                    true => self.write_removed(),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn want(&mut self, found: Found) -> Result<()> {
        if !found.is_whole && !self.settings.subsetted {
            let why = "the newer folder holds parts of resources (tagged SUBSETTED), which must not replace whole ones: --subsetted takes them";
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        self.wanted.push(Wanted {
            resource_type: found.resource_type().to_owned(),
            place: found.place,
            hash: found.hash.0,
        })
    }

    /// Writes what is gone as one Bundle (M-31).
    fn write_removed(&mut self) -> Result<()> {
        if self.removed.is_empty() {
            return Ok(());
        }
        let mut bundle = BundleWriter::new("transaction", None, &[]);
        for name in self.removed.drain(..) {
            bundle.entry(&BundleEntry {
                request: Some(("DELETE", &name)),
                ..BundleEntry::default()
            });
        }
        self.output.deleted(&bundle.finish())
    }
}

/// Copies the wanted lines, file by file.
fn copy(
    newer: &PulledFolder,
    mut wanted: Sorted<Wanted>,
    settings: &DiffSettings,
    output: &mut Output,
) -> Result<()> {
    let mut hasher = super::index::hasher(settings);
    let mut open: Option<OpenFile> = None;
    let mut line = Vec::new();
    while let Some(next) = wanted.next()? {
        if open.as_ref().is_none_or(|file| file.number != next.place.file) {
            open = Some(OpenFile::open(newer, next.place.file)?);
        }
        let file = open.as_mut().expect("it was opened just now");
        file.read(next.place, &mut line)?;
        if hasher(&line) != Some(ContentHash(next.hash)) {
            return Err(Error::new(
                ErrorKind::InputChanged,
                format!("{} changed while it was read", file.name),
            ));
        }
        output.resource(&next.resource_type, &line)?;
    }
    Ok(())
}

/// A file that is read front to back.
struct OpenFile {
    number: u32,
    name: String,
    text: Box<dyn Read + Send>,
    at: u64,
}

impl OpenFile {
    fn open(folder: &PulledFolder, number: u32) -> Result<Self> {
        let file = &folder.files()[number as usize];
        Ok(Self {
            number,
            name: file.name.clone(),
            text: file.open(folder.path())?,
            at: 0,
        })
    }

    fn read(&mut self, place: LinePlace, line: &mut Vec<u8>) -> Result<()> {
        let failed = |source| Error::io(format!("reading {}", self.name), source);
        let gap = place.offset - self.at;
        io::copy(&mut (&mut self.text).take(gap), &mut io::sink()).map_err(failed)?;
        line.clear();
        (&mut self.text)
            .take(place.bytes)
            .read_to_end(line)
            .map_err(failed)?;
        self.at = place.offset + place.bytes;
        Ok(())
    }
}
