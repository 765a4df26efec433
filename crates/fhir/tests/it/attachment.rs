//! Absolute URLs of attachments (F-11).

use fhirhose_fhir::attachment::write_absolute;

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
