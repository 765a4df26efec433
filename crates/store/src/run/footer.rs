//! The footer of a run: the commits its rows belong to, and an index of its blocks that stays in memory.
//!
//! The index is paid for as long as a run is open, so keys and fingerprints lie in two pools and a [`BlockIndex`] is a
//! few dozen bytes. A block with one or two owners has them in its first and last key and needs no fingerprints.

use super::format::{BLOCK_TEXT_BYTES_MAX, Cursor, HEADER_BYTES, push_varint, unzigzag, zigzag};
use crate::Sequence;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// What a run's footer says of one block.
#[derive(Debug, Clone)]
pub struct BlockIndex {
    /// The type of all its rows.
    pub resource_type: ResourceType,
    /// Number of rows, at least one.
    pub rows: u32,
    /// Ordinal of its first row in the run.
    pub first_row: u64,
    /// Bytes of its text, newlines included.
    pub text_bytes: u32,
    /// Offset in the file.
    pub offset: u64,
    /// Newest explicit sequence, `None` when every row belongs to the run's own commit.
    pub newest_explicit: Option<Sequence>,
    /// Whether any row belongs to the run's own commit.
    pub holds_own: bool,
    pub(super) frame_bytes: u32,
    pub(super) table_bytes: u32,
    pub(super) checksum: u64,
    pub(super) first_key: Span,
    pub(super) last_key: Span,
    pub(super) fingerprints: Range<u32>,
}

impl BlockIndex {
    /// Bytes in the file: the compressed text and the row table.
    pub fn stored_bytes(&self) -> u64 {
        u64::from(self.frame_bytes) + u64::from(self.table_bytes)
    }

    /// The newest sequence of its rows, given the run's own.
    pub fn newest(&self, own: Sequence) -> Sequence {
        let own = if self.holds_own { own } else { Sequence::ZERO };
        self.newest_explicit.unwrap_or(Sequence::ZERO).max(own)
    }
}

/// A key in the footer's pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    at: u32,
    length: u8,
}

/// A footer, decoded or being gathered.
#[derive(Debug, Default)]
pub(super) struct Footer {
    pub(super) commits: Vec<(Sequence, Instant)>,
    pub(super) blocks: Vec<BlockIndex>,
    keys: Vec<u8>,
    fingerprints: Vec<u16>,
}

impl Footer {
    pub(super) fn key(&self, span: Span) -> &[u8] {
        let at = span.at as usize;
        &self.keys[at..at + usize::from(span.length)]
    }

    pub(super) fn fingerprints(&self, block: &BlockIndex) -> &[u16] {
        &self.fingerprints[block.fingerprints.start as usize..block.fingerprints.end as usize]
    }

    /// Keeps a key; `None` when the pool is full or the key is longer than any can be.
    pub(super) fn keep_key(&mut self, key: &[u8]) -> Option<Span> {
        let at = u32::try_from(self.keys.len()).ok()?;
        u32::try_from(self.keys.len() + key.len()).ok()?;
        self.keys.extend_from_slice(key);
        Some(Span {
            at,
            length: u8::try_from(key.len()).ok()?,
        })
    }

    /// Keeps a block's fingerprints, which must be sorted.
    pub(super) fn keep_fingerprints(
        &mut self,
        fingerprints: impl Iterator<Item = u16>,
    ) -> Option<Range<u32>> {
        let start = u32::try_from(self.fingerprints.len()).ok()?;
        self.fingerprints.extend(fingerprints);
        Some(start..u32::try_from(self.fingerprints.len()).ok()?)
    }

    /// Heap and struct, roughly.
    pub(super) fn memory_bytes(&self) -> usize {
        self.commits.capacity() * size_of::<(Sequence, Instant)>()
            + self.blocks.capacity() * size_of::<BlockIndex>()
            + self.keys.capacity()
            + self.fingerprints.capacity() * size_of::<u16>()
    }

