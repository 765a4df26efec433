//! Byte ranges of downloads (F-12).

use fhirhose_fhir::range::{ByteRange, RangeRequest, parse_range, unsatisfied_content_range};

#[track_caller]
fn check(header: &str, length_bytes: u64, expected: Option<(u64, u64)>) {
    let expected = expected.map(|(first, last)| RangeRequest::Part(ByteRange { first, last }));
    assert_eq!(
        parse_range(Some(header), length_bytes),
        expected.unwrap_or(RangeRequest::Unsatisfiable),
        "{header}"
    );
}

#[test]
fn f_12_one_range_is_resolved_against_the_length() {
    check("bytes=0-0", 10, Some((0, 0)));
    check("bytes=3-", 10, Some((3, 9)));
    check("bytes=3-5", 10, Some((3, 5)));
    check("bytes=3-99", 10, Some((3, 9)));
    check("bytes=-4", 10, Some((6, 9)));
    check("bytes=-40", 10, Some((0, 9)));
    check(" Bytes = 9 - 9 ", 10, Some((9, 9)));
    check("bytes=0-99999999999999999999999", 10, Some((0, 9)));
}

#[test]
fn f_12_a_range_without_a_byte_of_the_file_is_unsatisfiable() {
    check("bytes=10-", 10, None);
    check("bytes=10-20", 10, None);
    check("bytes=0-", 0, None);
    check("bytes=-0", 10, None);
    check("bytes=99999999999999999999999-", 10, None);
    assert_eq!(unsatisfied_content_range(10), "bytes */10");
}

#[test]
fn f_12_whatever_is_not_one_byte_range_is_answered_with_the_whole() {
    assert_eq!(parse_range(None, 10), RangeRequest::Whole);
    for header in [
        "bytes=0-1,3-4",
        "bytes=5-3",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes 0-1",
        "lines=0-1",
        "",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=0x1-2",
        "bytes=--1",
    ] {
        assert_eq!(parse_range(Some(header), 10), RangeRequest::Whole, "{header}");
    }
    assert_eq!(parse_range(Some("bytes=-5"), 0), RangeRequest::Whole);
}

#[test]
fn a_range_knows_its_length_and_header() {
    let range = ByteRange { first: 3, last: 5 };
    assert_eq!(
        (range.bytes(), range.content_range(10).as_str()),
        (3, "bytes 3-5/10")
    );
}
