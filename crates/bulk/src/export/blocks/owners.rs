//! Ranges of owners across types, and where to cut them: [`OwnerRange`], [`cut`].

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{Store, key};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::export::wanted::Wanted;

/// A stretch is put together from pieces of about this part of its text.
const GRAINS: u64 = 16;

/// A half-open range of patients as encoded owners; `to` of `None` is the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::export) struct OwnerRange {
    pub(super) from: Vec<u8>,
    pub(super) to: Option<Vec<u8>>,
}

impl OwnerRange {
    /// All owners, without the rows that have none.
    pub(super) fn all() -> Self {
        let mut none = Vec::new();
        key::push_owner(None, &mut none);
        let from = key::after_prefix(&none).expect("owners come after the mark of having none");
        Self { from, to: None }
    }

    /// One owner.
    pub(super) fn one(owner: &[u8]) -> Self {
        Self {
            from: owner.to_vec(),
            to: key::after_prefix(owner),
        }
    }

    /// The rows of a type that the owners have.
    pub(super) fn keys(&self, resource_type: ResourceType) -> KeyRange {
        let code = [resource_type.code()];
        let to = self.to.as_ref().map(|to| [&code, to.as_slice()].concat());
        KeyRange {
            from: [&code, self.from.as_slice()].concat(),
            to: to.or_else(|| key::after_prefix(&code)),
        }
    }

    /// Cuts it before each of the owners, which rise and lie within it.
    pub(super) fn split(self, before: impl IntoIterator<Item = Vec<u8>>) -> Vec<Self> {
        let mut ranges = Vec::new();
        let mut rest = self;
        for owner in before {
            ranges.push(Self {
                from: std::mem::replace(&mut rest.from, owner.clone()),
                to: Some(owner),
            });
        }
        ranges.push(rest);
        ranges
    }

    /// Whether an owner lies within it, but not at its beginning.
    fn is_inner(&self, owner: &[u8]) -> bool {
        owner > self.from.as_slice() && self.to.as_deref().is_none_or(|to| owner < to)
    }
}

/// A range of owners in pieces.
pub(super) struct Cut {
    /// The types of which they have something.
    pub(super) types: Vec<ResourceType>,
    pub(super) ranges: Vec<OwnerRange>,
    /// An upper bound of the text of all.
    pub(super) text_bytes: u64,
}

/// Cuts a range where the types' text together comes to about `bytes`, by the footers alone. The types keep their order.
pub(super) async fn cut(
    store: &Store,
    wanted: &Wanted,
    types: &[ResourceType],
    range: OwnerRange,
    bytes: u64,
) -> Result<Cut> {
    let scans: Vec<_> = types
        .iter()
        .map(|each| wanted.scan(*each, range.keys(*each)))
        .collect();
    let outlines = store.outline(&scans, (bytes / GRAINS).max(1)).await?;
    let mut cut = Cut {
        types: Vec::new(),
        ranges: Vec::new(),
        text_bytes: 0,
    };
    let mut marks: Vec<(Vec<u8>, u64)> = Vec::new();
    for (resource_type, outline) in types.iter().zip(outlines) {
        if outline.text_bytes_max == 0 {
            continue;
        }
        cut.types.push(*resource_type);
        cut.text_bytes += outline.text_bytes_max;
        let piece = outline.text_bytes_max / (outline.cuts.len() as u64 + 1);
        marks.extend(
            outline
                .cuts
                .iter()
                .filter_map(|key| Some((owner_of(key)?.to_vec(), piece))),
        );
    }
    marks.sort_unstable();
    let (mut before, mut cuts) = (0, Vec::<Vec<u8>>::new());
    for (owner, piece) in marks {
        before += piece;
        let is_new = cuts.last().is_none_or(|last| *last < owner) && range.is_inner(&owner);
        if before >= bytes && is_new {
            before = 0;
            cuts.push(owner);
        }
    }
    cut.ranges = range.split(cuts);
    Ok(cut)
}

/// The owner in a key of type ‖ owner ‖ id.
pub(super) fn owner_of(key: &[u8]) -> Option<&[u8]> {
    let rest = key.get(1..)?;
    let (_, id) = key::split_owner(rest)?;
    Some(&rest[..rest.len() - id.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_range_touch_and_cover_the_whole() {
        let pieces = OwnerRange::all().split([vec![1, 5], vec![2]]);
        let ends: Vec<_> = pieces
            .iter()
            .map(|range| (range.from.clone(), range.to.clone()))
            .collect();
        let expected = [
            (vec![1], Some(vec![1, 5])),
            (vec![1, 5], Some(vec![2])),
            (vec![2], None),
        ];
        assert_eq!(ends, expected);
    }

    #[test]
    fn the_last_range_of_owners_ends_with_the_type() {
        let keys = OwnerRange::all().keys(ResourceType::PATIENT);
        assert_eq!(keys.to, KeyRange::of_type(ResourceType::PATIENT).to);
        assert!(keys.from > KeyRange::of_type(ResourceType::PATIENT).from);
    }
}