    /// The footer's bytes, not yet compressed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_varint(self.commits.len() as u64, &mut out);
        for (sequence, instant) in &self.commits {
            push_varint(sequence.0, &mut out);
            push_varint(zigzag(instant.micros()), &mut out);
        }
        push_varint(self.blocks.len() as u64, &mut out);
        for block in &self.blocks {
            self.encode_block(block, &mut out);
        }
        out
    }

    fn encode_block(&self, block: &BlockIndex, out: &mut Vec<u8>) {
        push_varint(block.rows.into(), out);
        push_varint(block.text_bytes.into(), out);
        push_varint(block.frame_bytes.into(), out);
        push_varint(block.table_bytes.into(), out);
        out.extend_from_slice(&block.checksum.to_le_bytes());
        push_varint(block.newest_explicit.unwrap_or(Sequence::ZERO).0, out);
        out.push(block.holds_own.into());
        for span in [block.first_key, block.last_key] {
            out.push(span.length);
            out.extend_from_slice(self.key(span));
        }
        let fingerprints = self.fingerprints(block);
        push_varint(fingerprints.len() as u64, out);
        for fingerprint in fingerprints {
            out.extend_from_slice(&fingerprint.to_le_bytes());
        }
    }

    /// Reads what [`Footer::encode`] wrote; `None` when it is not that, or its blocks do not fill the file up to `footer_at`.
    pub(super) fn decode(bytes: &[u8], footer_at: u64) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let mut footer = Self::default();
        let commits = cursor.varint()?;
        for _ in 0..commits {
            let sequence = Sequence(cursor.varint()?);
            let instant = Instant::from_micros(unzigzag(cursor.varint()?));
            footer.commits.push((sequence, instant));
        }
        let blocks = cursor.varint()?;
        let (mut offset, mut first_row) = (HEADER_BYTES as u64, 0u64);
        for _ in 0..blocks {
            let block = footer.decode_block(&mut cursor, offset, first_row)?;
            offset = offset.checked_add(block.stored_bytes())?;
            first_row = first_row.checked_add(block.rows.into())?;
            footer.blocks.push(block);
        }
        footer.shrink();
        (cursor.is_empty() && offset == footer_at).then_some(footer)
    }

    fn decode_block(&mut self, cursor: &mut Cursor<'_>, offset: u64, first_row: u64) -> Option<BlockIndex> {
        let rows = cursor.varint_u32()?;
        let text_bytes = cursor.varint_u32()?;
        let frame_bytes = cursor.varint_u32()?;
        let table_bytes = cursor.varint_u32()?;
        let checksum = cursor.u64()?;
        let newest = Sequence(cursor.varint()?);
        let holds_own = cursor.u8()? != 0;
        let first_key = self.decode_key(cursor)?;
        let last_key = self.decode_key(cursor)?;
        let count = usize::try_from(cursor.varint()?).ok()?;
        let pairs = cursor.bytes(count.checked_mul(2)?)?.chunks_exact(2);
        let fingerprints =
            self.keep_fingerprints(pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])))?;
        let resource_type = ResourceType::from_code(*self.key(first_key).first()?)?;
        let in_order = self.follows(first_key) && self.key(first_key) <= self.key(last_key);
        let one_type = self.key(last_key).first() == self.key(first_key).first();
        let plausible = (1..=text_bytes).contains(&rows) && text_bytes as usize <= BLOCK_TEXT_BYTES_MAX;
        (in_order && one_type && plausible).then_some(BlockIndex {
            resource_type,
            rows,
            first_row,
            text_bytes,
            offset,
            newest_explicit: (newest > Sequence::ZERO).then_some(newest),
            holds_own,
            frame_bytes,
            table_bytes,
            checksum,
            first_key,
            last_key,
            fingerprints,
        })
    }

    fn decode_key(&mut self, cursor: &mut Cursor<'_>) -> Option<Span> {
        let length = usize::from(cursor.u8()?);
        self.keep_key(cursor.bytes(length)?)
    }

    /// Whether a key is not below the last one of the block before.
    fn follows(&self, first_key: Span) -> bool {
        self.blocks
            .last()
            .is_none_or(|before| self.key(before.last_key) <= self.key(first_key))
    }

    fn shrink(&mut self) {
        self.commits.shrink_to_fit();
        self.blocks.shrink_to_fit();
        self.keys.shrink_to_fit();
        self.fingerprints.shrink_to_fit();
    }
}

/// The fingerprint of an encoded owner ([`crate::key::push_owner`]).
pub(super) fn fingerprint(owner_key: &[u8]) -> u16 {
    xxh3_64(owner_key) as u16
}
