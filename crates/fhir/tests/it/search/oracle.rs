//! A slow evaluator of search criteria that shares nothing with the one under test: trees, the definitions' expressions, and the
//! rules of R4 written down as plainly as they go.

use fhirhose_fhir::instant::Instant;
use serde_json::Value;

use super::fhirpath::{Item, evaluate, target};

/// One search parameter of the definitions.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) code: String,
    pub(super) kind: String,
    pub(super) expression: String,
    /// The one type that references mean, or nothing.
    pub(super) target: String,
    /// Kind and expression of each part of a composite.
    pub(super) components: Vec<(String, String)>,
}

/// The parameters of a type.
pub(super) fn definitions(type_name: &str) -> Vec<Definition> {
    let lines = include_str!("expressions.tsv").lines();
    let rows = lines.map(|line| line.split('\t').collect::<Vec<_>>());
    let own = rows.filter(|row| row[0] == type_name || row[0] == "*");
    own.map(|row| Definition {
        code: row[1].to_owned(),
        kind: row[2].to_owned(),
        expression: row[3].to_owned(),
        target: row[4].to_owned(),
        components: row[5]
            .split(';')
            .filter_map(|part| part.split_once(' '))
            .map(|(kind, expression)| (kind.to_owned(), expression.to_owned()))
            .collect(),
    })
    .collect()
}

/// A value of a query, before it is written as text.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// System (`Some("")` for none), code.
    Token(Option<String>, String),
    Text(String),
    /// Prefix, date.
    Date(&'static str, String),
    /// Prefix, number.
    Number(&'static str, String),
    /// Prefix, number, system, code.
    Quantity(&'static str, String, String, String),
    Composite(Vec<Asked>),
}

/// One parameter of a query.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) definition: Definition,
    pub(super) modifier: &'static str,
    pub(super) values: Vec<Asked>,
}

/// Whether a resource matches a parameter.
pub(super) fn holds(parameter: &Parameter, resource: &Value, last_updated: &str) -> bool {
    let Parameter {
        definition,
        modifier,
        values,
    } = parameter;
    if definition.expression.contains("deceased.exists()") {
        let deceased = resource["deceasedBoolean"] == true || resource["deceasedDateTime"].is_string();
        let is_meant =
            |asked: &Asked| matches!(asked, Asked::Token(_, code) if *code == deceased.to_string());
        return match *modifier {
            "missing" => is_text(&values[0], "false"),
            "not" => !values.iter().any(is_meant),
            _ => values.iter().any(is_meant),
        };
    }
    let updated = Value::from(last_updated);
    let items = if definition.code == "_lastUpdated" {
        vec![(&updated, None)]
    } else {
        comparable(
            &definition.kind,
            evaluate(&definition.expression, resource, resource),
        )
    };
    match *modifier {
        "missing" => items.is_empty() == is_text(&values[0], "true"),
        "not" => !values
            .iter()
            .any(|asked| any(definition, "", asked, &items, resource)),
        _ => values
            .iter()
            .any(|asked| any(definition, modifier, asked, &items, resource)),
    }
}

/// Without the types of a choice that the kind passes over.
fn comparable<'v>(kind: &str, items: Vec<Item<'v>>) -> Vec<Item<'v>> {
    let passed_over: &[&str] = match kind {
        "date" => &["String", "Age", "Range"],
        "quantity" => &["SampledData"],
        "reference" => &["Attachment"],
        "token" => &["Quantity", "Range", "Reference"],
        _ => &[],
    };
    let keep = |item: &Item<'v>| item.1.as_deref().is_none_or(|name| !passed_over.contains(&name));
    items.into_iter().filter(keep).collect()
}

fn is_text(asked: &Asked, text: &str) -> bool {
    matches!(asked, Asked::Text(found) if found == text)
}

