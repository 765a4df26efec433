//! The blocks of an output file at rest: cutting text into them, and making text of one again.
//!
//! A block is one zstd frame of whole lines, sealed if the store has a key. Only a line of more than [`BLOCK_BYTES_MAX`] is cut, so that memory stays
//! bounded whatever is written.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, compress_bound};

use super::cipher::{FileCipher, Piece, TAG_BYTES};
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
    cipher: Option<FileCipher>,
}

impl BlockSink {
    pub(super) fn new(settings: &OutputSettings, upload: Upload, cipher: Option<FileCipher>) -> Result<Self> {
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
            cipher,
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
        let mut index = index::encode(&self.extents, facts)?;
        if let Some(cipher) = &self.cipher {
            let sealed_bytes = u32::try_from(index.len() + TAG_BYTES).map_err(|error| {
                Error::new(ErrorKind::Invalid, "an output file is too long").with_source(error)
            })?;
            cipher.seal(Piece::Index(sealed_bytes), &mut index)?;
            index.extend_from_slice(&cipher.trailer(sealed_bytes));
        }
        self.upload.write(&index)?;
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
        if let Some(cipher) = &self.cipher {
            cipher.seal(Piece::Block(self.extents.len() as u64), &mut self.frame)?;
        }
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

/// An open file's index, and what opens its blocks if they are sealed.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) index: BlockIndex,
    pub(super) cipher: Option<FileCipher>,
}

impl Blocks {
    /// How long all frames are together, not sealed.
    pub(super) fn frames_bytes(&self) -> u64 {
        self.frame_at(self.index.blocks())
    }

    /// Where the frame of a block begins among all frames, not sealed, or ends if it is the one behind the last.
    pub(super) fn frame_at(&self, block: usize) -> u64 {
        let tags = self.cipher.as_ref().map_or(0, |_| block * TAG_BYTES);
        self.index.stored_at(block).saturating_sub(tags as u64)
    }

    /// The blocks whose frames hold a range of all frames, which lies within them.
    pub(super) fn holding_frames(&self, frames: &Range<u64>) -> Range<usize> {
        if frames.is_empty() {
            return 0..0;
        }
        let first_where = |is: &dyn Fn(u64) -> bool| {
            let (mut low, mut high) = (0, self.index.blocks());
            while low < high {
                let middle = low + (high - low) / 2;
                match is(self.frame_at(middle)) {
                    true => high = middle,
                    false => low = middle + 1,
                }
            }
            low
        };
        let first = first_where(&|at| at > frames.start) - 1;
        first..first_where(&|at| at >= frames.end)
    }

    /// Tells forms with the same text and other frames apart: those of another level, block length or version of zstd.
    pub(super) fn layout(&self) -> u32 {
        let mut lengths = crc32fast::Hasher::new();
        for block in 0..=self.index.blocks() {
            lengths.update(&self.frame_at(block).to_le_bytes());
        }
        lengths.finalize()
    }
}

/// Checks consecutive blocks and gives their frames, one after another; `stored` is exactly those blocks.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the number of the block.
pub(super) fn frames(file: &Blocks, blocks: Range<usize>, stored: Bytes) -> Result<Bytes> {
    let begin = file.index.stored_at(blocks.start);
    let mut opened = Vec::new();
    for block in blocks {
        let frame = frame(file, block, &stored, begin)?;
        if file.cipher.is_some() {
            opened.extend_from_slice(&frame);
        }
    }
    Ok(match file.cipher {
        Some(_) => opened.into(),
        None => stored,
    })
}

/// Makes the text of consecutive blocks; `stored` is exactly those blocks.
///
/// # Errors
/// [`ErrorKind::Corrupt`] with the number of the block.
pub(super) fn text(file: &Blocks, blocks: Range<usize>, stored: &[u8]) -> Result<Vec<u8>> {
    let index = &file.index;
    let begin = index.stored_at(blocks.start);
    let mut decompressor = Decompressor::new().map_err(zstd_failed)?;
    let text_bytes = index.text_at(blocks.end) - index.text_at(blocks.start);
    let mut text = Vec::with_capacity(usize::try_from(text_bytes).map_err(|_| corrupt(blocks.start))?);
    let mut block_text = Vec::new();
    for block in blocks {
        let frame = frame(file, block, stored, begin)?;
        let block_bytes = usize::try_from(index.text_at(block + 1) - index.text_at(block))
            .ok()
            .filter(|bytes| *bytes <= BLOCK_BYTES_MAX)
            .ok_or_else(|| corrupt(block))?;
        block_text.clear();
        block_text.reserve(block_bytes);
        let written = decompressor
            .decompress_to_buffer(&frame, &mut block_text)
            .map_err(|error| corrupt(block).with_source(error))?;
        if written != block_bytes {
            return Err(corrupt(block));
        }
        text.extend_from_slice(&block_text);
    }
    Ok(text)
}

/// Finds one block's frame in `stored`, which begins at `begin` in the file, checks it, and opens it if it is sealed.
fn frame<'a>(file: &Blocks, block: usize, stored: &'a [u8], begin: u64) -> Result<Cow<'a, [u8]>> {
    let index = &file.index;
    let place = |at: u64| usize::try_from(at - begin).ok();
    let frame = place(index.stored_at(block))
        .zip(place(index.stored_at(block + 1)))
        .and_then(|(start, end)| stored.get(start..end))
        .filter(|frame| crc32fast::hash(frame) == index.checksum(block));
    let frame = frame.ok_or_else(|| corrupt(block))?;
    match &file.cipher {
        None => Ok(frame.into()),
        Some(cipher) => cipher
            .open(Piece::Block(block as u64), frame)
            .map(Cow::Owned)
            .ok_or_else(|| corrupt(block)),
    }
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
