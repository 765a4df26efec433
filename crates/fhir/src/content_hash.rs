//! The content hash of a resource: the same for the same content, however its JSON is written.
//!
//! [`content_hash`] brings the text into one canonical form and takes its SHA-256: no white space, members sorted by their names (as
//! UTF-8), strings with the fewest escapes, numbers as they are written. A decimal keeps its digits, for in FHIR `1.0` is not `1.00`; so
//! `1e2` and `100` differ too. The order of arrays counts. [`Ignoring`] says what of `meta` is left out, for servers set it themselves.
//!
//! ```
//! use fhirhose_fhir::content_hash::{Ignoring, content_hash};
//!
//! let ours = br#"{"resourceType":"Goal","id":"g1","meta":{"versionId":"7"},"note":[{"text":"\u00e9"}]}"#;
//! let theirs = r#"{ "id": "g1", "resourceType": "Goal", "note": [ { "text": "é" } ] }"#;
//! let hash = content_hash(ours, Ignoring::SERVER_META).expect("a JSON object");
//! assert_eq!(content_hash(theirs.as_bytes(), Ignoring::SERVER_META), Ok(hash));
//! ```

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::json::{
    Key, Kind, Place, Quoted, Scratch, Visitor, closing_quote, decode, is_space, scan, write_string,
};
use crate::{
    error::{Error, ErrorKind},
    line::LineLimits,
};

/// The SHA-256 of a resource's canonical form. Shown and read as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

/// What of a resource's `meta` does not count as its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ignoring {
    /// `meta.versionId` and `meta.lastUpdated`.
    pub version: bool,
    /// `meta.source`: servers set it to where, or in which request, a version came in.
    pub source: bool,
}

impl Ignoring {
    /// Leaves out what servers set at each write. A `meta` with nothing else in it counts as none.
    pub const SERVER_META: Self = Self {
        version: true,
        source: true,
    };

    /// Leaves out nothing.
    pub const NOTHING: Self = Self {
        version: false,
        source: false,
    };

    fn skips(self, name: &str) -> bool {
        match name {
            "versionId" | "lastUpdated" => self.version,
            "source" => self.source,
            _ => false,
        }
    }
}

/// Hashes a resource's JSON text; [`ContentHasher`] does it for many.
///
/// # Errors
/// See [`ContentHasher::hash`].
pub fn content_hash(text: &[u8], ignoring: Ignoring) -> Result<ContentHash, Error> {
    ContentHasher::default().hash(text, ignoring)
}

/// Hashes resources one after another and keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct ContentHasher {
    scratch: Scratch,
    canonical: Vec<u8>,
}

/// Memory beyond this is given back before the next resource.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl ContentHasher {
    /// Hashes a resource's JSON text.
    ///
    /// # Errors
    /// [`ErrorKind::Json`] for what is not one strict JSON object: broken, a member twice, not UTF-8, more than 100 objects and arrays within
    /// one another, 4 GiB or more. The error quotes nothing of the text.
    pub fn hash(&mut self, text: &[u8], ignoring: Ignoring) -> Result<ContentHash, Error> {
        let text = simdutf8::basic::from_utf8(text).map_err(|_| refused("is not UTF-8"))?;
        if u32::try_from(text.len()).is_err() {
            return Err(refused("has 4 GiB or more"));
        }
        let mut shape = Shape { is_object: false };
        let depth_max = LineLimits::default().depth_max;
        scan(text, depth_max, &mut self.scratch, &mut shape).map_err(|fault| {
            refused(format_args!(
                "is broken at byte {}: {}",
                fault.at(),
                fault.message()
            ))
        })?;
        if !shape.is_object {
            return Err(refused("is not a JSON object"));
        }
        self.canonical.clear();
        self.canonical.shrink_to(KEPT_BYTES_MAX);
        let mut writer = Writer {
            text,
            at: 0,
            ignoring,
            out: &mut self.canonical,
        };
        writer.skip_space();
        writer.object(Level::Resource);
        Ok(ContentHash(Sha256::digest(&self.canonical).into()))
    }
}

