//! Says what scans would read, from the footers of the runs alone, so that work can be measured and cut before it is done.
//!
//! An [`Outline`] gives upper bounds: blocks hold rows that a selection leaves out and versions that have ended. What it says
//! depends on the layout, which a flush or a compaction changes; what the scans show does not.

use crate::catalog::KeyRange;
use crate::scan::{RunHandle, ScanRequest, choose_blocks};
use crate::store::Store;
use crate::{Error, ErrorKind, Result, key};
use std::collections::BTreeSet;

/// For each cut that is wanted, so many places are looked at: parts differ in size by about this part of one.
const MARKS_PER_CUT: u64 = 32;

/// What a scan would read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Rows of the blocks that would be read; interactive rows of other types count too.
    pub rows_max: u64,
    /// Text of these rows, in bytes. Zero means that the scan shows nothing.
    pub text_bytes_max: u64,
    /// Keys that cut the range into parts of about equal text, rising, each strictly within the range.
    pub cuts: Vec<Vec<u8>>,
}

/// The first key of a stretch of blocks, and their text.
struct Mark<'a> {
    key: &'a [u8],
    text_bytes: u64,
}

impl Store {
    /// Outlines scans of one snapshot, and cuts each into parts of about `part_bytes` of text.
    ///
    /// All requests have the snapshot and the `after` of the first. Memory: some dozen keys per part.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a range that is not within one type, or a `part_bytes` of 0; what reading gives.
    pub async fn outline(&self, requests: &[ScanRequest], part_bytes: u64) -> Result<Vec<Outline>> {
        let Some(first) = requests.first() else {
            return Ok(Vec::new());
        };
        if part_bytes == 0 || requests.iter().any(|request| request.range.from.is_empty()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "outlining a range that is not within one type, or parts of 0 bytes",
            ));
        }
        // As a scan does: interactive rows first, then the runs, so that a flush in between hides nothing.
        let hot = self.hot_types().await?;
        let of_hot = Outline {
            rows_max: hot.rows,
            text_bytes_max: hot.bytes,
            cuts: Vec::new(),
        };
        let is_hot = |request: &ScanRequest| hot.types.contains(&request.range.from[0]);
        let mut outlines: Vec<Outline> = requests
            .iter()
            .map(|request| {
                if is_hot(request) {
                    of_hot.clone()
                } else {
                    Outline::default()
                }
            })
            .collect();
        let (snapshot, after) = (first.snapshot, first.after);
        let runs = self
            .layout(|run| run.oldest <= snapshot && run.newest > after)
            .await?;
        for (request, outline) in requests.iter().zip(&mut outlines) {
            outline_runs(&runs, request, part_bytes, outline);
        }
        Ok(outlines)
    }

    /// Which types have interactive rows, found by skipping from one to the next, and how many rows of all types there are.
    async fn hot_types(&self) -> Result<HotTypes> {
        let mut types = BTreeSet::new();
        let mut from = vec![0];
        while let Some(row) = self.catalog().hot(&KeyRange { from, to: None }, 1).await?.first() {
            types.insert(row.key[0]);
            match key::after_prefix(&row.key[..1]) {
                Some(next) => from = next,
                None => break,
            }
        }
        if types.is_empty() {
            return Ok(HotTypes::default());
        }
        let stats = self.catalog().stats().await?;
        // A flush may just have emptied the count; the rows that were seen are somewhere all the same.
        Ok(HotTypes {
            types,
            rows: stats.hot_rows.max(1),
            bytes: stats.hot_bytes.max(1),
        })
    }
}

/// The types of interactive rows, and the sums over all of them.
#[derive(Default)]
struct HotTypes {
    types: BTreeSet<u8>,
    rows: u64,
    bytes: u64,
}

fn outline_runs(runs: &[RunHandle], request: &ScanRequest, part_bytes: u64, outline: &mut Outline) {
    let code = request.range.from[0];
    let holds_type = |handle: &&RunHandle| {
        handle
            .record
            .summary
            .types
            .iter()
            .any(|count| count.resource_type.code() == code)
    };
    let chosen: Vec<(&RunHandle, Vec<usize>)> = runs
        .iter()
        .filter(holds_type)
        .map(|handle| (handle, choose_blocks(handle, request)))
        .collect();
    for (handle, blocks) in &chosen {
        for &at in blocks {
            let block = &handle.run.blocks()[at];
            outline.rows_max += u64::from(block.rows);
            outline.text_bytes_max += u64::from(block.text_bytes);
        }
    }
    let parts = outline.text_bytes_max.div_ceil(part_bytes);
    if parts > 1 {
        outline.cuts = cuts(&chosen, outline.text_bytes_max, parts);
        let range = &request.range;
        outline
            .cuts
            .retain(|cut| *cut > range.from && range.contains(cut));
    }
}

