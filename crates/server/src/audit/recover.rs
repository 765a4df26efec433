//! What is left of a trail when a process starts: where it goes on, what was cut off in the middle of being written, and what
//! the last process opened and did not close.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::{Map, Value, json};

use super::chain::{ChainHead, LineHash, Phase, read_line};
use super::files::{AuditFiles, HEAD, NEWEST, first_of, in_order, rotated};

/// The longest line that is read, in bytes; none that is written comes near.
pub(crate) const LINE_BYTES_MAX: u64 = 1 << 20;

/// The extension of a file's first line that names what was open when the file before it ended.
pub(crate) const STILL_OPEN: &str = "urn:fhirhose:audit-still-open";

/// Where a trail goes on.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The line before the next one.
    pub(crate) head: ChainHead,
    /// How long the newest file is.
    pub(crate) newest_bytes: u64,
    /// What was opened and not closed, by number, as its line says it.
    pub(crate) open: BTreeMap<u64, Map<String, Value>>,
    /// Bytes of lines that nobody was told of, cut off.
    pub(crate) cut_bytes: u64,
    /// Lines that must have been there and are not: the trail goes on behind the gap, which stays to be seen.
    pub(crate) damage: Option<String>,
}

/// Reads what is there and puts the end in order. `known` is a line that is known from elsewhere to have been written.
///
/// # Errors
/// What reading and cutting give.
pub(crate) fn recover(files: &dyn AuditFiles, known: ChainHead) -> io::Result<Recovered> {
    let known = match read_head(files)? {
        Some(head) if head.number >= known.number => head,
        _ => known,
    };
    let names = in_order(files.list()?);
    let mut found = Recovered::default();
    let (mut last, mut at) = (Scanned::default(), names.len());
    // A file whose first line says what was open before it needs no older one; the newest can be empty.
    while at > 0 && !last.knows_all {
        at -= 1;
        let scanned = scan(files, &names[at], last.open)?;
        if found.head.number == 0 {
            found.head = scanned.head;
        }
        if names[at] == NEWEST {
            (found.newest_bytes, found.cut_bytes) = (scanned.good_bytes, scanned.bad_bytes);
        }
        let is_first = at == 0;
        last = Scanned {
            knows_all: scanned.knows_all || is_first,
            ..scanned
        };
    }
    let is_covered = found.head.number >= known.number && last_is(&found.head, &known);
    if !is_covered {
        set_aside(files, &names, &found, known)?;
        let (seen, cut_bytes) = (found.head.number, found.cut_bytes);
        found.damage = Some(format!(
            "lines up to {} were written, and {seen} is the last that is whole ({cut_bytes} bytes behind it)",
            known.number
        ));
        (found.head, found.newest_bytes, found.cut_bytes) = (known, 0, 0);
    } else if found.cut_bytes > 0 {
        files.cut(NEWEST, found.newest_bytes)?;
    }
    for (number, event) in last.open {
        let event = match event {
            Some(event) => event,
            None => opening(files, &names, number)?.unwrap_or_default(),
        };
        found.open.insert(number, event);
    }
    Ok(found)
}

