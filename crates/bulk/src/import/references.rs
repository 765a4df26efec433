//! References whose targets are not there: counted exactly, in bounded memory.
//!
//! Every chunk leaves a sorted file of the ids that it holds and refers to ([`write_part`]). At the end the files are
//! merged ([`Resolver`]); what no chunk holds is looked up in the catalog in sorted batches, and what is not there either
//! is dangling. No look-up is paid for references within the import, which are nearly all.
//!
//! | part of a record | bytes |
//! |---|---|
//! | length of the key | 1 |
//! | key: type and id as in [`fhirhose_store::key`] | 2 to 67 |
//! | references × 2, + 1 if the resource is held | varint |
//! | input and line of the first reference, if there are references | 2 varints |

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use bytes::{Buf, Bytes};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::{OutputName, OutputReader, OutputStore, OutputStream, OutputWriter, key};
use futures::StreamExt;
use tokio::runtime::Handle;

use super::targets::Targets;
use crate::{Error, ErrorKind, Result};

/// type ‖ id as bytes, in place: records are moved about by the million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IdKey {
    /// Zeros behind the key; no key is a prefix of another, so the order is that of the keys.
    bytes: [u8; ID_KEY_BYTES_MAX],
    length: u8,
}

/// Type, mark, 64 characters, end.
const ID_KEY_BYTES_MAX: usize = 67;

/// What one file, or several, know of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) key: IdKey,
    /// How many references there are to it.
    pub(super) references: u64,
    /// Whether the import holds it.
    pub(super) held: bool,
    /// Input and line of the first reference.
    pub(super) first: (u32, u64),
}

impl IdKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; ID_KEY_BYTES_MAX];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            bytes: padded,
            length: bytes.len() as u8,
        })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The resource that the key means.
    pub(super) fn resource(&self) -> Option<(ResourceType, String)> {
        let (&code, id) = self.as_bytes().split_first()?;
        let (id, _) = key::split_id(id)?;
        Some((ResourceType::from_code(code)?, id))
    }
}

/// Writes the ids of a chunk, sorted.
pub(super) fn write_part(targets: &Targets, input: u32, writer: &mut OutputWriter) -> Result<()> {
    let mut keys = Vec::new();
    let mut order = Vec::with_capacity(targets.entries().len());
    for (number, target) in (0u32..).zip(targets.entries()) {
        let at = keys.len();
        keys.push(target.resource_type.code());
        key::push_id(targets.id(target), &mut keys);
        order.push((prefix(&keys[at..]), at, keys.len(), number));
    }
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys[a.1..a.2].cmp(&keys[b.1..b.2])));
    let mut out = Vec::with_capacity(PIECE_BYTES + 256);
    for (_, from, to, number) in order {
        let target = &targets.entries()[number as usize];
        let first = (input, target.first_line);
        push_record(
            &keys[from..to],
            u64::from(target.references),
            target.row.is_some(),
            first,
            &mut out,
        );
        if out.len() >= PIECE_BYTES {
            writer.write(&out)?;
            out.clear();
        }
    }
    Ok(writer.write(&out)?)
}

const PIECE_BYTES: usize = 64 << 10;

/// The first 16 bytes as a number of the same order.
pub(super) fn prefix(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = key.len().min(16);
    bytes[..length].copy_from_slice(&key[..length]);
    u128::from_be_bytes(bytes)
}

fn push_record(key: &[u8], references: u64, held: bool, first: (u32, u64), out: &mut Vec<u8>) {
    out.push(key.len() as u8);
    out.extend_from_slice(key);
    push_varint(references << 1 | u64::from(held), out);
    if references > 0 {
        push_varint(u64::from(first.0), out);
        push_varint(first.1, out);
    }
    // The files are cut into blocks at line ends; a record is a line as far as they are concerned.
    out.push(b'\n');
}

fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Merges sorted files of records; records of one key come out as one.
pub(super) struct Merge {
    parts: Vec<PartReader>,
    /// The next record of each file that has one, with the file's number.
    heads: BinaryHeap<Reverse<(Record, u32)>>,
}

