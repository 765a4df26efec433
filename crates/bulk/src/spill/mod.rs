//! Sorting what does not fit into memory: sorted files of small records in the store's outputs, and the merge of many into one stream.
//!
//! Whoever has records sorts as many as memory may hold and writes them as a file; [`Merge`] then gives the records of all files in
//! their order, those of one key as one. [`Sorter`] does the first half for plain byte strings ([`Entry`]).
//!
//! The files are cut into blocks at line ends; a record ends with a line feed, so that it is a line as far as they are concerned.

mod entry;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use bytes::{Buf, Bytes};
use fhirhose_store::{
    Hashing, OutputName, OutputReader, OutputSettings, OutputStore, OutputStream, OutputWriter,
};
use futures::StreamExt;
use tokio::runtime::Handle;

pub(crate) use entry::{Entry, Sorter};

use crate::{Error, ErrorKind, Result};

/// The name under which a job keeps files beside those that clients may fetch.
pub(crate) fn parts_of(job: &str) -> String {
    format!("{job}-parts")
}

/// How files are made that only their job reads.
pub(crate) fn part_settings() -> OutputSettings {
    OutputSettings {
        part_bytes: 1 << 20,
        hashing: Hashing::FingerprintOnly,
        ..OutputSettings::default()
    }
}

/// Records are gathered to so many bytes before they are written.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// What is sorted: small, and on disk with its line feed.
pub(crate) trait Record: Ord + Sized {
    /// The most bytes that a record takes on disk.
    const BYTES_MAX: usize;

    /// Takes a record off the front of `bytes`, with its length; `None` if it is not whole or not one.
    fn take(bytes: &[u8]) -> Option<(Self, usize)>;

    /// Appends it as it lies on disk.
    fn push(&self, out: &mut Vec<u8>);

    /// Whether the two are to become one.
    fn is_same(&self, other: &Self) -> bool;

    /// Adds what another of the same key knows.
    fn absorb(&mut self, same: Self);
}

/// Merges sorted files of records; records of one key come out as one.
pub(crate) struct Merge<R> {
    parts: Vec<PartReader>,
    /// The next record of each file that has one, with the file's number.
    heads: BinaryHeap<Reverse<(R, u32)>>,
}

impl<R: Record> Merge<R> {
    /// Opens the files, one reader each. For a blocking thread.
    pub(crate) fn open(outputs: &OutputStore, names: &[OutputName], runtime: &Handle) -> Result<Self> {
        let mut merge = Self {
            parts: Vec::new(),
            heads: BinaryHeap::new(),
        };
        for (number, name) in (0u32..).zip(names) {
            merge.parts.push(PartReader::open(outputs, name, runtime)?);
            if let Some(record) = merge.parts[number as usize].next()? {
                merge.heads.push(Reverse((record, number)));
            }
        }
        Ok(merge)
    }

    /// Opens any number of files with at most `at_once` readers: what is more is merged into files that `create` makes, in order.
    pub(crate) fn open_many(
        outputs: &OutputStore,
        mut names: Vec<OutputName>,
        at_once: usize,
        runtime: &Handle,
        mut create: impl FnMut(u64) -> Result<(OutputName, OutputWriter)>,
    ) -> Result<Self> {
        let mut merged = 0;
        while names.len() > at_once.max(2) {
            let rest = names.split_off(at_once.max(2));
            let (name, writer) = create(merged)?;
            Self::open(outputs, &names, runtime)?.write_into(writer)?;
            names = rest;
            names.push(name);
            merged += 1;
        }
        Self::open(outputs, &names, runtime)
    }

    /// The next key with all that is known of it.
    pub(crate) fn next(&mut self) -> Result<Option<R>> {
        let Some(mut record) = self.pop()? else {
            return Ok(None);
        };
        while self
            .heads
            .peek()
            .is_some_and(|Reverse((next, _))| next.is_same(&record))
        {
            let Some(same) = self.pop()? else { break };
            record.absorb(same);
        }
        Ok(Some(record))
    }

