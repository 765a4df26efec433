//! Sorts any number of short text lines in bounded memory: [`Sorter`] takes them, [`Sorted`] gives them back in the order of their bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::durable;
use crate::{Error, Result};

/// Parts that are merged at a time; each holds one file and a buffer.
const MERGED_MAX: usize = 64;
const BUFFER_BYTES: usize = 64 << 10;

/// Takes lines in any order.
pub(super) struct Sorter {
    folder: PathBuf,
    /// The lines in memory, one after another, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    bytes_max: usize,
    parts: Vec<PathBuf>,
    made: usize,
}

impl Sorter {
    /// Sorts with parts in this folder, which is made.
    pub(super) fn new(folder: &Path, bytes_max: usize) -> Result<Self> {
        durable::remove(folder)?;
        durable::create_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            text: Vec::new(),
            ends: Vec::new(),
            bytes_max,
            parts: Vec::new(),
            made: 0,
        })
    }

    /// Takes a line, which must not hold a line feed.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<()> {
        debug_assert!(!line.contains(&b'\n'), "a record is one line");
        self.text.extend_from_slice(line);
        self.ends.push(self.text.len());
        if self.text.len() + self.ends.len() * 24 > self.bytes_max {
            self.spill()?;
        }
        Ok(())
    }

    /// Gives everything back in order.
    pub(super) fn finish(mut self) -> Result<Sorted> {
        self.spill()?;
        while self.parts.len() > MERGED_MAX {
            let some: Vec<PathBuf> = self.parts.drain(..MERGED_MAX).collect();
            let path = self.next_part();
            let mut merged = Sorted::open(&some)?;
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, durable::create(&path)?);
            while let Some(line) = merged.next_line()? {
                write_line(&mut out, &line, &path)?;
            }
            flush_scratch(out, &path)?;
            for part in &some {
                durable::remove(part)?;
            }
            self.parts.push(path);
        }
        Sorted::open(&self.parts)
    }

    fn next_part(&mut self) -> PathBuf {
        self.made += 1;
        self.folder.join(format!("part-{}", self.made))
    }

    fn spill(&mut self) -> Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut spans: Vec<(usize, usize)> = starts.zip(self.ends.iter().copied()).collect();
        let text = &self.text;
        spans.sort_unstable_by_key(|&(start, end)| &text[start..end]);
        let path = self.folder.join(format!("part-{}", self.made + 1));
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, durable::create(&path)?);
        for (start, end) in spans {
            write_line(&mut out, &self.text[start..end], &path)?;
        }
        flush_scratch(out, &path)?;
        self.made += 1;
        self.parts.push(path);
        self.text.clear();
        self.ends.clear();
        Ok(())
    }
}

/// Lines in order.
pub(super) struct Sorted {
    parts: Vec<BufReader<File>>,
    /// The next line of each part that has one, the least first.
    heap: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Sorted {
    fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut sorted = Self {
            parts: Vec::new(),
            heap: BinaryHeap::new(),
        };
        for (number, path) in paths.iter().enumerate() {
            let file = File::open(path);
            let file = file.map_err(|source| Error::io(format!("opening {}", path.display()), source))?;
            sorted.parts.push(BufReader::with_capacity(BUFFER_BYTES, file));
            sorted.refill(number)?;
        }
        Ok(sorted)
    }

    /// The next line; `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(Reverse((line, number))) = self.heap.pop() else {
            return Ok(None);
        };
        self.refill(number)?;
        Ok(Some(line))
    }

    fn refill(&mut self, number: usize) -> Result<()> {
        if let Some(line) = read_line(&mut self.parts[number])? {
            self.heap.push(Reverse((line, number)));
        }
        Ok(())
    }
}

/// Reads a line without its line feed.
pub(super) fn read_line(from: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = from.read_until(b'\n', &mut line);
    read.map_err(|source| Error::io("reading sorted records", source))?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(line));
    }
    match line.is_empty() {
        true => Ok(None),
        false => Err(Error::new(
            crate::ErrorKind::Corrupt,
            "a file of sorted records ends within a line",
        )),
    }
}

pub(super) fn write_line(out: &mut impl Write, line: &[u8], path: &Path) -> Result<()> {
    let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
    written.map_err(|source| Error::io(format!("writing {}", path.display()), source))
}

/// Ends a file that was written through a buffer, durably.
pub(super) fn flush(mut out: BufWriter<File>, path: &Path) -> Result<()> {
    let flushed = out.flush().and_then(|()| out.get_ref().sync_all());
    flushed.map_err(|source| Error::io(format!("writing {}", path.display()), source))
}

/// Ends a file that no later process reads.
pub(super) fn flush_scratch(mut out: BufWriter<File>, path: &Path) -> Result<()> {
    let flushed = out.flush();
    flushed.map_err(|source| Error::io(format!("writing {}", path.display()), source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_lines_comes_back_in_order_in_little_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(&folder.path().join("sort"), 1 << 10).unwrap();
        let line = |n: u32| format!("k{}\tv{n}", n.wrapping_mul(2_654_435_761) % 100_000);
        let mut expected: Vec<String> = (0..5_000).map(line).collect();
        for line in &expected {
            sorter.push(line.as_bytes()).unwrap();
        }
        assert!(
            sorter.parts.len() > MERGED_MAX,
            "more parts than are merged at a time"
        );
        expected.sort_unstable();
        let mut sorted = sorter.finish().unwrap();
        for line in expected {
            assert_eq!(sorted.next_line().unwrap().unwrap(), line.as_bytes());
        }
        assert!(sorted.next_line().unwrap().is_none());
    }
}
