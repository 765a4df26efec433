//! Puts JSON text on one line, without looking at what it says.

/// Drops white space around punctuation outside of strings, and makes one space of any other run of it.
///
/// Every other byte stays. A valid text becomes a text of the same tokens on one line; an invalid one stays invalid: no two
/// tokens are joined, and a line break inside a string stays for the checker to refuse.
pub(crate) fn compact(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut in_string, mut escaped, mut space) = (false, false, false);
    for &byte in text {
        if in_string {
            out.push(byte);
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            space = true;
        } else {
            let parted = is_punctuation(byte) || out.last().is_none_or(|&last| is_punctuation(last));
            if std::mem::take(&mut space) && !parted {
                out.push(b' ');
            }
            out.push(byte);
            in_string = byte == b'"';
        }
    }
    out
}

/// A quote counts, for outside of strings it begins or ends one.
fn is_punctuation(byte: u8) -> bool {
    matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let compacted = compact(text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&compacted), expected, "{text}");
    }

    #[test]
    fn white_space_goes_outside_of_strings_only() {
        check(
            "{\n  \"a b\" : [ 1.00 ,\r\n\ttrue ],\n \"c\\\" }\": \" x \"\n}\n",
            "{\"a b\":[1.00,true],\"c\\\" }\":\" x \"}",
        );
        check(r#"{"a":"\\" , "b":1}"#, r#"{"a":"\\","b":1}"#);
    }

    #[test]
    fn invalid_text_stays_invalid() {
        check("{\"a\": 1 2}", "{\"a\":1 2}");
        check("[tru e]", "[tru e]");
        check("[- 1]", "[- 1]");
        check("{\"a\":\"x\ny\"}", "{\"a\":\"x\ny\"}");
        check("{} {}", "{}{}");
    }
}
