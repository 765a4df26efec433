//! The table of broken inputs: every kind that lenient parsers were measured to let through, each with its rule.

use fhirhose_fhir::{
    line::{LineChecker, LineLimits, Rule},
    resource_type::ResourceType,
};

use super::{assert_accepted, assert_refused, refusal};

/// A good Observation with `member` in a part that nobody reads.
fn with_member(member: &str) -> Vec<u8> {
    let (before, after) = (
        r#"{"resourceType":"Observation","id":"a","component":[{"x":1,"#,
        r#"}],"status":"final"}"#,
    );
    [before, member, after].concat().into_bytes()
}

fn with_value(value: &str) -> Vec<u8> {
    with_member(&format!(r#""y":{value}"#))
}

fn good() -> Vec<u8> {
    with_value("true")
}

fn good_and(tail: &str) -> Vec<u8> {
    [&good(), tail.as_bytes()].concat()
}

fn nested(opening: &str, depth: usize, closing: &str) -> String {
    [opening.repeat(depth), "1".to_owned(), closing.repeat(depth)].concat()
}

#[test]
fn every_kind_of_broken_input_is_refused_by_its_rule() {
    assert_accepted(&good());
    refuses_broken_frames();
    refuses_broken_values();
    refuses_broken_strings();
    refuses_broken_structure();
}

fn refuses_broken_frames() {
    assert_refused(b"", Rule::Json);
    assert_refused(b"  \t ", Rule::Json);
    assert_refused(&good_and("x"), Rule::TrailingText);
    assert_refused(&good_and(","), Rule::TrailingText);
    assert_refused(&good_and("}"), Rule::TrailingText);
    assert_refused(&good_and("\0"), Rule::TrailingText);
    assert_refused(
        &good_and(r#"{"resourceType":"Observation","id":"b"}"#),
        Rule::TrailingText,
    );
    assert_refused(
        &good_and(r#" {"resourceType":"Observation","id":"b"}"#),
        Rule::TrailingText,
    );
    assert_refused(&good_and("//"), Rule::TrailingText);
    assert_refused(&[b"\xEF\xBB\xBF", &good()[..]].concat(), Rule::Json);
    assert_refused(&[b"{}", &good()[1..]].concat(), Rule::TrailingText);
    let good = good();
    for end in 1..good.len() {
        assert_refused(&good[..end], Rule::Json);
    }
}

fn refuses_broken_values() {
    let literals = [
        "tru",
        "True",
        "TRUE",
        "nul",
        "Null",
        "nullx",
        "truefalse",
        "fals",
        "undefined",
        "None",
    ];
    let numbers = [
        "01", "-01", "00", "1.", "1.e3", ".5", "-.5", "+1", "1e", "1e+", "1E-", "-", "--1", "1.2.3", "0x10",
        "1_000", "1a", "- 1", "1e1.5", "0e", "١",
    ];
    let constants = ["NaN", "Infinity", "-Infinity", "nan", "inf"];
    let too_large = ["1e999", "-1e999", "1.8e308", "1e400000000000000000000"];
    for value in literals
        .iter()
        .chain(&numbers)
        .chain(&constants)
        .chain(&too_large)
    {
        assert_refused(&with_value(value), Rule::Json);
    }
    assert_refused(&with_value(&"9".repeat(400)), Rule::Json);
    let fine = [
        "0",
        "-0",
        "1.00",
        "1e308",
        "1E+2",
        "1e-999",
        "123456789012345678901234567890",
        "0.1e1",
        "-0.0",
    ];
    for value in fine {
        assert_accepted(&with_value(value));
    }
    assert_accepted(&with_value(&"9".repeat(308)));
}

fn refuses_broken_strings() {
    let texts = [
        r#""a"#,
        r#"'a'"#,
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\0\"",
        "\"\u{1f}\"",
        r#""\x""#,
        r#""\a""#,
        r#""\'""#,
        r#""\ ""#,
        r#""\"#,
        r#""\U0041""#,
        r#""\u""#,
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\u+123""#,
        r#""\u 123""#,
        r#""\uD800""#,
        r#""\uD800x""#,
        r#""\uD800\n""#,
        r#""\uD800\u0041""#,
        r#""\uDC00""#,
        r#""\uDC00\uD800""#,
        r#""\uD800\uD800""#,
        r#""\uD83D\uDE0""#,
        r#""a"b""#,
    ];
    for text in texts {
        assert_refused(&with_value(text), Rule::Json);
        assert_refused(&with_member(&format!("{text}:1")), Rule::Json);
    }
    // The same far into a long string, where the search takes wider steps.
    for text in [r#"\x"#, r#"\uD800"#, "\u{1}", r#"\u00"#] {
        assert_refused(
            &with_value(&format!(r#""{0}{text}{0}""#, "x".repeat(200))),
            Rule::Json,
        );
    }
    for bytes in [
        &b"\xFF"[..],
        b"\xC0\x80",
        b"\xED\xA0\x80",
        b"\xE2\x82",
        b"\xF5\x80\x80\x80",
        b"\x80",
    ] {
        let mut line = with_value(r#""?""#);
        let at = line
            .iter()
            .position(|&byte| byte == b'?')
            .expect("the mark is there");
        line.splice(at..=at, bytes.iter().copied());
        assert_refused(&line, Rule::Utf8);
        assert_eq!(refusal(&line).offset, at);
    }
    for text in [
        r#""\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00""#,
        "\"é\u{7f}\u{2028}\u{1F600}\"",
        r#""""#,
    ] {
        assert_accepted(&with_value(text));
    }
}

fn refuses_broken_structure() {
    let values = [
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,,2]",
        "[",
        "[1",
        "]",
        "{",
        "}",
        "[1}",
        "{]",
        r#"{"a":1]"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a" 1}"#,
        r#"{"a":}"#,
        r#"{"a"}"#,
        r#"{a:1}"#,
        r#"{'a':1}"#,
        r#"{1:1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a"::1}"#,
        r#"{"a":1,,"b":2}"#,
        r#"{null:1}"#,
        "[1]]",
        "/* x */ 1",
        "1 // x",
        "# x",
        "",
        "[1;2]",
        "(1)",
        r#"{"a":1;"b":2}"#,
        "\u{a0}1",
        "\u{c}1",
    ];
    for value in values {
        assert_refused(&with_value(value), Rule::Json);
    }
    assert_refused(b"{\"resourceType\":\"Observation\",\n\"id\":\"a\"}", Rule::Json);
    for value in [
        "[]",
        "{}",
        "[ ]",
        "{ }",
        "[[],{}]",
        " [ 1 , 2 ] ",
        "{ \"a\" : { } }\t",
    ] {
        assert_accepted(&with_value(value));
    }
}

#[test]
fn duplicate_names_are_refused_at_any_depth_and_however_escaped() {
    let twice = [
        r#""y":1,"y":1"#,
        r#""y":1,"x":1"#,
        r#""y":{"b":1,"b":2}"#,
        r#""y":[[{"b":1,"c":{},"b":2}]]"#,
        r#""y":{"b":{"c":{"d":1,"d":1}}}"#,
        r#""y":{"b":1,"\u0062":2}"#,
        r#""y":{"\u0062":1,"b":2}"#,
        r#""y":{"\/":1,"/":2}"#,
        r#""y":{"":1,"":2}"#,
        r#""y":{"aNameOfSomeLength":1,"aNameOfSomeLength":2}"#,
        r#""y":{"\uD83D\uDE00":1,"😀":2}"#,
    ];
    for member in twice {
        assert_refused(&with_member(member), Rule::DuplicateKey);
    }
    assert_refused(
        br#"{"resourceType":"Observation","id":"a","id":"a"}"#,
        Rule::DuplicateKey,
    );
    assert_accepted(&with_member(r#""y":{"b":{"b":1},"c":[{"b":1},{"b":1}]}"#));
    assert_accepted(&with_member(r#""aNameOfSomeLength":1,"aNameOfSomfLength":1"#));
}

#[test]
fn duplicate_names_are_found_in_objects_of_any_size() {
    for members in [2, 31, 32, 33, 34, 100, 5_000] {
        let names = |last: String| {
            let mut all: Vec<String> = (1..members)
                .map(|number| format!(r#""name{number}":1"#))
                .collect();
            all.push(last);
            format!(r#""y":{{{}}}"#, all.join(","))
        };
        assert_accepted(&with_member(&names(r#""other":1"#.to_owned())));
        assert_refused(
            &with_member(&names(r#""name1":1"#.to_owned())),
            Rule::DuplicateKey,
        );
        assert_refused(
            &with_member(&names(format!(r#""n\u0061me{}":1"#, members - 1))),
            Rule::DuplicateKey,
        );
    }
}

#[test]
fn nesting_is_bounded() {
    // The root, `component` and its element are three of the hundred.
    assert_accepted(&with_value(&nested("[", 97, "]")));
    assert_refused(&with_value(&nested("[", 98, "]")), Rule::Depth);
    assert_accepted(&with_value(&nested(r#"{"a":"#, 97, "}")));
    assert_refused(&with_value(&nested(r#"{"a":"#, 98, "}")), Rule::Depth);
    assert_refused(&with_value(&nested("[", 10_000, "]")), Rule::Depth);
    assert_refused(&with_value(&"[".repeat(1_000_000)), Rule::Depth);
}

#[test]
fn what_is_not_a_resource_is_refused_by_its_rule() {
    let cases: [(&str, Rule); 25] = [
        ("null", Rule::NotAnObject),
        ("12", Rule::NotAnObject),
        (r#""resourceType""#, Rule::NotAnObject),
        (r#"[{"resourceType":"Patient","id":"a"}]"#, Rule::NotAnObject),
        ("{}", Rule::ResourceTypeMissing),
        (r#"{"id":"a"}"#, Rule::ResourceTypeMissing),
        (
            r#"{"id":"a","contained":[{"resourceType":"Patient"}]}"#,
            Rule::ResourceTypeMissing,
        ),
        (r#"{"resourceType":null,"id":"a"}"#, Rule::ResourceTypeMissing),
        (
            r#"{"resourceType":["Patient"],"id":"a"}"#,
            Rule::ResourceTypeMissing,
        ),
        (
            r#"{"resourceType":"Unknown","id":"a"}"#,
            Rule::ResourceTypeUnknown,
        ),
        (
            r#"{"resourceType":"patient","id":"a"}"#,
            Rule::ResourceTypeUnknown,
        ),
        (
            r#"{"resourceType":"DomainResource","id":"a"}"#,
            Rule::ResourceTypeUnknown,
        ),
        (r#"{"resourceType":"","id":"a"}"#, Rule::ResourceTypeUnknown),
        (r#"{"resourceType":"Patient"}"#, Rule::IdMissing),
        (r#"{"resourceType":"Patient","meta":{"id":"a"}}"#, Rule::IdMissing),
        (r#"{"resourceType":"Patient","id":5}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":null}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":["a"]}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":""}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":"a b"}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":"\u0061"}"#, Rule::IdInvalid),
        (r#"{"resourceType":"Patient","id":"a","meta":"x"}"#, Rule::Meta),
        (r#"{"resourceType":"Patient","id":"a","meta":[{}]}"#, Rule::Meta),
        (r#"{"resourceType":"Patient","id":"a","meta":null}"#, Rule::Meta),
        (
            r#"{"resourceType":"Patient","id":"a","meta":{"tag":{}}}"#,
            Rule::Meta,
        ),
    ];
    for (line, rule) in cases {
        assert_refused(line.as_bytes(), rule);
    }
    let id = "x".repeat(65);
    assert_refused(
        format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#).as_bytes(),
        Rule::IdInvalid,
    );
    assert_accepted(format!(r#"{{"resourceType":"Patient","id":"{}"}}"#, &id[1..]).as_bytes());
}

#[test]
fn another_type_than_declared_is_refused() {
    let line = br#"{"id":"p1","resourceType":"Patient"}"#;
    let mut checker = LineChecker::new(LineLimits::default());
    assert!(checker.check(line, Some(ResourceType::PATIENT)).is_ok());
    let refusal = checker
        .check(line, Some(ResourceType::GROUP))
        .expect_err("the types differ");
    assert_eq!(refusal.rule, Rule::ResourceTypeMismatch);
    assert_eq!(refusal.offset, 27);
    assert_eq!(refusal.message, "the input declares Group, the line is Patient");
    assert_eq!(refusal.id.as_deref(), Some("p1"));
}

#[test]
fn refusals_name_type_and_id_that_stood_before_the_error() {
    let refusal = refusal(br#"{"resourceType":"Patient","id":"p1","birthDate":01}"#);
    assert_eq!(refusal.rule, Rule::Json);
    assert_eq!(refusal.offset, 48);
    assert_eq!(refusal.resource_type, Some(ResourceType::PATIENT));
    assert_eq!(refusal.id.as_deref(), Some("p1"));
    assert_eq!(
        refusal.to_string(),
        "json at byte 48: a number has a leading zero"
    );
}

#[test]
fn refusals_quote_nothing_of_the_line() {
    let secret = "Zaphod";
    let lines = [
        format!(r#"{{"resourceType":"{secret}","id":"a"}}"#),
        format!(r#"{{"resourceType":"Patient","id":"{secret} B"}}"#),
        format!(r#"{{"resourceType":"Patient","{secret}":1,"{secret}":2}}"#),
        format!(r#"{{"resourceType":"Patient","id":"a","name":{secret}}}"#),
        format!(r#"{{"resourceType":"Patient","id":"a"}} {secret}"#),
    ];
    for line in lines {
        assert!(!refusal(line.as_bytes()).to_string().contains(secret));
    }
}

#[test]
fn lines_beyond_the_limit_are_refused() {
    let line = br#"{"resourceType":"Patient","id":"p1"}"#;
    let limits = |line_bytes_max| LineLimits {
        line_bytes_max,
        depth_max: 100,
    };
    assert!(LineChecker::new(limits(line.len())).check(line, None).is_ok());
    let mut checker = LineChecker::new(limits(line.len() - 1));
    let refusal = checker.check(line, None).expect_err("one byte too long");
    assert_eq!(refusal.rule, Rule::LineTooLong);
}
