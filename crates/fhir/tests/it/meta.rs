//! Splicing `meta`: what is stored, what goes out, and the law between the two.

use fhirhose_fhir::{
    instant::Instant,
    line::{LineChecker, LineLimits},
    meta::{Splice, SpliceForm, StoredLine, write_spliced, write_stored},
};
use proptest::{collection::vec, prelude::*, sample::subsequence};

use crate::sample;

const NOW: Instant = Instant::from_micros(1_795_234_353_123_456);
const SPLICED: &str = r#""versionId":"7","lastUpdated":""#;

fn store(line: &[u8], source: Option<&str>) -> (Vec<u8>, StoredLine) {
    let mut checker = LineChecker::new(LineLimits::default());
    let checked = checker
        .check(line, None)
        .unwrap_or_else(|refusal| panic!("{refusal}: {}", String::from_utf8_lossy(line)));
    // What is already in the buffer must not matter.
    let mut out = b"before".to_vec();
    let stored = write_stored(line, &checked, source, &mut out);
    let body = out.split_off(6);
    let id_at = stored.id_at as usize;
    assert_eq!(&body[id_at..id_at + checked.id.len()], checked.id.as_bytes());
    assert_eq!(body[id_at + checked.id.len()], b'"');
    (body, stored)
}

fn splice(body: &[u8], splice: Splice) -> Vec<u8> {
    let mut out = b"before".to_vec();
    write_spliced(body, splice, 7, NOW, &mut out);
    out.split_off(6)
}

/// Holds a line to the law; returns its stored body.
fn check_law(line: &[u8], source: Option<&str>) -> Vec<u8> {
    let (body, stored) = store(line, source);
    let spliced = splice(&body, stored.splice);
    let tree: serde_json::Value = serde_json::from_slice(&spliced).expect("what goes out is JSON");
    assert_eq!(tree["meta"]["versionId"], "7");
    assert_eq!(tree["meta"]["lastUpdated"], NOW.to_string());
    let mut expected: serde_json::Value = serde_json::from_slice(line).expect("the line is JSON");
    expected["meta"]["versionId"] = tree["meta"]["versionId"].clone();
    expected["meta"]["lastUpdated"] = tree["meta"]["lastUpdated"].clone();
    if let (Some(source), None) = (source, expected["meta"].get("source")) {
        expected["meta"]["source"] = source.into();
    }
    assert_eq!(tree, expected, "only meta differs");
    assert_eq!(
        store(&spliced, source),
        (body.clone(), stored),
        "storing what was spliced gives the body back"
    );
    assert_eq!(store(&spliced, None), (body.clone(), stored));
    assert_eq!(
        store(&body, source),
        (body.clone(), stored),
        "a stored body is its own stored form"
    );
    body
}

fn assert_stored(line: &str, source: Option<&str>, expected: &str, form: SpliceForm) {
    let (body, stored) = store(line.as_bytes(), source);
    assert_eq!(String::from_utf8_lossy(&body), expected, "{line}");
    assert_eq!(stored.splice.form, form, "{line}");
    check_law(line.as_bytes(), source);
}

#[test]
fn lines_without_meta_are_stored_as_they_are() {
    let line = r#"{ "resourceType" : "Goal", "id":"g1" , "x":1.00, "x2":[ 1.50e+1 ] } "#;
    assert_stored(line, None, line, SpliceForm::NoMeta);
    let (body, stored) = store(line.as_bytes(), None);
    let spliced = splice(&body, stored.splice);
    let expected = format!(
        r#"{{ "resourceType" : "Goal", "id":"g1","meta":{{{SPLICED}{NOW}"}} , "x":1.00, "x2":[ 1.50e+1 ] }} "#
    );
    assert_eq!(String::from_utf8_lossy(&spliced), expected);
}

