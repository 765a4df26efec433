//! Texts compared without regard to case and accents.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::json::decode;

/// What is compared of a text: its letters without accents, in lower case, with single spaces and none at the ends.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        let letters = word.nfd().filter(|&letter| !is_combining_mark(letter));
        folded.extend(letters.flat_map(char::to_lowercase));
    }
    folded
}

/// Whether the raw text of a JSON string, folded, begins with any of these folded texts.
pub(super) fn any_start(raw: &[u8], starts: &[String]) -> bool {
    let mut whole = None;
    starts.iter().any(|start| {
        quick_starts_with(raw, start.as_bytes()).unwrap_or_else(|| {
            let whole = whole.get_or_insert_with(|| folded_raw(raw));
            whole.starts_with(start)
        })
    })
}

/// Whether the raw text of a JSON string, folded, holds any of these folded texts.
pub(super) fn any_within(raw: &[u8], texts: &[String]) -> bool {
    let whole = folded_raw(raw);
    texts.iter().any(|text| whole.contains(text))
}

fn folded_raw(raw: &[u8]) -> String {
    std::str::from_utf8(raw).map_or_else(|_| String::new(), |raw| fold(&decode(raw)))
}

/// The same without making a text; `None` where folding would do more than lower ASCII letters.
fn quick_starts_with(raw: &[u8], folded: &[u8]) -> Option<bool> {
    let mut after_space = true;
    for (at, &expected) in folded.iter().enumerate() {
        let Some(&byte) = raw.get(at) else {
            return Some(false);
        };
        let is_space = byte == b' ';
        if !byte.is_ascii() || byte < b' ' || byte == b'\\' || (is_space && after_space) {
            return None;
        }
        after_space = is_space;
        if byte.to_ascii_lowercase() != expected {
            // A mark behind this letter would still be folded into it, and changes nothing: the letter differs.
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{any_start, any_within, fold};

    fn starts_with(raw: &[u8], start: &str) -> bool {
        any_start(raw, &[start.to_owned()])
    }

    #[test]
    fn case_accents_and_repeated_spaces_do_not_count() {
        assert_eq!(fold("  Müller\tde  la  CRUZ "), "muller de la cruz");
        assert_eq!(fold("E\u{301}lan"), "elan");
        assert!(starts_with("Jos\u{e9} Luis".as_bytes(), "jose l"));
        assert!(starts_with(br"Jos\u00e9", "jose"));
        assert!(any_within(br"\u00c9lan vital", &["lan v".to_owned()]));
        assert!(!starts_with(b"Smith", "smithe"));
    }

    proptest! {
        #[test]
        fn the_quick_way_says_the_same(text in "[a-cA-C \\\\éE\u{301}]{0,12}", start in "[a-c ]{0,4}") {
            let folded = fold(&start);
            let mut raw = Vec::new();
            crate::json::write_string(&text, &mut raw);
            let raw = &raw[1..raw.len() - 1];
            prop_assert_eq!(starts_with(raw, &folded), fold(&text).starts_with(&folded));
        }
    }
}