fn any(definition: &Definition, modifier: &str, asked: &Asked, items: &[Item<'_>], resource: &Value) -> bool {
    items.iter().any(|(value, _)| match asked {
        Asked::Composite(parts) => {
            parts
                .iter()
                .zip(&definition.components)
                .all(|(asked, (kind, expression))| {
                    let items = comparable(kind, evaluate(expression, value, resource));
                    items.iter().any(|(value, _)| one(kind, "", "", asked, value))
                })
        }
        asked => one(&definition.kind, modifier, &definition.target, asked, value),
    })
}

fn one(kind: &str, modifier: &str, only: &str, asked: &Asked, value: &Value) -> bool {
    match (kind, asked) {
        ("token", Asked::Token(system, code)) => token(system.as_deref(), code, value),
        ("token", Asked::Text(text)) => displays(value)
            .iter()
            .any(|display| fold(display).starts_with(&fold(text))),
        ("string", Asked::Text(text)) => strings(value).iter().any(|string| match modifier {
            "exact" => string == text,
            "contains" => fold(string).contains(&fold(text)),
            _ => fold(string).starts_with(&fold(text)),
        }),
        ("date", Asked::Date(prefix, date)) => {
            time(value).is_some_and(|found| date_matches(prefix, span(date).expect("a date"), found))
        }
        ("number", Asked::Number(prefix, number)) => {
            numbers(value).is_some_and(|(low, high)| number_matches(prefix, number, low, high))
        }
        ("quantity", Asked::Quantity(prefix, number, system, code)) => {
            quantity(prefix, number, [system, code], value)
        }
        ("reference", Asked::Text(text)) => reference(text, only, value),
        ("reference", Asked::Token(system, code)) => token(system.as_deref(), code, &value["identifier"]),
        ("uri", Asked::Text(text)) => value.as_str().is_some_and(|uri| match modifier {
            "below" => {
                uri == text
                    || uri.starts_with(&format!("{}/", text.trim_end_matches('/')))
                    || uri.starts_with(&format!("{text}|"))
            }
            "above" => text == uri || text.starts_with(&format!("{}/", uri.trim_end_matches('/'))),
            _ => uri == text || uri.starts_with(&format!("{text}|")),
        }),
        other => panic!("{other:?}"),
    }
}

fn token(system: Option<&str>, code: &str, value: &Value) -> bool {
    let pairs: Vec<(Option<&str>, String)> = match value {
        Value::String(text) => vec![(None, text.clone())],
        Value::Bool(truth) => vec![(None, truth.to_string())],
        Value::Object(object) => {
            let codings = match object.get("coding") {
                Some(codings) => codings.as_array().expect("a list").iter().collect(),
                None => vec![value],
            };
            let code = |coding: &Value| {
                coding["code"]
                    .as_str()
                    .or(coding["value"].as_str())
                    .map(str::to_owned)
            };
            codings
                .iter()
                .filter_map(|coding| Some((coding["system"].as_str(), code(coding)?)))
                .collect()
        }
        _ => Vec::new(),
    };
    pairs.iter().any(|(found, text)| {
        let same_system = match system {
            None => true,
            Some("") => found.is_none(),
            Some(system) => *found == Some(system),
        };
        same_system && (code.is_empty() || code.to_lowercase() == text.to_lowercase())
    })
}

fn displays(value: &Value) -> Vec<String> {
    let mut found = vec![&value["text"], &value["display"], &value["type"]["text"]];
    let codings = value["coding"].as_array();
    found.extend(codings.into_iter().flatten().map(|coding| &coding["display"]));
    found
        .into_iter()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Object(object) => {
            let parts = object
                .iter()
                .filter(|(name, _)| !["use", "type", "period", "extension", "id"].contains(&name.as_str()));
            parts.flat_map(|(_, part)| strings(part)).collect()
        }
        Value::Array(parts) => parts.iter().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn fold(text: &str) -> String {
    let plain = |letter: char| match letter {
        'á' | 'à' | 'ä' | 'â' => 'a',
        'é' | 'è' | 'ë' | 'ê' => 'e',
        'í' | 'ì' | 'ï' | 'î' => 'i',
        'ó' | 'ò' | 'ö' | 'ô' => 'o',
        'ú' | 'ù' | 'ü' | 'û' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    };
    let lower: String = text.to_lowercase().chars().map(plain).collect();
    let words: Vec<&str> = lower.split_whitespace().collect();
    words.join(" ")
}

/// First and last microsecond.
type Span = (i64, i64);

fn span(text: &str) -> Option<Span> {
    let instant = |text: String| Instant::parse(&text).ok().map(Instant::micros);
    if text.len() <= 10 {
        let last_day = match text.len() {
            4 => format!("{text}-12-31"),
            7 => (28..=31)
                .rev()
                .map(|day| format!("{text}-{day}"))
                .find(|day| instant(format!("{day}T00:00:00Z")).is_some())?,
            _ => text.to_owned(),
        };
        let first_day = format!(
            "{text}{}",
            &["", "", "", "", "-01-01", "", "", "-01", "", "", ""][text.len()]
        );
        return Some((
            instant(format!("{first_day}T00:00:00Z"))?,
            instant(format!("{last_day}T23:59:59.999999Z"))?,
        ));
    }
    let zone_at = text[10..].find(['Z', '+', '-']).map_or(text.len(), |at| at + 10);
    let (time, zone) = text.split_at(zone_at);
    let zone = if zone.is_empty() { "Z" } else { zone };
    let (first, last) = match time.len() {
        16 => (format!("{time}:00.000000"), format!("{time}:59.999999")),
        19 => (format!("{time}.000000"), format!("{time}.999999")),
        length => {
            let missing = 26usize.saturating_sub(length);
            (
                format!("{time}{}", "0".repeat(missing)),
                format!("{time}{}", "9".repeat(missing)),
            )
        }
    };
    Some((instant(first + zone)?, instant(last + zone)?))
}

fn time(value: &Value) -> Option<Span> {
    if let Some(text) = value.as_str() {
        return span(text);
    }
    let events = value["event"].as_array().into_iter().flatten().filter_map(time);
    let bounds = time_of_period(&value["repeat"]["boundsPeriod"]);
    let all: Vec<Span> = events.chain(bounds).chain(time_of_period(value)).collect();
    Some((
        all.iter().map(|span| span.0).min()?,
        all.iter().map(|span| span.1).max()?,
    ))
}

fn time_of_period(period: &Value) -> Option<Span> {
    match (period["start"].as_str(), period["end"].as_str()) {
        (None, None) => None,
        (start, end) => Some((
            start.map_or(Some(i64::MIN), |text| Some(span(text)?.0))?,
            end.map_or(Some(i64::MAX), |text| Some(span(text)?.1))?,
        )),
    }
}

fn date_matches(prefix: &str, asked: Span, found: Span) -> bool {
    let within = found.0 >= asked.0 && found.1 <= asked.1;
    match prefix {
        "" | "eq" => within,
        "ne" => !within,
        "gt" => found.1 > asked.1,
        "lt" => found.0 < asked.0,
        "ge" => within || found.1 > asked.1,
        "le" => within || found.0 < asked.0,
        "sa" => found.0 > asked.1,
        "eb" => found.1 < asked.0,
        "ap" => {
            let length = asked.1 - asked.0 + 1;
            found.0 <= asked.1 + length && found.1 >= asked.0 - length
        }
        other => panic!("{other}"),
    }
}

/// In units of 10^-18, so that sums are exact; the data has no finer numbers.
fn scaled(text: &str) -> i128 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 18, "{text} is too fine");
    let digits = format!("{whole}{fraction:0<18}");
    sign * digits.parse::<i128>().unwrap_or_else(|_| panic!("{text}"))
}

