//! A run that is open: its footer in memory, and blocks read and decoded on demand.

use super::block::{Block, Commits};
use super::footer::{BlockIndex, Footer, fingerprint};
use super::format::{
    FOOTER_BYTES_MAX, FRAME_HEADER_BYTES, Frame, HEADER_BYTES, TRAILER_BYTES, Trailer, frame_content,
};
use crate::{Error, ErrorKind, Result, Sequence};
use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

/// Bytes of the file's end that the first read takes: the whole footer of a run of some 100 MiB of text.
const TAIL_BYTES: u64 = 128 * 1024;

/// An opened run.
#[derive(Debug)]
pub struct Run {
    name: String,
    stored_bytes: u64,
    footer: Footer,
}

impl Run {
    /// Reads a run's footer, in one ranged read or, when the footer is long, two.
    ///
    /// `stored_bytes` is the length of the file as its writer knows it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a file, [`ErrorKind::Corrupt`] when the end of it is not what was written,
    /// [`ErrorKind::NewerFormat`] when it was written by a later version, [`ErrorKind::Storage`] otherwise.
    pub async fn open(store: &dyn ObjectStore, path: &Path, stored_bytes: u64) -> Result<Self> {
        let name = path.to_string();
        if stored_bytes < (HEADER_BYTES + FRAME_HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(corrupt(&name, "is too short"));
        }
        let tail_at = stored_bytes.saturating_sub(TAIL_BYTES);
        let tail = read(store, path, tail_at..stored_bytes).await?;
        let last = tail
            .last_chunk::<TRAILER_BYTES>()
            .ok_or_else(|| corrupt(&name, "ends short"))?;
        let trailer = Trailer::parse(last, &name)?;
        let frame_bytes = FRAME_HEADER_BYTES as u64 + u64::from(trailer.footer_bytes) + TRAILER_BYTES as u64;
        let room = stored_bytes - HEADER_BYTES as u64;
        if trailer.stored_bytes != stored_bytes || frame_bytes > room {
            return Err(corrupt(
                &name,
                "does not have the length it had when it was written",
            ));
        }
        let footer_at = stored_bytes - frame_bytes;
        let frame = if footer_at >= tail_at {
            tail.slice((footer_at - tail_at) as usize..)
        } else {
            let before = read(store, path, footer_at..tail_at).await?;
            Bytes::from([before, tail].concat())
        };
        let footer = decode_footer(&name, trailer, &frame, footer_at)?;
        Ok(Self {
            name,
            stored_bytes,
            footer,
        })
    }

