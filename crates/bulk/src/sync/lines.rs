//! Reads NDJSON files line by line, plain, gzip or zstd, told by their first bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

const BUFFER_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One line that is not blank.
pub(super) enum Line<'a> {
    /// Its text without line break and white space around it.
    Text(&'a [u8]),
    /// It is longer than allowed; its text is passed over.
    Overlong,
}

/// How many lines of a file are not blank.
pub(super) fn count_lines(path: &Path, line_bytes_max: usize) -> Result<u64> {
    let (mut lines, mut count) = (Lines::open(path, line_bytes_max)?, 0);
    while lines.next_line()?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// The lines of one file.
pub(super) struct Lines {
    path: PathBuf,
    from: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    line_bytes_max: usize,
    is_first: bool,
}

impl Lines {
    /// Opens a file.
    pub(super) fn open(path: &Path, line_bytes_max: usize) -> Result<Self> {
        let failed = |source| Error::io(format!("opening {}", path.display()), source);
        let mut from = BufReader::with_capacity(BUFFER_BYTES, File::open(path).map_err(failed)?);
        let start = from.fill_buf().map_err(failed)?;
        let from: Box<dyn BufRead + Send> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(from)))
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let decoder = zstd::stream::read::Decoder::with_buffer(from).map_err(failed)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        } else {
            Box::new(from)
        };
        Ok(Self {
            path: path.to_owned(),
            from,
            line: Vec::new(),
            line_bytes_max,
            is_first: true,
        })
    }

    /// The next line that is not blank; `None` at the end.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let limit = self.line_bytes_max as u64 + 2;
            let read = (&mut self.from).take(limit).read_until(b'\n', &mut self.line);
            let read = read.map_err(|source| self.failed(source))?;
            if read == 0 {
                return Ok(None);
            }
            let ended = self.line.last() == Some(&b'\n');
            if !ended && read as u64 == limit {
                self.skip_line()?;
                return Ok(Some(Line::Overlong));
            }
            let is_first = std::mem::take(&mut self.is_first);
            if is_first && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(Line::Text(self.line.trim_ascii())));
            }
        }
    }

    fn skip_line(&mut self) -> Result<()> {
        loop {
            let buffered = self.from.fill_buf();
            let buffered =
                buffered.map_err(|source| Error::io(format!("reading {}", self.path.display()), source))?;
            let (used, ended) = match memchr::memchr(b'\n', buffered) {
                Some(at) => (at + 1, true),
                None => (buffered.len(), buffered.is_empty()),
            };
            self.from.consume(used);
            if ended {
                return Ok(());
            }
        }
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::io(format!("reading {}", self.path.display()), source)
    }
}
