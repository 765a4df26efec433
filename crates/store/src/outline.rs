//! Says what scans would read, from the footers of the runs alone, so that work can be measured and cut before it is done.
//!
//! An [`Outline`] gives upper bounds: blocks hold rows that a selection leaves out and versions that have ended. What it says
//! depends on the layout, which a flush or a compaction changes; what the scans show does not.

use crate::catalog::CatalogStats;
use crate::scan::{RunHandle, ScanRequest, choose_blocks};
use crate::store::Store;
use crate::{Error, ErrorKind, Result};

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
        let hot = self.catalog().stats().await?;
        let mut outlines = Vec::with_capacity(requests.len());
        for request in requests {
            outlines.push(self.outline_hot(request, &hot).await?);
        }
        let (snapshot, after) = (first.snapshot, first.after);
        let runs = self
            .layout(|run| run.oldest <= snapshot && run.newest > after)
            .await?;
        for (request, outline) in requests.iter().zip(&mut outlines) {
            outline_runs(&runs, request, part_bytes, outline);
        }
        Ok(outlines)
    }

    async fn outline_hot(&self, request: &ScanRequest, hot: &CatalogStats) -> Result<Outline> {
        // One row tells whether there are any; how many of them are of this type is not worth reading them all.
        if hot.hot_rows == 0 || self.catalog().hot(&request.range, 1).await?.is_empty() {
            return Ok(Outline::default());
        }
        Ok(Outline {
            rows_max: hot.hot_rows,
            text_bytes_max: hot.hot_bytes,
            cuts: Vec::new(),
        })
    }
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
