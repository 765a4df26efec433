//! The form of a line: an AuditEvent that says its number, its phase, and the hash of the line before it.
//!
//! The hash is the SHA-256 of a line's bytes without its line feed, in lowercase hexadecimal digits. The first line of a trail has
//! 64 zeros for it. So whoever knows the hash of one line knows that of none of the lines up to it a byte was changed.

use std::fmt;
use std::str::FromStr;

use fhirhose_bulk::import::AUDIT_ID_START;
use fhirhose_fhir::instant::Instant;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

/// The extension of a line that holds its place in the chain.
const CHAIN: &str = "urn:fhirhose:audit-chain";

/// The bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// The SHA-256 of a line.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct LineHash([u8; HASH_BYTES]);

impl LineHash {
    /// Hashes a line, without its line feed.
    pub fn of(line: &[u8]) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest(&SHA256, line).as_ref());
        Self(hash)
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for LineHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a hash has 64 hexadecimal digits".to_owned();
        if text.len() != 2 * HASH_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; HASH_BYTES];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// A line of the chain by its number and hash; what an operator notes elsewhere to prove that nothing was cut off the end.
///
/// Its text is `NUMBER:HASH`. The default stands before the first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHead {
    /// The number of the line; 0 before the first.
    pub number: u64,
    /// The hash of the line; zeros before the first.
    pub hash: LineHash,
}

impl fmt::Display for ChainHead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for ChainHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a head is the number of a line, a colon and its hash".to_owned();
        let (number, hash) = text.trim().split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            number: number.parse().map_err(|_| wrong())?,
            hash: hash.parse()?,
        })
    }
}

/// What a line is for the thing that it tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is about to be done; a line that closes it follows.
    Opened,
    /// What was opened under this number has ended.
    Closed(u64),
    /// It is told at once and as a whole.
    Single,
}

/// A line's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number, from 1, one more than that of the line before.
    pub number: u64,
    /// What it is.
    pub phase: Phase,
    /// The hash of the line before.
    pub previous: LineHash,
}

/// Makes the id of the AuditEvent that the lines about one thing are versions of.
pub(crate) fn event_id(number: u64) -> String {
    format!("{AUDIT_ID_START}{number}")
}

/// Makes a line, without line feed, out of an AuditEvent that has neither id nor place yet.
pub(crate) fn write_line(event: &Map<String, Value>, link: Link, recorded: Instant) -> Vec<u8> {
    let mut event = event.clone();
    let (phase, of) = match link.phase {
        Phase::Opened => ("opened", link.number),
        Phase::Closed(of) => ("closed", of),
        Phase::Single => ("single", link.number),
    };
    event.insert("resourceType".to_owned(), json!("AuditEvent"));
    event.insert("id".to_owned(), json!(event_id(of)));
    event.insert("recorded".to_owned(), json!(recorded.to_string()));
    let chain = json!({"url": CHAIN, "extension": [
        {"url": "number", "valueDecimal": link.number},
        {"url": "phase", "valueCode": phase},
        {"url": "opened", "valueDecimal": of},
        {"url": "previous", "valueString": link.previous.to_string()},
    ]});
    match event.get_mut("extension").and_then(Value::as_array_mut) {
        Some(extensions) => extensions.push(chain),
        None => {
            event.insert("extension".to_owned(), json!([chain]));
        }
    }
    Value::Object(event).to_string().into_bytes()
}

/// Reads a line: the AuditEvent, and its place in the chain.
///
/// # Errors
/// What is wrong with it, in words, without its content.
pub(crate) fn read_line(line: &[u8]) -> Result<(Map<String, Value>, Link), &'static str> {
    let event: Value = serde_json::from_slice(line).map_err(|_| "it is not JSON")?;
    let Value::Object(event) = event else {
        return Err("it is not an object");
    };
    let extensions = event.get("extension").and_then(Value::as_array);
    let mut found = extensions
        .into_iter()
        .flatten()
        .filter(|each| each["url"] == CHAIN);
    let chain = found.next().ok_or("it has no place in the chain")?;
    let part = |name: &str| {
        let parts = chain["extension"].as_array().into_iter().flatten();
        parts.clone().find(|part| part["url"] == name)
    };
    let number = |name: &str| part(name).and_then(|part| part["valueDecimal"].as_u64());
    let text =
        |part: Option<&Value>, name: &str| part.and_then(|part| part[name].as_str().map(str::to_owned));
    let own = number("number").ok_or("it has no number")?;
    let previous = text(part("previous"), "valueString").ok_or("it has no hash of the line before")?;
    let phase = match text(part("phase"), "valueCode").as_deref() {
        Some("opened") => Phase::Opened,
        Some("closed") => Phase::Closed(number("opened").ok_or("it does not say what it closes")?),
        Some("single") => Phase::Single,
        _ => return Err("it has no phase"),
    };
    let link = Link {
        number: own,
        phase,
        previous: previous
            .parse()
            .map_err(|_| "its hash of the line before is none")?,
    };
    Ok((event, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_with_its_place() {
        let event: Map<String, Value> = [("action".to_owned(), json!("R"))].into_iter().collect();
        for phase in [Phase::Opened, Phase::Closed(7), Phase::Single] {
            let link = Link {
                number: 9,
                phase,
                previous: LineHash::of(b"before"),
            };
            let line = write_line(&event, link, Instant::from_micros(0));
            let (read, place) = read_line(&line).unwrap();
            assert_eq!((place, &read["action"]), (link, &json!("R")));
            assert!(!line.contains(&b'\n'));
        }
    }

    #[test]
    fn a_head_reads_back_and_nothing_else_is_one() {
        let head = ChainHead {
            number: 12,
            hash: LineHash::of(b"twelve"),
        };
        assert_eq!(head.to_string().parse(), Ok(head));
        for text in ["", "12", "12:", ":00", "x:00", "12:ää"] {
            assert!(text.parse::<ChainHead>().is_err(), "{text}");
        }
    }
}
