//! What a folder holds: one row a line, sorted by type and id, the line that counts last.

use std::cmp::Ordering;
use std::io::{self, Read, Write};
use std::path::Path;

use fhirhose_client::pull::FileKind;
use fhirhose_client::receipt::{FolderFile, PulledFolder, ResourceHead};
use fhirhose_fhir::content_hash::{ContentHash, ContentHasher, Ignoring};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::ndjson::{Chunk, Cut, Cutter, CutterLimits, lines};

use super::DiffSettings;
use super::sort::{Row, Sorted, Sorter, read_array};
use crate::{Error, ErrorKind, Result};

/// Read at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The longest `Type/id` that is taken, in bytes: types are short and ids have 64 characters.
const NAME_BYTES_MAX: usize = 512;

/// A resource of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// `Type/id`.
    pub(super) name: String,
    /// Whether it is all of the resource (CL-15).
    pub(super) is_whole: bool,
    /// `meta.lastUpdated` in microseconds.
    updated: i64,
    /// Where it is.
    pub(super) place: LinePlace,
    /// Its content.
    pub(super) hash: ContentHash,
}

/// Where a line is: in which file of the folder, from which byte of its text, how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinePlace {
    pub(super) file: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Found {
    /// The type.
    pub(super) fn resource_type(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// By name; of one name the copy that counts comes last: whole ones, then the newest, then the later line (CL-11).
    fn rank(&self) -> (&str, bool, i64, LinePlace) {
        (&self.name, self.is_whole, self.updated, self.place)
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Row for Found {
    fn memory(&self) -> usize {
        size_of::<Self>() + self.name.len() + 16
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&(self.name.len() as u16).to_le_bytes())?;
        out.write_all(self.name.as_bytes())?;
        out.write_all(&[u8::from(self.is_whole)])?;
        out.write_all(&self.updated.to_le_bytes())?;
        self.place.write(out)?;
        out.write_all(&self.hash.0)
    }

    fn read(from: &mut dyn Read) -> io::Result<Self> {
        let length = u16::from_le_bytes(read_array(from)?);
        let mut name = vec![0; usize::from(length)];
        from.read_exact(&mut name)?;
        let [is_whole] = read_array(from)?;
        Ok(Self {
            name: String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?,
            is_whole: is_whole == 1,
            updated: i64::from_le_bytes(read_array(from)?),
            place: LinePlace::read(from)?,
            hash: ContentHash(read_array(from)?),
        })
    }
}

impl Row for LinePlace {
    fn memory(&self) -> usize {
        size_of::<Self>()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.file.to_le_bytes())?;
        out.write_all(&self.offset.to_le_bytes())?;
        out.write_all(&self.bytes.to_le_bytes())
    }

    fn read(from: &mut dyn Read) -> io::Result<Self> {
        Ok(Self {
            file: u32::from_le_bytes(read_array(from)?),
            offset: u64::from_le_bytes(read_array(from)?),
            bytes: u64::from_le_bytes(read_array(from)?),
        })
    }
}

/// The resources of a folder: one a name.
pub(super) struct Index {
    sorted: Sorted<Found>,
    ahead: Option<Found>,
    /// Lines that another of the same name counts more than.
    pub(super) repeats: u64,
}

impl Index {
    /// The next resource by name.
    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        let Some(mut found) = self.ahead.take() else {
            return Ok(None);
        };
        loop {
            self.ahead = self.sorted.next()?;
            match self.ahead.take_if(|next| next.name == found.name) {
                Some(same) => {
                    self.repeats += 1;
                    found = same;
                }
                None => return Ok(Some(found)),
            }
        }
    }

    /// The name that [`next`](Self::next) gives.
    pub(super) fn peek(&self) -> Option<&str> {
        self.ahead.as_ref().map(|found| found.name.as_str())
    }
}

/// Reads all resources of a folder; sorts with files in `scratch`.
pub(super) fn index(
    folder: &PulledFolder,
    scratch: &Path,
    settings: &DiffSettings,
    heard: &(dyn Fn(u64) + Sync),
) -> Result<Index> {
    let mut reader = LineReader {
        sorter: Sorter::new(scratch, settings.sort_bytes)?,
        hasher: ContentHasher::default(),
        ignoring: ignoring(settings),
        lines: 0,
    };
    for (number, file) in (0u32..).zip(folder.files()) {
        if file.kind == FileKind::Output {
            reader.read(folder, (number, file), settings.line_bytes_max, heard)?;
        }
    }
    let mut sorted = reader.sorter.finish()?;
    Ok(Index {
        ahead: sorted.next()?,
        sorted,
        repeats: 0,
    })
}

