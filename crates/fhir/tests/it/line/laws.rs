//! Laws over generated and mutated lines: what serde_json writes passes, and verdicts agree with serde_json's.

use proptest::{collection::vec, prelude::*};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{Rule, checker};
use crate::sample;

/// Arbitrary JSON with names that matter and names that do not.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "(Patient|Group|Device)/[a-z]{1,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let name = prop_oneof![
            any::<String>(),
            "subject|reference|meta|id|tag|performer|a|b|c|d".prop_map(String::from)
        ];
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((name, inner), 0..6)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_resource() -> impl Strategy<Value = Value> {
    any_value().prop_map(|value| {
        let mut resource = json!({"resourceType": "Observation", "id": "o1"});
        resource["subject"] = value.clone();
        resource["value"] = value;
        resource
    })
}

/// Reads like serde_json and refuses duplicate names, keeping the depth.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
                let mut names = std::collections::HashSet::new();
                while let Some((name, _)) = members.next_entry::<String, Strict>()? {
                    if !names.insert(name) {
                        return Err(A::Error::custom("duplicate name"));
                    }
                }
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Whether the checker finds the text to be strict JSON, whatever it thinks of the resource.
fn is_json_by_checker(line: &[u8]) -> bool {
    let json = [
        Rule::Json,
        Rule::Utf8,
        Rule::TrailingText,
        Rule::DuplicateKey,
        Rule::Depth,
    ];
    match checker().check(line, None) {
        Ok(_) => true,
        Err(refusal) => {
            assert!(refusal.offset <= line.len());
            !json.contains(&refusal.rule)
        }
    }
}

fn is_json_by_serde(line: &[u8]) -> bool {
    serde_json::from_slice::<Strict>(line).is_ok() && !line.contains(&b'\n')
}

fn assert_agreement(line: &[u8]) {
    assert_eq!(
        is_json_by_checker(line),
        is_json_by_serde(line),
        "{}",
        String::from_utf8_lossy(line)
    );
}

/// Small changes that break JSON in interesting places, or do not.
#[derive(Clone, Debug)]
enum Change {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Copy(prop::sample::Index, prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"{}[]\",:\\/0123456789.eE+-tfnu \t\r".to_vec())
    ];
    let piece = prop::sample::select(vec![
        "1e999",
        "\\u",
        "\\uD800",
        "\\u0061",
        "\"a\":1,",
        ",\"id\":2",
        "NaN",
        "1.",
        "-",
        "0",
        "null",
        "{}",
        "[[",
        "]]",
        "\\",
    ]);
    prop_oneof![
        (at(), byte).prop_map(|(at, byte)| Change::Replace(at, byte)),
        at().prop_map(Change::Remove),
        (at(), piece).prop_map(|(at, piece)| Change::Insert(at, piece.as_bytes().to_vec())),
        (at(), at(), any::<u8>()).prop_map(|(from, to, length)| Change::Copy(from, to, length)),
        at().prop_map(Change::Cut),
    ]
}

fn apply(line: &mut Vec<u8>, change: &Change) {
    if line.is_empty() {
        return;
    }
    match change {
        Change::Replace(at, byte) => {
            let at = at.index(line.len());
            line[at] = *byte;
        }
        Change::Remove(at) => {
            line.remove(at.index(line.len()));
        }
        Change::Insert(at, bytes) => {
            let at = at.index(line.len());
            line.splice(at..at, bytes.iter().copied());
        }
        Change::Copy(from, to, length) => {
            let from = from.index(line.len());
            let piece = line[from..(from + usize::from(*length)).min(line.len())].to_vec();
            let to = to.index(line.len());
            line.splice(to..to, piece);
        }
        Change::Cut(at) => line.truncate(at.index(line.len())),
    }
}

proptest! {
    #[test]
    fn valid_json_is_always_accepted(resource in any_resource()) {
        let line = serde_json::to_vec(&resource).expect("values can be written");
        let mut checker = checker();
        let checked = checker.check(&line, None);
        prop_assert!(checked.is_ok(), "{:?}", checked.err());
    }

    #[test]
    fn mutated_lines_get_serde_jsons_verdict(
        resource in any_resource(), changes in vec(any_change(), 1..4)
    ) {
        let mut line = serde_json::to_vec(&resource).expect("values can be written");
        for change in &changes {
            apply(&mut line, change);
            assert_agreement(&line);
        }
    }

    #[test]
    fn mutated_samples_get_serde_jsons_verdict(
        which in any::<prop::sample::Index>(), changes in vec(any_change(), 1..4)
    ) {
        let mut line = sample::short_lines()[which.index(sample::short_lines().len())].clone();
        for change in &changes {
            apply(&mut line, change);
            assert_agreement(&line);
        }
    }

    #[test]
    fn random_bytes_get_serde_jsons_verdict(line in vec(prop::sample::select(b"{}[]\",:\\01.e-tn a\xC3".to_vec()), 0..24)) {
        assert_agreement(&line);
    }

    #[test]
    fn numbers_get_serde_jsons_verdict(number in "-?[0-9]{0,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,3})?") {
        assert_agreement(number.as_bytes());
    }
}

#[test]
fn facts_of_the_samples_are_those_of_a_tree() {
    let mut checker = checker();
    for (name, text) in sample::files() {
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let tree: Value = serde_json::from_slice(line).expect("the sample is JSON");
            let checked = checker
                .check(line, None)
                .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
            assert_eq!(checked.resource_type.name(), name);
            assert_eq!(checked.id, tree["id"]);
            assert_eq!(
                checked.owner.map(str::to_owned),
                owner_by_tree(name, &tree),
                "{name}/{}",
                checked.id
            );
            let mut references = Vec::new();
            gather_references(&tree, &mut references);
            references.sort();
            references.dedup();
            let mut found: Vec<String> = (checked.references.iter())
                .map(|reference| format!("{}/{}", reference.resource_type, reference.id))
                .collect();
            found.sort();
            found.dedup();
            assert_eq!(found, references, "{name}/{}", checked.id);
        }
    }
}

/// The sample's owners, told independently: the subject or patient, itself for a Patient.
fn owner_by_tree(name: &str, tree: &Value) -> Option<String> {
    if name == "Patient" {
        return tree["id"].as_str().map(str::to_owned);
    }
    let member = if name == "Group" {
        &tree["member"][0]["entity"]
    } else {
        &tree["subject"]
    };
    let member = if member.is_null() {
        &tree["patient"]
    } else {
        member
    };
    let id = member["reference"].as_str()?.strip_prefix("Patient/")?;
    Some(id.to_owned())
}

fn gather_references(tree: &Value, found: &mut Vec<String>) {
    match tree {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "reference" && !text.starts_with(['#', 'u']) => {
                        found.push(text.clone());
                    }
                    _ => gather_references(value, found),
                }
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| gather_references(element, found)),
        _ => {}
    }
}
