//! References whose targets are not there: counted exactly, in bounded memory.
//!
//! Every chunk leaves a sorted file of the ids that it holds and refers to ([`write_part`]). At the end the files are
//! merged ([`crate::spill`]); what no chunk holds is looked up in the catalog in sorted batches, and what is not there either
//! is dangling. No look-up is paid for references within the import, which are nearly all.
//!
//! | part of a record | bytes |
//! |---|---|
//! | length of the key | 1 |
//! | key: type and id as in [`fhirhose_store::key`] | 2 to 67 |
//! | references × 2, + 1 if the resource is held | varint |
//! | input and line of the first reference, if there are references | 2 varints |

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::{OutputWriter, key};

use super::targets::Targets;
use crate::Result;
use crate::spill::{PIECE_BYTES, Record as Spilled};

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

impl Spilled for Record {
    /// Key with its length, three varints, end.
    const BYTES_MAX: usize = 1 + ID_KEY_BYTES_MAX + 3 * 10 + 1;

    fn take(bytes: &[u8]) -> Option<(Self, usize)> {
        take_record(bytes)
    }

    fn push(&self, out: &mut Vec<u8>) {
        push_record(self.key.as_bytes(), self.references, self.held, self.first, out);
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }

    fn absorb(&mut self, same: Self) {
        self.held |= same.held;
        self.first = match (self.references, same.references) {
            (0, _) => same.first,
            (_, 0) => self.first,
            _ => self.first.min(same.first),
        };
        self.references += same.references;
    }
}

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
