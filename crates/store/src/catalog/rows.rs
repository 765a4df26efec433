//! The catalog's rows as bytes: varints and encoded ids, lean, for half a billion rows pay for each byte.

use super::{Dead, Gone, HotRow, Newest, Snapshot};
use crate::{Error, ErrorKind, Result, Sequence};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::meta::{Splice, SpliceForm};

const DELETED: u8 = 1;
const SUBSETTED: u8 = 2;
/// The owner is the resource itself (a Patient), so its bytes are not repeated.
const OWNS_ITSELF: u8 = 4;

/// The value of an `id` row, with the owner as the key has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdRow {
    pub(super) sequence: Sequence,
    pub(super) hash: u64,
    pub(super) owner: Vec<u8>,
    pub(super) subsetted: bool,
    pub(super) deleted: bool,
}

impl IdRow {
    /// `id` is the id as it stands in the row's key.
    pub(super) fn encode(&self, id: &[u8]) -> Vec<u8> {
        let owns_itself = self.owner == id;
        let mut out = Vec::with_capacity(32);
        out.push(
            if self.deleted { DELETED } else { 0 }
                | if self.subsetted { SUBSETTED } else { 0 }
                | if owns_itself { OWNS_ITSELF } else { 0 },
        );
        push_varint(self.sequence.0, &mut out);
        out.extend_from_slice(&self.hash.to_le_bytes());
        if !owns_itself {
            out.extend_from_slice(&self.owner);
        }
        out
    }

    pub(super) fn decode(id: &[u8], value: &[u8]) -> Result<Self> {
        let (&flags, rest) = value.split_first().ok_or_else(|| corrupt("id"))?;
        let (sequence, rest) = split_varint(rest).ok_or_else(|| corrupt("id"))?;
        let (hash, owner) = rest.split_first_chunk::<8>().ok_or_else(|| corrupt("id"))?;
        Ok(Self {
            sequence: Sequence(sequence),
            hash: u64::from_le_bytes(*hash),
            owner: if flags & OWNS_ITSELF != 0 {
                id.to_vec()
            } else {
                owner.to_vec()
            },
            subsetted: flags & SUBSETTED != 0,
            deleted: flags & DELETED != 0,
        })
    }

    pub(super) fn newest(self) -> Result<Newest> {
        let (owner, _) = crate::key::split_owner(&self.owner).ok_or_else(|| corrupt("id"))?;
        Ok(Newest {
            sequence: self.sequence,
            owner,
            hash: self.hash,
            subsetted: self.subsetted,
            deleted: self.deleted,
        })
    }
}

/// key ‖ sequence, as `dead`, `hot` and `membership` rows end.
pub(super) fn versioned(key: &[u8], sequence: Sequence) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 8);
    out.extend_from_slice(key);
    out.extend_from_slice(&sequence.0.to_be_bytes());
    out
}

/// Takes the sequence off the end of a key.
pub(super) fn split_versioned(key: &[u8]) -> Result<(&[u8], Sequence)> {
    let (key, sequence) = key.split_last_chunk::<8>().ok_or_else(|| corrupt("version"))?;
    Ok((key, Sequence(u64::from_be_bytes(*sequence))))
}

pub(super) fn decode_dead(key: &[u8], value: &[u8]) -> Result<Dead> {
    let (key, sequence) = split_versioned(key)?;
    let (dead_at, _) = split_varint(value).ok_or_else(|| corrupt("dead"))?;
    Ok(Dead {
        key: key.to_vec(),
        sequence,
        dead_at: Sequence(dead_at),
    })
}

pub(super) fn encode_dead(dead_at: Sequence) -> Vec<u8> {
    let mut out = Vec::with_capacity(5);
    push_varint(dead_at.0, &mut out);
    out
}

/// sequence ‖ key.
pub(super) fn gone_key(sequence: Sequence, key: &[u8]) -> Vec<u8> {
    let mut out = sequence.0.to_be_bytes().to_vec();
    out.extend_from_slice(key);
    out
}

pub(super) fn encode_gone(gone: &Gone) -> Vec<u8> {
    let mut out = Vec::new();
    push_varint(gone.recreated.map_or(0, |sequence| sequence.0), &mut out);
    for other in &gone.others {
        out.extend_from_slice(other);
    }
    out
}

pub(super) fn decode_gone(key: &[u8], value: &[u8]) -> Result<Gone> {
    let (sequence, key) = key.split_first_chunk::<8>().ok_or_else(|| corrupt("gone"))?;
    let (recreated, mut rest) = split_varint(value).ok_or_else(|| corrupt("gone"))?;
    let mut others = Vec::new();
    while !rest.is_empty() {
        let (_, after) = crate::key::split_id(rest).ok_or_else(|| corrupt("gone"))?;
        others.push(rest[..rest.len() - after.len()].to_vec());
        rest = after;
    }
    Ok(Gone {
        sequence: Sequence(u64::from_be_bytes(*sequence)),
        key: key.to_vec(),
        recreated: (recreated != 0).then_some(Sequence(recreated)),
        others,
    })
}

pub(super) fn encode_hot(row: &HotRow) -> Vec<u8> {
    let mut out = Vec::with_capacity(row.body.len() + 24);
    out.extend_from_slice(&row.instant.micros().to_le_bytes());
    push_varint(u64::from(row.splice.at), &mut out);
    out.push(row.splice.form as u8);
    push_varint(u64::from(row.id_at), &mut out);
    out.extend_from_slice(&row.body);
    out
}

pub(super) fn decode_hot(key: &[u8], value: &[u8]) -> Result<HotRow> {
    let wrong = || corrupt("hot");
    let (key, sequence) = split_versioned(key)?;
    let (instant, rest) = value.split_first_chunk::<8>().ok_or_else(wrong)?;
    let (at, rest) = split_varint(rest).ok_or_else(wrong)?;
    let (&form, rest) = rest.split_first().ok_or_else(wrong)?;
    let (id_at, body) = split_varint(rest).ok_or_else(wrong)?;
    let form = match form {
        0 => SpliceForm::NoMeta,
        1 => SpliceForm::EmptyMeta,
        2 => SpliceForm::Meta,
        _ => return Err(wrong()),
    };
    Ok(HotRow {
        key: key.to_vec(),
        sequence,
        instant: Instant::from_micros(i64::from_le_bytes(*instant)),
        splice: Splice {
            at: u32::try_from(at).map_err(|_| wrong())?,
            form,
        },
        id_at: u32::try_from(id_at).map_err(|_| wrong())?,
        body: body.to_vec(),
    })
}

/// The value of a `commit` row: instant, then the origin as JSON.
pub(super) fn encode_commit(instant: Instant, origin: &super::Origin) -> Vec<u8> {
    let mut out = instant.micros().to_le_bytes().to_vec();
    serde_json::to_writer(&mut out, origin).expect("an origin is plain data");
    out
}

pub(super) fn decode_commit(key: &[u8], value: &[u8]) -> Result<Snapshot> {
    let sequence = key.first_chunk::<8>().ok_or_else(|| corrupt("commit"))?;
    let instant = value.first_chunk::<8>().ok_or_else(|| corrupt("commit"))?;
    Ok(Snapshot {
        sequence: Sequence(u64::from_be_bytes(*sequence)),
        instant: Instant::from_micros(i64::from_le_bytes(*instant)),
    })
}

pub(super) fn corrupt(row: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("reading a `{row}` row of the catalog"),
    )
}

pub(super) fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * at as u32)?;
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}
