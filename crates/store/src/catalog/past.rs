//! What there was: versions that have ended, found by type and id whoever owned them, and ids in the order of their text.
//!
//! Ends of versions lie under type ‖ owner ‖ id. Where a resource went over to another owner, a `past` row keeps the former one;
//! it goes when compaction has dropped the last version under it. Stores from before these rows know the present owner only.

use super::kv::Space;
use super::kv_catalog::Inner;
use super::rows::{self, IdRow};
use super::{Batch, Ended, KeyRange, Newest};
use crate::{Result, Sequence};
use fhirhose_fhir::instant::Instant;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

const FORGOTTEN: &[u8] = b"forgotten";

/// The marks that encoded ids begin with: packed UUIDs and plain text.
const UUID: u8 = 1;
const TEXT: u8 = 2;

impl Inner {
    /// Ended versions below `before`, newest first.
    pub(super) fn ended(&self, code: u8, id: &[u8], before: Sequence, limit: usize) -> Result<Vec<Ended>> {
        let mut newest: BTreeSet<(Sequence, Sequence, Vec<u8>)> = BTreeSet::new();
        for owner in self.owners(code, id)? {
            let range = KeyRange::of_prefix([&[code], owner.as_slice(), id].concat());
            self.kv.scan(
                Space::Dead,
                &range.from,
                range.to.as_deref(),
                &mut |key, value| {
                    let dead = rows::decode_dead(key, value)?;
                    if dead.sequence < before {
                        newest.insert((dead.sequence, dead.dead_at, owner.clone()));
                        if newest.len() > limit {
                            newest.pop_first();
                        }
                    }
                    Ok(ControlFlow::Continue(()))
                },
            )?;
        }
        let mut ended = Vec::with_capacity(newest.len());
        for (sequence, ended_at, owner_key) in newest.into_iter().rev() {
            let key = [&[code], owner_key.as_slice(), id].concat();
            let (owner, _) = crate::key::split_owner(&owner_key).ok_or_else(|| rows::corrupt("past"))?;
            let gone = self.kv.get(Space::Gone, &rows::gone_key(ended_at, &key))?;
            ended.push(Ended {
                sequence,
                owner,
                ended_at,
                deleted: gone.is_some(),
            });
        }
        Ok(ended)
    }

    /// The encoded owners that an id has and had.
    fn owners(&self, code: u8, id: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
        let mut owners = BTreeSet::new();
        owners.extend(self.id_row(code, id, &mut Vec::new())?.map(|row| row.owner));
        let prefix = [&[code], id].concat();
        let range = KeyRange::of_prefix(prefix.clone());
        self.kv
            .scan(Space::Past, &range.from, range.to.as_deref(), &mut |key, _| {
                owners.insert(key[prefix.len()..].to_vec());
                Ok(ControlFlow::Continue(()))
            })?;
        Ok(owners)
    }

    /// Keeps the former owner of a resource, where versions lie under it.
    pub(super) fn put_past(&self, code: u8, id: &[u8], old: &IdRow, batch: &mut Batch) -> Result<()> {
        let key = [&[code], old.owner.as_slice(), id].concat();
        // What ends right now is not stored yet; what was deleted before may have been dropped since.
        if !old.deleted || self.has_ended(&key, &[])? {
            batch.put(Space::Past, [&[code], id, old.owner.as_slice()].concat(), []);
        }
        Ok(())
    }

    /// Forgets former owners under which nothing is left when `dropped`, sorted by key within a type, is gone.
    pub(super) fn prune_past(&self, dropped: &[(Vec<u8>, Sequence)], batch: &mut Batch) -> Result<()> {
        if self.kv.last_key(Space::Past)?.is_none() {
            return Ok(());
        }
        for versions in dropped.chunk_by(|a, b| a.0 == b.0) {
            let key = &versions[0].0;
            let past = past_key(key).ok_or_else(|| rows::corrupt("dead"))?;
            let sequences: Vec<Sequence> = versions.iter().map(|(_, sequence)| *sequence).collect();
            if self.kv.get(Space::Past, &past)?.is_some() && !self.has_ended(key, &sequences)? {
                batch.remove(Space::Past, past);
            }
        }
        Ok(())
    }

