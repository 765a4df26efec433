//! Lists in HTTP header values (RFC 9110 §5.6): elements by comma, parameters by semicolon, quoted strings kept whole.
//!
//! Shared by the readers of `Accept`, `Accept-Encoding`, `Prefer` and entity tags. It knows no header's meaning.

/// Splits on `separator` outside of quoted strings; pieces are trimmed, empty pieces are left out.
pub(crate) fn split(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value
        .split(move |character: char| {
            if escaped {
                escaped = false;
                return false;
            }
            match character {
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => return !quoted && character == separator,
            }
            false
        })
        .map(|piece| piece.trim_matches([' ', '\t']))
        .filter(|piece| !piece.is_empty())
}

/// Splits `name=value`, both trimmed, the value out of its quotes; a piece without `=` has an empty value.
pub(crate) fn name_and_value(piece: &str) -> (&str, &str) {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    let value = value.trim_matches([' ', '\t']);
    let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    (name.trim_matches([' ', '\t']), unquoted.unwrap_or(value))
}

/// One element of a list with weights: `gzip;q=0.5` is `gzip` with 500 thousandths.
pub(crate) struct Weighted<'a> {
    pub(crate) name: &'a str,
    /// The weight in thousandths, 0 (not acceptable) to 1000.
    pub(crate) weight: u16,
}

/// Reads an element with its weight; `None` if the weight is not a qvalue (RFC 9110 §12.4.2): such an element offers nothing.
pub(crate) fn weighted(element: &str) -> Option<Weighted<'_>> {
    let mut pieces = split(element, ';');
    let name = pieces.next()?;
    let mut weight = 1000;
    for piece in pieces {
        let (parameter, value) = name_and_value(piece);
        if parameter.eq_ignore_ascii_case("q") {
            weight = thousandths(value)?;
        }
    }
    Some(Weighted { name, weight })
}

fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}
