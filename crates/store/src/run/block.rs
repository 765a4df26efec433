//! One block of a run, decoded: the text of its lines and what is known of each.
//!
//! A [`Block`] is a buffer to be used again and again: decoding allocates nothing once it has grown to the blocks it
//! meets, and no row costs an allocation of its own.

use super::footer::BlockIndex;
use super::format::{Frame, frame_content};
use super::table::{OwnerPlace, TableOwner, TableReader};
use crate::{Error, ErrorKind, Result, Sequence, key};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::Splice;
use memchr::memchr;
use std::fmt;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::Decompressor;

/// Most rows that memory is taken for before they are seen: a block of usual size has a few hundred.
const ROWS_RESERVED_MAX: usize = 64 * 1024;

/// A reusable buffer that one block at a time is decoded into.
pub struct Block {
    text: Vec<u8>,
    rows: Vec<BlockRow>,
    owners: Vec<Owner>,
    owner_texts: Vec<u8>,
    owner_keys: Vec<u8>,
    decompressor: Option<Decompressor<'static>>,
}

/// One row of a decoded block; offsets count from the start of the block's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRow {
    /// Where the body begins.
    pub start: u32,
    /// Where the body ends, before its newline.
    pub end: u32,
    /// Offset of the id in the body.
    pub id_at: u32,
    /// Length of the id.
    pub id_len: u8,
    /// Which of the block's owners it has; rows of the same number have the same owner.
    pub owner: u32,
    /// Where version and time are spliced into the body.
    pub splice: Splice,
    /// The commit that wrote it.
    pub sequence: Sequence,
    /// The instant of that commit.
    pub instant: Instant,
}

#[derive(Debug, Clone)]
struct Owner {
    text: Option<Range<usize>>,
    key: Range<usize>,
}

/// What decoding needs beside the bytes: the commits that slots stand for.
pub(super) struct Commits<'a> {
    pub(super) own: (Sequence, Instant),
    pub(super) explicit: &'a [(Sequence, Instant)],
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Bodies are somebody's health record: they never reach a log by way of a debug print.
        f.debug_struct("Block")
            .field("rows", &self.rows.len())
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

impl Block {
    /// Makes an empty buffer; memory comes with the first block.
    pub fn new() -> Self {
        Self {
            text: Vec::new(),
            rows: Vec::new(),
            owners: Vec::new(),
            owner_texts: Vec::new(),
            owner_keys: Vec::new(),
            decompressor: None,
        }
    }

    /// The rows in key order; empty before the first block and after a failure.
    pub fn rows(&self) -> &[BlockRow] {
        &self.rows
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text of all rows, each line with its newline.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The stored body of a row, without newline.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn body(&self, row: usize) -> &[u8] {
        let row = &self.rows[row];
        &self.text[row.start as usize..row.end as usize]
    }

    /// The id of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn id(&self, row: usize) -> &str {
        let row = &self.rows[row];
        let start = row.start as usize + row.id_at as usize;
        let id = &self.text[start..start + usize::from(row.id_len)];
        std::str::from_utf8(id).expect("decoding takes only ids of ASCII")
    }

