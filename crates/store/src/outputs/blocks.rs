//! The blocks of an output file at rest: cutting text into them, and making text of one again.
//!
//! A block is one zstd frame of whole lines. Only a line of more than [`BLOCK_BYTES_MAX`] is cut, so that memory stays
//! bounded whatever is written.

use std::ops::Range;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use super::index::{self, BlockIndex, Extent};
use super::writer::TextFacts;
use super::{OutputSettings, Upload};
use crate::{Error, ErrorKind, Result};

/// The most text that a block can have: a reader allocates no more than this for one.
pub(super) const BLOCK_BYTES_MAX: usize = 4 << 20;

/// Cuts text into blocks, compresses them and sends them off.
pub(super) struct BlockSink {
    upload: Upload,
    compressor: Compressor<'static>,
    block_bytes: usize,
    /// Text that is in no block yet.
    text: Vec<u8>,
    /// How long `text` must be before a line end is looked for.
    cut_at: usize,
    /// The compressed form of the latest block; reused.
    frame: Vec<u8>,
    extents: Vec<Extent>,
}

impl BlockSink {
    pub(super) fn new(settings: &OutputSettings, upload: Upload) -> Result<Self> {
        let OutputSettings {
            block_bytes,
            zstd_level,
            ..
        } = *settings;
        if !(1..=BLOCK_BYTES_MAX).contains(&block_bytes) || !(1..=19).contains(&zstd_level) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the settings of output files are out of bounds: block_bytes is 1 to 4194304, zstd_level 1 to 19",
            ));
        }
        let mut compressor = Compressor::new(zstd_level).map_err(zstd_failed)?;
        // The client that takes the frames as they are gets a checksum with each.
        compressor
            .set_parameter(CParameter::ChecksumFlag(true))
            .map_err(zstd_failed)?;
        Ok(Self {
            upload,
            compressor,
            block_bytes,
            text: Vec::with_capacity(block_bytes),
            cut_at: block_bytes,
            frame: Vec::new(),
            extents: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            let (now, later) = text.split_at(text.len().min(self.cut_at - self.text.len()));
            self.text.extend_from_slice(now);
            text = later;
            if self.text.len() == self.cut_at {
                self.cut()?;
            }
        }
        Ok(())
    }

    /// Writes the rest and the index; returns the stored length and the number of blocks.
    pub(super) fn finish(mut self, facts: &TextFacts) -> Result<(u64, u32)> {
        // No text at all makes an empty block: zero bytes are not a valid zstd file.
        if !self.text.is_empty() || self.extents.is_empty() {
            self.store_block(self.text.len())?;
        }
        let blocks = u32::try_from(self.extents.len()).map_err(|error| {
            Error::new(ErrorKind::Invalid, "an output file is too long").with_source(error)
        })?;
        self.upload.write(&index::encode(&self.extents, facts)?)?;
        Ok((self.upload.finish()?, blocks))
    }

    /// Makes a block up to the last line end; without one, waits for more text as long as the limit allows.
    fn cut(&mut self) -> Result<()> {
        let end = match memchr::memrchr(b'\n', &self.text) {
            Some(line_end) => line_end + 1,
            None if self.text.len() >= BLOCK_BYTES_MAX => self.text.len(),
            None => 0,
        };
        if end > 0 {
            self.store_block(end)?;
        }
        // Looking only once per block's worth of text keeps one long line from being searched again and again.
        let waiting = self.text.len();
        self.cut_at = match waiting < self.block_bytes {
            true => self.block_bytes,
            false => (waiting + self.block_bytes).min(BLOCK_BYTES_MAX),
        };
        Ok(())
    }

    fn store_block(&mut self, end: usize) -> Result<()> {
        self.frame.clear();
        self.frame.reserve(compress_bound(end));
        self.compressor
            .compress_to_buffer(&self.text[..end], &mut self.frame)
            .map_err(zstd_failed)?;
        self.upload.write(&self.frame)?;
        self.extents.push(Extent {
            text_bytes: end as u64,
            stored_bytes: self.frame.len() as u64,
            checksum: crc32fast::hash(&self.frame),
        });
        self.text.drain(..end);
        Ok(())
    }
}

impl std::fmt::Debug for BlockSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockSink")
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

/// Checks consecutive blocks as they lie at rest; `stored` is exactly those blocks.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the number of the block.
pub(super) fn verify(index: &BlockIndex, blocks: Range<usize>, stored: &[u8]) -> Result<()> {
    let begin = index.stored_at(blocks.start);
    blocks
        .into_iter()
        .try_for_each(|block| frame(index, block, stored, begin).map(drop))
}

/// Makes the text of consecutive blocks; `stored` is exactly those blocks.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the number of the block.
pub(super) fn text(index: &BlockIndex, blocks: Range<usize>, stored: &[u8]) -> Result<Vec<u8>> {
    let begin = index.stored_at(blocks.start);
    let mut decompressor = Decompressor::new().map_err(zstd_failed)?;
    let text_bytes = index.text_at(blocks.end) - index.text_at(blocks.start);
    let mut text = Vec::with_capacity(usize::try_from(text_bytes).map_err(|_| corrupt(blocks.start))?);
    let mut block_text = Vec::new();
    for block in blocks {
        let frame = frame(index, block, stored, begin)?;
        let block_bytes = usize::try_from(index.text_at(block + 1) - index.text_at(block))
            .ok()
            .filter(|bytes| *bytes <= BLOCK_BYTES_MAX)
            .ok_or_else(|| corrupt(block))?;
        block_text.clear();
        block_text.reserve(block_bytes);
        let written = decompressor
            .decompress_to_buffer(frame, &mut block_text)
            .map_err(|error| corrupt(block).with_source(error))?;
        if written != block_bytes {
            return Err(corrupt(block));
        }
        text.extend_from_slice(&block_text);
    }
    Ok(text)
}

/// Finds one block's frame in `stored`, which begins at `begin` in the file, and checks it.
fn frame<'a>(index: &BlockIndex, block: usize, stored: &'a [u8], begin: u64) -> Result<&'a [u8]> {
    let place = |at: u64| usize::try_from(at - begin).ok();
    let frame = place(index.stored_at(block))
        .zip(place(index.stored_at(block + 1)))
        .and_then(|(start, end)| stored.get(start..end))
        .filter(|frame| crc32fast::hash(frame) == index.checksum(block));
    frame.ok_or_else(|| corrupt(block))
}

fn corrupt(block: usize) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("block {block} is not what was written"),
    )
}

fn zstd_failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, "set up or run zstd for an output file").with_source(error)
}