fn numbers(value: &Value) -> Option<(Option<i128>, Option<i128>)> {
    if value.is_number() {
        let number = scaled(&value.to_string());
        return Some((Some(number), Some(number)));
    }
    let end = |name: &str| {
        let number = &value[name]["value"];
        number.is_number().then(|| scaled(&number.to_string()))
    };
    let ends = (end("low"), end("high"));
    (ends != (None, None)).then_some(ends)
}

fn number_matches(prefix: &str, asked: &str, low: Option<i128>, high: Option<i128>) -> bool {
    let number = scaled(asked);
    let decimals = asked.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let half = 5 * 10i128.pow(17 - decimals as u32);
    let tenth = number.abs() / 10;
    let within = low.is_some_and(|low| low >= number - half) && high.is_some_and(|high| high < number + half);
    match prefix {
        "" | "eq" => within,
        "ne" => !within,
        "gt" => high.is_none_or(|high| high > number),
        "lt" => low.is_none_or(|low| low < number),
        "ge" => high.is_none_or(|high| high >= number),
        "le" => low.is_none_or(|low| low <= number),
        "sa" => low.is_some_and(|low| low > number),
        "eb" => high.is_some_and(|high| high < number),
        "ap" => low.is_none_or(|low| low <= number + tenth) && high.is_none_or(|high| high >= number - tenth),
        other => panic!("{other}"),
    }
}

fn quantity(prefix: &str, number: &str, unit: [&String; 2], value: &Value) -> bool {
    let has_unit = |value: &Value| {
        let (system, code) = (unit[0].as_str(), unit[1].as_str());
        if let Some(currency) = value["currency"].as_str() {
            return (system.is_empty() || system == "urn:iso:std:iso:4217")
                && (code.is_empty() || code == currency);
        }
        let by_code =
            code.is_empty() || value["code"] == code || (system.is_empty() && value["unit"] == code);
        by_code && (system.is_empty() || value["system"] == system)
    };
    if value["low"].is_object() || value["high"].is_object() {
        let ends = [&value["low"], &value["high"]];
        let units = ends.iter().filter(|end| end.is_object()).all(|end| has_unit(end));
        return units && numbers(value).is_some_and(|(low, high)| number_matches(prefix, number, low, high));
    }
    has_unit(value)
        && numbers(&value["value"]).is_some_and(|(low, high)| number_matches(prefix, number, low, high))
}

fn reference(asked: &str, only: &str, value: &Value) -> bool {
    if let Some(canonical) = value.as_str() {
        return canonical == asked || canonical.starts_with(&format!("{asked}|"));
    }
    let Some(text) = value["reference"].as_str() else {
        return false;
    };
    if asked.contains(':') {
        return text == asked;
    }
    let Some((type_name, id)) = target(text) else {
        return false;
    };
    match asked.split_once('/') {
        Some((asked_type, asked_id)) => asked_type == type_name && asked_id == id,
        None => asked == id && (only.is_empty() || only == type_name),
    }
}
