//! Numbers: the grammar, and the range of a double.
//!
//! The text of a number is kept as it came; it is read as a double only where its size is in doubt.

use super::{Fault, Problem};

/// Numbers without an exponent and with fewer characters than this are below 1e308 and need no closer look.
const SURELY_FINITE_BYTES: usize = 308;

/// Holds the number that begins at `start` to the grammar; returns the offset after it.
#[inline]
pub(crate) fn scan_number(bytes: &[u8], start: usize) -> Result<usize, Fault> {
    let mut at = start;
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    let integer = at;
    at = digits_end(bytes, at);
    if at == integer {
        return Err(Fault::new(at, Problem::NoDigit));
    }
    if bytes[integer] == b'0' && at > integer + 1 {
        return Err(Fault::new(integer, Problem::LeadingZero));
    }
    if bytes.get(at) == Some(&b'.') {
        at = some_digits_end(bytes, at + 1)?;
    }
    let exponent = matches!(bytes.get(at), Some(b'e' | b'E'));
    if exponent {
        at += 1;
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at += 1;
        }
        at = some_digits_end(bytes, at)?;
    }
    if exponent || at - start >= SURELY_FINITE_BYTES {
        check_finite(bytes, start, at)?;
    }
    Ok(at)
}

#[inline]
fn digits_end(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

fn some_digits_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let end = digits_end(bytes, at);
    if end == at {
        return Err(Fault::new(at, Problem::NoDigit));
    }
    Ok(end)
}

#[cold]
fn check_finite(bytes: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    let number = std::str::from_utf8(&bytes[start..end])
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(number) if number.is_finite() => Ok(()),
        _ => Err(Fault::new(start, Problem::OutOfRange)),
    }
}
