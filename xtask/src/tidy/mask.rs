//! Rust source with comments and literals blanked, so that a simple scan sees only code.

/// Blanks comments, strings and characters with spaces; offsets and line breaks stay.
pub(super) fn mask(source: &str) -> Vec<u8> {
    let bytes = source.as_bytes();
    let mut masked = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_bytes(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut masked[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    masked
}

/// Says whether a byte can be part of a name.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The length of the comment or literal that starts here; 0 if none does.
fn literal_bytes(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => find(rest, b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_bytes(rest),
        [b'"', ..] => quoted_bytes(rest, b'"'),
        [b'\'', ..] if is_character(rest) => quoted_bytes(rest, b'\''),
        [b'r', ..] if at == 0 || !is_word(bytes[at - 1]) => raw_string_bytes(rest),
        [b'b' | b'c', b'r', ..] if at == 0 || !is_word(bytes[at - 1]) => match raw_string_bytes(&rest[1..]) {
            0 => 0,
            count => count + 1,
        },
        _ => 0,
    }
}

fn block_comment_bytes(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if rest[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_bytes(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Tells a character from a lifetime, which has no closing quote.
fn is_character(rest: &[u8]) -> bool {
    match rest.get(1) {
        None => false,
        Some(b'\\') => true,
        Some(first) => {
            let width = match first {
                0x00..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            rest.get(1 + width) == Some(&b'\'')
        }
    }
}

/// `r"…"`, `r#"…"#` and so on; 0 for a name that begins with `r`.
fn raw_string_bytes(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    find(&rest[open + 1..], &close).map_or(rest.len(), |at| open + 1 + at + close.len())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::mask;

    fn check(source: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&mask(source)), expected);
    }

    #[test]
    fn comments_are_blanked() {
        check("a // {\nb", "a     \nb");
        check("a /* { /* } */ \n { */ b", "a              \n      b");
        check("a / b", "a / b");
    }

    #[test]
    fn strings_are_blanked() {
        check(r#"f("{", 1)"#, "f(   , 1)");
        check(r#"f("\"{\\")+1"#, "f(       )+1");
        check("f(r\"\\\")+1", "f(    )+1");
        check("f(br#\"\"{\"#)+1", "f(        )+1");
        check("r#type + for\"{\"", "r#type + for   ");
    }

    #[test]
    fn characters_are_blanked_and_lifetimes_stay() {
        check("'{' + b'\\'' + 'ä'", "    + b     +     ");
        check(
            "fn f<'a>(x: &'a str) {'b: loop {}}",
            "fn f<'a>(x: &'a str) {'b: loop {}}",
        );
    }
}
