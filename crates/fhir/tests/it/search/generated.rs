//! Hundreds of generated queries over the sample population and over a file of edge cases: the evaluator under test and the slow one
//! of [`super::oracle`] must agree on every resource.

use std::collections::BTreeMap;

use fhirhose_fhir::{
    instant::Instant,
    search::{Criteria, VersionFacts},
};
use serde_json::Value;

use super::{
    BASE,
    fhirpath::{evaluate, target},
    oracle::{Asked, Definition, Parameter, definitions, holds},
};
use crate::sample;

const LAST_UPDATED: &str = "2026-03-04T05:06:07.891011Z";
const PREFIXES: [&str; 10] = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"];
/// Resources of each type that the queries are asked about.
const RESOURCES_MAX: usize = 60;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn pick<'v, T>(&mut self, from: &'v [T]) -> Option<&'v T> {
        (!from.is_empty()).then(|| &from[self.below(from.len())])
    }
}

/// Text and tree of some resources of each type, evenly out of the file.
fn population() -> BTreeMap<String, Vec<(Vec<u8>, Value)>> {
    let mut population: BTreeMap<String, Vec<(Vec<u8>, Value)>> = BTreeMap::new();
    for (name, text) in sample::files() {
        let lines: Vec<&[u8]> = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let step = lines.len().div_ceil(RESOURCES_MAX);
        let chosen = lines.iter().step_by(step).filter(|line| line.len() < 20_000);
        let parsed = chosen.map(|line| {
            (
                line.to_vec(),
                serde_json::from_slice(line).expect("a line is JSON"),
            )
        });
        population.insert(name.clone(), parsed.collect());
    }
    population
}

fn edge_cases() -> BTreeMap<String, Vec<(Vec<u8>, Value)>> {
    let mut population: BTreeMap<String, Vec<(Vec<u8>, Value)>> = BTreeMap::new();
    for line in include_str!("edge_cases.ndjson").lines() {
        let tree: Value = serde_json::from_str(line).expect("a line is JSON");
        let name = tree["resourceType"].as_str().expect("a type").to_owned();
        population
            .entry(name)
            .or_default()
            .push((line.as_bytes().to_vec(), tree));
    }
    population
}

/// T-01, T-03, T-07
#[test]
fn generated_queries_match_what_a_slow_evaluator_matches_on_real_data() {
    let (queries, answers) = compare(&population(), 45, 1);
    assert!(queries > 700, "{queries} queries");
    assert!(
        answers[0] > 5_000 && answers[1] > 5_000,
        "{answers:?} resources matched or not"
    );
}

/// T-01, T-03, T-07
#[test]
fn generated_queries_match_what_a_slow_evaluator_matches_on_edge_cases() {
    let (queries, answers) = compare(&edge_cases(), 250, 2);
    assert!(queries > 2_500, "{queries} queries");
    assert!(
        answers[0] > 2_000 && answers[1] > 2_000,
        "{answers:?} resources did not match, or did"
    );
}

/// How many queries were asked, and how many resources did not match and did.
fn compare(
    population: &BTreeMap<String, Vec<(Vec<u8>, Value)>>,
    per_type: usize,
    seed: u64,
) -> (usize, [usize; 2]) {
    let version = VersionFacts {
        last_updated: Instant::parse(LAST_UPDATED).expect("an instant"),
    };
    let mut random = Random(seed);
    let (mut queries, mut answers) = (0, [0; 2]);
    for (type_name, resources) in population {
        let definitions = definitions(type_name);
        for _ in 0..per_type {
            let parameters = parameters(&mut random, &definitions, resources);
            if parameters.is_empty() {
                continue;
            }
            let text = format!(
                "{type_name}?{}",
                parameters.iter().map(written).collect::<Vec<_>>().join("&")
            );
            let criteria = Criteria::parse(&text, BASE).unwrap_or_else(|issues| panic!("{text}: {issues:?}"));
            let stored = serde_json::to_string(&criteria).expect("serializes");
            let criteria: Criteria = serde_json::from_str(&stored).expect("reads");
            queries += 1;
            for (body, tree) in resources {
                let expected = parameters.iter().all(|each| holds(each, tree, LAST_UPDATED));
                let found = criteria.matches(body, version);
                assert_eq!(found, expected, "{text} of {}", String::from_utf8_lossy(body));
                answers[usize::from(found)] += 1;
            }
        }
    }
    (queries, answers)
}

