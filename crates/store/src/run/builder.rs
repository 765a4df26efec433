//! Writing a run: rows in, in key order; the file's bytes out, block by block, in bounded memory.

use super::footer::{BlockIndex, Footer, fingerprint};
use super::format::{BODY_BYTES_MAX, Frame, HEADER_BYTES, TRAILER_BYTES, Trailer, header, push_frame_header};
use super::table::TableBuilder;
use super::{Row, RowCommit, RunSettings, RunSummary, TypeCount};
use crate::{Error, ErrorKind, Result, Sequence, key};
use bytes::Bytes;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use memchr::memchr;
use std::collections::HashMap;
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Compressor;

const BLOCK_BYTES_MIN: usize = 1 << 10;
const BLOCK_BYTES_MAX: usize = 64 << 20;
const FOOTER_ZSTD_LEVEL: i32 = 3;

/// Writes one run.
///
/// Holds one block of text, what [`RunBuilder::drain`] has not taken yet, and the footer so far.
pub struct RunBuilder {
    settings: RunSettings,
    compressor: Compressor<'static>,
    /// Complete bytes of the file that were not drained yet.
    out: Vec<u8>,
    /// Bytes of the file in `out` and before it.
    written_bytes: u64,
    scratch: Vec<u8>,
    block: OpenBlock,
    last_key: Vec<u8>,
    last_sequence: u64,
    next_key: Vec<u8>,
    commits: HashMap<(Sequence, Instant), u32>,
    footer: Footer,
    rows: u64,
    types: Vec<TypeCount>,
}

/// The block that is being filled.
#[derive(Default)]
struct OpenBlock {
    text: Vec<u8>,
    table: TableBuilder,
    first_key: Vec<u8>,
    fingerprints: Vec<u16>,
    newest: Option<Sequence>,
    holds_own: bool,
}

impl fmt::Debug for RunBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunBuilder")
            .field("rows", &self.rows)
            .field("written_bytes", &self.written_bytes)
            .finish_non_exhaustive()
    }
}