/// Reads the file that tells the newest durable line; `None` when there is none, or nothing that can be read.
///
/// # Errors
/// What reading gives.
pub fn read_head(files: &dyn AuditFiles) -> io::Result<Option<ChainHead>> {
    let mut text = String::new();
    match files.read_from(HEAD, 0) {
        Ok(file) => file.take(256).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(text.parse().ok())
}

fn last_is(found: &ChainHead, known: &ChainHead) -> bool {
    found.number > known.number || found.hash == known.hash
}

/// Leaves a damaged newest file as it is, under another name, for nothing is to be added to it.
fn set_aside(
    files: &dyn AuditFiles,
    names: &[String],
    found: &Recovered,
    known: ChainHead,
) -> io::Result<()> {
    if names.last().is_none_or(|name| name != NEWEST) {
        return Ok(());
    }
    let first = first_number(files, NEWEST)?.unwrap_or(found.head.number);
    let is_taken = first == 0 || names.iter().any(|name| first_of(name) == Some(first));
    let name = match is_taken {
        true => format!("damaged-before-{}.ndjson", known.number + 1),
        false => rotated(first),
    };
    files.rename(NEWEST, &name)
}

/// Reads the number of a file's first line; `None` when it has none that can be read.
pub(crate) fn first_number(files: &dyn AuditFiles, name: &str) -> io::Result<Option<u64>> {
    let mut lines = Lines::open(files, name)?;
    let line = lines.next_line()?;
    Ok(line
        .and_then(|line| read_line(line).ok())
        .map(|(_, link)| link.number))
}

/// What one file holds.
#[derive(Default)]
struct Scanned {
    head: ChainHead,
    good_bytes: u64,
    bad_bytes: u64,
    /// What is open at its end; without its event where an older file has it.
    open: BTreeMap<u64, Option<Map<String, Value>>>,
    /// Whether nothing else can be open.
    knows_all: bool,
}

/// Reads a file as far as its lines hold together. `after` is what later files found open, and is kept.
fn scan(
    files: &dyn AuditFiles,
    name: &str,
    after: BTreeMap<u64, Option<Map<String, Value>>>,
) -> io::Result<Scanned> {
    let mut lines = Lines::open(files, name)?;
    let mut scanned = Scanned::default();
    while let Some(line) = lines.next_line()? {
        let Ok((mut event, link)) = read_line(line) else {
            break;
        };
        let is_next = link.number == scanned.head.number + 1 && link.previous == scanned.head.hash;
        if scanned.head.number > 0 && !is_next {
            break;
        }
        if scanned.head.number == 0 {
            let still_open = still_open(&event);
            scanned.knows_all = link.number == 1 || still_open.is_some();
            let older = still_open.into_iter().flatten().map(|number| (number, None));
            scanned.open.extend(older);
        }
        scanned.head = ChainHead {
            number: link.number,
            hash: LineHash::of(line),
        };
        scanned.good_bytes += line.len() as u64 + 1;
        match link.phase {
            Phase::Opened => {
                event.remove("extension");
                scanned.open.insert(link.number, Some(event));
            }
            Phase::Closed(number) => {
                scanned.open.remove(&number);
            }
            Phase::Single => {}
        }
    }
    scanned.bad_bytes = lines.rest_bytes(scanned.good_bytes)?;
    scanned.open.extend(after);
    Ok(scanned)
}

fn still_open(event: &Map<String, Value>) -> Option<Vec<u64>> {
    let extensions = event.get("extension")?.as_array()?;
    let found = extensions.iter().find(|each| each["url"] == STILL_OPEN)?;
    let numbers = found["valueString"].as_str()?.split(',');
    Some(numbers.filter_map(|number| number.parse().ok()).collect())
}

/// Makes the extension that [`still_open`] reads.
pub(crate) fn write_still_open(open: impl Iterator<Item = u64>) -> Value {
    let numbers: Vec<String> = open.map(|number| number.to_string()).collect();
    // A text must not be empty; no line has this number.
    let numbers = if numbers.is_empty() {
        "0".to_owned()
    } else {
        numbers.join(",")
    };
    json!([{"url": STILL_OPEN, "valueString": numbers}])
}

/// Finds the event that was opened under a number, in the file that must have it.
fn opening(files: &dyn AuditFiles, names: &[String], number: u64) -> io::Result<Option<Map<String, Value>>> {
    let holds = |name: &&String| first_of(name).is_some_and(|first| first <= number);
    let Some(name) = names.iter().rev().find(holds) else {
        return Ok(None);
    };
    let mut lines = Lines::open(files, name)?;
    while let Some(line) = lines.next_line()? {
        match read_line(line) {
            Ok((mut event, link)) if link.number == number => {
                event.remove("extension");
                return Ok(Some(event));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The lines of a file, one at a time.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    line: Vec<u8>,
    read_bytes: u64,
}

impl Lines {
    pub(crate) fn open(files: &dyn AuditFiles, name: &str) -> io::Result<Self> {
        Self::open_behind(files, name, 0)
    }

    /// Goes on behind so many bytes, which must be whole lines.
    pub(crate) fn open_behind(files: &dyn AuditFiles, name: &str, from_bytes: u64) -> io::Result<Self> {
        Ok(Self {
            reader: BufReader::new(files.read_from(name, from_bytes)?),
            line: Vec::new(),
            read_bytes: 0,
        })
    }

    /// Gives the next line without its line feed; `None` at the end, at a line without one, and at one that is too long.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        self.read_bytes += limited.read_until(b'\n', &mut self.line)? as u64;
        Ok(self.line.strip_suffix(b"\n"))
    }

    /// How many bytes the file has behind the first `good_bytes`.
    pub(crate) fn rest_bytes(mut self, good_bytes: u64) -> io::Result<u64> {
        let rest = io::copy(&mut self.reader, &mut io::sink())?;
        Ok((self.read_bytes + rest).saturating_sub(good_bytes))
    }
}
