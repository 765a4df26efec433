//! Reads one file through: digest, lines, ids, and where asked for each line.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::LazyLock;

use fhirhose_fhir::ndjson::{Cut, Cutter, CutterLimits, lines};
use memchr::memmem::Finder;
use sha2::{Digest, Sha256};

use super::LINE_BYTES_MAX;
use super::attachment_name::AttachmentName;
use super::attachments::Attachments;
use super::head::{ResourceHead, id};
use super::seal::hex;

/// Read at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// What a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Lines of its text that are not blank.
    pub(super) lines: u64,
    /// The length of what lies on disk, in bytes.
    pub(super) bytes: u64,
    /// The SHA-256 of what lies on disk.
    pub(super) sha256: String,
    pub(super) first_id: Option<String>,
    pub(super) last_id: Option<String>,
    /// The first line that is not what it should be: its number from 1, and why.
    pub(super) bad_line: Option<(u64, String)>,
    /// The first line with a link to an attachment that is not there, from 1.
    pub(super) dangling_line: Option<u64>,
}

/// What is looked for in the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look<'a> {
    /// Nothing but the ids of the first and the last.
    Ends,
    /// Each must be a resource, of this type if there is one.
    Each(Option<&'a str>),
}

/// Begins the URL of an attachment that was stored, but for a point before it in the folder of a page.
static LINK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"./attachments/"));

/// Reads a file to its end; `heard` is told of bytes on disk as they are read. The lines may link to the attachments, if there are some to look for.
pub(super) fn scan(
    path: &Path,
    look: Look<'_>,
    links: Option<&Attachments>,
    heard: &(dyn Fn(u64) + Sync),
) -> io::Result<Scanned> {
    let mut hashing = Hashing {
        file: super::files::open_plain(path)?,
        digest: Sha256::new(),
        bytes: 0,
        heard,
    };
    let mut watch = LineWatch::new(look, links);
    let read = read_text(&mut hashing, &mut watch);
    if let Err(error) = read {
        if error.raw_os_error().is_some() {
            return Err(error);
        }
        // A broken compressed form is damage like any other; the digest is still taken to the end.
        watch
            .bad_line
            .get_or_insert((watch.lines, "is compressed, and broken".to_owned()));
    }
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(Scanned {
        lines: watch.lines,
        bytes: hashing.bytes,
        sha256: hex(&hashing.digest.finalize()),
        first_id: watch.first.flatten(),
        last_id: watch.last.and_then(|line| id(&line)),
        bad_line: watch.bad_line,
        dangling_line: watch.dangling_line,
    })
}

fn read_text(hashing: &mut Hashing<'_>, watch: &mut LineWatch<'_>) -> io::Result<()> {
    let mut text = super::files::decoded(BufReader::with_capacity(PIECE_BYTES, hashing))?;
    let mut cutter = Cutter::new(CutterLimits {
        chunk_bytes: PIECE_BYTES,
        line_bytes_max: LINE_BYTES_MAX,
    });
    let (mut piece, mut cuts) = (vec![0; PIECE_BYTES], Vec::new());
    loop {
        let read = text.read(&mut piece)?;
        if read == 0 {
            break;
        }
        cutter.push(&piece[..read], &mut cuts);
        for cut in cuts.drain(..) {
            watch.take(&cut);
            if let Cut::Chunk(chunk) = cut {
                cutter.reuse(chunk.bytes);
            }
        }
    }
    cutter.finish(&mut cuts);
    cuts.iter().for_each(|cut| watch.take(cut));
    Ok(())
}

/// Hashes what is read through it.
struct Hashing<'a> {
    file: std::fs::File,
    digest: Sha256,
    bytes: u64,
    heard: &'a (dyn Fn(u64) + Sync),
}

impl Read for Hashing<'_> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(piece)?;
        self.digest.update(&piece[..read]);
        self.bytes += read as u64;
        (self.heard)(read as u64);
        Ok(read)
    }
}

/// Counts lines and keeps what is asked of them.
struct LineWatch<'a> {
    look: Look<'a>,
    links: Option<&'a Attachments>,
    lines: u64,
    /// The id of the first line, once there is one.
    first: Option<Option<String>>,
    /// The last line.
    last: Option<Vec<u8>>,
    bad_line: Option<(u64, String)>,
    dangling_line: Option<u64>,
}

impl<'a> LineWatch<'a> {
    fn new(look: Look<'a>, links: Option<&'a Attachments>) -> Self {
        Self {
            look,
            links,
            lines: 0,
            first: None,
            last: None,
            bad_line: None,
            dangling_line: None,
        }
    }

    fn take(&mut self, cut: &Cut) {
        match cut {
            Cut::Chunk(chunk) => {
                let mut last = None;
                // Few files have one.
                let links = self.links.filter(|_| LINK.find(&chunk.bytes).is_some());
                for line in lines(&chunk.bytes) {
                    self.lines += 1;
                    if self.first.is_none() {
                        self.first = Some(id(line.bytes));
                    }
                    let number = chunk.first_line + line.number_in_chunk;
                    self.look_at(line.bytes, number);
                    if links.is_some_and(|links| dangles(line.bytes, links)) {
                        self.dangling_line.get_or_insert(number);
                    }
                    last = Some(line.bytes);
                }
                if let Some(last) = last {
                    self.last = Some(last.to_vec());
                }
            }
            Cut::OverlongStart { line, .. } => {
                self.lines += 1;
                self.first.get_or_insert(None);
                self.last = None;
                self.bad_line.get_or_insert((*line, "is too long".to_owned()));
            }
            Cut::OverlongBytes(_) | Cut::OverlongEnd { .. } => {}
        }
    }

    fn look_at(&mut self, line: &[u8], number: u64) {
        let Look::Each(expected) = self.look else { return };
        if self.bad_line.is_some() {
            return;
        }
        let why = match ResourceHead::read(line) {
            Err(why) => why.to_owned(),
            Ok(head) => match expected {
                Some(expected) if head.resource_type != expected => {
                    format!("is not a resource of type {expected}")
                }
                _ => return,
            },
        };
        self.bad_line = Some((number, why));
    }
}

/// Whether a line links to an attachment that is not there.
fn dangles(line: &[u8], there: &Attachments) -> bool {
    LINK.find_iter(line).any(|at| {
        let before = line[..at].strip_suffix(b".").unwrap_or(&line[..at]);
        let rest = &line[at + LINK.needle().len()..];
        let name = rest.split(|&byte| byte == b'"').next().unwrap_or_default();
        let name = std::str::from_utf8(name).ok().and_then(AttachmentName::parse);
        before.ends_with(b"\"") && name.is_some_and(|name| !there.has(&name))
    })
}
