//! Search criteria: any text gives criteria or a list of issues, criteria survive being written, and what matches does not depend on
//! how a resource's text is written.

use fhirhose_fhir::{
    instant::Instant,
    search::{Criteria, VersionFacts},
};
use serde_json::Value;

const BASE: &str = "http://localhost:8080/fhir";
const VERSION: VersionFacts = VersionFacts {
    last_updated: Instant::from_micros(1_795_234_353_123_456),
};

/// Checks the laws. The first line is a query, what follows is a resource.
pub fn check(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (query, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    match Criteria::parse(&String::from_utf8_lossy(query), BASE) {
        Ok(criteria) => {
            check_text(&criteria);
            check_body(&criteria, body);
        }
        Err(issues) => assert!(!issues.is_empty(), "a refusal says why"),
    }
}

fn check_text(criteria: &Criteria) {
    let stored = serde_json::to_string(criteria).expect("criteria can be written");
    let read: Criteria = serde_json::from_str(&stored).expect("written criteria can be read");
    assert_eq!(&read, criteria, "criteria survive being stored");
    assert_eq!(read.ids(), criteria.ids());
    assert_eq!(read.patients(), criteria.patients());
    assert_eq!(read.last_updated(), criteria.last_updated());
}

fn check_body(criteria: &Criteria, body: &[u8]) {
    // Any bytes give an answer.
    let _ = criteria.matches(body, VERSION);
    let Ok(tree) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let compact = tree.to_string();
    let matched = criteria.matches(compact.as_bytes(), VERSION);
    let pretty = serde_json::to_string_pretty(&tree).expect("a tree can be written");
    assert_eq!(
        criteria.matches(pretty.as_bytes(), VERSION),
        matched,
        "spaces change nothing"
    );
    let mut escaped = String::new();
    write_escaped(&tree, &mut escaped);
    assert_eq!(
        criteria.matches(escaped.as_bytes(), VERSION),
        matched,
        "escapes change nothing"
    );
    let updated = VERSION.last_updated;
    let bounds = criteria.last_updated();
    assert!(
        !matched || (bounds.first <= updated && updated <= bounds.last),
        "what matches is within the bounds"
    );
    if let Some(ids) = criteria.ids().filter(|_| matched) {
        let id = tree["id"].as_str().expect("what matches an id has one");
        assert!(
            ids.iter().any(|known| known.as_str() == id),
            "what matches is among the ids"
        );
    }
    check_presence(criteria, &compact);
}

/// What is there is not missing, and the other way round.
fn check_presence(criteria: &Criteria, body: &str) {
    let text = criteria.text();
    let Some((_, query)) = text.split_once('?') else {
        return;
    };
    let name = query.split(['=', ':']).next().unwrap_or_default();
    let asked = |truth: bool| {
        let query = format!("{}?{name}:missing={truth}", criteria.resource_type());
        let criteria = Criteria::parse(&query, BASE).ok()?;
        Some(criteria.matches(body.as_bytes(), VERSION))
    };
    if let (Some(missing), Some(present)) = (asked(true), asked(false)) {
        assert_ne!(missing, present, "{name} is there or missing");
    }
}

/// Writes each letter of each string and name as an escape.
fn write_escaped(tree: &Value, out: &mut String) {
    let string = |text: &str, out: &mut String| {
        out.push('"');
        for unit in text.encode_utf16() {
            out.push_str(&format!("\\u{unit:04x}"));
        }
        out.push('"');
    };
    match tree {
        Value::String(text) => string(text, out),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_escaped(element, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                string(name, out);
                out.push(':');
                write_escaped(value, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}
