//! A slow evaluator of the FHIRPath that HL7's search parameters use, on trees, from the definitions' own text.

use serde_json::Value;

/// A value that an expression gives, and its type where the name of a choice says it.
pub(super) type Item<'v> = (&'v Value, Option<String>);

/// All values of an expression; relative paths begin at `at`, others at the resource.
pub(super) fn evaluate<'v>(expression: &str, at: &'v Value, resource: &'v Value) -> Vec<Item<'v>> {
    let alternatives = expression.split('|');
    alternatives
        .flat_map(|text| alternative(text.trim(), at, resource))
        .collect()
}

fn alternative<'v>(text: &str, at: &'v Value, resource: &'v Value) -> Vec<Item<'v>> {
    if let Some(rest) = text.strip_prefix('(') {
        let (inner, rest) = rest.split_once(')').expect("a bracket");
        let (path, type_name) = inner.split_once(" as ").expect("as");
        let narrowed = format!("{path}.as({type_name}){rest}");
        return alternative(&narrowed, at, resource);
    }
    let mut items: Vec<Item<'v>> = vec![(at, None)];
    for (position, function) in functions(text).into_iter().enumerate() {
        let is_root = function.starts_with('%') || function.starts_with(|first: char| first.is_uppercase());
        if position == 0 && is_root {
            items = vec![(resource, None)];
        } else {
            items = items.iter().flat_map(|item| apply(&function, item)).collect();
        }
    }
    items
}

/// Cuts at dots outside of brackets.
fn functions(text: &str) -> Vec<String> {
    let mut depth = 0;
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if letter == '.' && depth == 0 {
            pieces.push(String::new());
        } else {
            pieces.last_mut().expect("one piece").push(letter);
        }
    }
    pieces
}

fn apply<'v>(function: &str, item: &Item<'v>) -> Vec<Item<'v>> {
    let (value, type_name) = item;
    if let Some(wanted) = argument(function, "as") {
        let same = type_name
            .as_ref()
            .is_none_or(|found| found.eq_ignore_ascii_case(wanted));
        return if same { vec![item.clone()] } else { Vec::new() };
    }
    if let Some(condition) = argument(function, "where") {
        let holds = match condition.strip_prefix("resolve() is ") {
            Some(wanted) => referenced_type(value).as_deref() == Some(wanted),
            None => {
                let (member, text) = condition.split_once('=').expect("a comparison");
                value[member] == text.trim_matches('\'')
            }
        };
        return if holds { vec![item.clone()] } else { Vec::new() };
    }
    children(value, function)
}

fn argument<'f>(function: &'f str, name: &str) -> Option<&'f str> {
    function.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// The members `name`, and those of a choice `name[x]`, with the elements of lists one by one.
fn children<'v>(value: &'v Value, name: &str) -> Vec<Item<'v>> {
    let mut found = Vec::new();
    for (member, child) in value.as_object().into_iter().flatten() {
        let Some(suffix) = member.strip_prefix(name) else {
            continue;
        };
        let is_choice = suffix.starts_with(|first: char| first.is_uppercase()) && is_type(suffix);
        if !(suffix.is_empty() || is_choice) {
            continue;
        }
        let type_name = is_choice.then(|| suffix.to_owned());
        let children = match child {
            Value::Array(elements) => elements.iter().collect(),
            single => vec![single],
        };
        let present = children.into_iter().filter(|child| !child.is_null());
        found.extend(present.map(|child| (child, type_name.clone())));
    }
    found
}

/// Types that stand behind the name of a choice; other words there belong to elements of their own (`onset`, `onsetAge`).
fn is_type(suffix: &str) -> bool {
    const TYPES: &[&str] = &[
        "Quantity",
        "CodeableConcept",
        "String",
        "Boolean",
        "Integer",
        "Range",
        "Ratio",
        "SampledData",
        "DateTime",
        "Period",
        "Timing",
        "Instant",
        "Date",
        "Age",
        "Reference",
        "Identifier",
        "Attachment",
        "Uri",
        "Canonical",
        "Coding",
        "Money",
        "Decimal",
        "Duration",
    ];
    TYPES.contains(&suffix)
}

/// The type that a reference means: by its text's tail, else by its `type`.
pub(super) fn referenced_type(reference: &Value) -> Option<String> {
    let by_text = reference["reference"]
        .as_str()
        .and_then(target)
        .map(|(name, _)| name);
    by_text.or_else(|| reference["type"].as_str().map(str::to_owned))
}

/// Type and id at the end of a literal reference.
pub(super) fn target(text: &str) -> Option<(String, String)> {
    if text.starts_with("urn:") || text.starts_with('#') || text.contains('?') {
        return None;
    }
    let path = text.split("/_history/").next().unwrap_or(text);
    let mut pieces = path.rsplit('/');
    let (id, name) = (pieces.next()?, pieces.next()?);
    let known = fhirhose_fhir::resource_type::ResourceType::parse(name)?;
    Some((known.name().to_owned(), id.to_owned()))
}
