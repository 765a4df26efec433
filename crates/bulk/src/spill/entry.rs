//! Plain byte strings as records: [`Entry`], and [`Sorter`], which writes them sorted.

use fhirhose_store::{OutputWriter, Result};

use super::{PIECE_BYTES, Record};

/// The longest entry, in bytes: two keys of the store and a number.
pub(crate) const ENTRY_BYTES_MAX: usize = 300;

/// A byte string; equal ones are one. On disk: its length in two bytes, itself, a line feed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry(pub(crate) Vec<u8>);

impl Record for Entry {
    const BYTES_MAX: usize = ENTRY_BYTES_MAX + 3;

    fn take(bytes: &[u8]) -> Option<(Self, usize)> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length)?;
        (rest.first() == Some(&b'\n') && length <= ENTRY_BYTES_MAX)
            .then(|| (Self(entry.to_vec()), length + 3))
    }

    fn push(&self, out: &mut Vec<u8>) {
        push_entry(&self.0, out);
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }

    fn absorb(&mut self, _same: Self) {}
}

fn push_entry(entry: &[u8], out: &mut Vec<u8>) {
    debug_assert!(entry.len() <= ENTRY_BYTES_MAX, "entries are small");
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entry);
    out.push(b'\n');
}

/// Gathers entries up to a bound, to be written sorted and each once.
#[derive(Debug)]
pub(crate) struct Sorter {
    bytes: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<u32>,
    bytes_max: usize,
}

impl Sorter {
    /// Holds about `bytes_max` bytes; it must be below 4 GiB.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            bytes_max,
        }
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(entry);
        self.ends
            .push(u32::try_from(self.bytes.len()).expect("it is written out long before"));
    }

    /// Whether it is time to write what there is.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() + self.ends.len() * size_of::<u32>() >= self.bytes_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Writes the entries, and forgets them.
    pub(crate) fn write(&mut self, mut writer: OutputWriter) -> Result<()> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut entries: Vec<&[u8]> = starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.bytes[start as usize..end as usize])
            .collect();
        entries.sort_unstable();
        entries.dedup();
        let mut out = Vec::with_capacity(PIECE_BYTES + Entry::BYTES_MAX);
        for entry in entries {
            push_entry(entry, &mut out);
            if out.len() >= PIECE_BYTES {
                writer.write(&out)?;
                out.clear();
            }
        }
        writer.write(&out)?;
        writer.finish()?;
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_as_they_were_written() {
        let mut text = Vec::new();
        push_entry(b"a\nb", &mut text);
        let whole = text.len();
        push_entry(b"", &mut text);
        assert_eq!(Entry::take(&text), Some((Entry(b"a\nb".to_vec()), whole)));
        assert_eq!(Entry::take(&text[whole..]), Some((Entry(Vec::new()), 3)));
        assert!((0..whole).all(|cut| Entry::take(&text[..cut]).is_none()));
    }
}
