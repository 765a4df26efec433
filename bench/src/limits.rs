//! The limits: the least that any import or export has to do, with the same parser, the same blocks and as many threads.

use anyhow::{Context, Result};
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::ndjson;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two threads, as on the class of machine that the targets are for.
const THREADS: usize = 2;
/// Text that a thread takes at a time, in bytes.
const CHUNK_BYTES: usize = 8 << 20;
/// Text of a block, as the store cuts it.
const BLOCK_BYTES: usize = 128 << 10;

/// Reads every line, validates it whole, and writes it in zstd blocks: no catalog, no order, no durability.
pub(crate) fn import(inputs: &[PathBuf], out: &Path) -> Result<(u64, u64, u64)> {
    std::fs::create_dir_all(out)?;
    let source = Mutex::new(Chunks {
        inputs: inputs.iter().cloned().rev().collect(),
        open: None,
    });
    let (lines, text) = (AtomicU64::new(0), AtomicU64::new(0));
    on_threads(|number| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(out.join(format!("{number}.zst")))?);
        let mut index = BufWriter::new(File::create(out.join(format!("{number}.index")))?);
        let mut checker = LineChecker::new(LineLimits {
            line_bytes_max: 64 << 20,
            depth_max: 100,
        });
        let mut compressor = zstd::bulk::Compressor::new(1)?;
        let (mut chunk, mut block, mut packed) = (Vec::new(), Vec::new(), Vec::new());
        while source
            .lock()
            .expect("no thread panics with it")
            .next(&mut chunk)?
        {
            for line in ndjson::lines(&chunk) {
                checker
                    .check(line.bytes, None)
                    .map_err(|refusal| anyhow::anyhow!(refusal.message.clone()))?;
                block.extend_from_slice(line.bytes);
                block.push(b'\n');
                lines.fetch_add(1, Ordering::Relaxed);
                if block.len() >= BLOCK_BYTES {
                    write_block(&mut compressor, &mut block, &mut packed, &mut file, &mut index)?;
                }
            }
            text.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        write_block(&mut compressor, &mut block, &mut packed, &mut file, &mut index)?;
        file.flush()?;
        Ok(index.flush()?)
    })?;
    Ok((
        lines.into_inner(),
        text.into_inner(),
        crate::measure::folder_bytes(out)?,
    ))
}

fn write_block(
    compressor: &mut zstd::bulk::Compressor<'_>,
    block: &mut Vec<u8>,
    packed: &mut Vec<u8>,
    file: &mut impl Write,
    index: &mut impl Write,
) -> Result<()> {
    packed.clear();
    packed.reserve(zstd::zstd_safe::compress_bound(block.len()));
    compressor.compress_to_buffer(block, packed)?;
    index.write_all(&(packed.len() as u32).to_le_bytes())?;
    index.write_all(&(block.len() as u32).to_le_bytes())?;
    file.write_all(packed)?;
    block.clear();
    Ok(())
}

/// Reads the blocks of [`import`] back and writes plain files.
pub(crate) fn export(blocks: &Path, out: &Path) -> Result<(u64, u64, u64)> {
    std::fs::create_dir_all(out)?;
    let text = AtomicU64::new(0);
    on_threads(|number| {
        let mut file = BufReader::with_capacity(1 << 20, File::open(blocks.join(format!("{number}.zst")))?);
        let index = std::fs::read(blocks.join(format!("{number}.index")))?;
        let mut out = BufWriter::with_capacity(1 << 20, File::create(out.join(format!("{number}.ndjson")))?);
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let (mut packed, mut block) = (Vec::new(), Vec::new());
        for entry in index.chunks_exact(8) {
            let length = |at: usize| {
                u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]) as usize
            };
            packed.resize(length(0), 0);
            file.read_exact(&mut packed)?;
            block.clear();
            block.reserve(length(4));
            decompressor.decompress_to_buffer(&packed, &mut block)?;
            out.write_all(&block)?;
            text.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
        Ok(out.flush()?)
    })?;
    Ok((0, text.into_inner(), 0))
}

fn on_threads(work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                scope.spawn({
                    let work = &work;
                    move || work(number)
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a limit does not panic"))
    })
}

/// Hands out whole lines, a chunk at a time, file after file.
struct Chunks {
    inputs: Vec<PathBuf>,
    open: Option<BufReader<File>>,
}

impl Chunks {
    fn next(&mut self, chunk: &mut Vec<u8>) -> Result<bool> {
        chunk.clear();
        loop {
            let file = match &mut self.open {
                Some(file) => file,
                None => {
                    let Some(path) = self.inputs.pop() else {
                        return Ok(false);
                    };
                    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
                    self.open.insert(BufReader::with_capacity(1 << 20, file))
                }
            };
            file.by_ref().take(CHUNK_BYTES as u64).read_to_end(chunk)?;
            if chunk.is_empty() {
                self.open = None;
                continue;
            }
            file.read_until(b'\n', chunk)?;
            return Ok(true);
        }
    }
}
