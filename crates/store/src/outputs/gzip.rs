//! One gzip member out of pieces that are compressed independently, and so in parallel.
//!
//! Each piece is deflated from a fresh state and flushed to a byte boundary, so that the pieces follow one another as
//! they are; the checksum of the whole is combined from theirs. One member, and not one for each piece, because
//! there are clients that stop after the first.

use flate2::{Compress, Compression, FlushCompress};

use crate::{Error, ErrorKind, Result};

/// No name, no time, no operating system: the same text gives the same bytes.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The last deflate block, empty.
const END: [u8; 2] = [0x03, 0x00];

/// Room that is added while the compressor has more to say.
const ROOM_BYTES: usize = 16 << 10;

/// A compressed piece, with the checksum of its text.
pub(super) struct Piece {
    pub(super) deflated: Vec<u8>,
    pub(super) checksum: crc32fast::Hasher,
    pub(super) text_bytes: u64,
}

/// Compresses one piece at level 1.
pub(super) fn deflate(text: &[u8]) -> Result<Piece> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(text);
    let mut compress = Compress::new(Compression::fast(), false);
    let mut deflated = Vec::with_capacity(text.len() / 4 + ROOM_BYTES);
    loop {
        let rest = text.get(compress.total_in() as usize..).unwrap_or_default();
        compress
            .compress_vec(rest, &mut deflated, FlushCompress::Sync)
            .map_err(|error| Error::new(ErrorKind::Storage, "compress with gzip").with_source(error))?;
        // Room left over is how the compressor says that all of its output is out.
        if compress.total_in() == text.len() as u64 && deflated.len() < deflated.capacity() {
            return Ok(Piece {
                deflated,
                checksum,
                text_bytes: text.len() as u64,
            });
        }
        deflated.reserve(ROOM_BYTES);
    }
}

/// What ends the member: the last deflate block, the checksum and the length of the whole text.
pub(super) fn trailer(checksum: crc32fast::Hasher, text_bytes: u64) -> Vec<u8> {
    let mut trailer = END.to_vec();
    trailer.extend_from_slice(&checksum.finalize().to_le_bytes());
    // The format wants the length modulo 2^32.
    trailer.extend_from_slice(&(text_bytes as u32).to_le_bytes());
    trailer
}
