//! Looks at every line of a file while it comes: [`LineCheck`].

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use fhirhose_fhir::line::Glancer;
use serde::Deserialize;

use super::report::FileKind;

/// A line that comes in pieces is gathered up to this without asking; longer ones take turns.
const FREE_LINE_BYTES: usize = 2 << 20;

/// How many lines longer than that are held at a time, over all files.
const LONG_LINES_MAX: usize = 2;

/// Lets few long lines be held in memory at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct LongLines(Arc<(Mutex<usize>, Condvar)>);

/// One long line's place; given back when dropped.
#[derive(Debug)]
struct LongLine(LongLines);

impl LongLines {
    /// Waits for a place. Blocks the thread.
    fn enter(&self) -> LongLine {
        let (held, left) = &*self.0;
        let held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = left.wait_while(held, |held| *held >= LONG_LINES_MAX);
        *held.unwrap_or_else(PoisonError::into_inner) += 1;
        LongLine(self.clone())
    }
}

impl Drop for LongLine {
    fn drop(&mut self) {
        let (held, left) = &*self.0.0;
        *held.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        left.notify_one();
    }
}

/// What every line of a file must be.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) kind: FileKind,
    /// The type of every line, if they have one type.
    pub(super) resource_type: Option<String>,
    pub(super) line_bytes_max: usize,
}

/// Counts and checks the lines of a text that comes in pieces.
#[derive(Debug)]
pub(super) struct LineCheck {
    expected: Expected,
    long_lines: LongLines,
    long_line: Option<LongLine>,
    glancer: Glancer,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    pub(super) seen: Seen,
}

/// What the lines so far were.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The bytes of whole lines, with their line breaks.
    pub(super) bytes: u64,
    /// Lines with something in them.
    pub(super) lines: u64,
    /// Those among them that head blocks of organised output.
    pub(super) headers: u64,
    /// Issues of OperationOutcomes by severity.
    pub(super) issues: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    issue: Vec<Issue>,
}

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    severity: String,
}

impl LineCheck {
    pub(super) fn new(expected: Expected, long_lines: LongLines) -> Self {
        Self {
            expected,
            long_lines,
            long_line: None,
            glancer: Glancer::default(),
            begun: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Takes the next piece; lines that lie within it are not copied.
    ///
    /// # Errors
    /// What is wrong with a line, with its number, and nothing of its content.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if !self.begun.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            self.gather(&bytes[..end.unwrap_or(bytes.len())])?;
            let Some(end) = end else {
                return Ok(());
            };
            bytes = &bytes[end + 1..];
            self.end_begun(1)?;
        }
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.line(&bytes[..end])?;
            self.seen.bytes += end as u64 + 1;
            bytes = &bytes[end + 1..];
        }
        self.gather(bytes)
    }

    /// Ends the text: the last line may lack its line break.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        if self.begun.is_empty() {
            return Ok(());
        }
        self.end_begun(0)
    }

    /// Forgets a line that has begun: the text is taken up again at the end of the last whole one.
    pub(super) fn drop_begun(&mut self) {
        self.begun.clear();
        self.long_line = None;
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), String> {
        let length = self.begun.len() + bytes.len();
        if length > self.expected.line_bytes_max {
            return Err(self.too_long());
        }
        if length > FREE_LINE_BYTES && self.long_line.is_none() {
            self.long_line = Some(self.long_lines.enter());
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn end_begun(&mut self, line_break: u64) -> Result<(), String> {
        let mut line = std::mem::take(&mut self.begun);
        let checked = self.line(&line);
        if checked.is_ok() {
            self.seen.bytes += line.len() as u64 + line_break;
        }
        line.clear();
        line.shrink_to(FREE_LINE_BYTES);
        self.begun = line;
        self.long_line = None;
        checked
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.len() > self.expected.line_bytes_max {
            return Err(self.too_long());
        }
        let is_first = self.seen.bytes == 0;
        let line = line
            .strip_prefix(b"\xEF\xBB\xBF")
            .filter(|_| is_first)
            .unwrap_or(line);
        let glance = match self.glancer.glance(line) {
            Ok(glance) => glance,
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => return Ok(()),
            Err(refusal) => {
                return Err(format!("line {}: {}", self.seen.lines + 1, refusal.message));
            }
        };
        let expected = self.expected.resource_type.as_deref();
        if expected.is_some_and(|name| !glance.is_of_type(name)) {
            let problem = "its type is not the one that the manifest names";
            return Err(format!("line {}: {problem}", self.seen.lines + 1));
        }
        self.seen.lines += 1;
        if expected.is_none() && glance.is_of_type("Parameters") {
            self.seen.headers += 1;
            return Ok(());
        }
        if self.expected.kind == FileKind::Error {
            self.seen.count_issues(line);
        }
        Ok(())
    }

    fn too_long(&self) -> String {
        let max = self.expected.line_bytes_max;
        format!("line {}: longer than {max} bytes", self.seen.lines + 1)
    }
}

impl Seen {
    fn count_issues(&mut self, line: &[u8]) {
        // One that cannot be read may tell of an error.
        let unread = |_| Outcome {
            issue: vec![Issue {
                severity: String::new(),
            }],
        };
        let outcome = serde_json::from_slice(line).unwrap_or_else(unread);
        for issue in outcome.issue {
            let known = ["fatal", "error", "warning", "information", "success"];
            let severity = known.into_iter().find(|known| *known == issue.severity);
            *self
                .issues
                .entry(severity.unwrap_or("unknown").to_owned())
                .or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str]) -> Result<Seen, String> {
        let expected = Expected {
            kind: FileKind::Output,
            resource_type: Some("Patient".to_owned()),
            line_bytes_max: 100,
        };
        let mut check = LineCheck::new(expected, LongLines::default());
        for piece in pieces {
            check.push(piece.as_bytes())?;
        }
        check.finish()?;
        Ok(check.seen)
    }

    const TEXT: &str = "\u{feff}{\"resourceType\":\"Patient\",\"id\":\"a\"}\r\n\n  \n{\"id\":\"b\",\"resourceType\":\"Patient\"}";

    #[test]
    fn pieces_of_any_size_are_seen_alike() {
        for size in [1, 2, 3, 7, 40, 1_000] {
            let pieces: Vec<&str> = TEXT.split_inclusive(|_| true).collect();
            let pieces: Vec<String> = pieces.chunks(size).map(|part| part.concat()).collect();
            let seen = check(&pieces.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            assert_eq!((seen.lines, seen.bytes), (2, TEXT.len() as u64));
        }
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_without_its_text() {
        let good = "{\"resourceType\":\"Patient\"}\n";
        let cases = ["<html>", "{\"resourceType\":\"Group\"}", "[1]", "{\"secret\":"];
        for bad in cases {
            let why = check(&[good, bad]).unwrap_err();
            assert!(why.starts_with("line 2: "), "{why}");
            assert!(!why.contains("secret") && !why.contains("html") && !why.contains("Group"));
        }
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(200));
        assert_eq!(check(&[&long]).unwrap_err(), "line 1: longer than 100 bytes");
        assert_eq!(
            check(&[&long[..60], &long[60..]]).unwrap_err(),
            "line 1: longer than 100 bytes"
        );
    }
}
