//! The names that clients see: [`Numbers`] counts the files of each kind and type.

use std::collections::BTreeMap;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::OutputFile;

use super::result::{FileKind, ResultFile};
use super::spec::Target;
use super::state::{Part, Work};

/// What a file is called before its number is known: its kind, and the type of its lines if that is one.
pub(super) type Series = (FileKind, Option<&'static str>);

/// Files of a part that belong together: each but the last ends within a block that goes on in the next. Mostly one.
pub(super) type Chain = Vec<OutputFile>;

/// The last number that each series gave.
pub(super) struct Numbers<'a> {
    given: BTreeMap<(FileKind, Option<String>), u64>,
    target: &'a Target,
}

impl<'a> Numbers<'a> {
    /// Begins at 1 in each series.
    pub(super) fn new(target: &'a Target) -> Self {
        Self {
            given: BTreeMap::new(),
            target,
        }
    }

    /// Goes on after a file that has its name already.
    pub(super) fn skip(&mut self, file: &ResultFile) {
        *self
            .given
            .entry((file.kind, file.resource_type.clone()))
            .or_default() += 1;
    }

    /// Names the files of a chain.
    pub(super) fn name(&mut self, series: Series, chain: Chain) -> Vec<ResultFile> {
        let (kind, type_name) = series;
        let resource_type = type_name.map(str::to_owned);
        let last = self.given.entry((kind, resource_type.clone())).or_default();
        let first = *last + 1;
        *last += chain.len() as u64;
        let last = *last;
        let files = (first..).zip(chain).map(|(number, file)| ResultFile {
            kind,
            resource_type: resource_type.clone(),
            name: file_name(series, number, self.target),
            stored_name: file.name,
            count: file.rows,
            bytes: file.bytes,
            stored_bytes: file.stored_bytes,
            sha256: file.sha256,
            severities: Vec::new(),
            continues_in_file: (number < last).then(|| file_name(series, number + 1, self.target)),
        });
        files.collect()
    }
}

/// The series of a part's files.
pub(super) fn series(work: &Work) -> Series {
    match work {
        Work::Resources { resource_type, .. }
        | Work::Joined { resource_type, .. }
        | Work::Helpers { resource_type } => (FileKind::Output, Some(resource_type.name())),
        Work::Unowned { .. } | Work::Associated => (FileKind::Output, Some(ResourceType::PROVENANCE.name())),
        Work::Blocks(_) => (FileKind::Output, None),
        Work::Deletions => (FileKind::Deleted, Some("Bundle")),
    }
}

/// The files of a part, chain by chain.
pub(super) fn chains(part: &Part) -> Vec<Chain> {
    let mut chains = Vec::new();
    let mut open = Chain::new();
    for (at, file) in part.files.iter().enumerate() {
        open.push(file.clone());
        if part.continued.binary_search(&at).is_err() {
            chains.push(std::mem::take(&mut open));
        }
    }
    chains
}

/// Names the files of all parts, numbered from 1 for each series in the order of the parts.
pub(super) fn number_files(parts: &[Part], target: &Target) -> Vec<ResultFile> {
    let mut numbers = Numbers::new(target);
    let mut files = Vec::new();
    for part in parts {
        for chain in chains(part) {
            files.extend(numbers.name(series(&part.work), chain));
        }
    }
    files
}

fn file_name((kind, type_name): Series, number: u64, target: &Target) -> String {
    let type_name = type_name.unwrap_or("output");
    match (kind, target) {
        (FileKind::Output, _) => format!("{number}.{type_name}.ndjson"),
        (FileKind::Deleted, Target::Outputs) => format!("{number}.{type_name}.deleted.ndjson"),
        (FileKind::Error, Target::Outputs) => format!("{number}.{type_name}.error.ndjson"),
        (FileKind::Deleted, Target::Folder(_)) => format!("deleted/{number}.{type_name}.ndjson"),
        (FileKind::Error, Target::Folder(_)) => format!("error/{number}.{type_name}.ndjson"),
    }
}
