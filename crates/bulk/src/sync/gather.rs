//! Reads what was fetched, and makes of each line a short record: which resource, how new, which content, and whether it is taken.
//!
//! A record is a line `Type/id ⇥ kind ⇥ lastUpdated ⇥ ordinal ⇥ hash ⇥ patients`. The ordinal numbers all lines of all files; by it a
//! line is found again when the files are read the second time.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use fhirhose_fhir::content_hash::{ContentHasher, Ignoring};
use fhirhose_fhir::id::is_valid_id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::line::{CheckedLine, Glancer, LineChecker, LineLimits};
use fhirhose_fhir::resource_type::ResourceType;
use serde::Deserialize;

use super::deletions::deletions;
use super::filter::LocalFilter;
use super::lines::{Line, Lines};
use super::records::{Sorted, Sorter};
use super::reports::Reports;
use super::source::SourceFile;
use crate::{Error, ErrorKind, Result};

/// Bytes of a content hash that the ledger keeps, as twice as many hexadecimal digits.
const HASH_BYTES: usize = 16;

/// What a record says of its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text to be taken.
    Taken,
    /// A text that the target has refused in an earlier round.
    Pending,
    /// A text that the filter does not let through.
    Filtered,
    /// An incomplete text (CL-15).
    Subsetted,
    /// A text that cannot be taken: the source has the resource nevertheless.
    Refused,
    /// A deletion.
    Gone,
    /// A deletion that the target has refused in an earlier round.
    PendingGone,
}

impl Kind {
    const ALL: [(Self, u8); 7] = [
        (Self::Taken, b't'),
        (Self::Pending, b'p'),
        (Self::Filtered, b'f'),
        (Self::Subsetted, b's'),
        (Self::Refused, b'r'),
        (Self::Gone, b'g'),
        (Self::PendingGone, b'q'),
    ];

    fn code(self) -> u8 {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or(b'?', |(_, code)| *code)
    }
}

/// One record, read back.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) key: String,
    pub(super) kind: Kind,
    /// `meta.lastUpdated` in microseconds since 1970; the least number where there is none.
    pub(super) updated: i64,
    pub(super) ordinal: u64,
    /// As in an [`Entry`](super::ledger::Entry).
    pub(super) hash: String,
    pub(super) owners: String,
}

impl Record {
    /// Whether its text is an incomplete one (CL-15), also where the filter does not let it through.
    pub(super) fn is_subsetted(&self) -> bool {
        self.hash.starts_with('s')
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        let broken = || Error::new(ErrorKind::Corrupt, "a record of a round cannot be read");
        let text = std::str::from_utf8(line).map_err(|source| broken().with_source(source))?;
        let fields: Vec<&str> = text.split('\t').collect();
        let [key, kind, updated, ordinal, hash, owners] = fields.as_slice() else {
            return Err(broken());
        };
        let code = kind.bytes().next();
        let kind = Kind::ALL.iter().find(|(_, each)| Some(*each) == code);
        Ok(Self {
            key: (*key).to_owned(),
            kind: kind.ok_or_else(broken)?.0,
            updated: updated.parse().map_err(|_| broken())?,
            ordinal: ordinal.parse().map_err(|_| broken())?,
            hash: (*hash).to_owned(),
            owners: (*owners).to_owned(),
        })
    }
}

/// One file of resources, as it was read.
#[derive(Debug, Clone)]
pub(super) struct GatheredFile {
    pub(super) path: PathBuf,
    /// The ordinal of its first line.
    pub(super) first: u64,
    /// Its lines that are not blank.
    pub(super) lines: u64,
    /// The type of all its lines, if they have one.
    pub(super) resource_type: Option<ResourceType>,
}

/// All records, and the files behind them.
pub(super) struct Gathered {
    pub(super) records: Sorted,
    pub(super) files: Vec<GatheredFile>,
    pub(super) lines: u64,
}

/// How files are read.
pub(super) struct Gathering<'a> {
    pub(super) filter: &'a LocalFilter,
    pub(super) line_bytes_max: usize,
    pub(super) sort_bytes: usize,
    /// Whether the patients are wanted to whom a resource belongs.
    pub(super) with_owners: bool,
    pub(super) reports: &'a Reports,
}

impl Gathering<'_> {
    /// Reads all files; `folder` is for sorting.
    pub(super) fn gather(&self, files: &[SourceFile], folder: &Path) -> Result<Gathered> {
        let mut pass = Pass {
            how: self,
            sorter: Sorter::new(folder, self.sort_bytes)?,
            glancer: Glancer::default(),
            checker: LineChecker::new(LineLimits {
                line_bytes_max: self.line_bytes_max,
                ..LineLimits::default()
            }),
            hasher: ContentHasher::default(),
            ordinal: 0,
            record: Vec::new(),
        };
        let mut gathered = Vec::new();
        for file in files {
            match file.is_deletions {
                true => pass.read_deletions(file)?,
                false => gathered.push(pass.read_resources(file)?),
            }
        }
        Ok(Gathered {
            records: pass.sorter.finish()?,
            files: gathered,
            lines: pass.ordinal,
        })
    }
}

