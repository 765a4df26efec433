//! Strings: finding the closing quote a word at a time, holding escapes to the grammar, decoding and writing.
//!
//! Input is known to be UTF-8, so only three kinds of byte matter inside a string: the quote, the backslash and
//! the control characters. Most strings of a resource are shorter than fifty bytes, so the search is inlined and works
//! on 64-bit words; a call of a vector search would cost more than it finds.

use std::borrow::Cow;

use super::{Fault, Problem};

/// Bytes looked at in one step while a string may be short.
const WORD_BYTES: usize = 8;

/// So many words are looked at one by one before the string counts as long.
const SHORT_WORDS: usize = 6;

/// Bytes looked at in one step once a string is long.
const BLOCK_BYTES: usize = 32;

/// A string's raw text: offsets of its first byte and of its closing quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether the raw text holds a backslash, so that it differs from what it means.
    pub(crate) escaped: bool,
}

/// Holds the string whose text begins at `start` (just after its opening quote) to the grammar.
#[inline(always)]
pub(crate) fn scan_string(bytes: &[u8], start: usize) -> Result<Quoted, Fault> {
    let stop = next_stop(bytes, start);
    let escaped = bytes.get(stop) != Some(&b'"');
    let end = if escaped { escaped_end(bytes, stop)? } else { stop };
    Ok(Quoted { start, end, escaped })
}

/// Finds the closing quote of a string that is known to be valid; the end of the text if there is none.
#[inline]
pub(crate) fn closing_quote(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        at = next_stop(bytes, at);
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// What the raw text of a valid string means.
pub(crate) fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, used) = decode_escape(&rest.as_bytes()[at..]);
        text.push(character);
        rest = rest.get(at + used..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// Appends `text` as a JSON string with its quotes.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The closing quote of a string whose first escape begins at `at`.
#[inline(never)]
fn escaped_end(bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
    loop {
        at = match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => escape_end(bytes, at)?,
            Some(_) => return Err(Fault::new(at, Problem::Control)),
            None => return Err(Fault::new(at, Problem::EndInString)),
        };
        at = next_stop(bytes, at);
    }
}

/// The offset after the escape that begins at `at`.
pub(super) fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => unicode_escape_end(bytes, at),
        Some(_) => Err(Fault::new(at, Problem::Escape)),
        None => Err(Fault::new(at + 1, Problem::EndInString)),
    }
}

/// The offset after a `\uXXXX`, which must be a pair of them where the first is a high surrogate.
fn unicode_escape_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let lone = Err(Fault::new(at, Problem::HalfPair));
    let Some(first) = code_unit(bytes, at) else {
        return Err(Fault::new(at, Problem::HexDigits));
    };
    match first {
        0xD800..0xDC00 => match code_unit(bytes, at + 6) {
            Some(0xDC00..0xE000) => Ok(at + 12),
            _ => lone,
        },
        0xDC00..0xE000 => lone,
        _ => Ok(at + 6),
    }
}

/// The code unit of the `\uXXXX` at `at`, if there is one.
fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| {
        Some(unit * 16 + char::from(digit).to_digit(16)?)
    })
}

/// The character that a valid escape stands for, and the escape's length in bytes.
fn decode_escape(escape: &[u8]) -> (char, usize) {
    let character = match escape.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return decode_unicode_escape(escape),
        Some(&other) => char::from(other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, 2)
}

fn decode_unicode_escape(escape: &[u8]) -> (char, usize) {
    let first = code_unit(escape, 0).unwrap_or(0xFFFD);
    if let (0xD800..0xDC00, Some(second @ 0xDC00..0xE000)) = (first, code_unit(escape, 6)) {
        let point = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        return (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// The offset of the next quote, backslash or control character at or after `at`; the text's length if none.
#[inline(always)]
fn next_stop(bytes: &[u8], mut at: usize) -> usize {
    for _ in 0..SHORT_WORDS {
        let Some(word) = word_at(bytes, at) else {
            return next_stop_in_tail(bytes, at);
        };
        let marks = marks(word);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += WORD_BYTES;
    }
    next_stop_far(bytes, at)
}

/// The same where the string is long.
#[inline(never)]
fn next_stop_far(bytes: &[u8], mut at: usize) -> usize {
    while is_plain_block(bytes, at) {
        at += BLOCK_BYTES;
    }
    while let Some(word) = word_at(bytes, at) {
        let marks = marks(word);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += WORD_BYTES;
    }
    next_stop_in_tail(bytes, at)
}

#[cold]
fn next_stop_in_tail(bytes: &[u8], at: usize) -> usize {
    let tail = bytes.get(at..).unwrap_or_default();
    tail.iter()
        .position(|&byte| is_stop(byte))
        .map_or(bytes.len(), |found| at + found)
}

#[inline]
fn is_stop(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// The bytes of a word that are stops, marked in their high bits: the lowest mark is exact, higher ones may be false.
#[inline]
fn marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x80 * ONES;
    let quotes = word ^ (u64::from(b'"') * ONES);
    let backslashes = word ^ (u64::from(b'\\') * ONES);
    // A borrow that reaches a byte comes from a stop below it.
    let found = (quotes.wrapping_sub(ONES) & !quotes)
        | (backslashes.wrapping_sub(ONES) & !backslashes)
        | (word.wrapping_sub(0x20 * ONES) & !word);
    found & HIGHS
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|word| u64::from_le_bytes(*word))
}

/// Whether none of the next bytes is a stop; the compiler makes vector instructions of it.
#[inline]
fn is_plain_block(bytes: &[u8], at: usize) -> bool {
    let block: Option<&[u8; BLOCK_BYTES]> = bytes.get(at..).and_then(|rest| rest.first_chunk());
    block.is_some_and(|block| !block.iter().fold(false, |found, &byte| found | is_stop(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_finds_each_stop_at_each_distance() {
        for byte in 0..=255u8 {
            for position in 0..140 {
                for filler in [b'a', 0x80, 0x20, 0xFF, b'!', b'#', b'[', b']'] {
                    let mut text = [filler; 150];
                    text[position] = byte;
                    let expected = if is_stop(byte) { position } else { text.len() };
                    assert_eq!(next_stop(&text, 0), expected, "byte {byte} at {position}");
                }
            }
        }
    }

    #[test]
    fn search_finds_the_first_of_two_stops() {
        for first in [b'"', b'\\', 0, 0x1F] {
            for second in [b'"', b'\\', 0, 0x1F, b'!', b'#', b'[', b']', 0x80] {
                for position in 0..60 {
                    let mut text = [b'#'; 64];
                    (text[position], text[position + 1]) = (first, second);
                    assert_eq!(next_stop(&text, 0), position);
                }
            }
        }
    }

    #[test]
    fn written_strings_decode_to_themselves() {
        let text = "tab\t quote\" backslash\\ line\n nul\0 é \u{1F600} /";
        let mut out = Vec::new();
        write_string(text, &mut out);
        let quoted = scan_string(&out, 1).expect("written strings are valid");
        assert_eq!(quoted.end, out.len() - 1);
        let raw = std::str::from_utf8(&out[1..quoted.end]).expect("written strings are UTF-8");
        assert_eq!(decode(raw), text);
    }

    #[test]
    fn escapes_of_every_kind_are_decoded() {
        assert_eq!(
            decode(r#"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00x"#),
            "\"\\/\u{8}\u{c}\n\r\té\u{1F600}x"
        );
    }
}