fn parameters(
    random: &mut Random,
    definitions: &[Definition],
    resources: &[(Vec<u8>, Value)],
) -> Vec<Parameter> {
    let count = [1, 1, 1, 2, 3][random.below(5)];
    // Most from one resource, so that several together can match.
    let (_, source) = &resources[random.below(resources.len())];
    let mut parameters = Vec::new();
    for _ in 0..40 {
        if parameters.len() == count {
            break;
        }
        let definition = &definitions[random.below(definitions.len())];
        parameters.extend(parameter(random, definition, source));
    }
    parameters
}

/// A parameter whose values are those of a resource, changed a little.
fn parameter(random: &mut Random, definition: &Definition, source: &Value) -> Option<Parameter> {
    let kind = definition.kind.as_str();
    let mut modifier = *random.pick(match kind {
        "token" => &["", "", "", "", "not", "text", "missing"],
        "string" => &["", "", "exact", "contains", "missing"],
        "uri" => &["", "above", "below", "missing"],
        "reference" => &["", "", "", "identifier", "missing"],
        "composite" => &[""],
        _ => &["", "", "", "", "", "", "missing"],
    })?;
    let make = |modifier, values| {
        Some(Parameter {
            definition: definition.clone(),
            modifier,
            values,
        })
    };
    if modifier == "missing" {
        let truth = ["true", "false"][random.below(2)];
        return make(modifier, vec![Asked::Text(truth.to_owned())]);
    }
    if definition.expression.contains("deceased.exists()") {
        let truth = ["true", "false"][random.below(2)].to_owned();
        let modifier = if modifier == "text" { "" } else { modifier };
        return make(modifier, vec![Asked::Token(None, truth)]);
    }
    let updated = Value::from(LAST_UPDATED);
    let items = if definition.code == "_lastUpdated" {
        vec![(&updated, None)]
    } else {
        evaluate(&definition.expression, source, source)
    };
    let wanted = match modifier {
        "identifier" => items.iter().any(|(value, _)| value["identifier"].is_object()),
        "text" => items.iter().any(|(value, _)| value.is_object()) && definition.code != "telecom",
        _ => true,
    };
    if !wanted {
        modifier = "";
    }
    let mut values = Vec::new();
    for _ in 0..=random.below(3) / 2 * 2 {
        let (value, _) = random.pick(&items)?;
        values.push(match kind {
            "composite" => composite(random, definition, value, source)?,
            kind => asked(random, kind, modifier, value, definition)?,
        });
    }
    make(modifier, values)
}

fn composite(random: &mut Random, definition: &Definition, at: &Value, source: &Value) -> Option<Asked> {
    let mut parts = Vec::new();
    for (kind, expression) in &definition.components {
        let items = evaluate(expression, at, source);
        let (value, _) = random.pick(&items)?;
        parts.push(asked(random, kind, "", value, definition)?);
    }
    Some(Asked::Composite(parts))
}

