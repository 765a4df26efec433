//! One byte range of a download (RFC 9110 §14; spec F-12).
//!
//! [`parse_range`] resolves a `Range` header against the length of the identity form. Several ranges in one request, other
//! units and malformed headers are answered with the whole file, as the RFC allows; clients resume with one open range.

/// A resolved range: both ends lie in the file and `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte, inclusive.
    pub last: u64,
}

impl ByteRange {
    /// Gives the number of bytes, at least 1.
    pub fn bytes(self) -> u64 {
        self.last - self.first + 1
    }

    /// Writes the `Content-Range` value of a 206 answer.
    pub fn content_range(self, length_bytes: u64) -> String {
        format!("bytes {}-{}/{length_bytes}", self.first, self.last)
    }
}

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// Send all of it (200).
    Whole,
    /// Send this part (206).
    Part(ByteRange),
    /// No byte of the file is in the range (416, with [`unsatisfied_content_range`]).
    Unsatisfiable,
}

/// Resolves a `Range` header against a file of `length_bytes`.
///
/// `bytes=a-b`, `bytes=a-` and `bytes=-n` are understood; an end beyond the file is cut to it. Everything else is
/// [`RangeRequest::Whole`].
pub fn parse_range(header: Option<&str>, length_bytes: u64) -> RangeRequest {
    header
        .and_then(|header| resolve(header, length_bytes))
        .unwrap_or(RangeRequest::Whole)
}

/// Writes the `Content-Range` value of a 416 answer.
pub fn unsatisfied_content_range(length_bytes: u64) -> String {
    format!("bytes */{length_bytes}")
}

fn resolve(header: &str, length_bytes: u64) -> Option<RangeRequest> {
    let (unit, set) = header.trim().split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => suffix(number(last)?, length_bytes),
        (first, "") => Some(part(number(first)?, u64::MAX, length_bytes)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| part(first, last, length_bytes))
        }
    }
}

fn part(first: u64, last: u64, length_bytes: u64) -> RangeRequest {
    if first >= length_bytes {
        return RangeRequest::Unsatisfiable;
    }
    RangeRequest::Part(ByteRange {
        first,
        last: last.min(length_bytes - 1),
    })
}

/// The last `bytes` of the file. The tail of an empty file is the empty file, which no 206 can say.
fn suffix(bytes: u64, length_bytes: u64) -> Option<RangeRequest> {
    match (bytes, length_bytes) {
        (0, _) => Some(RangeRequest::Unsatisfiable),
        (_, 0) => None,
        _ => Some(part(length_bytes.saturating_sub(bytes), u64::MAX, length_bytes)),
    }
}

/// Reads digits; a number beyond 64 bits is as good as the largest one, for no file is that long.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}
