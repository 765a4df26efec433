//! Blocks of patients: the lines of a stretch of owners are put together in memory, within a budget.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::key;
use tokio::runtime::Handle;

use super::owners::{OwnerRange, cut};
use super::source::Source;
use super::writer::BlockWriter;
use crate::export::parts::Crew;
use crate::export::state::{Next, Part};
use crate::{Error, ErrorKind, Result};

/// What a line takes in memory besides its text.
const LINE_PLACE_BYTES: usize = size_of::<Line>();

/// Writes the blocks of a part's patients from where it got to.
pub(super) fn run(
    crew: &Arc<Crew>,
    number: usize,
    part: &Part,
    (owners, types): (&OwnerRange, &[ResourceType]),
) -> Result<()> {
    let source = Source {
        crew,
        wanted: &crew.wanted,
        types,
    };
    let mut writer = BlockWriter::new(crew, number, part, ResourceType::PATIENT);
    let mut range = owners.clone();
    if let Next::Line { block, .. } = &part.next {
        range.from.clone_from(block);
    }
    // Half of the budget: an outline is no exact measure, and a stretch that is too long is read again in two.
    let bytes = (crew.block_bytes / 2) as u64;
    let cut = cut(&crew.store, &crew.wanted, types, range, bytes.max(1));
    let mut ranges = Handle::current().block_on(cut)?.ranges;
    ranges.reverse();
    let mut gathered = Gathered::default();
    while let Some(range) = ranges.pop() {
        let goes_on = match gathered.fill(&source, &range, crew.block_bytes)? {
            Filled::Whole => gathered.write(&mut writer)?,
            Filled::Stopped => ControlFlow::Break(()),
            Filled::TooMuch if range == OwnerRange::one(&range.from) => stream(&source, &range, &mut writer)?,
            Filled::TooMuch => {
                let halves = gathered.halves(range)?;
                ranges.extend(halves.into_iter().rev());
                ControlFlow::Continue(())
            }
        };
        if goes_on.is_break() || crew.go_on_in_file().is_break() {
            return Ok(());
        }
    }
    Ok(writer.finish()?)
}

/// Writes the block of one patient with more text than fits into memory: it is read once for its length, as far as that matters.
fn stream(source: &Source<'_>, range: &OwnerRange, writer: &mut BlockWriter<'_>) -> Result<ControlFlow<()>> {
    let mut length = writer.measure(&range.from)?;
    let measured = source.visit(range, &mut |_, line| Ok(length.add(line, source.crew)))?;
    if measured.is_none() || source.crew.go_on_in_file().is_break() || length.is_empty() {
        return Ok(source.crew.go_on_in_file());
    }
    if writer.begin(&range.from, length.bytes())?.is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let written = source.visit(range, &mut |_, line| writer.line(line))?;
    Ok(written.unwrap_or(ControlFlow::Continue(())))
}

/// The lines of a stretch of patients.
#[derive(Default)]
struct Gathered {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The encoded owners, in the order in which they were met.
    owners: Vec<Vec<u8>>,
    /// Their numbers in that order.
    numbers: HashMap<Vec<u8>, u32>,
    /// The number of the owner of the last line.
    last: u32,
}

struct Line {
    owner: u32,
    at: usize,
    length: usize,
}

enum Filled {
    /// All of the range is there.
    Whole,
    /// Less than all of it, and the budget is used up.
    TooMuch,
    /// The export is to stop.
    Stopped,
}

impl Gathered {
    /// Takes the lines of a range, forgetting what was there.
    fn fill(&mut self, source: &Source<'_>, range: &OwnerRange, bytes_max: usize) -> Result<Filled> {
        self.text.clear();
        self.lines.clear();
        self.owners.clear();
        self.numbers.clear();
        let visited = source.visit(range, &mut |owner, line| {
            self.push(owner, line, bytes_max);
            let bytes = self.text.len() + self.lines.len() * LINE_PLACE_BYTES;
            Ok(match bytes > bytes_max {
                true => ControlFlow::Break(()),
                false => source.crew.go_on_in_file(),
            })
        })?;
        Ok(match visited {
            Some(ControlFlow::Continue(())) => Filled::Whole,
            Some(ControlFlow::Break(())) if source.crew.go_on_in_file().is_break() => Filled::Stopped,
            Some(ControlFlow::Break(())) | None => Filled::TooMuch,
        })
    }

