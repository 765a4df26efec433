//! Query strings, percent-decoded strictly: a broken escape is an error, never a replacement character.
//!
//! Knows no parameter. A `+` is read as a space, as in forms; who expects a `+` in a value takes the space for it (K-06).

/// One `name=value` of a query; a piece without `=` has an empty value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Splits a raw query (without `?`) into its pairs in order; `None` stands for a pair that cannot be decoded as UTF-8.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Option<Pair>> {
    query.split('&').filter(|piece| !piece.is_empty()).map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        Some(Pair {
            name: decode(name)?,
            value: decode(value)?,
        })
    })
}

fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            plain => plain,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}
