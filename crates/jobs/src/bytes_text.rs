//! Serialises opaque bytes as text, for records that are kept as JSON.
//!
//! Bytes that are UTF-8 (most are JSON themselves) stay readable behind `t:`; all others are lowercase hexadecimal behind
//! `x:`. An array of numbers, which serde would write, is four times as long.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    from_text(&text).ok_or_else(|| D::Error::custom("bytes are neither `t:` text nor `x:` hexadecimal"))
}

/// The same for bytes that may be absent.
pub(crate) mod option {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&super::to_text(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(None);
        };
        let bytes = super::from_text(&text);
        bytes
            .map(Some)
            .ok_or_else(|| D::Error::custom("bytes are neither `t:` text nor `x:` hexadecimal"))
    }
}

/// Writes bytes as lowercase hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads lowercase hexadecimal; anything else is `None`.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

fn to_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("t:{text}"),
        Err(_) => format!("x:{}", to_hex(bytes)),
    }
}

fn from_text(text: &str) -> Option<Vec<u8>> {
    match text.split_at_checked(2)? {
        ("t:", rest) => Some(rest.as_bytes().to_vec()),
        ("x:", rest) => from_hex(rest),
        _ => None,
    }
}
