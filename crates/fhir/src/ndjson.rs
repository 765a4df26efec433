//! Cuts an NDJSON byte stream into chunks of whole lines, and chunks into lines.
//!
//! [`Cutter`] takes bytes in pieces of any size; where it cuts depends on the bytes and the place it started at, never
//! on the pieces, so a stream can be taken up again at any chunk's start. Memory stays near the larger of a chunk and
//! the longest allowed line: a longer line is handed on in pieces. [`lines`] walks a chunk. Neither looks into a line.

use crate::json::closing_quote;

/// How the stream is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutterLimits {
    /// A chunk holds as many whole lines as fit into this, and at least one.
    pub chunk_bytes: usize,
    /// A line of more bytes than this, without its line break, is overlong.
    pub line_bytes_max: usize,
}

/// What comes out of the cutter, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Whole lines.
    Chunk(Chunk),
    /// An overlong line begins.
    OverlongStart {
        /// The offset of its first byte in the uncompressed input.
        offset: u64,
        /// Its line number, from 1.
        line: u64,
    },
    /// Bytes of the overlong line, without its line break.
    OverlongBytes(Vec<u8>),
    /// The overlong line has ended.
    OverlongEnd {
        /// How many bytes it had, without its line break.
        bytes: u64,
    },
}

/// Whole lines of the input, one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The lines with their line breaks; the input's last line may lack one.
    pub bytes: Vec<u8>,
    /// The offset of the first byte in the uncompressed input.
    pub offset: u64,
    /// The line number of the first line, from 1.
    pub first_line: u64,
    /// How many lines there are, blank ones included.
    pub lines: u64,
}

/// Where in an input a cutter begins: at a line's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartPlace {
    /// The offset in the uncompressed input, in bytes.
    pub offset: u64,
    /// The number of the line that begins there, from 1.
    pub line: u64,
}

impl StartPlace {
    /// The start of an input.
    pub const BEGINNING: Self = Self { offset: 0, line: 1 };
}

/// A chunk's memory is taken at once up to this, and grows beyond it. Pages that are never written cost nothing, and growing
/// would copy the chunk several times over.
const RESERVED_BYTES_MAX: usize = 256 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Cuts a byte stream at line boundaries.
#[derive(Debug)]
pub struct Cutter {
    limits: CutterLimits,
    /// Bytes that no cut has taken: `complete` bytes of whole lines, then the begun line.
    pending: Vec<u8>,
    complete: usize,
    complete_lines: u64,
    /// The place of the first pending byte; within an overlong line, of its first byte.
    place: StartPlace,
    /// How many bytes of an overlong line have gone out.
    overlong: Option<u64>,
    /// How many bytes of a byte order mark have been seen at the very start; `None` once that is settled.
    mark_seen: Option<usize>,
    /// Memory of an earlier chunk for the next one, if the caller gave it back.
    spare: Vec<u8>,
}

impl Cutter {
    /// Makes a cutter for an input from its beginning; a UTF-8 byte order mark there is skipped.
    pub fn new(limits: CutterLimits) -> Self {
        Self::resume(limits, StartPlace::BEGINNING)
    }

    /// Makes a cutter for the rest of an input, which must begin at a line's start.
    pub fn resume(limits: CutterLimits, place: StartPlace) -> Self {
        let mark_seen = (place.offset == 0).then_some(0);
        let pending = Vec::new();
        Self {
            limits,
            pending,
            complete: 0,
            complete_lines: 0,
            place,
            overlong: None,
            mark_seen,
            spare: Vec::new(),
        }
    }

    /// Takes the memory of an earlier chunk for a coming one: fresh pages cost as much as filling them.
    pub fn reuse(&mut self, mut bytes: Vec<u8>) {
        if bytes.capacity() > self.spare.capacity() {
            bytes.clear();
            self.spare = bytes;
        }
    }

    /// Takes the next bytes and appends the cuts that they complete.
    pub fn push(&mut self, data: &[u8], cuts: &mut Vec<Cut>) {
        let mut rest = self.skip_mark(data, cuts);
        while !rest.is_empty() {
            let (piece, ends_line) = match memchr::memchr(b'\n', rest) {
                Some(at) => (&rest[..=at], true),
                None => (rest, false),
            };
            rest = &rest[piece.len()..];
            self.take(piece, ends_line, cuts);
        }
    }

    /// Ends the input: the last line may lack its line break.
    pub fn finish(mut self, cuts: &mut Vec<Cut>) {
        let begun_mark = self.mark_seen.take().unwrap_or(0);
        self.push(&BYTE_ORDER_MARK[..begun_mark], cuts);
        if let Some(bytes) = self.overlong {
            return cuts.push(Cut::OverlongEnd { bytes });
        }
        self.complete_lines += u64::from(self.pending.len() > self.complete);
        self.complete = self.pending.len();
        self.cut_complete(cuts);
    }