struct Pass<'a> {
    how: &'a Gathering<'a>,
    sorter: Sorter,
    glancer: Glancer,
    checker: LineChecker,
    hasher: ContentHasher,
    ordinal: u64,
    record: Vec<u8>,
}

impl Pass<'_> {
    fn read_resources(&mut self, file: &SourceFile) -> Result<GatheredFile> {
        let first = self.ordinal;
        let mut lines = Lines::open(&file.path, self.how.line_bytes_max)?;
        let (mut one_type, mut mixed) = (None, false);
        while let Some(line) = lines.next_line()? {
            match line {
                Line::Overlong => self
                    .how
                    .reports
                    .refuse(b"", "the line is longer than is allowed")?,
                Line::Text(text) => {
                    let resource_type = self.read_resource(text, file.is_pending)?;
                    mixed |= one_type.is_some_and(|one| Some(one) != resource_type);
                    one_type = one_type.or(resource_type);
                }
            }
            self.ordinal += 1;
        }
        Ok(GatheredFile {
            path: file.path.clone(),
            first,
            lines: self.ordinal - first,
            resource_type: one_type.filter(|_| !mixed),
        })
    }

    /// Gives the type, unless the line is refused.
    fn read_resource(&mut self, text: &[u8], is_pending: bool) -> Result<Option<ResourceType>> {
        let checked = match self.checker.check(text, None) {
            Ok(checked) => checked,
            Err(refusal) => {
                self.refuse(text, &refusal.to_string())?;
                return Ok(None);
            }
        };
        let hash = match self.hasher.hash(text, Ignoring::SERVER_META) {
            Ok(hash) => hash,
            Err(error) => {
                self.refuse(text, &error.to_string())?;
                return Ok(None);
            }
        };
        let updated = last_updated(&checked, text);
        let kind = match checked {
            _ if !self.how.filter.passes(checked.resource_type, text, updated) => Kind::Filtered,
            _ if checked.subsetted => Kind::Subsetted,
            _ if is_pending => Kind::Pending,
            _ => Kind::Taken,
        };
        let updated = updated.map_or(i64::MIN, Instant::micros);
        let mark = if checked.subsetted { "s" } else { "" };
        self.record.clear();
        let (name, id, code) = (checked.resource_type.name(), checked.id, char::from(kind.code()));
        let ordinal = self.ordinal;
        let _ = write!(self.record, "{name}/{id}\t{code}\t{updated}\t{ordinal}\t{mark}");
        for byte in &hash.0[..HASH_BYTES] {
            let _ = write!(self.record, "{byte:02x}");
        }
        self.record.push(b'\t');
        if self.how.with_owners {
            let owners = checked.owner.into_iter().chain(checked.other_patients.iter());
            self.record
                .extend_from_slice(owners.collect::<Vec<_>>().join(",").as_bytes());
        }
        let resource_type = checked.resource_type;
        self.sorter.push(&self.record)?;
        Ok(Some(resource_type))
    }

    /// Reports a line, and notes that its resource is there, if the line says which it is: it must not count as gone.
    fn refuse(&mut self, text: &[u8], why: &str) -> Result<()> {
        self.how.reports.refuse(text, why)?;
        let Ok(glance) = self.glancer.glance(text) else {
            return Ok(());
        };
        let resource_type = glance.resource_type().and_then(|name| ResourceType::parse(&name));
        let id = glance.id().filter(|id| is_valid_id(id.as_bytes()));
        let (Some(resource_type), Some(id)) = (resource_type, id) else {
            return Ok(());
        };
        self.record.clear();
        let (name, code, updated) = (resource_type.name(), char::from(Kind::Refused.code()), i64::MIN);
        let _ = write!(self.record, "{name}/{id}\t{code}\t{updated}\t0\t-\t");
        self.sorter.push(&self.record)
    }

    fn read_deletions(&mut self, file: &SourceFile) -> Result<()> {
        let kind = if file.is_pending {
            Kind::PendingGone
        } else {
            Kind::Gone
        };
        let code = char::from(kind.code());
        let mut lines = Lines::open(&file.path, self.how.line_bytes_max)?;
        while let Some(line) = lines.next_line()? {
            let Line::Text(text) = line else {
                self.how
                    .reports
                    .refuse(b"", "the line is longer than is allowed")?;
                continue;
            };
            let mut gone = Vec::new();
            if let Err(why) = deletions(text, &mut gone) {
                self.how.reports.refuse(text, why)?;
            }
            for (resource_type, id) in gone {
                self.record.clear();
                let name = resource_type.name();
                let _ = write!(self.record, "{name}/{id}\t{code}\t{}\t0\t-\t", i64::MIN);
                self.sorter.push(&self.record)?;
            }
        }
        Ok(())
    }
}

/// `meta.lastUpdated`, if it is there and can be read.
fn last_updated(checked: &CheckedLine<'_>, line: &[u8]) -> Option<Instant> {
    #[derive(Deserialize)]
    struct Meta {
        #[serde(rename = "lastUpdated")]
        last_updated: Option<String>,
    }
    let meta: Meta = serde_json::from_slice(checked.meta.text(line)?).ok()?;
    Instant::parse(&meta.last_updated?).ok()
}
