//! Cuts an export into parts: a type, or where a type is very large a range of its keys, and one for what was deleted.

use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::KeyRange;
use fhirhose_store::{ScanRequest, Selection, Sequence, Store};

use super::blocks;
use super::helpers::helper_types;
use super::names::series;
use super::provenance::unowned_range;
use super::spec::ExportSpec;
use super::state::{Part, State, Work};
use super::wanted::{Times, Wanted};
use crate::Result;

/// Plans the parts, sorted by type and key, those of deletions last; types of which nothing would be shown have none.
pub(super) async fn plan(
    store: &Store,
    spec: &ExportSpec,
    wanted: &Wanted,
    state: &State,
    part_bytes: u64,
) -> Result<Vec<Part>> {
    let request = &spec.request;
    if let Some(by) = request.organize_output_by {
        let mut parts = blocks::plan(store, spec, (wanted, state), by, part_bytes.max(1)).await?;
        if request.since.is_some() {
            parts.push(Part::new(Work::Deletions, 0));
        }
        return Ok(parts);
    }
    let mut planner = Planner {
        store,
        wanted,
        part_bytes: part_bytes.max(1),
        parts: Vec::new(),
    };
    let types = types(spec);
    let whole = State::at(state.snapshot, Sequence::ZERO);
    planner.add_ranges(Times::Asked, &types).await?;
    if wanted.has_joined() {
        planner.add_ranges(Times::BeforeJoining, &types).await?;
    }
    let of_patients = request.level != ExportLevel::System;
    if of_patients && types.contains(&ResourceType::PROVENANCE) {
        planner.add_unowned(Times::Asked, state).await?;
        if wanted.has_joined() {
            planner.add_unowned(Times::BeforeJoining, &whole).await?;
        }
    }
    if request.associated_data != AssociatedData::Default && spec.grants(ResourceType::PROVENANCE) {
        let range = KeyRange::of_type(ResourceType::PROVENANCE);
        planner.add_if_any(Work::Associated, range, &whole).await?;
    }
    if spec.helper_resources {
        for resource_type in helper_types(spec) {
            let range = KeyRange::of_type(resource_type);
            planner
                .add_if_any(Work::Helpers { resource_type }, range, &whole)
                .await?;
        }
    }
    let mut parts = planner.parts;
    parts.sort_by_key(|part| series(&part.work).1);
    if request.since.is_some() {
        parts.push(Part::new(Work::Deletions, 0));
    }
    Ok(parts)
}

/// The types that are asked for and may come, whose resources are taken by what they are.
pub(super) fn types(spec: &ExportSpec) -> Vec<ResourceType> {
    let request = &spec.request;
    let mut types: Vec<_> = ResourceType::all().filter(|each| spec.may_hold(*each)).collect();
    // Content of patients comes as attachments, not as Binary (K-12).
    types.retain(|each| request.level == ExportLevel::System || *each != ResourceType::BINARY);
    if request.associated_data != AssociatedData::Default {
        types.retain(|each| *each != ResourceType::PROVENANCE);
    }
    types.sort_unstable_by_key(|resource_type| resource_type.name());
    types
}

struct Planner<'a> {
    store: &'a Store,
    wanted: &'a Wanted,
    part_bytes: u64,
    parts: Vec<Part>,
}

impl Planner<'_> {
    /// Adds the ranges of each type that have something to show.
    async fn add_ranges(&mut self, times: Times, types: &[ResourceType]) -> Result<()> {
        let scans: Vec<_> = types
            .iter()
            .map(|resource_type| {
                self.wanted
                    .scan_of(times, *resource_type, self.wanted.range(*resource_type))
            })
            .collect();
        let outlines = self.store.outline(&scans, self.part_bytes).await?;
        for ((&resource_type, scan), outline) in types.iter().zip(scans).zip(outlines) {
            if outline.text_bytes_max == 0 {
                continue;
            }
            let share = outline.text_bytes_max / (outline.cuts.len() as u64 + 1);
            for range in split(scan.range, outline.cuts) {
                let work = match times {
                    Times::Asked => Work::Resources { resource_type, range },
                    Times::BeforeJoining => Work::Joined { resource_type, range },
                };
                self.parts.push(Part::new(work, share));
            }
        }
        Ok(())
    }

    /// Adds the ranges of Provenance without an owner.
    async fn add_unowned(&mut self, times: Times, state: &State) -> Result<()> {
        let scan = whole_range(unowned_range(), state);
        let outlines = self
            .store
            .outline(std::slice::from_ref(&scan), self.part_bytes)
            .await?;
        for outline in outlines.into_iter().filter(|outline| outline.text_bytes_max > 0) {
            let share = outline.text_bytes_max / (outline.cuts.len() as u64 + 1);
            for range in split(scan.range.clone(), outline.cuts) {
                self.parts.push(Part::new(Work::Unowned { range, times }, share));
            }
        }
        Ok(())
    }

    /// Adds a part that reads a range, unless there is nothing in it.
    async fn add_if_any(&mut self, work: Work, range: KeyRange, state: &State) -> Result<()> {
        let outlines = self.store.outline(&[whole_range(range, state)], u64::MAX).await?;
        if outlines.iter().any(|outline| outline.text_bytes_max > 0) {
            self.parts.push(Part::new(work, 0));
        }
        Ok(())
    }
}

/// The scan of all rows of a range.
fn whole_range(range: KeyRange, state: &State) -> ScanRequest {
    ScanRequest {
        range,
        snapshot: state.snapshot.sequence,
        after: state.after,
        selection: Selection::All,
    }
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