/// Walks the blocks of all runs in key order and cuts where the next part's share of the text begins.
fn cuts(chosen: &[(&RunHandle, Vec<usize>)], text_bytes: u64, parts: u64) -> Vec<Vec<u8>> {
    let mut marks = marks(chosen, text_bytes / (parts * MARKS_PER_CUT));
    marks.sort_by(|a, b| a.key.cmp(b.key));
    let mut cuts: Vec<Vec<u8>> = Vec::new();
    let mut before = 0u128;
    for mark in marks {
        let part = before * u128::from(parts) / u128::from(text_bytes.max(1));
        if part > cuts.len() as u128 && cuts.last().is_none_or(|last| last.as_slice() < mark.key) {
            cuts.push(mark.key.to_vec());
        }
        before += u128::from(mark.text_bytes);
    }
    cuts
}

/// Takes neighbouring blocks of a run together until they have `grain_bytes` of text.
fn marks<'a>(chosen: &'a [(&RunHandle, Vec<usize>)], grain_bytes: u64) -> Vec<Mark<'a>> {
    let mut marks = Vec::new();
    for (handle, blocks) in chosen {
        let mut open: Option<Mark<'a>> = None;
        for &at in blocks {
            let mark = open.get_or_insert_with(|| Mark {
                key: handle.run.first_key(at),
                text_bytes: 0,
            });
            mark.text_bytes += u64::from(handle.run.blocks()[at].text_bytes);
            if mark.text_bytes >= grain_bytes {
                marks.extend(open.take());
            }
        }
        marks.extend(open);
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, Workload, import};
    use crate::{Selection, Sequence, StoreSettings};
    use fhirhose_fhir::resource_type::ResourceType;
    use fhirhose_jobs::SystemClock;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    fn request(resource_type: ResourceType, snapshot: Sequence, after: Sequence) -> ScanRequest {
        let range = KeyRange::of_type(resource_type);
        ScanRequest {
            range,
            snapshot,
            after,
            selection: Selection::All,
        }
    }

    async fn ids(store: &Store, request: ScanRequest) -> Vec<String> {
        let scan = store.scan(request).await.expect("a scan");
        let read = move || {
            let mut ids = Vec::new();
            let mut visit = |row: crate::StoredRow<'_>| {
                ids.push(row.id.to_owned());
                Ok(ControlFlow::Continue(()))
            };
            scan.for_each(&mut visit).map(|()| ids)
        };
        tokio::task::spawn_blocking(read)
            .await
            .expect("no panic")
            .expect("rows")
    }

    /// Three runs of one to two blocks a row.
    async fn three_runs() -> (Store, Sequence) {
        let mut settings = StoreSettings::default();
        settings.run.block_bytes = 1 << 10;
        let store = Store::in_memory(Arc::new(SystemClock), settings).expect("a store");
        let mut rng = Rng::new(5);
        let mut newest = Sequence::ZERO;
        for number in 0..3 {
            let rows = (0..200).map(|row| Workload {
                resource_type: ResourceType::OBSERVATION,
                owner: Some(format!("p{}", rng.below(50))),
                id: format!("r{number}-{row}"),
                value: row,
            });
            let rows: Vec<Workload> = rows.collect();
            let committed = import(&store, &format!("{number}.run"), &rows)
                .await
                .expect("an import");
            newest = committed.snapshot.sequence;
        }
        (store, newest)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_between_cuts_are_the_whole_and_about_equal() {
        let (store, newest) = three_runs().await;
        let whole = request(ResourceType::OBSERVATION, newest, Sequence::ZERO);
        let outline = store
            .outline(std::slice::from_ref(&whole), 5_000)
            .await
            .expect("an outline")
            .remove(0);
        assert_eq!(outline.rows_max, 600);
        assert_eq!(
            outline.cuts.len() as u64 + 1,
            outline.text_bytes_max.div_ceil(5_000)
        );
        let mut starts = vec![whole.range.from.clone()];
        starts.extend(outline.cuts);
        assert!(starts.is_sorted_by(|a, b| a < b), "cuts rise, within the range");
        let mut found = Vec::new();
        for (number, from) in starts.iter().enumerate() {
            let to = starts.get(number + 1).cloned().or_else(|| whole.range.to.clone());
            let range = KeyRange {
                from: from.clone(),
                to,
            };
            let part = ids(
                &store,
                ScanRequest {
                    range,
                    ..whole.clone()
                },
            )
            .await;
            let equal = 600 / starts.len();
            assert!(
                (equal / 2..equal * 2).contains(&part.len()),
                "part {number} has {} rows",
                part.len()
            );
            found.extend(part);
        }
        assert_eq!(found, ids(&store, whole).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_outline_is_empty_where_a_scan_shows_nothing() {
        let (store, newest) = three_runs().await;
        let requests = [
            request(ResourceType::OBSERVATION, newest, newest),
            request(ResourceType::OBSERVATION, newest, Sequence(newest.0 - 1)),
            request(ResourceType::PATIENT, newest, Sequence::ZERO),
        ];
        let outlines = store.outline(&requests[..1], 1 << 20).await.expect("an outline");
        assert_eq!(outlines, [Outline::default()], "nothing is newer");
        let outlines = store.outline(&requests[1..2], 1 << 20).await.expect("an outline");
        assert_eq!(outlines[0].rows_max, 200, "only the newest run");
        let outlines = store.outline(&requests[2..], 1 << 20).await.expect("an outline");
        assert_eq!(outlines, [Outline::default()], "no such type");
    }
}