    fn push(&mut self, owner: &[u8], line: &[u8], bytes_max: usize) {
        let is_last = self
            .owners
            .get(self.last as usize)
            .is_some_and(|last| last == owner);
        if !is_last {
            self.last = match self.numbers.get(owner) {
                Some(number) => *number,
                None => {
                    let number = u32::try_from(self.owners.len()).expect("a stretch fits into memory");
                    self.owners.push(owner.to_vec());
                    self.numbers.insert(owner.to_vec(), number);
                    number
                }
            };
        }
        self.lines.push(Line {
            owner: self.last,
            at: self.text.len(),
            length: line.len(),
        });
        self.make_room(line.len(), bytes_max);
        self.text.extend_from_slice(line);
    }

    /// Grows as a vector does, but never beyond the budget and the line that breaks it.
    fn make_room(&mut self, line_bytes: usize, bytes_max: usize) {
        let free = self.text.capacity() - self.text.len();
        if free < line_bytes {
            let grown = self
                .text
                .capacity()
                .min(bytes_max.saturating_sub(self.text.len()));
            self.text.reserve_exact(grown.max(line_bytes));
        }
    }

    /// Writes the blocks in the order of their owners; within one, lines stay in the order in which they came.
    fn write(&mut self, writer: &mut BlockWriter<'_>) -> Result<ControlFlow<()>> {
        let owners = &self.owners;
        self.lines
            .sort_by(|a, b| owners[a.owner as usize].cmp(&owners[b.owner as usize]));
        for block in self.lines.chunk_by(|a, b| a.owner == b.owner) {
            let owner = &owners[block[0].owner as usize];
            let mut length = writer.measure(owner)?;
            block.iter().for_each(|line| length.count(line.length));
            if writer.begin(owner, length.bytes())?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            for line in block {
                if writer
                    .line(&self.text[line.at..line.at + line.length])?
                    .is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Cuts a range that was too much where half of what was read of it lies behind; at least so that one owner is alone.
    fn halves(&self, range: OwnerRange) -> Result<Vec<OwnerRange>> {
        let mut bytes: Vec<(&[u8], usize)> = self.owners.iter().map(|owner| (owner.as_slice(), 0)).collect();
        for line in &self.lines {
            bytes[line.owner as usize].1 += line.length;
        }
        bytes.sort_unstable();
        let half = self.text.len() / 2;
        let mut before = 0;
        let middle = bytes.iter().position(|(_, length)| {
            before += length;
            before > half
        });
        let middle = middle
            .and_then(|at| bytes.get(at))
            .map(|(owner, _)| owner.to_vec());
        let Some(middle) = middle else {
            return self.halves_unread(range);
        };
        let mut cuts = vec![middle.clone()];
        cuts.extend(key::after_prefix(&middle));
        let inner = |owner: &Vec<u8>| *owner > range.from && range.to.as_ref().is_none_or(|to| owner < to);
        cuts.retain(inner);
        Ok(range.split(cuts))
    }

    /// Cuts a range of which nothing was read, for its patients share too much: after its first byte that can be told apart.
    fn halves_unread(&self, range: OwnerRange) -> Result<Vec<OwnerRange>> {
        let too_much = "the patients of an export share more resources than can be put together";
        match middle_of(&range) {
            Some(middle) => Ok(range.split([middle])),
            None => Err(Error::new(ErrorKind::Storage, too_much)),
        }
    }
}

/// A key between the ends of a range, if there is one.
fn middle_of(range: &OwnerRange) -> Option<Vec<u8>> {
    // Read as fractions of base 256, eight digits behind those that are the same.
    let to = range.to.clone().unwrap_or_else(|| vec![u8::MAX]);
    let same = range.from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let digits = |key: &[u8]| {
        let mut digits = [0; 8];
        for (digit, byte) in digits.iter_mut().zip(&key[same.min(key.len())..]) {
            *digit = *byte;
        }
        u64::from_be_bytes(digits)
    };
    let (low, high) = (digits(&range.from), digits(&to));
    let middle = low + high.checked_sub(low)? / 2;
    let middle = [&to[..same], &middle.to_be_bytes()].concat();
    (middle > range.from && middle < to).then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_text_takes_no_more_than_the_budget_and_a_line() {
        let (mut gathered, bytes_max) = (Gathered::default(), 1 << 20);
        let line = [b'x'; 1_000];
        while gathered.text.len() <= bytes_max {
            gathered.push(b"owner", &line, bytes_max);
        }
        assert!(gathered.text.capacity() <= bytes_max + 2 * line.len());
    }

    #[test]
    fn a_middle_lies_between_the_ends() {
        for (from, to) in [
            (vec![1], None),
            (vec![1, 7, 7], Some(vec![1, 7, 8])),
            (b"\x02ab\0".to_vec(), Some(b"\x02ac\0".to_vec())),
        ] {
            let range = OwnerRange { from, to };
            let middle = middle_of(&range).expect("there is one");
            assert!(middle > range.from);
            assert!(range.to.is_none_or(|to| middle < to));
        }
    }
}
