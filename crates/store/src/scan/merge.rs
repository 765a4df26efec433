//! Merges sorted sources of rows (runs and interactive rows) into one sorted stream.
//!
//! A run is read block by block, only the blocks that were chosen, many in one go; a block is decoded
//! when the merge reaches it. While one source is ahead of all others by owner, its rows go out without a comparison:
//! files come in patient by patient, so this is the common case.
//!
//! Everything here waits for the disk and burns processor: it runs on a blocking thread.

use super::RunHandle;
use crate::catalog::HotRow;
use crate::run::{Block, BlockRow};
use crate::{Error, ErrorKind, Result, Sequence};
use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::Splice;
use object_store::ObjectStore;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Compressed bytes of wanted blocks that are read in one go.
const READ_BYTES: u64 = 512 << 10;

/// One version of a resource as it lies in the store.
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'a> {
    /// The patient whose compartment it sits in, as an encoded key part.
    pub owner_key: &'a [u8],
    /// The resource's id.
    pub id: &'a str,
    /// Where the id stands in the body.
    pub id_at: u32,
    /// The stored text.
    pub body: &'a [u8],
    /// Where version and time are spliced in.
    pub splice: Splice,
    /// The commit that wrote it.
    pub sequence: Sequence,
    /// When.
    pub instant: Instant,
}

/// Where a row came from, for the filters above the merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The run with this number, the row with this ordinal.
    Run { run: usize, ordinal: u64 },
    /// An interactive row.
    Hot,
}

/// Sources merged by owner, id and sequence.
pub(crate) struct Merge {
    sources: Vec<Source>,
}

enum Source {
    Run(Box<RunSource>),
    Hot {
        rows: VecDeque<HotRow>,
        owner_key: Vec<u8>,
        id: String,
    },
}

struct RunSource {
    number: usize,
    handle: RunHandle,
    files: Arc<dyn ObjectStore>,
    runtime: Handle,
    /// The file, once it was opened, where it is on this machine's disk.
    open: Option<File>,
    /// Blocks that are still to be read, in order.
    blocks: VecDeque<usize>,
    /// Spans of neighbouring blocks that have been read, and which blocks they hold; those behind are gone.
    spans: VecDeque<(Range<usize>, Bytes)>,
    block: Block,
    /// The number of the block that is decoded, if one is.
    current: Option<usize>,
    row: usize,
}

impl Merge {
    /// Merges the chosen blocks of each run with `hot`, which is sorted by key.
    pub(crate) fn new(
        runs: Vec<(RunHandle, Vec<usize>)>,
        hot: Vec<HotRow>,
        files: &Arc<dyn ObjectStore>,
    ) -> Result<Self> {
        let runtime = Handle::current();
        let mut sources = Vec::with_capacity(runs.len() + 1);
        for (number, (handle, blocks)) in runs.into_iter().enumerate() {
            let source = RunSource {
                number,
                handle,
                files: Arc::clone(files),
                runtime: runtime.clone(),
                open: None,
                blocks: blocks.into(),
                spans: VecDeque::new(),
                block: Block::new(),
                current: None,
                row: 0,
            };
            sources.push(Source::Run(Box::new(source)));
        }
        if !hot.is_empty() {
            sources.push(Source::hot(hot)?);
        }
        Ok(Self { sources })
    }

    /// Shows every row, in the order of owner, id, sequence, until `visit` breaks.
    pub(crate) fn for_each(
        mut self,
        visit: &mut dyn FnMut(From, StoredRow<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let mut sources = Vec::with_capacity(self.sources.len());
        for mut source in self.sources.drain(..) {
            if source.load()? {
                sources.push(source);
            }
        }
        while !sources.is_empty() {
            let (first, second) = two_least(&sources);
            let (mut leader, bound) = (sources.swap_remove(first), second);
            // `swap_remove` moved the last source into the leader's place.
            let bound = bound.map(|at| if at == sources.len() { first } else { at });
            let goes_on = loop {
                if visit(leader.origin(), leader.row())?.is_break() {
                    return Ok(());
                }
                if !leader.advance()? {
                    break false;
                }
                if bound.is_some_and(|at| compare(&leader.row(), &sources[at].row()) == Ordering::Greater) {
                    break true;
                }
            };
            if goes_on {
                sources.push(leader);
            }
        }
        Ok(())
    }
}

/// The sources with the least and the second least row.
fn two_least(sources: &[Source]) -> (usize, Option<usize>) {
    let (mut least, mut second) = (0, None);
    for at in 1..sources.len() {
        if compare(&sources[at].row(), &sources[least].row()) == Ordering::Less {
            second = Some(least);
            least = at;
        } else if second
            .is_none_or(|second: usize| compare(&sources[at].row(), &sources[second].row()) == Ordering::Less)
        {
            second = Some(at);
        }
    }
    (least, second)
}

/// The order of the store within a type: owner, id, sequence.
fn compare(a: &StoredRow<'_>, b: &StoredRow<'_>) -> Ordering {
    a.owner_key
        .cmp(b.owner_key)
        .then_with(|| compare_ids(a.id, b.id))
        .then_with(|| a.sequence.cmp(&b.sequence))
}

/// The order of encoded ids.
fn compare_ids(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut left, mut right) = (Vec::with_capacity(66), Vec::with_capacity(66));
    crate::key::push_id(a, &mut left);
    crate::key::push_id(b, &mut right);
    left.cmp(&right)
}

