//! Sorts more than fits into memory: sorted runs in plain files, and their merge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Runs that are merged at a time: each has a buffer and an open file.
const RUNS_MAX: usize = 64;

/// Read of each run at a time, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// What is sorted.
pub(super) trait Row: Ord + Sized {
    /// About how much memory it takes, in bytes.
    fn memory(&self) -> usize;
    /// Appends it to a run.
    fn write(&self, out: &mut dyn Write) -> io::Result<()>;
    /// Reads what [`write`](Self::write) wrote.
    fn read(from: &mut dyn Read) -> io::Result<Self>;
}

/// Takes rows in any order, in bounded memory.
pub(super) struct Sorter<R> {
    folder: PathBuf,
    bytes_max: usize,
    rows: Vec<R>,
    bytes: usize,
    runs: Vec<PathBuf>,
    runs_made: u64,
}

impl<R: Row> Sorter<R> {
    /// Sorts with about `bytes_max` bytes of memory and files in `folder`, which is made.
    pub(super) fn new(folder: &Path, bytes_max: usize) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        Ok(Self {
            folder: folder.to_owned(),
            bytes_max,
            rows: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
            runs_made: 0,
        })
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: R) -> Result<()> {
        self.bytes += row.memory();
        self.rows.push(row);
        if self.bytes >= self.bytes_max {
            self.spill()?;
        }
        Ok(())
    }

    /// Gives all rows in their order.
    pub(super) fn finish(mut self) -> Result<Sorted<R>> {
        if self.runs.is_empty() {
            self.rows.sort_unstable();
            return Ok(Sorted {
                memory: self.rows.into_iter(),
                merge: Merge::default(),
                folder: self.folder,
            });
        }
        self.spill()?;
        while self.runs.len() > RUNS_MAX {
            let rest = self.runs.split_off(RUNS_MAX);
            let merged = std::mem::replace(&mut self.runs, rest);
            let mut merge = self.open(&merged)?;
            self.write_run(|| merge.next())?;
            for run in merged {
                fs::remove_file(&run).map_err(|source| failed(&run, source))?;
            }
        }
        Ok(Sorted {
            memory: Vec::new().into_iter(),
            merge: self.open(&self.runs)?,
            folder: self.folder,
        })
    }

    fn spill(&mut self) -> Result<()> {
        let mut rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        rows.sort_unstable();
        let mut rows = rows.into_iter();
        self.write_run(|| Ok(rows.next()))
    }

    fn write_run(&mut self, mut next: impl FnMut() -> io::Result<Option<R>>) -> Result<()> {
        let path = self.folder.join(format!("run-{}", self.runs_made));
        self.runs_made += 1;
        let mut write = || {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, File::create(&path)?);
            while let Some(row) = next()? {
                row.write(&mut out)?;
            }
            out.flush()
        };
        write().map_err(|source| failed(&path, source))?;
        self.runs.push(path);
        Ok(())
    }

    fn open(&self, runs: &[PathBuf]) -> Result<Merge<R>> {
        let mut merge = Merge::default();
        for run in runs {
            let file = File::open(run).map_err(|source| failed(run, source))?;
            merge.readers.push(BufReader::with_capacity(BUFFER_BYTES, file));
        }
        merge.fill().map_err(|source| failed(&self.folder, source))?;
        Ok(merge)
    }
}

/// Rows in their order.
pub(super) struct Sorted<R> {
    memory: std::vec::IntoIter<R>,
    merge: Merge<R>,
    folder: PathBuf,
}

impl<R: Row> Sorted<R> {
    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<R>> {
        if let Some(row) = self.memory.next() {
            return Ok(Some(row));
        }
        self.merge.next().map_err(|source| failed(&self.folder, source))
    }
}

/// The merge of sorted runs.
struct Merge<R> {
    readers: Vec<BufReader<File>>,
    /// The next row of each run that has one, with the run's number.
    heads: BinaryHeap<Reverse<(R, usize)>>,
}

impl<R: Row> Default for Merge<R> {
    fn default() -> Self {
        Self {
            readers: Vec::new(),
            heads: BinaryHeap::new(),
        }
    }
}

impl<R: Row> Merge<R> {
    fn fill(&mut self) -> io::Result<()> {
        for number in 0..self.readers.len() {
            self.refill(number)?;
        }
        Ok(())
    }

    fn refill(&mut self, number: usize) -> io::Result<()> {
        let reader = &mut self.readers[number];
        if !reader.fill_buf()?.is_empty() {
            self.heads.push(Reverse((R::read(reader)?, number)));
        }
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<R>> {
        let Some(Reverse((row, number))) = self.heads.pop() else {
            return Ok(None);
        };
        self.refill(number)?;
        Ok(Some(row))
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::io(format!("sorting in {}", path.display()), source)
}

/// Reads so many bytes.
pub(super) fn read_array<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for u64 {
        fn memory(&self) -> usize {
            8
        }

        fn write(&self, out: &mut dyn Write) -> io::Result<()> {
            out.write_all(&self.to_le_bytes())
        }

        fn read(from: &mut dyn Read) -> io::Result<Self> {
            Ok(Self::from_le_bytes(read_array(from)?))
        }
    }

    #[test]
    fn rows_come_sorted_whether_they_fit_or_not() {
        let folder = tempfile::tempdir().unwrap();
        for bytes_max in [8, 16, 1000, 1 << 20] {
            let mut sorter = Sorter::new(&folder.path().join(bytes_max.to_string()), bytes_max).unwrap();
            let rows = (0..777u64).map(|number| number * 7919 % 1009);
            rows.clone().for_each(|row| sorter.push(row).unwrap());
            let mut sorted = sorter.finish().unwrap();
            let mut expected: Vec<u64> = rows.collect();
            expected.sort_unstable();
            for row in expected {
                assert_eq!(sorted.next().unwrap(), Some(row));
            }
            assert_eq!(sorted.next().unwrap(), None);
        }
    }
}
