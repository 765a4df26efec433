//! The line checker: verdicts agree with serde_json's, and what is accepted keeps the splice law.

use std::collections::HashSet;

use fhirhose_fhir::{
    elements::{ElementFilter, write_elements},
    instant::Instant,
    line::{CheckedLine, LineChecker, LineLimits, Refusal, Rule},
    meta::{StoredLine, write_spliced, write_stored},
};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// serde_json gives up at 128, so deeper texts are left to the depth rule alone.
const DEPTH_MAX: usize = 100;

/// Checks the laws for one line.
pub fn check(line: &[u8]) {
    let mut checker = checker();
    // A line before it must not matter.
    let _ = checker.check(
        br#"{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient\/p"}}]}"#,
        None,
    );
    let accepted = match checker.check(line, None) {
        Ok(checked) => {
            let facts = facts(&checked);
            check_accepted(line, &checked, &facts);
            true
        }
        Err(refusal) => {
            check_refusal(line, &refusal);
            !is_about_json(refusal.rule)
        }
    };
    if !line.contains(&b'\n') && !is_too_deep(line) {
        assert_eq!(
            accepted,
            serde_json::from_slice::<Strict>(line).is_ok(),
            "serde_json agrees"
        );
    }
}

fn checker() -> LineChecker {
    LineChecker::new(LineLimits {
        line_bytes_max: 1 << 20,
        depth_max: DEPTH_MAX,
    })
}

fn is_about_json(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::Json | Rule::Utf8 | Rule::TrailingText | Rule::DuplicateKey | Rule::Depth
    )
}

pub(crate) fn is_too_deep(line: &[u8]) -> bool {
    line.iter().filter(|byte| b"[{".contains(byte)).count() > DEPTH_MAX
}

fn check_refusal(line: &[u8], refusal: &Refusal) {
    assert!(refusal.offset <= line.len(), "the offset lies in the line");
    assert!(!refusal.message.is_empty());
}

/// What a line says, as owned values; `meta` left out.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    kind: &'static str,
    id: String,
    owner: Option<String>,
    others: Vec<String>,
    references: Vec<String>,
    unresolvable: usize,
    subsetted: bool,
}

fn facts(checked: &CheckedLine<'_>) -> Facts {
    Facts {
        kind: checked.resource_type.name(),
        id: checked.id.to_owned(),
        owner: checked.owner.map(str::to_owned),
        others: checked.other_patients.iter().map(str::to_owned).collect(),
        references: (checked.references.iter())
            .map(|reference| format!("{}/{}", reference.resource_type, reference.id))
            .collect(),
        unresolvable: checked.unresolvable,
        subsetted: checked.subsetted,
    }
}

fn check_accepted(line: &[u8], checked: &CheckedLine<'_>, facts: &Facts) {
    assert_eq!(
        &line[checked.id_at..checked.id_at + checked.id.len()],
        checked.id.as_bytes()
    );
    assert!(
        !facts
            .others
            .iter()
            .any(|other| Some(other) == facts.owner.as_ref()),
        "the owner is no other patient"
    );
    assert!(
        facts.others.is_sorted_by(|a, b| a < b),
        "further patients come sorted and once"
    );
    for source in [None, Some("urn:\"x\"")] {
        let mut body = Vec::new();
        let stored = write_stored(line, checked, source, &mut body);
        check_splice_law(&body, stored, source, facts);
    }
    let tree: Value = serde_json::from_slice(line).expect("accepted lines are JSON");
    assert_eq!(facts.id, tree["id"], "the id is that of the tree");
    let mut texts = Vec::new();
    gather_references(&tree, &mut texts);
    assert!(
        facts.references.len() + facts.unresolvable <= texts.len(),
        "every reference is in the tree"
    );
}

fn check_splice_law(body: &[u8], stored: StoredLine, source: Option<&str>, facts: &Facts) {
    let mut spliced = Vec::new();
    write_spliced(
        body,
        stored.splice,
        42,
        Instant::from_micros(1_795_234_353_123_456),
        &mut spliced,
    );
    let tree: Value = serde_json::from_slice(&spliced).expect("what goes out is JSON");
    assert_eq!(tree["meta"]["versionId"], "42");
    assert!(source.is_none() || tree["meta"].get("source").is_some());
    let mut checker = checker();
    let checked = match checker.check(&spliced, None) {
        Ok(checked) => checked,
        // A meta that splicing adds is one level of its own.
        Err(refusal) => return assert_eq!(refusal.rule, Rule::Depth),
    };
    assert_eq!(&self::facts(&checked), facts, "splicing changes no fact");
    let mut again = Vec::new();
    assert_eq!(
        write_stored(&spliced, &checked, source, &mut again),
        stored,
        "the places are the same"
    );
    assert_eq!(again, body, "storing what was spliced gives the body back");
    check_elements(&spliced, &checked);
}

fn check_elements(spliced: &[u8], whole: &CheckedLine<'_>) {
    let filter = ElementFilter::parse(["text", "Observation.value"]).expect("elements of R4");
    let mut out = Vec::new();
    write_elements(spliced, whole.resource_type, &filter, &mut out);
    let mut checker = checker();
    match checker.check(&out, None) {
        Ok(checked) => {
            assert_eq!(
                (checked.resource_type, checked.id),
                (whole.resource_type, whole.id)
            );
            assert!(checked.subsetted, "what was cut down says so");
        }
        Err(refusal) => assert_eq!(refusal.rule, Rule::Depth),
    }
}

fn gather_references<'t>(tree: &'t Value, found: &mut Vec<&'t str>) {
    match tree {
        Value::Object(members) => {
            for (name, value) in members {
                if let (Value::String(text), "reference") = (value, name.as_str()) {
                    found.push(text);
                }
                gather_references(value, found);
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| gather_references(element, found)),
        _ => {}
    }
}

/// Reads like serde_json and refuses duplicate names.
pub(crate) struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Strict;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Strict, A::Error> {
        while elements.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, _)) = members.next_entry::<String, Strict>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("duplicate name"));
            }
        }
        Ok(Strict)
    }
}