    /// The path it was opened from.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the file.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// All blocks, in key order.
    pub fn blocks(&self) -> &[BlockIndex] {
        &self.footer.blocks
    }

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.blocks()
            .last()
            .map_or(0, |last| last.first_row + u64::from(last.rows))
    }

    /// Bytes of memory that the open run holds.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.name.capacity() + self.footer.memory_bytes()
    }

    /// The blocks of one type.
    pub fn blocks_of(&self, resource_type: ResourceType) -> Range<usize> {
        let code = resource_type.code();
        let start = self
            .blocks()
            .partition_point(|block| block.resource_type.code() < code);
        let end = self
            .blocks()
            .partition_point(|block| block.resource_type.code() <= code);
        start..end
    }

    /// The blocks that may hold keys from `from` on and below `until` (no end when `None`).
    pub fn blocks_between(&self, from: &[u8], until: Option<&[u8]>) -> Range<usize> {
        let footer = &self.footer;
        let start = footer
            .blocks
            .partition_point(|block| footer.key(block.last_key) < from);
        let end = match until {
            None => footer.blocks.len(),
            Some(until) => footer
                .blocks
                .partition_point(|block| footer.key(block.first_key) < until),
        };
        start..end.max(start)
    }

    /// The key of a block's first row.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn first_key(&self, block: usize) -> &[u8] {
        self.footer.key(self.footer.blocks[block].first_key)
    }

    /// The key of a block's last row.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn last_key(&self, block: usize) -> &[u8] {
        self.footer.key(self.footer.blocks[block].last_key)
    }

    /// Whether a block may hold rows of an owner, encoded by [`crate::key::push_owner`].
    ///
    /// Never wrong when it says no; wrong in a yes about once in 65,536 for each owner in the block.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn may_hold_owner(&self, block: usize, owner_key: &[u8]) -> bool {
        let (first, last) = (&self.first_key(block)[1..], &self.last_key(block)[1..]);
        if first.starts_with(owner_key) || last.starts_with(owner_key) {
            return true;
        }
        let fingerprints = self.footer.fingerprints(&self.footer.blocks[block]);
        first < owner_key && owner_key < last && fingerprints.binary_search(&fingerprint(owner_key)).is_ok()
    }

    /// Reads consecutive blocks in one ranged read; [`Run::block_bytes_in`] takes them apart.
    ///
    /// # Errors
    /// Those of the storage; [`ErrorKind::Invalid`] when there are no such blocks.
    pub async fn fetch(&self, store: &dyn ObjectStore, path: &Path, blocks: Range<usize>) -> Result<Bytes> {
        read(store, path, self.place(&blocks)?).await
    }

    /// Reads several spans of consecutive blocks in one go, as [`Run::fetch`] reads one. What lies close together a storage may
    /// read as one; a disk is asked from one thread, once.
    ///
    /// # Errors
    /// As [`Run::fetch`].
    pub async fn fetch_spans(
        &self,
        store: &dyn ObjectStore,
        path: &Path,
        spans: &[Range<usize>],
    ) -> Result<Vec<Bytes>> {
        let ranges: Vec<Range<u64>> = spans
            .iter()
            .map(|blocks| self.place(blocks))
            .collect::<Result<_>>()?;
        let context = || format!("read {} ranges of run {path}", ranges.len());
        let read = store.get_ranges(path, &ranges).await;
        let read = read.map_err(|source| Error::object(context(), source))?;
        let is_whole = |(range, bytes): (&Range<u64>, &Bytes)| bytes.len() as u64 == range.end - range.start;
        if read.len() != ranges.len() || !ranges.iter().zip(&read).all(is_whole) {
            return Err(corrupt(path.as_ref(), "is shorter than when it was written"));
        }
        Ok(read)
    }

    /// Reads the same from an open file of this machine, on the thread that calls it.
    ///
    /// # Errors
    /// As [`Run::fetch`].
    pub(crate) fn read_spans(&self, mut file: &File, spans: &[Range<usize>]) -> Result<Vec<Bytes>> {
        let mut read = Vec::with_capacity(spans.len());
        for blocks in spans {
            let range = self.place(blocks)?;
            let mut bytes = vec![0; (range.end - range.start) as usize];
            let done = file
                .seek(SeekFrom::Start(range.start))
                .and_then(|_| file.read_exact(&mut bytes));
            done.map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => corrupt(&self.name, "is shorter than when it was written"),
                _ => Error::io(
                    format!("read bytes {}..{} of run {}", range.start, range.end, self.name),
                    source,
                ),
            })?;
            read.push(Bytes::from(bytes));
        }
        Ok(read)
    }

    /// Where consecutive blocks lie in the file.
    fn place(&self, blocks: &Range<usize>) -> Result<Range<u64>> {
        let Some([first, .., last] | [first @ last]) = self.blocks().get(blocks.clone()) else {
            let context = format!("run {} has no blocks {}..{}", self.name, blocks.start, blocks.end);
            return Err(Error::new(ErrorKind::Invalid, context));
        };
        Ok(first.offset..last.offset + last.stored_bytes())
    }

    /// One block out of what [`Run::fetch`] read from block `first` on; empty when the block is not in there.
    pub fn block_bytes_in(&self, fetched: &Bytes, first: usize, block: usize) -> Bytes {
        let (Some(first), Some(index)) = (self.blocks().get(first), self.blocks().get(block)) else {
            return Bytes::new();
        };
        let start = index
            .offset
            .checked_sub(first.offset)
            .and_then(|start| usize::try_from(start).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(index.stored_bytes() as usize)?));
        match range {
            Some(range) if range.end <= fetched.len() => fetched.slice(range),
            _ => Bytes::new(),
        }
    }

    /// Decodes a block from its stored bytes, checksum first. `own` is the run's own commit.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming run and block; [`ErrorKind::Invalid`] when there is no such block. The buffer is empty then.
    pub fn decode(
        &self,
        block: usize,
        bytes: &[u8],
        own: (Sequence, Instant),
        into: &mut Block,
    ) -> Result<()> {
        let Some(index) = self.blocks().get(block) else {
            into.clear();
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("run {} has no block {block}", self.name),
            ));
        };
        let commits = Commits {
            own,
            explicit: &self.footer.commits,
        };
        into.decode(index, bytes, &commits).map_err(|error| {
            let context = format!(
                "block {block} at byte {} of run {} {error}",
                index.offset, self.name
            );
            let located = Error::new(error.kind(), context);
            match std::error::Error::source(&error) {
                Some(source) => located.with_source(source.to_string()),
                None => located,
            }
        })
    }
}

fn decode_footer(name: &str, trailer: Trailer, frame: &[u8], footer_at: u64) -> Result<Footer> {
    let damaged = || corrupt(name, "has a damaged footer");
    let content = frame_content(Frame::Footer, frame).ok_or_else(damaged)?;
    let (stored, last) = content.split_last_chunk::<TRAILER_BYTES>().ok_or_else(damaged)?;
    let text_bytes = trailer.footer_text_bytes as usize;
    if !trailer.check(stored, last) || text_bytes > FOOTER_BYTES_MAX {
        return Err(damaged());
    }
    let text = zstd::bulk::decompress(stored, text_bytes).map_err(|source| damaged().with_source(source))?;
    Footer::decode(&text, footer_at).ok_or_else(damaged)
}

async fn read(store: &dyn ObjectStore, path: &Path, range: Range<u64>) -> Result<Bytes> {
    let context = || format!("read bytes {}..{} of run {path}", range.start, range.end);
    let bytes = match store.get_range(path, range.clone()).await {
        Ok(bytes) => bytes,
        Err(source) => return Err(Error::object(context(), source)),
    };
    if bytes.len() as u64 != range.end - range.start {
        return Err(corrupt(path.as_ref(), "is shorter than when it was written"));
    }
    Ok(bytes)
}

fn corrupt(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("run {name} {what}"))
}
