//! As much of DER as private keys need: values with their tags, no more.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_ID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const CONTEXT_1: u8 = 0xa1;
const NULL: [u8; 2] = [0x05, 0x00];

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Values that follow each other.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// Takes the next value if it has a tag: what is in it.
    pub(crate) fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        if found != tag {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits
                    .iter()
                    .fold(0, |length, digit| length << 8 | usize::from(*digit));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// Takes the next value if it is a number that is not negative: its digits, none of them leading zeros.
    pub(crate) fn number(&mut self) -> Option<&'a [u8]> {
        let digits = self.value(INTEGER)?;
        let is_negative = digits.first().is_none_or(|first| *first >= 0x80);
        (!is_negative).then(|| trimmed(digits))
    }
}

/// A number's digits without leading zeros.
pub(crate) fn trimmed(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    &digits[zeros..]
}

/// Writes a value of several pieces.
pub(crate) fn value(tag: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => {
            // No key comes near 64 KiB: the longest RSA key that is taken has 8192 bits.
            out.push(0x82);
            out.extend((length as u16).to_be_bytes());
        }
    }
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out
}

/// Writes a number that is not negative.
pub(crate) fn number(digits: &[u8]) -> Vec<u8> {
    let digits = trimmed(digits);
    let needs_zero = digits.first().is_none_or(|first| *first >= 0x80);
    let zero: &[u8] = if needs_zero { &[0] } else { &[] };
    value(INTEGER, &[zero, digits])
}

/// What a PKCS#8 key is for, with the key within.
pub(crate) enum Wrapped<'a> {
    /// PKCS#1.
    Rsa(&'a [u8]),
    /// SEC1, with the curve's object id.
    Ec(&'a [u8], &'a [u8]),
    /// Another kind of key.
    Other,
}

/// Takes a key out of PKCS#8.
pub(crate) fn unwrap_pkcs8(der: &[u8]) -> Option<Wrapped<'_>> {
    let mut key = Reader(Reader(der).value(SEQUENCE)?);
    key.number()?;
    let mut algorithm = Reader(key.value(SEQUENCE)?);
    let within = key.value(OCTET_STRING)?;
    Some(match algorithm.value(OBJECT_ID)? {
        RSA => Wrapped::Rsa(within),
        EC => Wrapped::Ec(within, algorithm.value(OBJECT_ID)?),
        _ => Wrapped::Other,
    })
}

/// Puts a PKCS#1 key into PKCS#8.
pub(crate) fn wrap_rsa(pkcs1: &[u8]) -> Vec<u8> {
    wrap(&[&value(OBJECT_ID, &[RSA]), &NULL], pkcs1)
}

/// Puts a SEC1 key into PKCS#8.
pub(crate) fn wrap_ec(sec1: &[u8], curve_id: &[u8]) -> Vec<u8> {
    wrap(&[&value(OBJECT_ID, &[EC]), &value(OBJECT_ID, &[curve_id])], sec1)
}

fn wrap(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let algorithm = value(SEQUENCE, algorithm);
    let key = value(OCTET_STRING, &[key]);
    value(SEQUENCE, &[&number(&[]), &algorithm, &key])
}
