//! Matches a request's path with the pattern of a route, part by part.

/// Splits a path into its parts, percent-decoded; `None` if one is not UTF-8 then or an escape is broken.
///
/// Parts are decoded one by one, so that an escaped slash stays inside its part, and `%24export` is `$export`.
pub(super) fn parts(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/')?.split('/').map(decode).collect()
}

/// Matches parts with a pattern and gives the pattern's arguments with their values; an argument is never empty.
pub(super) fn arguments(pattern: &'static str, parts: &[String]) -> Option<Vec<(&'static str, String)>> {
    let pieces: Vec<&'static str> = pattern.strip_prefix('/')?.split('/').collect();
    if pieces.len() != parts.len() {
        return None;
    }
    let mut arguments = Vec::new();
    for (piece, part) in pieces.into_iter().zip(parts) {
        match piece.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !part.is_empty() => arguments.push((name, part.clone())),
            None if piece == part => {}
            _ => return None,
        }
    }
    Some(arguments)
}

/// Decodes the percent escapes of a text; `None` if one is broken or the outcome is not UTF-8.
pub(crate) fn decode(part: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &'static str, path: &str, expected: Option<&[(&'static str, &str)]>) {
        let found = parts(path).and_then(|parts| arguments(pattern, &parts));
        let expected = expected.map(|list| {
            let owned = list.iter().map(|(name, value)| (*name, (*value).to_owned()));
            owned.collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn parts_are_decoded_and_never_empty() {
        let pattern = "/fhir/Group/{id}/$export";
        check(pattern, "/fhir/Group/g1/$export", Some(&[("id", "g1")]));
        check(pattern, "/fhir/Group/g%201/%24export", Some(&[("id", "g 1")]));
        check(pattern, "/fhir/Group/a%2Fb/$export", Some(&[("id", "a/b")]));
        for path in [
            "/fhir/Group//$export",
            "/fhir/Group/g1/$export/",
            "/fhir/Group/g1",
            "/fhir/Group/%ff/$export",
            "/fhir/Group/%2/$export",
            "*",
            "",
        ] {
            check(pattern, path, None);
        }
    }
}
