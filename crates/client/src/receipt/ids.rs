//! The first and the last id of a file, without reading what is between.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::LINE_BYTES_MAX;
use super::head::id;
use crate::{Error, Result};

/// Read backwards at a time, in bytes.
const TAIL_BYTES: u64 = 64 << 10;

/// The ids of the first and the last resource of a plain NDJSON file; `None` for lines that have none.
pub(super) fn first_and_last(path: &Path) -> Result<(Option<String>, Option<String>)> {
    let read = || {
        let mut file = File::open(path)?;
        let first = first_line(&file)?;
        let last = last_line(&mut file)?;
        Ok((id(&first), id(&last)))
    };
    read().map_err(|source| Error::disk("reading", path, source))
}

fn first_line(file: &File) -> std::io::Result<Vec<u8>> {
    let mut text = BufReader::new(file.take(LINE_BYTES_MAX as u64));
    let mut line = Vec::new();
    while line.trim_ascii().is_empty() {
        line.clear();
        if text.read_until(b'\n', &mut line)? == 0 {
            break;
        }
    }
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line);
    Ok(line.to_vec())
}

fn last_line(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut start = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    while start > 0 && tail.len() < LINE_BYTES_MAX {
        let end = start;
        start = start.saturating_sub(TAIL_BYTES.max(tail.len() as u64));
        let mut piece = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece)?;
        piece.append(&mut tail);
        tail = piece;
        let text = tail.trim_ascii_end();
        if let Some(at) = text.iter().rposition(|&byte| byte == b'\n') {
            return Ok(text[at + 1..].to_vec());
        }
    }
    Ok(tail.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&tail).to_vec())
}