    /// The patient whose compartment a row sits in, if any.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn owner(&self, row: usize) -> Option<&str> {
        let owner = &self.owners[self.rows[row].owner as usize];
        let text = &self.owner_texts[owner.text.clone()?];
        Some(std::str::from_utf8(text).expect("decoding takes only owners of ASCII"))
    }

    /// The owner of a row as [`key::push_owner`] writes it.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn owner_key(&self, row: usize) -> &[u8] {
        let owner = &self.owners[self.rows[row].owner as usize];
        &self.owner_keys[owner.key.clone()]
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity()
            + self.rows.capacity() * size_of::<BlockRow>()
            + self.owners.capacity() * size_of::<Owner>()
            + self.owner_texts.capacity()
            + self.owner_keys.capacity()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
        self.owners.clear();
        self.owner_texts.clear();
        self.owner_keys.clear();
    }

    /// Decodes one block's stored bytes; the error says what is wrong, and its caller where.
    pub(super) fn decode(&mut self, index: &BlockIndex, stored: &[u8], commits: &Commits<'_>) -> Result<()> {
        self.clear();
        let done = self.decode_checked(index, stored, commits);
        if done.is_err() {
            self.clear();
        }
        done
    }

    fn decode_checked(&mut self, index: &BlockIndex, stored: &[u8], commits: &Commits<'_>) -> Result<()> {
        if stored.len() as u64 != index.stored_bytes() {
            return Err(corrupt("is cut short"));
        }
        if xxh3_64(stored) != index.checksum {
            return Err(corrupt("does not have its checksum"));
        }
        let (frame, table) = stored.split_at(index.frame_bytes as usize);
        self.decompress(frame, index.text_bytes as usize)?;
        let table = frame_content(Frame::Table, table).ok_or_else(|| corrupt("has no row table"))?;
        self.decode_rows(table, index.rows, commits)
            .ok_or_else(|| corrupt("has a wrong row table"))
    }

    fn decompress(&mut self, frame: &[u8], text_bytes: usize) -> Result<()> {
        if self.decompressor.is_none() {
            let made = Decompressor::new();
            self.decompressor = Some(made.map_err(|source| Error::io("make a decompressor", source))?);
        }
        let decompressor = self.decompressor.as_mut().expect("made above");
        self.text.reserve_exact(text_bytes);
        let done = decompressor.decompress_to_buffer(frame, &mut self.text);
        match done {
            Ok(length) if length == text_bytes => Ok(()),
            Ok(_) => Err(corrupt("has text of another length")),
            Err(source) => Err(corrupt("cannot be decompressed").with_source(source)),
        }
    }

    fn decode_rows(&mut self, table: &[u8], rows: u32, commits: &Commits<'_>) -> Option<()> {
        let mut table = TableReader::new(table)?;
        let (mut start, mut owner_rows) = (0usize, 0u64);
        self.rows.reserve((rows as usize).min(ROWS_RESERVED_MAX));
        for _ in 0..rows {
            let length = memchr(b'\n', &self.text[start..])?;
            if owner_rows == 0 {
                let owner = table.owner()?;
                owner_rows = owner.rows;
                self.push_owner(&owner, start..start + length)?;
            }
            owner_rows -= 1;
            let row = table.row()?;
            let id = self.text[start..start + length]
                .get(row.id_at as usize..)?
                .get(..row.id_len.into())?;
            if !id.is_ascii() || row.splice.at as usize > length {
                return None;
            }
            let (sequence, instant) = match row.slot.checked_sub(1) {
                None => commits.own,
                Some(slot) => *commits.explicit.get(slot as usize)?,
            };
            self.rows.push(BlockRow {
                start: start as u32,
                end: (start + length) as u32,
                id_at: row.id_at,
                id_len: row.id_len,
                owner: (self.owners.len() - 1) as u32,
                splice: row.splice,
                sequence,
                instant,
            });
            start += length + 1;
        }
        (start == self.text.len() && owner_rows == 0 && table.is_used_up()).then_some(())
    }

    fn push_owner(&mut self, owner: &TableOwner<'_>, body: Range<usize>) -> Option<()> {
        let text = match owner.place {
            OwnerPlace::None => None,
            OwnerPlace::Inline(text) => Some(text),
            OwnerPlace::Body { at, length } => Some(self.text[body].get(at..)?.get(..length)?),
        };
        let (texts_start, keys_start) = (self.owner_texts.len(), self.owner_keys.len());
        let text = match text {
            None => None,
            Some(text) if text.is_ascii() => Some(std::str::from_utf8(text).ok()?),
            Some(_) => return None,
        };
        key::push_owner(text, &mut self.owner_keys);
        self.owner_texts
            .extend_from_slice(text.unwrap_or_default().as_bytes());
        self.owners.push(Owner {
            text: text.map(|_| texts_start..self.owner_texts.len()),
            key: keys_start..self.owner_keys.len(),
        });
        Some(())
    }
}

fn corrupt(context: &str) -> Error {
    Error::new(ErrorKind::Corrupt, context)
}
