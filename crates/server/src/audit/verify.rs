//! Proves a trail: [`verify`] reads lines and tells whether one is missing, was changed or was put elsewhere.
//!
//! What it cannot see by itself is that the newest lines were cut off: for that it is given a head, the one that the server keeps
//! beside the files, or better one that was noted elsewhere.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::chain::{ChainHead, LineHash, Phase, read_line};
use super::files::{AuditFiles, first_of};
use super::recover::Lines;

/// Problems that are told one by one; further ones are counted.
const PROBLEMS_MAX: usize = 1_000;

/// What is known of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuditReport {
    /// How many lines were read.
    pub lines: u64,
    /// The number of the first line; older ones were not given.
    pub first: u64,
    /// Number and hash of the last line, to be noted elsewhere.
    pub head: String,
    /// Lines that opened something which was not closed: under way, or left by a crash and closed at the next start.
    pub open: Vec<u64>,
    /// Bytes behind the last line: one that was being written, or cut off by a crash.
    pub unfinished_bytes: u64,
    /// What is wrong.
    pub problems: Vec<AuditProblem>,
    /// Further things that are wrong.
    pub further_problems: u64,
}

impl AuditReport {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Something that is wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditProblem {
    /// The file, by its name; empty when it is about the whole.
    pub file: String,
    /// The line in the file, from 1; 0 when it is about the whole.
    pub line: u64,
    /// What it is.
    pub text: String,
}

/// Reads files in this order and tells whether they are one whole chain that has the lines of `heads`.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(files: &dyn AuditFiles, names: &[String], heads: &[ChainHead]) -> io::Result<AuditReport> {
    let mut check = Check {
        awaited: heads.to_vec(),
        ..Check::default()
    };
    for (at, name) in names.iter().enumerate() {
        check.file(files, name, at + 1 == names.len())?;
    }
    Ok(check.end())
}

#[derive(Default)]
struct Check {
    report: AuditReport,
    /// The last line that could be read.
    head: ChainHead,
    /// What is open, by number.
    open: BTreeMap<u64, ()>,
    /// Heads whose lines have not come yet.
    awaited: Vec<ChainHead>,
}

impl Check {
    fn file(&mut self, files: &dyn AuditFiles, name: &str, is_last: bool) -> io::Result<()> {
        let mut lines = Lines::open(files, name)?;
        let (mut number, mut read_bytes) = (0, 0);
        // A file that is complete is named after its first line.
        let base = name.rsplit('/').next().unwrap_or_default();
        let mut named = first_of(base);
        while let Some(line) = lines.next_line()? {
            number += 1;
            read_bytes += line.len() as u64 + 1;
            if let Err(text) = self.line(line) {
                self.problem(name, number, text);
            }
            if let Some(first) = named.take().filter(|first| *first != self.head.number) {
                let text = format!("the file does not begin with line {first}");
                self.problem(name, number, text);
            }
        }
        if let Some(first) = named {
            self.problem(
                name,
                0,
                format!("the file has no line, and must have line {first}"),
            );
        }
        let rest_bytes = lines.rest_bytes(read_bytes)?;
        if rest_bytes > 0 && is_last {
            self.report.unfinished_bytes = rest_bytes;
        } else if rest_bytes > 0 {
            let text = format!("{rest_bytes} bytes are no whole line, and files follow");
            self.problem(name, number + 1, text);
        }
        Ok(())
    }

    /// Takes a line.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let (_, link) = read_line(line).map_err(|text| {
            // What is behind it can only be compared with what it should have been.
            format!("the line is none of a trail: {text}")
        })?;
        let (before, is_first) = (self.head, self.report.lines == 0);
        self.report.lines += 1;
        let hash = LineHash::of(line);
        self.head = ChainHead {
            number: link.number,
            hash,
        };
        if is_first {
            self.report.first = link.number;
        }
        self.meet_heads();
        self.phase(link.number, link.phase)?;
        if is_first && link.number == 1 && link.previous != LineHash::default() {
            return Err("line 1 names a line before it".to_owned());
        }
        if is_first || link.number == before.number + 1 && link.previous == before.hash {
            return Ok(());
        }
        Err(match link.number {
            number if number == before.number + 1 => {
                format!(
                    "line {} was changed: line {number} knows another one",
                    before.number
                )
            }
            number if number > before.number => {
                format!("lines {} to {} are missing", before.number + 1, number - 1)
            }
            number => format!("line {number} comes behind line {}", before.number),
        })
    }

    fn phase(&mut self, number: u64, phase: Phase) -> Result<(), String> {
        match phase {
            Phase::Opened => {
                self.open.insert(number, ());
            }
            Phase::Closed(of) => {
                if self.open.remove(&of).is_none() && of >= self.report.first {
                    return Err(format!(
                        "line {number} closes {of}, which is not open: it was closed twice or never opened"
                    ));
                }
            }
            Phase::Single => {}
        }
        Ok(())
    }

    fn meet_heads(&mut self) {
        let now = self.head;
        let mut wrong = Vec::new();
        self.awaited.retain(|head| {
            if head.number == now.number && head.hash != now.hash {
                wrong.push(head.number);
            }
            head.number != now.number
        });
        for number in wrong {
            let text = format!("line {number} is another one than the head that is known");
            self.problem("", 0, text);
        }
    }

    fn problem(&mut self, file: &str, line: u64, text: String) {
        if self.report.problems.len() >= PROBLEMS_MAX {
            self.report.further_problems += 1;
            return;
        }
        self.report.problems.push(AuditProblem {
            file: file.to_owned(),
            line,
            text,
        });
    }

    fn end(mut self) -> AuditReport {
        for head in std::mem::take(&mut self.awaited) {
            let text = if head.number > self.head.number {
                format!(
                    "the end is cut off: line {} was written, and {} is the last",
                    head.number, self.head.number
                )
            } else if head.number >= self.report.first {
                format!("line {} of the head that is known is missing", head.number)
            } else {
                // Older than what was given: nothing can be said of it.
                continue;
            };
            self.problem("", 0, text);
        }
        self.report.head = self.head.to_string();
        self.report.open = self.open.keys().copied().collect();
        self.report
    }
}
