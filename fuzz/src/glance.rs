//! What a client sees of a server's line: type, id and content hash. Only JSON passes, all that a strict reader takes passes, and nothing
//! but the line counts.

use fhirhose_fhir::{
    content_hash::{ContentHasher, Ignoring, content_hash},
    line::Glancer,
};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::line_checker::{Strict, is_too_deep};

/// A line that others come after: it must not matter.
const BEFORE: &[u8] =
    br#"{"resourceType":"Group","id":"g","meta":{"versionId":"1"},"member":[{"a":1,"b":[{}]}]}"#;

/// Checks the laws for one line.
pub fn check(line: &[u8]) {
    let is_strict = !is_too_deep(line)
        && serde_json::from_slice::<Strict>(line).is_ok()
        && line.trim_ascii_start().starts_with(b"{");
    check_glance(line, is_strict);
    check_hash(line, is_strict);
}

fn check_glance(line: &[u8], is_strict: bool) {
    let mut glancer = Glancer::default();
    let glance = glancer.glance(line);
    let mut used = Glancer::default();
    assert!(used.glance(BEFORE).is_ok());
    assert_eq!(
        used.glance(line).ok(),
        glance.clone().ok(),
        "a line before does not matter"
    );
    match glance {
        Ok(glance) => {
            assert!(
                serde_json::from_slice::<IgnoredAny>(line).is_ok(),
                "what passes is JSON"
            );
            // A tree does not hold what half surrogates and huge numbers mean.
            if let Ok(tree) = serde_json::from_slice::<Value>(line) {
                assert!(tree.is_object());
                assert_eq!(glance.resource_type().as_deref(), tree["resourceType"].as_str());
                assert_eq!(glance.id().as_deref(), tree["id"].as_str());
            }
        }
        Err(refusal) => {
            let is_line = !line.contains(&b'\n');
            assert!(
                !is_strict || !is_line,
                "what a strict reader takes passes: {refusal:?}"
            );
            assert!(refusal.offset <= line.len() && !refusal.message.is_empty());
        }
    }
}

fn check_hash(line: &[u8], is_strict: bool) {
    let hash = content_hash(line, Ignoring::NOTHING);
    assert!(
        hash.is_ok() || !is_strict,
        "what a strict reader takes has a hash"
    );
    if hash.is_ok() {
        assert!(
            serde_json::from_slice::<IgnoredAny>(line).is_ok(),
            "what has a hash is JSON"
        );
        let is_line = !line.contains(&b'\n');
        assert!(
            !is_line || Glancer::default().glance(line).is_ok(),
            "what has a hash passes"
        );
    }
    let mut used = ContentHasher::default();
    assert!(used.hash(BEFORE, Ignoring::SERVER_META).is_ok());
    let again = used.hash(line, Ignoring::NOTHING);
    assert_eq!(again.ok(), hash.clone().ok(), "a line before does not matter");
    let spaced = [b" \t", line, b"\r\n"].concat();
    let spaced = content_hash(&spaced, Ignoring::NOTHING);
    assert_eq!(spaced.ok(), hash.clone().ok(), "spaces around it do not count");
    let without_meta = content_hash(line, Ignoring::SERVER_META);
    assert_eq!(
        without_meta.is_ok(),
        hash.is_ok(),
        "what is left out changes nothing of what is taken"
    );
}
