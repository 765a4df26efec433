//! The index at the end of an output file: where each block lies, and what is known of the whole text.
//!
//! It is one zstd skippable frame, so that `zstd -dc` on the file prints the text and nothing else:
//!
//! ```text
//! magic 0x184D2A5E · length of the rest, u32
//! payload: version u8 · flags u8 (1: SHA-256 follows the fingerprint) · fingerprint 16 · [SHA-256 32] · rows
//!          · number of blocks · per block: text bytes, stored bytes, crc32 of the stored bytes u32
//! trailer: length of the payload u32 · crc32 of the payload u32 · "fhirout1"
//! ```
//! Numbers without a type are LEB128; the others are little-endian.

use super::blocks::BLOCK_BYTES_MAX;
use super::writer::TextFacts;
use crate::{Error, ErrorKind, Result};

const FRAME_MAGIC: u32 = 0x184D_2A5E;
const FRAME_HEADER_BYTES: usize = 8;
const TRAILER_MAGIC: &[u8; 8] = b"fhirout1";
const TRAILER_BYTES: usize = 16;
const VERSION: u8 = 1;
const HAS_SHA256: u8 = 1;

/// Two one-byte numbers and a checksum: what a block costs at least.
const ENTRY_BYTES_MIN: usize = 6;

/// One block, as the writer knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) text_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) checksum: u32,
}

/// The blocks of a finished file and what is known of its text.
#[derive(Debug)]
pub(super) struct BlockIndex {
    /// Where each block begins, and one more entry for the end of the last.
    places: Vec<Place>,
    pub(super) facts: TextFacts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    text_at: u64,
    stored_at: u64,
    checksum: u32,
}

/// Writes the index with its frame.
pub(super) fn encode(extents: &[Extent], facts: &TextFacts) -> Result<Vec<u8>> {
    let mut payload = vec![VERSION, if facts.sha256.is_some() { HAS_SHA256 } else { 0 }];
    payload.extend_from_slice(&facts.fingerprint);
    payload.extend(facts.sha256.iter().flatten());
    push_number(facts.rows, &mut payload);
    push_number(extents.len() as u64, &mut payload);
    for extent in extents {
        push_number(extent.text_bytes, &mut payload);
        push_number(extent.stored_bytes, &mut payload);
        payload.extend_from_slice(&extent.checksum.to_le_bytes());
    }
    let frame_bytes = u32::try_from(payload.len() + TRAILER_BYTES)
        .map_err(|error| Error::new(ErrorKind::Invalid, "an output file is too long").with_source(error))?;
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len() + TRAILER_BYTES);
    frame.extend_from_slice(&FRAME_MAGIC.to_le_bytes());
    frame.extend_from_slice(&frame_bytes.to_le_bytes());
    frame.extend_from_slice(&payload);
    frame.extend_from_slice(&(frame_bytes - TRAILER_BYTES as u32).to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    frame.extend_from_slice(TRAILER_MAGIC);
    Ok(frame)
}

/// Says how long the index is, frame and all, from the last bytes of a file.
pub(super) fn frame_bytes(tail: &[u8]) -> Result<usize> {
    let trailer = tail.last_chunk::<TRAILER_BYTES>().ok_or_else(corrupt)?;
    if &trailer[8..] != TRAILER_MAGIC {
        return Err(corrupt());
    }
    Ok(FRAME_HEADER_BYTES + le_u32(&trailer[..4])? as usize + TRAILER_BYTES)
}

impl BlockIndex {
    /// Reads the index from its frame, the last bytes of a file of `file_bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if anything is not what [`encode`] wrote.
    pub(super) fn decode(frame: &[u8], file_bytes: u64) -> Result<Self> {
        let payload = payload(frame)?;
        let (facts, blocks, mut entries) = facts(payload)?;
        if blocks > (entries.len() / ENTRY_BYTES_MIN) as u64 {
            return Err(corrupt());
        }
        let mut places = Vec::with_capacity(blocks as usize + 1);
        let mut at = Place::default();
        for _ in 0..blocks {
            let text_bytes = number(&mut entries)?;
            let stored_bytes = number(&mut entries)?;
            at.checksum = le_u32(take(&mut entries, 4)?)?;
            if text_bytes > BLOCK_BYTES_MAX as u64 || stored_bytes > file_bytes - at.stored_at {
                return Err(corrupt());
            }
            places.push(at);
            at.text_at += text_bytes;
            at.stored_at += stored_bytes;
        }
        places.push(at);
        if !entries.is_empty() || at.stored_at + frame.len() as u64 != file_bytes {
            return Err(corrupt());
        }
        Ok(Self {
            places,
            facts: TextFacts {
                bytes: at.text_at,
                ..facts
            },
        })
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.places.len() - 1
    }

    /// Where the text of a block begins, or ends if it is the one behind the last.
    pub(super) fn text_at(&self, block: usize) -> u64 {
        self.places[block].text_at
    }

    /// Where a block begins in the file, or ends if it is the one behind the last.
    pub(super) fn stored_at(&self, block: usize) -> u64 {
        self.places[block].stored_at
    }

    /// The checksum of a block at rest.
    pub(super) fn checksum(&self, block: usize) -> u32 {
        self.places[block].checksum
    }

    /// The blocks that hold a range of the text, which lies within it.
    pub(super) fn holding(&self, text: &std::ops::Range<u64>) -> std::ops::Range<usize> {
        if text.is_empty() {
            return 0..0;
        }
        let first = self.places.partition_point(|place| place.text_at <= text.start) - 1;
        let end = self.places.partition_point(|place| place.text_at < text.end);
        first..end
    }
}

/// Checks the frame and returns what is in it.
fn payload(frame: &[u8]) -> Result<&[u8]> {
    if frame_bytes(frame)? != frame.len() {
        return Err(corrupt());
    }
    let (header, rest) = frame.split_at(FRAME_HEADER_BYTES);
    let (payload, trailer) = rest.split_at(rest.len() - TRAILER_BYTES);
    let framed = le_u32(&header[..4])? == FRAME_MAGIC && le_u32(&header[4..])? as usize == rest.len();
    if !framed || le_u32(&trailer[4..8])? != crc32fast::hash(payload) {
        return Err(corrupt());
    }
    Ok(payload)
}

/// Reads what comes before the blocks: the facts (but the length of the text), the number of blocks, and the rest.
fn facts(mut payload: &[u8]) -> Result<(TextFacts, u64, &[u8])> {
    let (version, flags) = (take(&mut payload, 1)?[0], take(&mut payload, 1)?[0]);
    if version != VERSION || flags > HAS_SHA256 {
        return Err(corrupt());
    }
    let fingerprint = take(&mut payload, 16)?.try_into().map_err(|_| corrupt())?;
    let sha256 = match flags {
        HAS_SHA256 => Some(take(&mut payload, 32)?.try_into().map_err(|_| corrupt())?),
        _ => None,
    };
    let rows = number(&mut payload)?;
    let blocks = number(&mut payload)?;
    Ok((
        TextFacts {
            rows,
            bytes: 0,
            fingerprint,
            sha256,
        },
        blocks,
        payload,
    ))
}

fn push_number(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn number(from: &mut &[u8]) -> Result<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(from, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(corrupt())
}

fn take<'a>(from: &mut &'a [u8], bytes: usize) -> Result<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(bytes).ok_or_else(corrupt)?;
    *from = rest;
    Ok(taken)
}

fn le_u32(bytes: &[u8]) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| corrupt())?))
}

fn corrupt() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the index of an output file is not what was written",
    )
}
