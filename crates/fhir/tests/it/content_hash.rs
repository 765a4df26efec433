//! What a content hash depends on, and what not.

use fhirhose_fhir::content_hash::{ContentHash, ContentHasher, Ignoring, content_hash};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn hash(text: &str) -> ContentHash {
    content_hash(text.as_bytes(), Ignoring::SERVER_META).expect("a resource")
}

fn strict(text: &str) -> ContentHash {
    content_hash(text.as_bytes(), Ignoring::NOTHING).expect("a resource")
}

#[test]
fn the_hash_is_that_of_the_canonical_form() {
    let text = r#" {"b" : [ 1.00, "\u00e9\/\u000A" , {} ,[]], "a":null,"meta":{"lastUpdated":"x"}} "#;
    use sha2::{Digest, Sha256};
    let expected: [u8; 32] = Sha256::digest("{\"a\":null,\"b\":[1.00,\"é/\\n\",{},[]]}").into();
    assert_eq!(hash(text), ContentHash(expected));
}

#[test]
fn what_servers_set_does_not_count_unless_asked_for() {
    let bare = r#"{"resourceType":"Goal","id":"g"}"#;
    let set = r#"{"resourceType":"Goal","id":"g","meta":{"versionId":"2","lastUpdated":"2024-01-01T00:00:00Z","source":"a"}}"#;
    assert_eq!(hash(bare), hash(set));
    assert_ne!(strict(bare), strict(set));
    let version_only = Ignoring {
        version: true,
        source: false,
    };
    let of = |text: &str| content_hash(text.as_bytes(), version_only).expect("a resource");
    assert_ne!(of(bare), of(set));
    let tagged = r#"{"resourceType":"Goal","id":"g","meta":{"versionId":"2","tag":[{"code":"a"}]}}"#;
    assert_ne!(hash(bare), hash(tagged));
}

#[test]
fn only_the_resources_own_meta_is_looked_at() {
    let contained = |version: &str| {
        let text = json!({"resourceType": "Goal", "contained": [{"meta": {"versionId": version}}], "versionId": "x"});
        hash(&text.to_string())
    };
    assert_ne!(contained("1"), contained("2"));
    assert_ne!(hash(r#"{"a":{"meta":{"versionId":"1"}}}"#), hash(r#"{"a":{}}"#));
    assert_ne!(hash(r#"{"a":{"meta":{}}}"#), hash(r#"{"a":{}}"#));
    assert_ne!(hash(r#"{"meta":[{"versionId":"1"}]}"#), hash("{}"));
}

#[test]
fn numbers_keep_their_digits() {
    assert_ne!(hash(r#"{"value":1.0}"#), hash(r#"{"value":1.00}"#));
    assert_ne!(hash(r#"{"value":100}"#), hash(r#"{"value":1e2}"#));
    assert_ne!(hash(r#"{"value":"1"}"#), hash(r#"{"value":1}"#));
}

#[test]
fn what_is_not_one_object_is_refused_without_quoting_it() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for text in [
        "",
        " ",
        "[]",
        "\"secret\"",
        "1",
        "null",
        "{",
        "{}{}",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":"\ud800"}"#,
        &deep,
    ] {
        let error = content_hash(text.as_bytes(), Ignoring::NOTHING).expect_err(text);
        assert!(!error.to_string().contains("secret"));
    }
    assert!(content_hash(b"{\"a\":\"\xff\"}", Ignoring::NOTHING).is_err());
}

#[test]
fn a_hash_reads_back_as_it_is_shown() {
    let hash = hash("{}");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert!("zz".repeat(32).parse::<ContentHash>().is_err() && "00".parse::<ContentHash>().is_err());
    assert!("é".repeat(32).parse::<ContentHash>().is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zé\"\\\\/\n\u{1F600}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            members(inner).prop_map(Value::from),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-cé\"]{0,3}", value, 0..6).prop_map(|map| map.into_iter().collect())
}

/// Writes a value in some way out of many: order of members, white space and escapes follow `choices`.
fn write(value: &Value, choices: &mut impl FnMut() -> usize, out: &mut String) {
    let space = ["", " ", "\t", "\r", "\n "];
    out.push_str(space[choices() % space.len()]);
    match value {
        Value::Object(map) => {
            let mut names: Vec<_> = map.keys().collect();
            for at in (1..names.len()).rev() {
                names.swap(at, choices() % (at + 1));
            }
            out.push('{');
            for (number, name) in names.into_iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                write_text(name, choices, out);
                out.push_str(space[choices() % space.len()]);
                out.push(':');
                write(&map[name], choices, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                out.push_str(if number > 0 { "," } else { "" });
                write(item, choices, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, choices, out),
        other => out.push_str(&other.to_string()),
    }
    out.push_str(space[choices() % space.len()]);
}

fn write_text(text: &str, choices: &mut impl FnMut() -> usize, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = matches!(character, '"' | '\\' | '\n');
        match choices() % 3 {
            0 if !must => out.push(character),
            1 if matches!(character, '"' | '\\' | '/') => out.extend(['\\', character]),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
    out.push('"');
}

/// Puts another value in the place of the `at`th of all values; `None` if there are fewer.
fn change(value: &mut Value, at: &mut usize) -> Option<()> {
    if *at == 0 {
        *value = if *value == json!("other") {
            json!(0)
        } else {
            json!("other")
        };
        return Some(());
    }
    *at -= 1;
    match value {
        Value::Object(map) => map.values_mut().find_map(|value| change(value, at)),
        Value::Array(items) => items.iter_mut().find_map(|value| change(value, at)),
        _ => None,
    }
}

/// How many values there are, with this one and those within.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(map) => map.values().map(count).sum(),
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_content_written_in_another_way_hashes_the_same(
        resource in members(values()), choices in prop::collection::vec(any::<usize>(), 1..40)
    ) {
        let resource = Value::from(resource);
        let mut round = choices.iter().copied().cycle();
        let mut text = String::new();
        write(&resource, &mut || round.next().expect("endless"), &mut text);
        let mut hasher = ContentHasher::default();
        let plain = hasher.hash(resource.to_string().as_bytes(), Ignoring::NOTHING);
        prop_assert_eq!(hasher.hash(text.as_bytes(), Ignoring::NOTHING), plain.clone());
        prop_assert!(plain.is_ok());
    }

    #[test]
    fn another_value_anywhere_hashes_otherwise(resource in members(values()), at in any::<prop::sample::Index>()) {
        let resource = Value::from(resource);
        let within = count(&resource) - 1;
        prop_assume!(within > 0);
        let mut changed = resource.clone();
        prop_assert!(change(&mut changed, &mut (1 + at.index(within))).is_some());
        prop_assert_ne!(strict(&resource.to_string()), strict(&changed.to_string()));
    }

    #[test]
    fn what_is_no_json_any_more_has_no_hash(
        resource in members(values()), at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ue0-1. \n".to_vec())]
    ) {
        let mut bytes = Value::from(resource).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if content_hash(&bytes, Ignoring::SERVER_META).is_ok() {
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
        }
    }
}
