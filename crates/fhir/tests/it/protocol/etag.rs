//! Entity tags and the conditions that use them.

use fhirhose_fhir::etag::{EntityTag, EntityTags, if_range_matches};

fn tag(text: &str) -> EntityTag {
    EntityTag::parse(text).expect("a tag")
}

fn tags(text: &str) -> EntityTags {
    EntityTags::parse([text]).expect("tags")
}

#[test]
fn a_version_is_a_weak_tag_and_reads_back() {
    assert_eq!(EntityTag::of_version(17).to_string(), "W/\"17\"");
    assert_eq!(tag("W/\"17\"").version(), Some(17));
    assert_eq!(tag("\"17\"").version(), Some(17));
    for other in [
        "W/\"017\"",
        "W/\"+17\"",
        "W/\"\"",
        "W/\"17a\"",
        "W/\"99999999999999999999\"",
    ] {
        assert_eq!(tag(other).version(), None, "{other}");
    }
}

#[test]
fn what_is_no_tag_is_not_read() {
    for text in [
        "", "17", "W/17", "w/\"17\"", "\"17", "\"", "\"a\"b\"", "\"a b\"", "\"ä\"", "*",
    ] {
        assert_eq!(EntityTag::parse(text), None, "{text}");
    }
    assert_eq!(EntityTag::strong("a\"b"), None);
    assert_eq!(
        EntityTag::strong("sha256-0f")
            .map(|tag| tag.to_string())
            .as_deref(),
        Some("\"sha256-0f\"")
    );
}

#[test]
fn if_none_match_compares_weakly() {
    let file = EntityTag::strong("abc").expect("a tag");
    assert!(tags("\"abc\"").matches_weak(&file));
    assert!(tags("\"x\", W/\"abc\"").matches_weak(&file));
    assert!(tags("*").matches_weak(&file));
    assert!(!tags("\"x\", \"y,abc\"").matches_weak(&file));
}

#[test]
fn if_match_of_a_file_compares_strongly() {
    let file = EntityTag::strong("abc").expect("a tag");
    assert!(tags("\"x\",\"abc\"").matches_strong(&file));
    assert!(!tags("W/\"abc\"").matches_strong(&file));
    assert!(!tags("\"17\"").matches_strong(&EntityTag::of_version(17)));
    assert!(tags("*").matches_strong(&file));
}

#[test]
fn if_match_of_a_resource_takes_the_weak_tag_of_its_version() {
    assert!(tags("W/\"17\"").matches_version(17));
    assert!(tags("W/\"16\", \"17\"").matches_version(17));
    assert!(!tags("W/\"16\"").matches_version(17));
    assert!(tags("*").matches_version(17));
}

#[test]
fn several_headers_are_one_list_and_a_malformed_part_spoils_it() {
    let both = EntityTags::parse(["\"a\"", "\"b\", \"c\""]).expect("tags");
    assert_eq!(
        both,
        EntityTags::Listed(vec![tag("\"a\""), tag("\"b\""), tag("\"c\"")])
    );
    for values in [&[] as &[&str], &[""], &["17"], &["\"a\", b"], &["*, \"a\""]] {
        assert_eq!(EntityTags::parse(values.iter().copied()), None, "{values:?}");
    }
}

#[test]
fn f_12_if_range_wants_the_same_strong_tag() {
    let file = EntityTag::strong("abc").expect("a tag");
    assert!(if_range_matches("\"abc\"", &file));
    for header in ["W/\"abc\"", "\"abd\"", "Sat, 21 Nov 2026 04:12:33 GMT", "", "*"] {
        assert!(!if_range_matches(header, &file), "{header}");
    }
}