fn asked(
    random: &mut Random,
    kind: &str,
    modifier: &str,
    value: &Value,
    definition: &Definition,
) -> Option<Asked> {
    match (kind, modifier) {
        ("token", "text") => {
            let displays = [
                &value["text"],
                &value["coding"][0]["display"],
                &value["display"],
                &value["type"]["text"],
            ];
            let displays: Vec<&str> = displays.iter().filter_map(|text| text.as_str()).collect();
            Some(Asked::Text(beginning(random, random_text(&displays)?)))
        }
        ("token", _) => token(random, value, definition.code == "_id"),
        ("reference", "identifier") => token(random, &value["identifier"], false),
        ("string", modifier) => string(random, value, modifier),
        ("date", _) => date(random, value),
        ("number", _) => Some(Asked::Number(prefix(random), number(random, value)?)),
        ("quantity", _) => quantity(random, value),
        ("reference", _) => reference(random, value),
        ("uri", _) => {
            let text = value.as_str()?;
            let cut = text.rsplit_once(['/', '|']).map_or(text, |(start, _)| start);
            let longer = format!("{text}/x");
            Some(Asked::Text([text, cut, &longer][random.below(3)].to_owned()))
        }
        other => panic!("{other:?}"),
    }
}

fn random_text<'t>(texts: &[&'t str]) -> Option<&'t str> {
    texts
        .iter()
        .copied()
        .find(|text| text.chars().any(char::is_alphanumeric))
}

fn prefix(random: &mut Random) -> &'static str {
    PREFIXES[random.below(PREFIXES.len())]
}

fn token(random: &mut Random, value: &Value, is_id: bool) -> Option<Asked> {
    let codings = value["coding"].as_array();
    let pair = match codings {
        Some(codings) => random.pick(codings)?,
        None => value,
    };
    let code = match pair {
        Value::String(text) => text.clone(),
        Value::Bool(truth) => {
            return Some(Asked::Token(None, (*truth ^ (random.below(4) == 0)).to_string()));
        }
        object => object["code"].as_str().or(object["value"].as_str())?.to_owned(),
    };
    if is_id {
        return Some(Asked::Token(None, code));
    }
    let system = pair["system"].as_str();
    Some(match (random.below(6), system) {
        (0, Some(system)) => Asked::Token(Some(system.to_owned()), String::new()),
        (1 | 2, Some(system)) => Asked::Token(Some(system.to_owned()), code),
        (3, _) => Asked::Token(Some(String::new()), code),
        (4, _) => Asked::Token(None, code.to_uppercase()),
        _ => Asked::Token(None, code),
    })
}

fn string(random: &mut Random, value: &Value, modifier: &str) -> Option<Asked> {
    let parts = match value {
        Value::String(text) => vec![text.clone()],
        object => [
            "family",
            "given",
            "prefix",
            "text",
            "line",
            "city",
            "state",
            "country",
            "postalCode",
        ]
        .iter()
        .filter_map(|part| {
            object[part]
                .as_str()
                .or(object[part][0].as_str())
                .map(str::to_owned)
        })
        .collect(),
    };
    let text = random.pick(&parts)?;
    let text = match (modifier, random.below(3)) {
        ("exact", 0) | (_, 2) => text.clone(),
        ("contains", _) => text.chars().skip(random.below(4)).take(5).collect(),
        _ => beginning(random, text),
    };
    text.chars()
        .any(char::is_alphanumeric)
        .then_some(Asked::Text(text))
}

fn beginning(random: &mut Random, text: &str) -> String {
    let start: String = text.chars().take(1 + random.below(6)).collect();
    let flipped = if random.below(2) == 0 {
        start.to_uppercase()
    } else {
        start.to_lowercase()
    };
    // A word that is cut right behind a space has none at its end either way.
    flipped.trim().to_owned()
}

fn date(random: &mut Random, value: &Value) -> Option<Asked> {
    let places = [
        value,
        &value["start"],
        &value["end"],
        &value["event"][0],
        &value["repeat"]["boundsPeriod"]["end"],
    ];
    let texts: Vec<&str> = places.iter().filter_map(|text| text.as_str()).collect();
    let text = *random.pick(&texts)?;
    text.starts_with(|first: char| first.is_ascii_digit())
        .then_some(())?;
    let zone = text
        .get(10..)
        .and_then(|time| time.find(['Z', '+', '-']).map(|at| &time[at..]));
    let length = [4, 7, 10, 16, 19, text.len()][random.below(6)].min(text.len());
    let mut date = text[..length].to_owned();
    if length > 10 && length < text.len() {
        date.push_str(zone.filter(|_| !date.ends_with('Z')).unwrap_or_default());
    }
    if random.below(4) == 0 {
        let year: u32 = date[..4].parse().ok()?;
        let moved = [year - 1, year + 1][random.below(2)];
        // The first of a month exists in every year.
        date = if length >= 10 {
            format!("{moved}-03-01")
        } else {
            format!("{moved}{}", &date[4..])
        };
    }
    Some(Asked::Date(prefix(random), date))
}