#[test]
fn version_and_time_are_cut_out_with_one_comma_each() {
    let cases = [
        (
            r#"{"versionId":"1","lastUpdated":"x","profile":[]}"#,
            r#"{"profile":[]}"#,
        ),
        (
            r#"{"profile":[],"versionId":"1","lastUpdated":"x"}"#,
            r#"{"profile":[]}"#,
        ),
        (
            r#"{"versionId":"1","profile":[],"lastUpdated":"x"}"#,
            r#"{"profile":[]}"#,
        ),
        (
            r#"{"profile":[],"lastUpdated":"x","security":[]}"#,
            r#"{"profile":[],"security":[]}"#,
        ),
        (
            r#"{"profile":[],"versionId":"1","lastUpdated":"x","tag":[]}"#,
            r#"{"profile":[],"tag":[]}"#,
        ),
        (
            r#"{ "versionId" : "1" , "profile" : [ ] , "lastUpdated" : "x" }"#,
            r#"{  "profile" : [ ]  }"#,
        ),
        (
            r#"{"profile":[] , "versionId":"1" , "lastUpdated":"x" }"#,
            r#"{"profile":[]  }"#,
        ),
        (
            r#"{"_versionId":1,"versionId":2,"extension":[{"versionId":3}]}"#,
            r#"{"_versionId":1,"extension":[{"versionId":3}]}"#,
        ),
        (r#"{"version\u0049d":"1","id":"m"}"#, r#"{"id":"m"}"#),
    ];
    for (meta, stored) in cases {
        let line = |meta: &str| format!(r#"{{"resourceType":"Goal","meta":{meta},"id":"g","x":1.0}}"#);
        assert_stored(&line(meta), None, &line(stored), SpliceForm::Meta);
        let line = |meta: &str| format!(r#"{{"resourceType":"Goal","id":"g","meta":{meta},"x":1.0}}"#);
        assert_stored(&line(meta), None, &line(stored), SpliceForm::Meta);
    }
}

#[test]
fn an_emptied_meta_stays_unless_splicing_puts_it_back_there() {
    let cases = [
        (
            r#"{"id":"g","meta":{"versionId":"1","lastUpdated":"x"},"resourceType":"Goal"}"#,
            r#"{"id":"g","resourceType":"Goal"}"#,
            SpliceForm::NoMeta,
        ),
        (
            r#"{"id":"g","meta":{},"resourceType":"Goal"}"#,
            r#"{"id":"g","resourceType":"Goal"}"#,
            SpliceForm::NoMeta,
        ),
        (
            r#"{"id":"g","meta":{"lastUpdated":"x"}}"#,
            r#"{"id":"g"}"#,
            SpliceForm::NoMeta,
        ),
        (
            r#"{"meta":{"versionId":"1","lastUpdated":"x"},"id":"g"}"#,
            r#"{"meta":{},"id":"g"}"#,
            SpliceForm::EmptyMeta,
        ),
        (
            r#"{"meta":{"versionId":"1", "lastUpdated":"x"},"id":"g"}"#,
            r#"{"meta":{},"id":"g"}"#,
            SpliceForm::EmptyMeta,
        ),
        (
            r#"{"id":"g", "meta":{"versionId":"1"}}"#,
            r#"{"id":"g", "meta":{}}"#,
            SpliceForm::EmptyMeta,
        ),
        (
            r#"{"id":"g","meta":{ "versionId":"1" }}"#,
            r#"{"id":"g","meta":{  }}"#,
            SpliceForm::EmptyMeta,
        ),
    ];
    for (line, stored, form) in cases {
        let typed = |text: &str| {
            if text.contains("Goal") {
                text.to_owned()
            } else {
                text.replacen('{', r#"{"resourceType":"Goal","#, 1)
            }
        };
        assert_stored(&typed(line), None, &typed(stored), form);
    }
}

#[test]
fn source_is_added_only_where_it_is_missing() {
    let source = Some("https://x.org/\"q\"");
    let written = r#""source":"https://x.org/\"q\"""#;
    let line = |meta: &str| format!(r#"{{"resourceType":"Goal","id":"g"{meta},"x":1}}"#);
    let cases = [
        (String::new(), format!(r#","meta":{{{written}}}"#)),
        (r#","meta":{}"#.to_owned(), format!(r#","meta":{{{written}}}"#)),
        (
            r#","meta":{"versionId":"1","lastUpdated":"x"}"#.to_owned(),
            format!(r#","meta":{{{written}}}"#),
        ),
        (
            r#", "meta":{"versionId":"1"}"#.to_owned(),
            format!(r#", "meta":{{{written}}}"#),
        ),
        (
            r#","meta":{"versionId":"1","tag":[]}"#.to_owned(),
            format!(r#","meta":{{{written},"tag":[]}}"#),
        ),
        (
            r#","meta":{"source":"s","versionId":"1"}"#.to_owned(),
            r#","meta":{"source":"s"}"#.to_owned(),
        ),
    ];
    for (given, stored) in cases {
        assert_stored(&line(&given), source, &line(&stored), SpliceForm::Meta);
    }
}

#[test]
fn splice_forms_keep_their_numbers() {
    for (code, form) in [
        (0, SpliceForm::NoMeta),
        (1, SpliceForm::EmptyMeta),
        (2, SpliceForm::Meta),
    ] {
        assert_eq!(form.code(), code);
        assert_eq!(SpliceForm::from_code(code), Some(form));
    }
    assert_eq!(SpliceForm::from_code(3), None);
}

#[test]
fn all_samples_keep_the_law() {
    for line in sample::lines().step_by(7) {
        assert_eq!(
            check_law(line, None),
            line,
            "the sample has no meta, so it is stored as it is"
        );
        check_law(line, Some("urn:x"));
    }
}

fn any_meta() -> impl Strategy<Value = String> {
    let members = vec![
        r#""versionId":"3""#,
        r#""lastUpdated" : "2020-01-01T00:00:00Z""#,
        r#""source":"s""#,
        r#""profile":["a","b"]"#,
        r#""tag":[{"code":"x"}]"#,
        r#""_lastUpdated":{"id":"versionId"}"#,
        r#""x":{"versionId":"1"}"#,
    ];
    let comma = prop::sample::select(vec![",", ", ", " ,", " , "]);
    let edge = || prop::sample::select(vec!["", " ", "\t"]);
    (subsequence(members, 0..=7).prop_shuffle(), comma, edge(), edge())
        .prop_map(|(members, comma, before, after)| format!("{{{before}{}{after}}}", members.join(comma)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn storing_what_was_spliced_gives_the_body_back(
        meta in proptest::option::of(any_meta()),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        spaces in vec(prop::sample::select(vec!["", "", " "]), 4),
        source in proptest::option::of("[a-z\"\\\\é]{0,5}"),
    ) {
        let mut members = vec![
            r#""resourceType":"Goal""#.to_owned(), r#""id":"g-1""#.to_owned(), r#""x":{"meta":{"versionId":1.00}}"#.to_owned(),
        ];
        members.extend(meta.map(|meta| format!(r#""meta":{meta}"#)));
        let order: Vec<String> = (order.iter().zip(&spaces))
            .filter_map(|(&position, space)| members.get(position).map(|member| format!("{space}{member}")))
            .collect();
        check_law(format!("{{{}}}", order.join(",")).as_bytes(), source.as_deref());
    }
}