struct LineReader {
    sorter: Sorter<Found>,
    hasher: ContentHasher,
    ignoring: Ignoring,
    /// Lines of the file that is read.
    lines: u64,
}

impl LineReader {
    fn read(
        &mut self,
        folder: &PulledFolder,
        (number, file): (u32, &FolderFile),
        line_bytes_max: usize,
        heard: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let mut text = file.open(folder.path())?;
        self.lines = 0;
        let mut cutter = Cutter::new(CutterLimits {
            chunk_bytes: PIECE_BYTES,
            line_bytes_max,
        });
        let (mut piece, mut cuts) = (vec![0; PIECE_BYTES], Vec::new());
        loop {
            let read = text
                .read(&mut piece)
                .map_err(|source| Error::io(format!("reading {}", file.name), source))?;
            if read == 0 {
                break;
            }
            heard(read as u64);
            cutter.push(&piece[..read], &mut cuts);
            for cut in cuts.drain(..) {
                let chunk = self.take(cut, number, file)?;
                cutter.reuse(chunk.bytes);
            }
        }
        cutter.finish(&mut cuts);
        for cut in cuts {
            self.take(cut, number, file)?;
        }
        // Lines that are not there would seem to be removed.
        match file.lines {
            Some(lines) if file.sha256.is_some() && lines != self.lines => {
                let problem = format!("{} has {} lines, its receipt says {lines}", file.name, self.lines);
                Err(Error::new(ErrorKind::Corrupt, problem))
            }
            _ => Ok(()),
        }
    }

    fn take(&mut self, cut: Cut, number: u32, file: &FolderFile) -> Result<Chunk> {
        let chunk = match cut {
            Cut::Chunk(chunk) => chunk,
            Cut::OverlongStart { line, .. } => return Err(refused(file, line, "is too long")),
            Cut::OverlongBytes(_) | Cut::OverlongEnd { .. } => return Err(refused(file, 0, "is too long")),
        };
        for line in lines(&chunk.bytes) {
            self.lines += 1;
            let place = LinePlace {
                file: number,
                offset: chunk.offset + line.offset_in_chunk as u64,
                bytes: line.bytes.len() as u64,
            };
            let found = self.look_at(line.bytes, place, file);
            let found = found.map_err(|why| refused(file, chunk.first_line + line.number_in_chunk, &why))?;
            if let Some(found) = found {
                self.sorter.push(found)?;
            }
        }
        Ok(chunk)
    }

    /// The resource of a line; `None` for a line that is there for order only.
    fn look_at(&mut self, line: &[u8], place: LinePlace, file: &FolderFile) -> Result<Option<Found>, String> {
        let head = ResourceHead::read(line)?;
        let Some(id) = head.id else {
            // The header of a block, where the output is organised by instance.
            let is_header = file.resource_type.is_none() && head.resource_type == "Parameters";
            return if is_header {
                Ok(None)
            } else {
                Err("has no id".to_owned())
            };
        };
        let is_type = head
            .resource_type
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric());
        let name = format!("{}/{id}", head.resource_type);
        if !is_type || name.len() > NAME_BYTES_MAX || id.contains(['/', '?', '#']) {
            return Err("has a type or an id that is none".to_owned());
        }
        let updated = head.last_updated.and_then(|at| Instant::parse(&at).ok());
        let hash = self.hasher.hash(line, self.ignoring);
        Ok(Some(Found {
            name,
            is_whole: !head.is_subsetted,
            updated: updated.map_or(i64::MIN, Instant::micros),
            place,
            hash: hash.map_err(|error| error.to_string())?,
        }))
    }
}

fn refused(file: &FolderFile, line: u64, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("line {line} of {} {why}", file.name))
}

/// Hashes lines as an index does; `None` for what is no resource.
pub(super) fn hasher(settings: &DiffSettings) -> impl FnMut(&[u8]) -> Option<ContentHash> + use<> {
    let (ignoring, mut hasher) = (ignoring(settings), ContentHasher::default());
    move |line| hasher.hash(line, ignoring).ok()
}

fn ignoring(settings: &DiffSettings) -> Ignoring {
    match settings.strict {
        true => Ignoring::NOTHING,
        false => Ignoring::SERVER_META,
    }
}