fn number(random: &mut Random, value: &Value) -> Option<String> {
    let value = if value.is_object() { &value["value"] } else { value };
    let text = value.is_number().then(|| value.to_string())?;
    Some(match random.below(4) {
        0 if text.contains('.') => format!("{text}0"),
        1 => text.split('.').next()?.to_owned(),
        2 => format!("{}", text.split('.').next()?.parse::<i64>().ok()? + 1),
        _ => text,
    })
}

fn quantity(random: &mut Random, value: &Value) -> Option<Asked> {
    let value = if value["low"].is_object() {
        &value["low"]
    } else {
        value
    };
    let number = number(random, value)?;
    let text = |member: &str| value[member].as_str().unwrap_or_default().to_owned();
    let (system, code) = match random.below(5) {
        0 => (text("system"), text("code")),
        1 => (String::new(), text("code")),
        2 => (String::new(), text("unit")),
        3 => (String::new(), text("currency")),
        _ => (String::new(), String::new()),
    };
    Some(Asked::Quantity(prefix(random), number, system, code))
}

fn reference(random: &mut Random, value: &Value) -> Option<Asked> {
    if let Some(canonical) = value.as_str() {
        let unversioned = canonical.split('|').next()?;
        return Some(Asked::Text([canonical, unversioned][random.below(2)].to_owned()));
    }
    let text = value["reference"].as_str()?;
    let Some((type_name, id)) = target(text) else {
        return text.contains(':').then(|| Asked::Text(text.to_owned()));
    };
    Some(Asked::Text(match random.below(4) {
        0 => id,
        1 => format!("Group/{id}"),
        _ => format!("{type_name}/{id}"),
    }))
}

/// The parameter as text, escaped and percent-encoded.
fn written(parameter: &Parameter) -> String {
    let values: Vec<String> = parameter.values.iter().map(written_value).collect();
    let colon = if parameter.modifier.is_empty() { "" } else { ":" };
    let values = values.join(",");
    let mut encoded = String::new();
    for letter in values.chars() {
        match letter {
            '%' => encoded.push_str("%25"),
            '&' => encoded.push_str("%26"),
            '+' => encoded.push_str("%2B"),
            ' ' => encoded.push('+'),
            plain => encoded.push(plain),
        }
    }
    format!(
        "{}{colon}{}={encoded}",
        parameter.definition.code, parameter.modifier
    )
}

fn written_value(asked: &Asked) -> String {
    let escaped = |text: &str| {
        let mut out = String::new();
        for letter in text.chars() {
            if matches!(letter, ',' | '|' | '$' | '\\') {
                out.push('\\');
            }
            out.push(letter);
        }
        out
    };
    match asked {
        Asked::Token(None, code) => escaped(code),
        Asked::Token(Some(system), code) => format!("{}|{}", escaped(system), escaped(code)),
        Asked::Text(text) => escaped(text),
        Asked::Date(prefix, text) | Asked::Number(prefix, text) => format!("{prefix}{text}"),
        Asked::Quantity(prefix, number, system, code) if system.is_empty() && code.is_empty() => {
            format!("{prefix}{number}")
        }
        Asked::Quantity(prefix, number, system, code) => {
            format!("{prefix}{number}|{}|{}", escaped(system), escaped(code))
        }
        Asked::Composite(parts) => parts.iter().map(written_value).collect::<Vec<_>>().join("$"),
    }
}
