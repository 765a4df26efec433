//! Absolute URLs of attachments (F-11), and attachments that lead elsewhere.

use std::convert::Infallible;

use fhirhose_fhir::attachment::{Attachment, Change, absolute_url, look, rewrite, write_absolute};

const BASE: &str = "https://fhir.example/r4/";

fn written(text: &str) -> String {
    let mut out = Vec::new();
    match write_absolute(text.as_bytes(), BASE, &mut out) {
        true => String::from_utf8(out).expect("text"),
        false => text.to_owned(),
    }
}

#[test]
fn f_11_a_relative_url_of_an_attachment_goes_out_absolute_and_no_other_byte_changes() {
    let text = r#"{"resourceType":"DocumentReference","id":"d", "content" : [ {"attachment":{"contentType":"text/plain","url" : "Binary/b-1","size":1.0}} ],"extension":[{"url":"Binary/x","valueString":"\"url\":\"Binary/y\""}]}"#;
    let expected = text.replace(r#""Binary/b-1""#, r#""https://fhir.example/r4/Binary/b-1""#);
    assert_eq!(written(text), expected);
}

#[test]
fn f_11_attachments_are_found_wherever_r4_has_them() {
    for text in [
        r#"{"resourceType":"Patient","photo":[{"url":"a"},{"url":"/Binary/b"}]}"#,
        r#"{"resourceType":"Media","content":{"url":"Binary\/b"}}"#,
        r#"{"resourceType":"X","extension":[{"url":"http://x/y","valueAttachment":{"url":"Binary/b"}}]}"#,
        r#"{"resourceType":"List","contained":[{"resourceType":"DiagnosticReport","presentedForm":[{"url":"Binary/b"}]}]}"#,
    ] {
        assert!(written(text).contains("https://fhir.example/r4/"), "{text}");
        let _: serde_json::Value = serde_json::from_str(&written(text)).unwrap();
    }
}

#[test]
fn f_11_absolute_urls_other_urls_and_contained_content_stay() {
    for text in [
        r#"{"photo":[{"url":"https://a/Binary/b"}],"extension":[{"url":"race"}]}"#,
        r##"{"photo":[{"url":"urn:uuid:1"},{"url":"//host/x"},{"url":"#c"},{"url":""}]}"##,
        r#"{"link":[{"url":"Binary/b"}],"photo":[{"data":"eA=="}]}"#,
        r#"{"photo":"url","url":"Binary/b"}"#,
    ] {
        assert_eq!(written(text), text);
    }
}

#[test]
fn f_11_an_attachment_with_its_data_goes_out_without_url() {
    for (text, expected) in [
        (
            r#"{"photo":[{"url":"Binary/b","data":"eA=="}]}"#,
            r#"{"photo":[{"data":"eA=="}]}"#,
        ),
        (
            r#"{"photo":[{"data":"eA==","url":"http://x/y"}]}"#,
            r#"{"photo":[{"data":"eA=="}]}"#,
        ),
    ] {
        assert_eq!(written(text), expected);
    }
}

#[test]
fn texts_that_are_no_json_do_no_harm() {
    for text in [
        "",
        "{",
        r#"{"photo":[{"url":"#,
        r#""url""#,
        r#"{"photo":{"url":"a"#,
        "\"url\":\"\\",
    ] {
        let mut out = Vec::new();
        write_absolute(text.as_bytes(), BASE, &mut out);
    }
}

/// A text whose attachments become what is said of their URLs.
fn rewritten(text: &str, decide: impl Fn(&Attachment<'_>) -> Change) -> String {
    let mut out = Vec::new();
    match rewrite(
        text.as_bytes(),
        |attachment| Ok::<_, Infallible>(decide(attachment)),
        &mut out,
    ) {
        Ok(true) => String::from_utf8(out).expect("text"),
        Ok(false) => text.to_owned(),
    }
}

const DOCUMENT: &str = r#"{"resourceType":"DocumentReference","id":"d", "content" : [ {"attachment":{"contentType":"text/plain","url" : "Binary\/b-1","size":7,"hash":"aGk="}},{"attachment":{"data":"eA==","url":"x"}} ],"extension":[{"url":"urn:a"}]}"#;

#[test]
fn attachments_are_told_with_what_is_said_of_their_content() {
    let mut seen = Vec::new();
    look(DOCUMENT.as_bytes(), |attachment| {
        seen.push(format!("{attachment:?}"));
    });
    let expected = Attachment {
        url: "Binary/b-1".into(),
        content_type: Some("text/plain".into()),
        size: Some(7),
        hash: Some("aGk=".into()),
    };
    assert_eq!(seen, [format!("{expected:?}")], "the one with data is no link");
    look(br#"{"photo":{"url":"a","size":"12"}}"#, |attachment| {
        assert_eq!((attachment.size, &attachment.hash), (Some(12), &None));
    });
}

#[test]
fn an_attachment_is_led_elsewhere_and_no_other_byte_changes() {
    let expected = DOCUMENT.replace(r#""Binary\/b-1""#, r#""./attachments/\"1\".txt""#);
    let changed = rewritten(DOCUMENT, |_| Change::Url("./attachments/\"1\".txt".to_owned()));
    assert_eq!(changed, expected);
    assert_eq!(rewritten(DOCUMENT, |_| Change::Keep), DOCUMENT);
}

#[test]
fn the_content_takes_the_place_of_the_url() {
    let data = |content_type: Option<&str>| Change::Data {
        base64: "eHk=".to_owned(),
        bytes: 2,
        content_type: content_type.map(str::to_owned),
    };
    for (text, content_type, expected) in [
        (
            r#"{"photo":{"url":"a"}}"#,
            Some("text/plain"),
            r#"{"photo":{"contentType":"text/plain","data":"eHk=","size":2}}"#,
        ),
        (
            r#"{"photo":{"url":"a"}}"#,
            None,
            r#"{"photo":{"data":"eHk=","size":2}}"#,
        ),
        (
            r#"{"photo":[{ "size" : 9, "url":"a" ,"contentType":"x/y","title":"t"}]}"#,
            Some("text/plain"),
            r#"{"photo":[{ "size" : 2, "data":"eHk=" ,"contentType":"text/plain","title":"t"}]}"#,
        ),
        (
            r#"{"photo":{"size":"9","url":"a"}}"#,
            None,
            r#"{"photo":{"size":"2","data":"eHk="}}"#,
        ),
    ] {
        assert_eq!(rewritten(text, |_| data(content_type)), expected);
    }
}

#[test]
fn an_error_ends_a_rewriting_and_writes_nothing() {
    let mut out = Vec::new();
    let ended = rewrite(DOCUMENT.as_bytes(), |_| Err("no"), &mut out);
    assert_eq!((ended, out.len()), (Err("no"), 0));
}

#[test]
fn relative_urls_are_read_below_the_base() {
    for (url, expected) in [
        ("Binary/1", "https://fhir.example/r4/Binary/1"),
        ("/Binary/1", "https://fhir.example/r4/Binary/1"),
        ("https://a/b", "https://a/b"),
        ("urn:uuid:1", "urn:uuid:1"),
        ("#c", "#c"),
        ("data:text/plain,x", "data:text/plain,x"),
    ] {
        assert_eq!(absolute_url(url, BASE), expected);
    }
}