    /// Whether a version of a key has ended, beside those with these sequences.
    fn has_ended(&self, key: &[u8], beside: &[Sequence]) -> Result<bool> {
        let range = KeyRange::of_prefix(key.to_vec());
        let mut has_ended = false;
        self.kv
            .scan(Space::Dead, &range.from, range.to.as_deref(), &mut |key, _| {
                let (_, sequence) = rows::split_versioned(key)?;
                has_ended = !beside.contains(&sequence);
                Ok(if has_ended {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
        Ok(has_ended)
    }

    /// The newest end of a version that was dropped.
    pub(super) fn forgotten(&self) -> Result<Sequence> {
        let Some(value) = self.kv.get(Space::Meta, FORGOTTEN)? else {
            return Ok(Sequence::ZERO);
        };
        let number = value.first_chunk::<8>().ok_or_else(|| rows::corrupt("meta"))?;
        Ok(Sequence(u64::from_le_bytes(*number)))
    }

    pub(super) fn put_forgotten(&self, forgotten: Sequence, batch: &mut Batch) -> Result<()> {
        if forgotten > self.forgotten()? {
            batch.put(Space::Meta, FORGOTTEN, forgotten.0.to_le_bytes());
        }
        Ok(())
    }

    /// When a commit was made; `None` if there is none of this number.
    pub(super) fn instant_of(&self, sequence: Sequence) -> Result<Option<Instant>> {
        let key = sequence.0.to_be_bytes();
        let value = self.kv.get(Space::Commit, &key)?;
        let decoded = value.map(|value| rows::decode_commit(&key, &value));
        Ok(decoded.transpose()?.map(|commit| commit.instant))
    }

    /// Ids of a type in the order of their text.
    pub(super) fn ids(&self, code: u8, after: Option<&str>, limit: usize) -> Result<Vec<(String, Newest)>> {
        let uuids = after.map_or(Some(vec![UUID]), first_uuid_after);
        let texts = after.map_or(vec![TEXT], |after| [&[TEXT], after.as_bytes(), &[0, 0]].concat());
        let mut found = Vec::new();
        for (from, mark) in [(uuids, UUID), (Some(texts), TEXT)] {
            let Some(from) = from else { continue };
            found.extend(self.ids_of_form(&[&[code], from.as_slice()].concat(), &[code, mark + 1], limit)?);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.truncate(limit);
        Ok(found)
    }

    fn ids_of_form(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(String, Newest)>> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        self.kv.scan(Space::Id, from, Some(to), &mut |key, value| {
            let id = key.get(1..).unwrap_or_default();
            let row = IdRow::decode(id, value)?;
            if self.is_true(row.sequence) {
                let (text, _) = crate::key::split_id(id).ok_or_else(|| rows::corrupt("id"))?;
                found.push((text, row.newest()?));
            }
            Ok(if found.len() < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(found)
    }
}

/// type ‖ owner ‖ id as type ‖ id ‖ owner.
fn past_key(key: &[u8]) -> Option<Vec<u8>> {
    let (&code, rest) = key.split_first()?;
    let (_, id) = crate::key::split_owner(rest)?;
    let owner = &rest[..rest.len() - id.len()];
    Some([&[code], id, owner].concat())
}

/// The first key of a packed UUID whose text comes after `after`; `None` when none does.
fn first_uuid_after(after: &str) -> Option<Vec<u8>> {
    const FORM: &[u8; 36] = b"00000000-0000-0000-0000-000000000000";
    let mut digits: Vec<u8> = Vec::with_capacity(32);
    for (at, &form) in FORM.iter().enumerate() {
        // What goes on where the text ends is greater, and so is all that begins like this.
        let Some(&byte) = after.as_bytes().get(at) else {
            return Some(packed(&digits));
        };
        match (form, byte) {
            (b'-', b'-') => {}
            (b'-', byte) if byte < b'-' => return Some(packed(&digits)),
            (b'-', _) => return next(digits).map(|digits| packed(&digits)),
            (_, b'0'..=b'9') => digits.push(byte - b'0'),
            (_, b'a'..=b'f') => digits.push(byte - b'a' + 10),
            (_, byte) if byte < b'0' => return Some(packed(&digits)),
            (_, byte) if byte < b'a' => {
                digits.push(10);
                return Some(packed(&digits));
            }
            _ => return next(digits).map(|digits| packed(&digits)),
        }
    }
    // The very UUID, or one that the text goes on from.
    Some([packed(&digits), vec![0]].concat())
}

/// The least digits of the same length that come after all that begin with these.
fn next(mut digits: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = digits.pop() {
        if last < 15 {
            digits.push(last + 1);
            return Some(digits);
        }
    }
    None
}

fn packed(digits: &[u8]) -> Vec<u8> {
    let mut key = vec![0; 17];
    key[0] = UUID;
    for (at, digit) in digits.iter().enumerate() {
        key[1 + at / 2] |= digit << (4 * (1 - at % 2));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::push_id;

    #[test]
    fn the_place_after_a_text_parts_the_uuids_as_their_texts_do() {
        let uuids = [
            "00000000-0000-4000-8000-000000000000",
            "0000000f-ffff-4000-8000-000000000000",
            "09999999-aaaa-4000-8000-0000000000ff",
            "0a999999-aaaa-4000-8000-0000000000ff",
            "a0000000-0000-4000-8000-000000000001",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ];
        let mut afters: Vec<String> = [
            "", ".", "-", "0", "09", "0A", "0z", "a", "a0000000", "f", "fz", "z", "A",
        ]
        .map(str::to_owned)
        .to_vec();
        for uuid in uuids {
            afters.push(uuid.to_owned());
            afters.push(format!("{uuid}0"));
            afters.push(uuid.to_uppercase());
            afters.push(uuid.replacen('-', ".", 2));
            afters.push(uuid[..20].to_owned());
        }
        for after in afters {
            let from = first_uuid_after(&after);
            for uuid in uuids {
                let mut key = Vec::new();
                push_id(uuid, &mut key);
                let found = from.as_ref().is_some_and(|from| key >= *from);
                assert_eq!(found, uuid > after.as_str(), "{uuid} after {after:?}");
            }
        }
    }
}
