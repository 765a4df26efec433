//! Cuts an export into parts: a type, or where a type is very large a range of its keys, and one for what was deleted.

use fhirhose_fhir::export_request::ExportRequest;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::Store;
use fhirhose_store::catalog::KeyRange;

use super::state::{Part, Work};
use super::wanted::Wanted;
use crate::Result;

/// Plans the parts, sorted by type and key; types of which nothing would be shown have none.
pub(super) async fn plan(
    store: &Store,
    request: &ExportRequest,
    wanted: &Wanted,
    part_bytes: u64,
) -> Result<Vec<Part>> {
    let mut types = match &request.types {
        Some(types) => types.clone(),
        None => ResourceType::all().collect(),
    };
    types.sort_unstable_by_key(|resource_type| resource_type.name());
    let scans: Vec<_> = types
        .iter()
        .map(|resource_type| wanted.scan(*resource_type, wanted.range(*resource_type)))
        .collect();
    let outlines = store.outline(&scans, part_bytes.max(1)).await?;
    let mut parts = Vec::new();
    for ((resource_type, scan), outline) in types.into_iter().zip(scans).zip(outlines) {
        if outline.text_bytes_max == 0 {
            continue;
        }
        let share = outline.text_bytes_max / (outline.cuts.len() as u64 + 1);
        for range in split(scan.range, outline.cuts) {
            parts.push(Part::new(Work::Resources { resource_type, range }, share));
        }
    }
    if request.since.is_some() {
        parts.push(Part::new(Work::Deletions, 0));
    }
    Ok(parts)
}

fn split(range: KeyRange, cuts: Vec<Vec<u8>>) -> Vec<KeyRange> {
    let mut ranges = Vec::with_capacity(cuts.len() + 1);
    let mut from = range.from;
    for cut in cuts {
        ranges.push(KeyRange {
            from: std::mem::replace(&mut from, cut.clone()),
            to: Some(cut),
        });
    }
    ranges.push(KeyRange { from, to: range.to });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_ranges_touch_and_cover_the_whole() {
        let range = KeyRange {
            from: vec![7],
            to: Some(vec![8]),
        };
        let ranges = split(range, vec![vec![7, 3], vec![7, 9]]);
        let ends: Vec<_> = ranges
            .iter()
            .map(|range| (range.from.clone(), range.to.clone()))
            .collect();
        let expected = [
            (vec![7], Some(vec![7, 3])),
            (vec![7, 3], Some(vec![7, 9])),
            (vec![7, 9], Some(vec![8])),
        ];
        assert_eq!(ends, expected);
    }
}
