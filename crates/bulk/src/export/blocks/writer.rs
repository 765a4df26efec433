//! Writes blocks into files: [`BlockWriter`]. A block is split only when it is longer than a file.

use std::ops::ControlFlow;
use std::sync::Arc;

use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::key;

use crate::export::files::FileCutter;
use crate::export::parts::Crew;
use crate::export::state::{Next, Part};
use crate::{Error, ErrorKind, Result};

/// Takes blocks in the order of their keys: of each [`begin`](Self::begin), then its lines.
pub(super) struct BlockWriter<'a> {
    cutter: FileCutter<'a>,
    file_bytes_max: u64,
    by: ResourceType,
    /// The key of the block at hand: the encoded id of its instance, or a whole key that ends with it.
    block: Vec<u8>,
    header: Vec<u8>,
    /// Lines of the block so far, the header not counted.
    line: u64,
    /// So many of them are in earlier files.
    skip: u64,
    /// Whether the file has nothing of the block but the header yet.
    is_bare: bool,
    /// Where an earlier worker got to: the block and its lines that are in finished files.
    resumed: Option<(Vec<u8>, u64)>,
}

/// The length of a block, as far as it decides anything: up to the length of a file.
pub(super) struct Length {
    bytes: u64,
    lines: u64,
    enough: u64,
}

impl<'a> BlockWriter<'a> {
    pub(super) fn new(crew: &'a Arc<Crew>, number: usize, part: &Part, by: ResourceType) -> Self {
        Self {
            cutter: FileCutter::new(crew, number, "output", part.files.len()),
            file_bytes_max: crew.file_bytes_max,
            by,
            block: Vec::new(),
            header: Vec::new(),
            line: 0,
            skip: 0,
            is_bare: true,
            resumed: match &part.next {
                Next::Line { block, line } => Some((block.clone(), *line)),
                Next::Start | Next::Key(_) | Next::Done => None,
            },
        }
    }

    /// Begins to measure a block.
    pub(super) fn measure(&self, block: &[u8]) -> Result<Length> {
        Ok(Length {
            bytes: header(self.by, block)?.len() as u64,
            lines: 0,
            enough: self.file_bytes_max,
        })
    }

    /// Begins a block of so many bytes with its header; in a file of its own where it does not fit into the present one.
    pub(super) fn begin(&mut self, block: &[u8], bytes: u64) -> Result<ControlFlow<()>> {
        block.clone_into(&mut self.block);
        self.header = header(self.by, block)?;
        self.line = 0;
        let resumed = self.resumed.take().filter(|(resumed, _)| resumed == block);
        self.skip = resumed.map_or(0, |(_, line)| line);
        let used = self.cutter.file_bytes();
        if self.skip == 0 && used > 0 && used + bytes > self.file_bytes_max {
            let next = self.next(0);
            if self.cutter.cut(next, false)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.is_bare = true;
        Ok(self.cutter.push(&self.header)?)
    }

    /// Adds a line of the block; where it would make the file too long, in another file that begins with the header again.
    pub(super) fn line(&mut self, line: &[u8]) -> fhirhose_store::Result<ControlFlow<()>> {
        self.line += 1;
        if self.line <= self.skip {
            return Ok(ControlFlow::Continue(()));
        }
        let used = self.cutter.file_bytes();
        if !self.is_bare && used + line.len() as u64 > self.file_bytes_max {
            let next = self.next(self.line - 1);
            if self.cutter.cut(next, true)?.is_break() || self.cutter.push(&self.header)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.is_bare = false;
        self.cutter.push(line)
    }

    /// Ends the last file, and with it the part.
    pub(super) fn finish(self) -> fhirhose_store::Result<()> {
        self.cutter.finish()
    }

    fn next(&self, line: u64) -> Next {
        Next::Line {
            block: self.block.clone(),
            line,
        }
    }
}

impl Length {
    /// Adds a line; breaks when it is longer than a file, or the export is to stop.
    pub(super) fn add(&mut self, line: &[u8], crew: &Crew) -> ControlFlow<()> {
        self.count(line.len());
        match self.bytes > self.enough {
            true => ControlFlow::Break(()),
            false => crew.go_on_in_file(),
        }
    }

    /// Adds a line of so many bytes.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.lines += 1;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0
    }
}

/// The header line of a block.
fn header(by: ResourceType, block: &[u8]) -> Result<Vec<u8>> {
    let id = match by {
        ResourceType::GROUP => key::decode(block).map(|parts| parts.id),
        _ => key::split_id(block).map(|(id, _)| id),
    };
    let id = id.ok_or_else(|| Error::new(ErrorKind::Corrupt, "reading the key of a block"))?;
    // An id has nothing that JSON would escape.
    let reference = format!(r#"{{"reference":"{by}/{id}"}}"#);
    let parameter = format!(r#"{{"name":"header","valueReference":{reference}}}"#);
    let header = format!(r#"{{"resourceType":"Parameters","parameter":[{parameter}]}}"#);
    Ok((header + "\n").into_bytes())
}
