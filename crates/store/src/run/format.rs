//! The bytes that frame a run, and the numbers in its tables: magics, limits, skippable frames, varints, the trailer.
//!
//! The layout is on disk and does not change within a [`VERSION`]. All fixed-width numbers are little-endian.

use crate::{Error, ErrorKind, Result};
use xxhash_rust::xxh3::xxh3_64;

/// Most bytes that one body may have: zstd tools refuse frames of more than 128 MiB unless told otherwise.
pub const BODY_BYTES_MAX: usize = 96 << 20;

/// Most bytes of text in a block, which is a single body and its newline, or less.
pub(super) const BLOCK_TEXT_BYTES_MAX: usize = BODY_BYTES_MAX + 1;

/// Most bytes of a footer before compression: an index of some ten million blocks.
pub(super) const FOOTER_BYTES_MAX: usize = 1 << 30;

/// Version of the layout.
pub(super) const VERSION: u8 = 1;

/// Bytes of the header frame.
pub(super) const HEADER_BYTES: usize = FRAME_HEADER_BYTES + 8;

/// Bytes of a skippable frame's magic and length.
pub(super) const FRAME_HEADER_BYTES: usize = 8;

/// Bytes of the trailer, the last ones of the file.
pub(super) const TRAILER_BYTES: usize = 32;

const MAGIC: [u8; 7] = *b"fhirrun";

/// Which of zstd's sixteen skippable magics a frame of ours carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// The first of the file.
    Header = 0x184D_2A50,
    /// After each block.
    Table = 0x184D_2A51,
    /// The last of the file.
    Footer = 0x184D_2A52,
}

/// Appends magic and length of a skippable frame whose content of `content_bytes` bytes follows.
pub(super) fn push_frame_header(frame: Frame, content_bytes: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(content_bytes).expect("tables and footers are limited far below 4 GiB");
    out.extend_from_slice(&(frame as u32).to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

/// The content of `bytes` if they are exactly one skippable frame of this kind.
pub(super) fn frame_content(frame: Frame, bytes: &[u8]) -> Option<&[u8]> {
    let (header, content) = bytes.split_at_checked(FRAME_HEADER_BYTES)?;
    let mut expected = Vec::with_capacity(FRAME_HEADER_BYTES);
    expected.extend_from_slice(&(frame as u32).to_le_bytes());
    expected.extend_from_slice(&u32::try_from(content.len()).ok()?.to_le_bytes());
    (header == expected).then_some(content)
}

/// The header of every run of this version.
pub(super) fn header() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    push_frame_header(Frame::Header, MAGIC.len() + 1, &mut out);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out
}

/// The last bytes of a run: how long it is, and where its footer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Bytes of the whole file; a file that is longer or shorter is not what was written.
    pub(super) stored_bytes: u64,
    /// Bytes of the footer as stored, without frame header and trailer.
    pub(super) footer_bytes: u32,
    /// Bytes of the footer after decompression.
    pub(super) footer_text_bytes: u32,
}

impl Trailer {
    /// Appends the trailer; its checksum covers its own numbers and `footer`, the footer as stored.
    pub(super) fn push(self, footer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.numbers());
        out.extend_from_slice(&self.checksum(footer).to_le_bytes());
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
    }

    /// Reads the last [`TRAILER_BYTES`] of a file; the checksum stays for [`Trailer::check`], once the footer is there.
    pub(super) fn parse(bytes: &[u8; TRAILER_BYTES], name: &str) -> Result<Self> {
        let (magic, version) = (&bytes[24..31], bytes[31]);
        if magic != MAGIC || version == 0 {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("run {name} does not end like a run"),
            ));
        }
        if version > VERSION {
            let context = format!("run {name} has format {version}, newer than {VERSION}");
            return Err(Error::new(ErrorKind::NewerFormat, context));
        }
        let mut numbers = Cursor::new(bytes);
        let stored_bytes = numbers.u64().expect("32 bytes hold 8");
        let lengths = numbers.u64().expect("32 bytes hold 16").to_le_bytes();
        let [a, b, c, d, e, f, g, h] = lengths;
        Ok(Self {
            stored_bytes,
            footer_bytes: u32::from_le_bytes([a, b, c, d]),
            footer_text_bytes: u32::from_le_bytes([e, f, g, h]),
        })
    }

    /// Whether the trailer's checksum is that of its numbers and of `footer`.
    pub(super) fn check(self, footer: &[u8], bytes: &[u8; TRAILER_BYTES]) -> bool {
        bytes[16..24] == self.checksum(footer).to_le_bytes()
    }

    fn numbers(self) -> [u8; 16] {
        let mut numbers = [0; 16];
        numbers[..8].copy_from_slice(&self.stored_bytes.to_le_bytes());
        numbers[8..12].copy_from_slice(&self.footer_bytes.to_le_bytes());
        numbers[12..].copy_from_slice(&self.footer_text_bytes.to_le_bytes());
        numbers
    }

    fn checksum(self, footer: &[u8]) -> u64 {
        xxh3_64(&self.numbers()).rotate_left(1) ^ xxh3_64(footer)
    }
}

/// Appends a number, seven bits a byte, low ones first.
pub(super) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Folds a signed number so that small ones of either sign stay short.
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Reads numbers and bytes off the front of a slice; `None` when it ends early or a number is overlong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first_chunk::<8>()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*first))
    }

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn varint_u32(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut bytes = Vec::new();
        for number in numbers {
            push_varint(number, &mut bytes);
        }
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(numbers.map(|_| cursor.varint().unwrap()), numbers);
        assert!(cursor.is_empty() && cursor.varint().is_none());
        for number in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
    }

    #[test]
    fn overlong_numbers_are_refused() {
        assert_eq!(Cursor::new(&[0xff; 12]).varint(), None);
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint(),
            None
        );
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let trailer = Trailer {
            stored_bytes: 9,
            footer_bytes: 3,
            footer_text_bytes: 4,
        };
        let mut bytes = Vec::new();
        trailer.push(b"foo", &mut bytes);
        let mut bytes: [u8; TRAILER_BYTES] = bytes.try_into().unwrap();
        assert_eq!(Trailer::parse(&bytes, "r").unwrap(), trailer);
        assert!(trailer.check(b"foo", &bytes) && !trailer.check(b"fop", &bytes));
        bytes[31] += 1;
        assert_eq!(
            Trailer::parse(&bytes, "r").unwrap_err().kind(),
            ErrorKind::NewerFormat
        );
        bytes[25] ^= 1;
        assert_eq!(
            Trailer::parse(&bytes, "r").unwrap_err().kind(),
            ErrorKind::Corrupt
        );
    }
}
