//! Member names: fingerprints to tell them apart fast, and the check that no object has one twice.
//!
//! A fingerprint is a 64-bit digest that equal names share; names are compared in full only when fingerprints agree.
//! Small objects are checked name by name. Larger ones are sorted once at their end, so that an object of a
//! million members costs n·log n and no choice of names can make it cost more.

use std::borrow::Cow;

use super::{Fault, Problem, string::decode};

/// Objects of up to this many members are checked as they are read.
const SMALL_MEMBERS_MAX: usize = 32;

/// Scratch beyond this many names is given back before the next text.
const KEPT_KEYS_MAX: usize = 1 << 16;

/// A member's name: its fingerprint, and the offsets of its raw text between the quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) fingerprint: u64,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Key {
    /// Reads the name between two offsets of a text.
    #[inline]
    pub(crate) fn new(text: &str, start: usize, end: usize, escaped: bool) -> Self {
        let fingerprint = if escaped {
            fingerprint(decode(&text[start..end]).as_bytes())
        } else {
            fingerprint_within(text.as_bytes(), start, end)
        };
        Self {
            fingerprint,
            start: start as u32,
            end: end as u32,
        }
    }

    /// The raw text of the name.
    #[inline]
    pub(crate) fn raw(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// Tells whether the name is `name`, whose fingerprint is `expected`.
    #[inline]
    pub(crate) fn is(self, text: &str, expected: u64, name: &str) -> bool {
        self.fingerprint == expected && self.means(text, name)
    }

    fn means(self, text: &str, name: &str) -> bool {
        let raw = self.raw(text);
        raw == name || decode(raw) == name
    }

    /// What the raw text means.
    fn name(self, text: &str) -> Cow<'_, str> {
        decode(self.raw(text))
    }
}

/// The fingerprint of a name.
pub(crate) const fn fingerprint(name: &[u8]) -> u64 {
    let mut first = 0;
    let mut last = 0;
    let mut at = 0;
    while at < name.len() {
        if at < 8 {
            first |= (name[at] as u64) << (8 * at);
        }
        if name.len() > 8 && at >= name.len() - 8 {
            last |= (name[at] as u64) << (8 * (at + 8 - name.len()));
        }
        at += 1;
    }
    mix(first, last, name.len())
}

/// The same for a name that lies within a longer text, without a loop.
#[inline]
fn fingerprint_within(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    let Some(first) = word_at(bytes, start) else {
        return fingerprint(&bytes[start..end]);
    };
    if length <= 8 {
        let unused_bits = 64 - 8 * length as u32;
        let first = first
            .checked_shl(unused_bits)
            .unwrap_or(0)
            .checked_shr(unused_bits)
            .unwrap_or(0);
        return mix(first, 0, length);
    }
    mix(first, word_at(bytes, end - 8).unwrap_or(0), length)
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u64::from_le_bytes(*word))
}

#[inline]
const fn mix(first: u64, last: u64, length: usize) -> u64 {
    first ^ last.rotate_left(21) ^ (length as u64).rotate_right(8)
}

/// The names of all objects that are open, the innermost object's last.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<Key>,
}

impl Keys {
    /// Forgets all names, and gives memory back that an unusual text has claimed.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.keys.shrink_to(KEPT_KEYS_MAX);
    }

    /// How many names are held: where the names of an object that opens now begin.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Adds a name to the object whose names begin at `first`.
    #[inline]
    pub(crate) fn add(&mut self, text: &str, first: usize, key: Key) -> Result<(), Fault> {
        let earlier = self.keys.get(first..).unwrap_or_default();
        if earlier.len() < SMALL_MEMBERS_MAX
            && earlier.iter().any(|other| other.fingerprint == key.fingerprint)
        {
            compare(text, earlier, key)?;
        }
        self.keys.push(key);
        Ok(())
    }

    /// Ends the object whose names begin at `first`.
    #[inline]
    pub(crate) fn close(&mut self, text: &str, first: usize) -> Result<(), Fault> {
        if self.len() - first > SMALL_MEMBERS_MAX {
            check_large(text, &mut self.keys[first..])?;
        }
        self.keys.truncate(first);
        Ok(())
    }
}

#[cold]
fn compare(text: &str, earlier: &[Key], key: Key) -> Result<(), Fault> {
    let name = key.name(text);
    let twice = earlier
        .iter()
        .any(|other| other.fingerprint == key.fingerprint && other.name(text) == name);
    if twice { Err(duplicate(key)) } else { Ok(()) }
}

#[cold]
fn check_large(text: &str, keys: &mut [Key]) -> Result<(), Fault> {
    keys.sort_unstable_by(|a, b| a.name(text).cmp(&b.name(text)).then(a.start.cmp(&b.start)));
    let twice = keys
        .windows(2)
        .filter(|pair| pair[0].name(text) == pair[1].name(text));
    twice
        .map(|pair| pair[1])
        .min_by_key(|key| key.start)
        .map_or(Ok(()), |key| Err(duplicate(key)))
}

fn duplicate(key: Key) -> Fault {
    // The name's opening quote stands one byte before it.
    Fault::new((key.start as usize).saturating_sub(1), Problem::NameTwice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_agree_wherever_the_name_lies() {
        let names = [
            "",
            "a",
            "id",
            "resource",
            "reference",
            "resourceType",
            "aVeryLongNameOfAnExtension",
        ];
        for name in names {
            for tail in ["", "\"", "\":\"something more\"}"] {
                let text = format!("{{\"{name}{tail}");
                let key = Key::new(&text, 2, 2 + name.len(), false);
                assert_eq!(key.fingerprint, fingerprint(name.as_bytes()), "{name}");
                assert!(key.is(&text, fingerprint(name.as_bytes()), name));
            }
        }
    }
}