impl Source {
    fn hot(rows: Vec<HotRow>) -> Result<Self> {
        Ok(Self::Hot {
            rows: rows.into(),
            owner_key: Vec::new(),
            id: String::new(),
        })
    }

    /// Makes the first row current; says whether there is one.
    fn load(&mut self) -> Result<bool> {
        match self {
            Self::Run(run) => run.load_block(),
            Self::Hot { rows, owner_key, id } => load_hot(rows, owner_key, id),
        }
    }

    /// Makes the next row current; says whether there is one.
    fn advance(&mut self) -> Result<bool> {
        match self {
            Self::Run(run) => {
                run.row += 1;
                if run.row < run.block.len() {
                    Ok(true)
                } else {
                    run.load_block()
                }
            }
            Self::Hot { rows, owner_key, id } => {
                rows.pop_front();
                load_hot(rows, owner_key, id)
            }
        }
    }

    fn row(&self) -> StoredRow<'_> {
        match self {
            Self::Run(run) => run.current_row(),
            Self::Hot { rows, owner_key, id } => {
                let row = rows.front().expect("a source in the merge has a current row");
                StoredRow {
                    owner_key,
                    id,
                    id_at: row.id_at,
                    body: &row.body,
                    splice: row.splice,
                    sequence: row.sequence,
                    instant: row.instant,
                }
            }
        }
    }

    fn origin(&self) -> From {
        match self {
            Self::Run(run) => {
                let block = run.current.expect("a source in the merge has a current row");
                let ordinal = run.handle.run.blocks()[block].first_row + run.row as u64;
                From::Run {
                    run: run.number,
                    ordinal,
                }
            }
            Self::Hot { .. } => From::Hot,
        }
    }
}

fn load_hot(rows: &VecDeque<HotRow>, owner_key: &mut Vec<u8>, id: &mut String) -> Result<bool> {
    let Some(row) = rows.front() else { return Ok(false) };
    let parts = row.key.split_first().and_then(|(_, rest)| {
        let (_, id_bytes) = crate::key::split_owner(rest)?;
        let (id, _) = crate::key::split_id(id_bytes)?;
        Some((&rest[..rest.len() - id_bytes.len()], id))
    });
    let (owner, text) =
        parts.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading the key of an interactive row"))?;
    owner_key.clear();
    owner_key.extend_from_slice(owner);
    *id = text;
    Ok(true)
}

impl RunSource {
    fn load_block(&mut self) -> Result<bool> {
        loop {
            let Some(block) = self.blocks.pop_front() else {
                self.current = None;
                return Ok(false);
            };
            while self.spans.pop_front_if(|(span, _)| span.end <= block).is_some() {}
            if self.spans.is_empty() {
                self.read_spans(block)?;
            }
            let (span, read) = self
                .spans
                .front()
                .expect("the block was read just now, or before");
            let run = &self.handle.run;
            let bytes = run.block_bytes_in(read, span.start, block);
            let own = self.handle.record.own;
            run.decode(block, &bytes, (own.sequence, own.instant), &mut self.block)?;
            self.current = Some(block);
            self.row = 0;
            if !self.block.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Reads the block and those that are wanted next, up to a bound.
    fn read_spans(&mut self, block: usize) -> Result<()> {
        let blocks = self.handle.run.blocks();
        let mut bytes = 0;
        let mut wanted: Vec<Range<usize>> = Vec::new();
        for &next in std::iter::once(&block).chain(&self.blocks) {
            bytes += blocks[next].stored_bytes();
            if bytes > READ_BYTES && !wanted.is_empty() {
                break;
            }
            match wanted.last_mut() {
                Some(span) if span.end == next => span.end += 1,
                _ => wanted.push(next..next + 1),
            }
        }
        let RunHandle { run, path, local, .. } = &self.handle;
        let read = match (&self.open, local) {
            (Some(file), _) => run.read_spans(file, &wanted)?,
            (None, Some(place)) => {
                let file =
                    File::open(place).map_err(|source| Error::io(format!("open run {path}"), source))?;
                run.read_spans(self.open.insert(file), &wanted)?
            }
            (None, None) => self
                .runtime
                .block_on(run.fetch_spans(&*self.files, path, &wanted))?,
        };
        self.spans = wanted.into_iter().zip(read).collect();
        Ok(())
    }

    fn current_row(&self) -> StoredRow<'_> {
        let row: &BlockRow = &self.block.rows()[self.row];
        StoredRow {
            owner_key: self.block.owner_key(self.row),
            id: self.block.id(self.row),
            id_at: row.id_at,
            body: self.block.body(self.row),
            splice: row.splice,
            sequence: row.sequence,
            instant: row.instant,
        }
    }
}