impl Merge {
    /// Opens the files. For a blocking thread.
    pub(super) fn open(outputs: &OutputStore, names: &[OutputName], runtime: &Handle) -> Result<Self> {
        let mut merge = Self {
            parts: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for (number, name) in (0u32..).zip(names) {
            merge.parts.push(PartReader::open(outputs, name, runtime)?);
            if let Some(record) = merge.parts[number as usize].next()? {
                merge.heads.push(Reverse((record, number)));
            }
        }
        Ok(merge)
    }

    /// The next key with all that is known of it.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        let Some(mut record) = self.pop()? else {
            return Ok(None);
        };
        while self
            .heads
            .peek()
            .is_some_and(|Reverse((next, _))| next.key == record.key)
        {
            let Some(same) = self.pop()? else { break };
            record.held |= same.held;
            record.first = match (record.references, same.references) {
                (0, _) => same.first,
                (_, 0) => record.first,
                _ => record.first.min(same.first),
            };
            record.references += same.references;
        }
        Ok(Some(record))
    }

    /// Takes the least record, and puts the next of its file in its place.
    fn pop(&mut self) -> Result<Option<Record>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let Reverse((record, part)) = *head;
        match self.parts[part as usize].next()? {
            Some(next) => *head = Reverse((next, part)),
            None => drop(PeekMut::pop(head)),
        }
        Ok(Some(record))
    }
}

/// Merges several files into one.
pub(super) fn merge_into(mut merge: Merge, mut writer: OutputWriter) -> Result<()> {
    let mut out = Vec::with_capacity(PIECE_BYTES + 256);
    while let Some(record) = merge.next()? {
        push_record(
            record.key.as_bytes(),
            record.references,
            record.held,
            record.first,
            &mut out,
        );
        if out.len() >= PIECE_BYTES {
            writer.write(&out)?;
            out.clear();
        }
    }
    writer.write(&out)?;
    writer.finish()?;
    Ok(())
}

/// Reads one file of records.
struct PartReader {
    stream: OutputStream,
    runtime: Handle,
    name: OutputName,
    /// What is read and not taken apart.
    piece: Bytes,
    /// Held so that the file stays while it is read.
    _reader: OutputReader,
}

impl PartReader {
    fn open(outputs: &OutputStore, name: &OutputName, runtime: &Handle) -> Result<Self> {
        let reader = runtime.block_on(outputs.open(name))?;
        let stream = reader.stream(fhirhose_store::Encoding::Identity);
        let (runtime, name) = (runtime.clone(), name.clone());
        Ok(Self {
            stream,
            runtime,
            name,
            piece: Bytes::new(),
            _reader: reader,
        })
    }

    fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some((record, length)) = take_record(&self.piece) {
                self.piece.advance(length);
                return Ok(Some(record));
            }
            if !self.read_on()? {
                return if self.piece.is_empty() {
                    Ok(None)
                } else {
                    Err(self.corrupt())
                };
            }
        }
    }

    /// Reads more behind what is left; says whether there was more.
    fn read_on(&mut self) -> Result<bool> {
        let Some(piece) = self.runtime.block_on(self.stream.next()) else {
            return Ok(false);
        };
        let piece = piece?;
        if self.piece.is_empty() {
            self.piece = piece;
        } else if self.piece.len() > RECORD_BYTES_MAX {
            return Err(self.corrupt());
        } else {
            self.piece = [&self.piece[..], &piece].concat().into();
        }
        Ok(true)
    }

    fn corrupt(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!("reading {}: it is not a file of references", self.name),
        )
    }
}

/// Key with its length, three varints, end.
const RECORD_BYTES_MAX: usize = 1 + ID_KEY_BYTES_MAX + 3 * 10 + 1;

/// Takes a record off the front of `bytes`, with its length; `None` if it is not whole or not one.
fn take_record(bytes: &[u8]) -> Option<(Record, usize)> {
    let mut rest = bytes;
    let length = usize::from(take(&mut rest, 1)?[0]);
    let key = IdKey::new(take(&mut rest, length)?)?;
    let number = take_varint(&mut rest)?;
    let mut record = Record {
        key,
        references: number >> 1,
        held: number & 1 == 1,
        first: (0, 0),
    };
    if record.references > 0 {
        record.first = (
            u32::try_from(take_varint(&mut rest)?).ok()?,
            take_varint(&mut rest)?,
        );
    }
    (take(&mut rest, 1)? == b"\n").then_some((record, bytes.len() - rest.len()))
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let mut text = Vec::new();
        let mut id = vec![ResourceType::PATIENT.code()];
        key::push_id("a.b", &mut id);
        push_record(&id, 300, true, (7, 1 << 40), &mut text);
        let whole = text.len();
        push_record(&id, 0, true, (0, 0), &mut text);
        let (record, length) = take_record(&text).expect("a whole record");
        assert_eq!(
            (record.references, record.held, record.first, length),
            (300, true, (7, 1 << 40), whole)
        );
        assert_eq!(
            record.key.resource(),
            Some((ResourceType::PATIENT, "a.b".to_owned()))
        );
        assert!(
            (0..whole).all(|cut| take_record(&text[..cut]).is_none()),
            "a cut record is none"
        );
    }
}