impl RunBuilder {
    /// Begins a run.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when a setting is out of its range.
    pub fn new(settings: RunSettings) -> Result<Self> {
        if !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&settings.block_bytes) {
            return Err(invalid(format!(
                "blocks of {} bytes are out of range",
                settings.block_bytes
            )));
        }
        let compressor = Compressor::new(settings.zstd_level)
            .map_err(|source| Error::new(ErrorKind::Invalid, "set the zstd level").with_source(source))?;
        let out = header();
        Ok(Self {
            settings,
            compressor,
            written_bytes: out.len() as u64,
            out,
            scratch: Vec::new(),
            block: OpenBlock::default(),
            last_key: Vec::new(),
            last_sequence: 0,
            next_key: Vec::new(),
            commits: HashMap::new(),
            footer: Footer::default(),
            rows: 0,
            types: Vec::new(),
        })
    }

    /// Adds a row. Keys must rise; an equal key is allowed when the sequence rises, the run's own being above all others.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when rows are out of order or a row's facts do not fit its body; nothing was added then.
    /// [`ErrorKind::Storage`] when compression fails: the run is lost.
    pub fn push(&mut self, row: Row<'_>) -> Result<()> {
        let id = check(&row)?;
        self.next_key.clear();
        self.next_key.push(row.resource_type.code());
        key::push_owner(row.owner, &mut self.next_key);
        let owner_len = self.next_key.len();
        key::push_id(id, &mut self.next_key);
        let sequence = self.check_order(row.commit)?;
        let same_type = self.last_key.first() == self.next_key.first();
        let same_owner = self.last_key.get(..owner_len) == Some(&self.next_key[..owner_len]);
        let slot = self.slot(row.commit)?;
        if self.must_cut(row.body.len(), same_type, same_owner) {
            self.finish_block()?;
        }
        let block = &mut self.block;
        if block.text.is_empty() {
            block.first_key.extend_from_slice(&self.next_key);
        }
        if block.text.is_empty() || !same_owner {
            block.table.begin_owner(row.owner, row.body);
            block.fingerprints.push(fingerprint(&self.next_key[1..owner_len]));
        }
        block.table.push(row.id_at, row.id_len, row.splice, slot);
        block.text.extend_from_slice(row.body);
        block.text.push(b'\n');
        match row.commit {
            RowCommit::Own => block.holds_own = true,
            RowCommit::At { sequence, .. } => block.newest = block.newest.max(Some(sequence)),
        }
        self.count(row.resource_type, row.body.len() as u64 + 1);
        self.last_sequence = sequence;
        std::mem::swap(&mut self.last_key, &mut self.next_key);
        Ok(())
    }

    /// Bytes that [`RunBuilder::drain`] would give.
    pub fn pending_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes of the file that are complete; the next ones follow them.
    pub fn drain(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.out))
    }

    /// Ends the run; gives the bytes of the file that were not drained, and what the run holds.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when compression fails, [`ErrorKind::Invalid`] when the index outgrew the format.
    pub fn finish(mut self) -> Result<(Bytes, RunSummary)> {
        self.finish_block()?;
        let text = self.footer.encode();
        let stored = zstd::bulk::compress(&text, FOOTER_ZSTD_LEVEL)
            .map_err(|source| Error::io("compress a run's footer", source))?;
        let too_big = |_| invalid("a run has too many blocks for its footer");
        let before = self.out.len();
        push_frame_header(Frame::Footer, stored.len() + TRAILER_BYTES, &mut self.out);
        self.out.extend_from_slice(&stored);
        self.written_bytes += (self.out.len() - before + TRAILER_BYTES) as u64;
        let trailer = Trailer {
            stored_bytes: self.written_bytes,
            footer_bytes: u32::try_from(stored.len()).map_err(too_big)?,
            footer_text_bytes: u32::try_from(text.len()).map_err(too_big)?,
        };
        trailer.push(&stored, &mut self.out);
        let summary = RunSummary {
            rows: self.rows,
            blocks: self.footer.blocks.len() as u64,
            text_bytes: self.types.iter().map(|count| count.text_bytes).sum(),
            stored_bytes: self.written_bytes,
            types: self.types,
            oldest: self.footer.commits.iter().map(|commit| commit.0).min(),
            newest: self.footer.commits.iter().map(|commit| commit.0).max(),
        };
        Ok((Bytes::from(self.out), summary))
    }

    /// The row's sequence for ordering, if it may follow the last row.
    fn check_order(&self, commit: RowCommit) -> Result<u64> {
        let sequence = match commit {
            RowCommit::Own => u64::MAX,
            RowCommit::At {
                sequence: Sequence::ZERO | Sequence(u64::MAX),
                ..
            } => {
                return Err(invalid("a row has a sequence that no commit has"));
            }
            RowCommit::At { sequence, .. } => sequence.0,
        };
        if (&self.next_key, sequence) > (&self.last_key, self.last_sequence) {
            Ok(sequence)
        } else {
            Err(invalid("rows of a run are out of order"))
        }
    }

    /// Whether the row begins another block: of another type, too long for this one, or of another owner with this one half full.
    fn must_cut(&self, body_bytes: usize, same_type: bool, same_owner: bool) -> bool {
        let text_bytes = self.block.text.len();
        let full = text_bytes + body_bytes + 1 > self.settings.block_bytes;
        let half_full = text_bytes >= self.settings.block_bytes / 2;
        text_bytes > 0 && (!same_type || full || (half_full && !same_owner))
    }

    /// The number that stands for a commit in the row tables.
    fn slot(&mut self, commit: RowCommit) -> Result<u32> {
        let RowCommit::At { sequence, instant } = commit else {
            return Ok(0);
        };
        if let Some(&slot) = self.commits.get(&(sequence, instant)) {
            return Ok(slot);
        }
        self.footer.commits.push((sequence, instant));
        let slot =
            u32::try_from(self.footer.commits.len()).map_err(|_| invalid("too many commits in a run"))?;
        self.commits.insert((sequence, instant), slot);
        Ok(slot)
    }

    fn count(&mut self, resource_type: ResourceType, text_bytes: u64) {
        self.rows += 1;
        match self.types.last_mut() {
            Some(count) if count.resource_type == resource_type => {
                count.rows += 1;
                count.text_bytes += text_bytes;
            }
            _ => self.types.push(TypeCount {
                resource_type,
                rows: 1,
                text_bytes,
            }),
        }
    }

    fn finish_block(&mut self) -> Result<()> {
        if self.block.text.is_empty() {
            return Ok(());
        }
        let start = self.out.len();
        let frame_bytes = self.compress_block()?;
        let rows = self.block.table.rows();
        self.scratch.clear();
        self.block.table.finish_into(&mut self.scratch);
        push_frame_header(Frame::Table, self.scratch.len(), &mut self.out);
        self.out.extend_from_slice(&self.scratch);
        let stored = &self.out[start..];
        let (stored_bytes, checksum) = (stored.len(), xxh3_64(stored));
        let index = self.index_block(rows, frame_bytes, stored_bytes, checksum);
        let index = index.ok_or_else(|| invalid("a run has too many blocks for its footer"))?;
        self.footer.blocks.push(index);
        self.written_bytes += stored_bytes as u64;
        self.block.clear();
        Ok(())
    }

    /// Appends the block's text as one frame, whose window zstd fits to the text because it knows its length.
    fn compress_block(&mut self) -> Result<usize> {
        self.scratch.clear();
        self.scratch
            .reserve(zstd::zstd_safe::compress_bound(self.block.text.len()));
        self.compressor
            .compress_to_buffer(&self.block.text, &mut self.scratch)
            .map_err(|source| Error::io("compress a block of a run", source))?;
        self.out.extend_from_slice(&self.scratch);
        Ok(self.scratch.len())
    }

    fn index_block(
        &mut self,
        rows: usize,
        frame_bytes: usize,
        stored_bytes: usize,
        checksum: u64,
    ) -> Option<BlockIndex> {
        let block = &mut self.block;
        if block.fingerprints.len() <= 2 {
            // The first and the last key name them all.
            block.fingerprints.clear();
        }
        block.fingerprints.sort_unstable();
        block.fingerprints.dedup();
        let resource_type = ResourceType::from_code(*block.first_key.first()?)?;
        let before = self.footer.blocks.last();
        Some(BlockIndex {
            resource_type,
            rows: u32::try_from(rows).ok()?,
            first_row: before.map_or(0, |before| before.first_row + u64::from(before.rows)),
            text_bytes: u32::try_from(block.text.len()).ok()?,
            offset: before.map_or(HEADER_BYTES as u64, |before| {
                before.offset + before.stored_bytes()
            }),
            newest_explicit: block.newest,
            holds_own: block.holds_own,
            frame_bytes: u32::try_from(frame_bytes).ok()?,
            table_bytes: u32::try_from(stored_bytes - frame_bytes).ok()?,
            checksum,
            first_key: self.footer.keep_key(&block.first_key)?,
            last_key: self.footer.keep_key(&self.last_key)?,
            fingerprints: self
                .footer
                .keep_fingerprints(block.fingerprints.iter().copied())?,
        })
    }
}

impl OpenBlock {
    fn clear(&mut self) {
        self.text.clear();
        self.first_key.clear();
        self.fingerprints.clear();
        self.newest = None;
        self.holds_own = false;
    }
}

/// The row's id, if its facts fit its body.
fn check<'a>(row: &Row<'a>) -> Result<&'a str> {
    if row.body.is_empty() || row.body.len() > BODY_BYTES_MAX || memchr(b'\n', row.body).is_some() {
        return Err(invalid("a body is empty, too long or more than one line"));
    }
    let id = row
        .body
        .get(row.id_at as usize..)
        .and_then(|rest| rest.get(..row.id_len.into()));
    let id = id
        .filter(|id| is_id(id))
        .and_then(|id| std::str::from_utf8(id).ok());
    let owner_fits = row.owner.is_none_or(|owner| is_id(owner.as_bytes()));
    match id {
        Some(id) if owner_fits && row.splice.at as usize <= row.body.len() => Ok(id),
        _ => Err(invalid("a row's id, owner or splice does not fit its body")),
    }
}

fn is_id(bytes: &[u8]) -> bool {
    (1..=64).contains(&bytes.len()) && bytes.is_ascii() && !bytes.contains(&0)
}

fn invalid(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, context)
}