    fn write_into(mut self, mut writer: OutputWriter) -> Result<()> {
        let mut out = Vec::with_capacity(PIECE_BYTES + R::BYTES_MAX);
        while let Some(record) = self.next()? {
            record.push(&mut out);
            if out.len() >= PIECE_BYTES {
                writer.write(&out)?;
                out.clear();
            }
        }
        writer.write(&out)?;
        writer.finish()?;
        Ok(())
    }

    /// Takes the least record, and puts the next of its file in its place.
    fn pop(&mut self) -> Result<Option<R>> {
        let Some(mut head) = self.heads.peek_mut() else {
            return Ok(None);
        };
        let number = head.0.1;
        let taken = match self.parts[number as usize].next()? {
            Some(next) => std::mem::replace(&mut *head, Reverse((next, number))),
            None => PeekMut::pop(head),
        };
        Ok(Some(taken.0.0))
    }
}

/// Reads one file of records.
struct PartReader {
    stream: OutputStream,
    runtime: Handle,
    name: OutputName,
    /// What is read and not taken apart.
    piece: Bytes,
    /// Held so that the file stays while it is read.
    _reader: OutputReader,
}

impl PartReader {
    fn open(outputs: &OutputStore, name: &OutputName, runtime: &Handle) -> Result<Self> {
        let reader = runtime.block_on(outputs.open(name))?;
        let stream = reader.stream(fhirhose_store::Encoding::Identity);
        let (runtime, name) = (runtime.clone(), name.clone());
        Ok(Self {
            stream,
            runtime,
            name,
            piece: Bytes::new(),
            _reader: reader,
        })
    }

    fn next<R: Record>(&mut self) -> Result<Option<R>> {
        loop {
            if let Some((record, length)) = R::take(&self.piece) {
                self.piece.advance(length);
                return Ok(Some(record));
            }
            if !self.read_on(R::BYTES_MAX)? {
                return if self.piece.is_empty() {
                    Ok(None)
                } else {
                    Err(self.corrupt())
                };
            }
        }
    }

    /// Reads more behind what is left; says whether there was more.
    fn read_on(&mut self, record_bytes_max: usize) -> Result<bool> {
        let Some(piece) = self.runtime.block_on(self.stream.next()) else {
            return Ok(false);
        };
        let piece = piece?;
        if self.piece.is_empty() {
            self.piece = piece;
        } else if self.piece.len() > record_bytes_max {
            return Err(self.corrupt());
        } else {
            self.piece = [&self.piece[..], &piece].concat().into();
        }
        Ok(true)
    }

    fn corrupt(&self) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format!("reading {}: it is not a file of records", self.name),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn many_files_are_merged_with_few_readers_into_one_order_without_repeats() {
        let outputs = OutputStore::new(Arc::new(object_store::memory::InMemory::new()));
        let work = move || {
            let runtime = Handle::current();
            let create = |name: &str| {
                let name = OutputName::new("job", name)?;
                let writer = outputs.create(&name, &part_settings())?;
                Ok((name, writer))
            };
            let mut names = Vec::new();
            for file in 0..23u32 {
                let mut sorter = Sorter::new(1 << 10);
                for number in (0..200u32).rev() {
                    sorter.push(&(number * 7 % (100 + file)).to_be_bytes());
                }
                let (name, writer) = create(&format!("{file}")).map_err(|error: Error| error)?;
                sorter.write(writer)?;
                assert!(sorter.is_empty());
                names.push(name);
            }
            let mut merged = 0;
            let mut merge = Merge::<Entry>::open_many(&outputs, names, 3, &runtime, |number| {
                merged += 1;
                create(&format!("merged-{number}"))
            })?;
            let mut found = Vec::new();
            while let Some(entry) = merge.next()? {
                found.push(u32::from_be_bytes(entry.0[..].try_into().expect("four bytes")));
            }
            Ok::<_, Error>((found, merged))
        };
        let (found, merged) = tokio::task::spawn_blocking(work)
            .await
            .expect("no panic")
            .expect("a merge");
        assert_eq!(found, (0..122).collect::<Vec<_>>());
        assert_eq!(merged, 10, "23 files at 3 a time");
    }
}
