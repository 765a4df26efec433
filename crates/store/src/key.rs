//! The order of the store: keys of type ‖ owner ‖ id as bytes that sort as the store sorts.
//!
//! The encoding is on disk (run footers, catalog rows) and never changes within a format version:
//!
//! | part | bytes |
//! |---|---|
//! | type | its code, one byte |
//! | owner | `00` for none, else as an id |
//! | id | `01` and 16 bytes for a UUID in canonical lower case; else `02`, the text, `00` |
//!
//! An id's text never holds a zero byte (FHIR `id`: letters, digits, `-`, `.`), so no key is a prefix of another.
//! Half of a UUID's text would be waste in every row of half a billion; packing it is worth the branch.

use fhirhose_fhir::resource_type::ResourceType;

const NONE: u8 = 0;
const UUID: u8 = 1;
const TEXT: u8 = 2;

/// A key taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyParts {
    /// The resource's type.
    pub resource_type: ResourceType,
    /// The patient whose compartment it sits in, if any.
    pub owner: Option<String>,
    /// The resource's id.
    pub id: String,
}

/// Appends type ‖ owner ‖ id.
pub fn encode(resource_type: ResourceType, owner: Option<&str>, id: &str, out: &mut Vec<u8>) {
    out.push(resource_type.code());
    push_owner(owner, out);
    push_id(id, out);
}

/// Appends an owner, or the mark of having none, which sorts first.
pub fn push_owner(owner: Option<&str>, out: &mut Vec<u8>) {
    match owner {
        None => out.push(NONE),
        Some(id) => push_id(id, out),
    }
}

/// Appends an id.
pub fn push_id(id: &str, out: &mut Vec<u8>) {
    match uuid_bytes(id.as_bytes()) {
        Some(bytes) => {
            out.push(UUID);
            out.extend_from_slice(&bytes);
        }
        None => {
            out.push(TEXT);
            out.extend_from_slice(id.as_bytes());
            out.push(0);
        }
    }
}

/// Takes type ‖ owner ‖ id apart, or `None` if the bytes are not such a key.
pub fn decode(key: &[u8]) -> Option<KeyParts> {
    let (&code, rest) = key.split_first()?;
    let resource_type = ResourceType::from_code(code)?;
    let (owner, rest) = split_owner(rest)?;
    let (id, rest) = split_id(rest)?;
    rest.is_empty().then_some(KeyParts {
        resource_type,
        owner,
        id,
    })
}

/// Splits an owner off the front of `bytes`; gives it and the rest.
pub fn split_owner(bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
    match bytes.split_first()? {
        (&NONE, rest) => Some((None, rest)),
        _ => split_id(bytes).map(|(id, rest)| (Some(id), rest)),
    }
}

/// Splits an id off the front of `bytes`; gives it and the rest.
pub fn split_id(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&mark, rest) = bytes.split_first()?;
    match mark {
        UUID => {
            let (packed, rest) = rest.split_first_chunk::<16>()?;
            Some((uuid_text(packed), rest))
        }
        TEXT => {
            let end = rest.iter().position(|&byte| byte == 0)?;
            let id = std::str::from_utf8(&rest[..end]).ok()?;
            Some((id.to_owned(), &rest[end + 1..]))
        }
        _ => None,
    }
}

/// The first key after every key that starts with `prefix`, or `None` when there is none.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Packs a canonical lower-case UUID; anything else, upper case too, stays text so that it comes back byte for byte.
fn uuid_bytes(id: &[u8]) -> Option<[u8; 16]> {
    /// Where the two digits of each byte stand between the hyphens.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let id: &[u8; 36] = id.try_into().ok()?;
    if id[8] != b'-' || id[13] != b'-' || id[18] != b'-' || id[23] != b'-' {
        return None;
    }
    let (mut packed, mut seen) = ([0u8; 16], 0u8);
    for (slot, place) in packed.iter_mut().zip(PLACES) {
        let (high, low) = (
            NIBBLES[usize::from(id[place])],
            NIBBLES[usize::from(id[place + 1])],
        );
        // One check at the end is cheaper than thirty-two on the way: this runs for every row that is sorted.
        seen |= high | low;
        *slot = (high << 4) | (low & 15);
    }
    (seen < 16).then_some(packed)
}

/// The value of each lower-case hexadecimal digit; 255 for any other byte.
static NIBBLES: [u8; 256] = {
    let mut table = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

fn uuid_text(packed: &[u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(36);
    for (at, byte) in packed.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_as_they_were_put_together() {
        let uuid = "62247e85-c8c1-4047-90b3-e0b3a9c59600";
        for (owner, id) in [
            (None, uuid),
            (Some(uuid), "a.b-1"),
            (Some("p"), &uuid.to_uppercase()),
            (Some("1"), "2"),
        ] {
            let mut key = Vec::new();
            encode(ResourceType::PATIENT, owner, id, &mut key);
            let parts = decode(&key).expect("a key that was just made");
            assert_eq!((parts.owner.as_deref(), parts.id.as_str()), (owner, id));
        }
    }

    #[test]
    fn no_key_is_a_prefix_of_another() {
        let (mut short, mut long) = (Vec::new(), Vec::new());
        push_id("ab", &mut short);
        push_id("abc", &mut long);
        assert!(!long.starts_with(&short));
    }

    #[test]
    fn the_key_after_a_prefix_is_above_all_that_start_with_it() {
        assert_eq!(after_prefix(&[1, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255]), None);
    }
}