    /// Skips the byte order mark, which may come in pieces; returns what is left of `data`.
    fn skip_mark<'d>(&mut self, data: &'d [u8], cuts: &mut Vec<Cut>) -> &'d [u8] {
        let Some(seen) = self.mark_seen else {
            return data;
        };
        let expected = &BYTE_ORDER_MARK[seen..];
        let compared = expected.len().min(data.len());
        if data[..compared] != expected[..compared] {
            // No mark: the bytes that looked like one belong to the first line.
            self.mark_seen = None;
            self.push(&BYTE_ORDER_MARK[..seen], cuts);
            return data;
        }
        self.mark_seen = Some(seen + compared);
        if compared == expected.len() {
            self.mark_seen = None;
            self.place.offset = BYTE_ORDER_MARK.len() as u64;
        }
        &data[compared..]
    }

    /// Takes a piece of one line: up to and with its line break, or as far as there is.
    fn take(&mut self, piece: &[u8], ends_line: bool, cuts: &mut Vec<Cut>) {
        if self.overlong.is_some() {
            return self.take_overlong(piece, ends_line, cuts);
        }
        let text_bytes = self.pending.len() - self.complete + piece.len() - usize::from(ends_line);
        if text_bytes > self.limits.line_bytes_max {
            return self.begin_overlong(piece, ends_line, cuts);
        }
        if self.pending.len() + piece.len() > self.limits.chunk_bytes {
            self.cut_complete(cuts);
        }
        if self.pending.capacity() == 0 {
            self.pending = self.fresh();
        }
        self.pending.extend_from_slice(piece);
        if ends_line {
            self.complete = self.pending.len();
            self.complete_lines += 1;
            if self.complete >= self.limits.chunk_bytes {
                self.cut_complete(cuts);
            }
        }
    }

    fn begin_overlong(&mut self, piece: &[u8], ends_line: bool, cuts: &mut Vec<Cut>) {
        self.cut_complete(cuts);
        let StartPlace { offset, line } = self.place;
        cuts.push(Cut::OverlongStart { offset, line });
        self.overlong = Some(0);
        let begun = std::mem::take(&mut self.pending);
        if !begun.is_empty() {
            self.overlong = Some(begun.len() as u64);
            cuts.push(Cut::OverlongBytes(begun));
        }
        self.take_overlong(piece, ends_line, cuts);
    }

    fn take_overlong(&mut self, piece: &[u8], ends_line: bool, cuts: &mut Vec<Cut>) {
        let text = &piece[..piece.len() - usize::from(ends_line)];
        let bytes = self.overlong.unwrap_or(0) + text.len() as u64;
        if !text.is_empty() {
            cuts.push(Cut::OverlongBytes(text.to_vec()));
        }
        self.overlong = Some(bytes);
        if ends_line {
            cuts.push(Cut::OverlongEnd { bytes });
            self.overlong = None;
            self.place = StartPlace {
                offset: self.place.offset + bytes + 1,
                line: self.place.line + 1,
            };
        }
    }

    /// Memory for a chunk.
    fn fresh(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.spare);
        bytes.reserve(self.limits.chunk_bytes.min(RESERVED_BYTES_MAX));
        bytes
    }

    /// Cuts off the whole lines, if there are any; the begun line stays.
    fn cut_complete(&mut self, cuts: &mut Vec<Cut>) {
        if self.complete == 0 {
            return;
        }
        let mut next = Vec::new();
        if self.pending.len() > self.complete {
            next = self.fresh();
            next.extend_from_slice(&self.pending[self.complete..]);
            self.pending.truncate(self.complete);
        }
        let bytes = std::mem::replace(&mut self.pending, next);
        let (length, lines) = (bytes.len() as u64, self.complete_lines);
        cuts.push(Cut::Chunk(Chunk {
            bytes,
            offset: self.place.offset,
            first_line: self.place.line,
            lines,
        }));
        self.place = StartPlace {
            offset: self.place.offset + length,
            line: self.place.line + lines,
        };
        self.complete = 0;
        self.complete_lines = 0;
    }
}

/// A line of a chunk that is not blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'c> {
    /// The offset of its first byte in the chunk.
    pub offset_in_chunk: usize,
    /// How many lines come before it in the chunk, blank ones included.
    pub number_in_chunk: u64,
    /// Its bytes, without the line feed and a carriage return before it.
    pub bytes: &'c [u8],
}

/// Walks the lines of a chunk; blank lines (white space only) are counted but not given.
pub fn lines(chunk: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    let mut number = 0;
    std::iter::from_fn(move || {
        let rest = chunk.get(at..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let bytes = rest[..length].strip_suffix(b"\r").unwrap_or(&rest[..length]);
        let line = Line {
            offset_in_chunk: at,
            number_in_chunk: number,
            bytes,
        };
        at += length + 1;
        number += 1;
        Some(line)
    })
    .filter(|line| !line.bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')))
}

/// Makes one line of a JSON text by turning the line breaks between its tokens into spaces.
///
/// Line breaks inside strings, which are not valid, stay, so the line checker refuses such a text afterwards.
pub fn join_lines(text: &mut [u8]) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = closing_quote(text, at + 1),
            b'\n' | b'\r' => text[at] = b' ',
            _ => {}
        }
        at += 1;
    }
}
