//! Resource ids: version 4 UUIDs in lower case, kept as their 36 characters because they are only ever written.

use super::random::{Random, Stream};

/// A UUID as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uuid {
    text: [u8; 36],
}

impl Uuid {
    /// Makes a version 4 UUID of 122 of the 128 bits given.
    pub(super) fn from_bits(high: u64, low: u64) -> Self {
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        let mut text = [b'-'; 36];
        for (byte, at) in bytes.into_iter().zip(PLACES) {
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
        }
        Self { text }
    }

    /// Makes the id of a record that others refer to without having seen it: the `index`th of its `stream`.
    pub(super) fn shared(seed: u64, stream: Stream, index: u32) -> Self {
        // The id must not repeat the numbers that the record's content is drawn from.
        Random::stream(!seed, stream, index).uuid()
    }

    /// The 36 characters.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8; 36] {
        &self.text
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where each byte's two digits stand between the hyphens.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

#[cfg(test)]
mod tests {
    use super::Uuid;

    #[test]
    fn bits_become_a_version_4_uuid_in_lower_case() {
        let uuid = Uuid::from_bits(0x0123_4567_89ab_cdef, 0xffff_ffff_ffff_ffff);
        assert_eq!(uuid.as_bytes(), b"01234567-89ab-4def-bfff-ffffffffffff");
    }
}