fn refused(why: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Json, format!("the resource {why}"))
}

/// Learns whether the text is an object.
struct Shape {
    is_object: bool,
}

impl Visitor for Shape {
    fn root(&mut self, kind: Kind) -> Place {
        self.is_object = kind == Kind::Object;
        Place(0)
    }

    fn open(&mut self, place: Place, _key: Key, _kind: Kind, _at: usize) -> Place {
        place
    }

    fn close(&mut self, _place: Place, _end: usize) {}

    fn string(&mut self, _place: Place, _key: Key, _value: Quoted) {}

    fn scalar(&mut self, _place: Place, _key: Key) {}
}

/// Where an object lies: only the resource's own `meta` has members that are left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Resource,
    Meta,
    Within,
}

/// Writes the canonical form of a text that has passed the validating pass, which also bounds how deep this goes.
struct Writer<'t> {
    text: &'t str,
    at: usize,
    ignoring: Ignoring,
    out: &'t mut Vec<u8>,
}

impl<'t> Writer<'t> {
    fn value(&mut self, level: Level) {
        match self.byte() {
            Some(b'{') => self.object(level),
            Some(b'[') => self.array(),
            Some(b'"') => {
                let text = self.string();
                write_string(&text, self.out);
            }
            _ => self.scalar(),
        }
    }

    fn object(&mut self, level: Level) {
        self.at += 1;
        let begin = self.out.len();
        let mut members: Vec<(Cow<'t, str>, Range<usize>)> = Vec::new();
        while self.another(b'}') {
            let name = self.string();
            self.skip_space();
            self.at += 1; // The colon.
            self.skip_space();
            let start = self.out.len();
            write_string(&name, self.out);
            self.out.push(b':');
            let value_start = self.out.len();
            let within = if level == Level::Resource && name == "meta" {
                Level::Meta
            } else {
                Level::Within
            };
            self.value(within);
            let emptied = within == Level::Meta
                && self.ignoring != Ignoring::NOTHING
                && self.out.get(value_start..) == Some(b"{}");
            if emptied || level == Level::Meta && self.ignoring.skips(&name) {
                self.out.truncate(start);
            } else {
                members.push((name, start..self.out.len()));
            }
        }
        self.sort(begin, members);
    }

    /// Brings the members that were written from `begin` on into order, between brackets.
    fn sort(&mut self, begin: usize, mut members: Vec<(Cow<'t, str>, Range<usize>)>) {
        members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let unsorted = self.out.split_off(begin);
        self.out.push(b'{');
        for (number, (_, place)) in members.iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            self.out
                .extend_from_slice(&unsorted[place.start - begin..place.end - begin]);
        }
        self.out.push(b'}');
    }

    fn array(&mut self) {
        self.at += 1;
        self.out.push(b'[');
        let begin = self.out.len();
        while self.another(b']') {
            if self.out.len() > begin {
                self.out.push(b',');
            }
            self.value(Level::Within);
        }
        self.out.push(b']');
    }

    /// Steps to the next member or element; past the closing bracket if there is none.
    fn another(&mut self, close: u8) -> bool {
        self.skip_space();
        if self.byte() == Some(b',') {
            self.at += 1;
            self.skip_space();
        }
        if self.byte().is_none_or(|byte| byte == close) {
            self.at += 1;
            return false;
        }
        true
    }

    fn string(&mut self) -> Cow<'t, str> {
        let start = self.at + 1;
        let end = closing_quote(self.text.as_bytes(), start);
        self.at = end + 1;
        decode(self.text.get(start..end).unwrap_or_default())
    }

    fn scalar(&mut self) {
        let start = self.at;
        let ends = |byte: u8| matches!(byte, b',' | b'}' | b']') || is_space(byte);
        while self.byte().is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
        self.out.extend_from_slice(&self.text.as_bytes()[start..self.at]);
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(is_space) {
            self.at += 1;
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContentHash({self})")
    }
}

impl FromStr for ContentHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::new(ErrorKind::Invalid, "a content hash is 64 hexadecimal digits");
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return Err(wrong());
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or_else(wrong);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(hash))
    }
}
