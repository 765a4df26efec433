//! The values of a parameter, read as its kind and modifier want them.

use super::{
    clause::{Fault, Modifier},
    path::{self, Leaf, Path},
    predicate::{Part, Predicate, QuantityValue, TextMode, UriMode},
    prefix::{DateValue, NumberValue},
    program::Program,
    reference::ReferenceValue,
    token::{SystemAsked, TokenValue},
};
use crate::{
    id::Id,
    resource_type::ResourceType,
    tables::search::{Component, Kind, SearchRow},
};

/// What is asked of the values at the paths.
pub(super) fn predicate(
    row: &SearchRow,
    modifier: Option<Modifier>,
    paths: &[Path],
    values: &[&str],
) -> Result<Predicate, Fault> {
    if row.code == "_id" {
        let id = |value: &&str| {
            let id = Id::parse(value).ok_or_else(|| Fault::value("a value is no id of a resource"))?;
            Ok(id.as_str().to_owned())
        };
        return Ok(Predicate::Ids(
            values.iter().map(id).collect::<Result<_, Fault>>()?,
        ));
    }
    if row.kind == Kind::Composite {
        let alternatives = values.iter().map(|value| parts(row, value));
        return Ok(Predicate::Composite(alternatives.collect::<Result<_, Fault>>()?));
    }
    simple(row.kind, modifier, paths, values, row.targets)
}

/// The same for what is no composite.
fn simple(
    kind: Kind,
    modifier: Option<Modifier>,
    paths: &[Path],
    values: &[&str],
    targets: &str,
) -> Result<Predicate, Fault> {
    let booleans = paths.iter().all(|path| path.leaf == Leaf::Boolean);
    Ok(match (kind, modifier) {
        (Kind::Token, Some(Modifier::Text)) => Predicate::TokenText(folded(values)?),
        (Kind::Token, Some(Modifier::OfType)) => Predicate::OfType(all(values, of_type)?),
        (Kind::Token, _) if booleans => Predicate::Token(all(values, boolean)?),
        (Kind::Token, _) => Predicate::Token(all(values, token)?),
        (Kind::String, Some(Modifier::Exact)) => Predicate::Text(TextMode::Exact, all(values, unescape)?),
        (Kind::String, Some(Modifier::Contains)) => Predicate::Text(TextMode::Anywhere, folded(values)?),
        (Kind::String, _) => Predicate::Text(TextMode::Start, folded(values)?),
        (Kind::Date, _) => Predicate::Date(all(values, |value| {
            DateValue::parse(value).ok_or_else(|| Fault::value("a value is no date of FHIR"))
        })?),
        (Kind::Number, _) => Predicate::Number(all(values, |value| {
            NumberValue::parse(value).ok_or_else(|| Fault::value("a value is no decimal number"))
        })?),
        (Kind::Quantity, _) => Predicate::Quantity(all(values, quantity)?),
        (Kind::Reference, Some(Modifier::Identifier)) => Predicate::ReferenceIdentifier(all(values, token)?),
        (Kind::Reference, modifier) => {
            Predicate::Reference(all(values, |value| reference(value, modifier, paths, targets))?)
        }
        (Kind::Uri, modifier) => {
            let mode = match modifier {
                Some(Modifier::Above) => UriMode::Above,
                Some(Modifier::Below) => UriMode::Below,
                _ => UriMode::Exact,
            };
            Predicate::Uri(mode, all(values, unescape)?)
        }
        (Kind::Composite, _) => return Err(Fault::value("a composite cannot be a part of one")),
    })
}

fn all<T>(values: &[&str], read: impl Fn(&str) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    values.iter().map(|value| read(value)).collect()
}

fn folded(values: &[&str]) -> Result<Vec<String>, Fault> {
    all(values, |value| {
        let folded = super::folding::fold(&unescape(value)?);
        // Nothing but accents or spaces would match everything.
        (!folded.is_empty())
            .then_some(folded)
            .ok_or_else(|| Fault::value("a value has no letter or digit"))
    })
}

fn token(value: &str) -> Result<TokenValue, Fault> {
    let parts: Vec<&str> = split(value, '|').collect();
    let (system, code) = match parts[..] {
        [code] => (SystemAsked::Any, code),
        ["", code] => (SystemAsked::None, code),
        [system, code] => (SystemAsked::Is(unescape(system)?), code),
        _ => {
            return Err(Fault::value(
                "a token is a code, or a system and a code parted by one |",
            ));
        }
    };
    if code.is_empty() && !matches!(system, SystemAsked::Is(_)) {
        return Err(Fault::value("a token without system needs a code"));
    }
    let code = (!code.is_empty()).then(|| unescape(code)).transpose()?;
    Ok(TokenValue { system, code })
}

fn boolean(value: &str) -> Result<TokenValue, Fault> {
    let token = token(value)?;
    match token.code.as_deref() {
        Some("true" | "false") => Ok(token),
        _ => Err(Fault::value("the values are true and false")),
    }
}

fn of_type(value: &str) -> Result<(TokenValue, String), Fault> {
    let parts: Vec<&str> = split(value, '|').collect();
    let [system, code, text] = parts[..] else {
        return Err(Fault::value("the modifier of-type takes system|code|value"));
    };
    if [system, code, text].contains(&"") {
        return Err(Fault::value("the modifier of-type needs system, code and value"));
    }
    let kind = TokenValue {
        system: SystemAsked::Is(unescape(system)?),
        code: Some(unescape(code)?),
    };
    Ok((kind, unescape(text)?))
}

fn quantity(value: &str) -> Result<QuantityValue, Fault> {
    let parts: Vec<&str> = split(value, '|').collect();
    let (number, system, code) = match parts[..] {
        [number] => (number, "", ""),
        [number, system, code] => (number, system, code),
        _ => return Err(Fault::value("a quantity is a number, or number|system|code")),
    };
    let number =
        NumberValue::parse(number).ok_or_else(|| Fault::value("a quantity begins with a decimal number"))?;
    let given = |text: &str| (!text.is_empty()).then(|| unescape(text)).transpose();
    Ok(QuantityValue {
        number,
        system: given(system)?,
        code: given(code)?,
    })
}

fn reference(
    value: &str,
    modifier: Option<Modifier>,
    paths: &[Path],
    targets: &str,
) -> Result<ReferenceValue, Fault> {
    let text = unescape(value)?;
    let of_references = paths.iter().any(|path| matches!(path.leaf, Leaf::Reference(_)));
    if !of_references {
        return Ok(ReferenceValue::Text(text));
    }
    let found = ReferenceValue::parse(&text)
        .ok_or_else(|| Fault::value("a value is no id, no Type/id and no URL"))?;
    // An id alone means the one type that there can be.
    let only = match modifier {
        Some(Modifier::Type(only)) => Some(only),
        _ => only_target(paths, targets),
    };
    match (found, only, modifier) {
        (ReferenceValue::Id(id), Some(resource_type), _) => Ok(ReferenceValue::Resource {
            resource_type,
            id,
            version: None,
        }),
        (_, _, Some(Modifier::Type(_))) => Err(Fault::value("with the name of a type a value is an id")),
        (found, ..) => Ok(found),
    }
}

fn only_target(paths: &[Path], targets: &str) -> Option<ResourceType> {
    let of_path = match paths {
        [
            Path {
                leaf: Leaf::Reference(only),
                ..
            },
        ] => *only,
        _ => None,
    };
    ResourceType::parse(targets).or(of_path)
}

/// One alternative of a composite.
fn parts(row: &SearchRow, value: &str) -> Result<Vec<Part>, Fault> {
    let values: Vec<&str> = split(value, '$').collect();
    if values.len() != row.components.len() {
        let text = format!("a value has {} parts, parted by $", row.components.len());
        return Err(Fault::value(text));
    }
    let pairs = row.components.iter().zip(values);
    let part = |(component, value): (&Component, &str)| {
        if value.is_empty() {
            return Err(Fault::value("a part of a value is missing"));
        }
        let paths =
            path::parse(component.paths).expect("the table's paths are well-formed, as a test says of each");
        let mut program = Program::default();
        program.add(simple(component.kind, None, &paths, &[value], "")?, &paths, false);
        Ok(Part {
            from_resource: paths.iter().any(|path| path.from_resource),
            program,
        })
    };
    pairs.map(part).collect()
}

/// Cuts at a character that no backslash stands before.
pub(super) fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |letter| {
        let cuts = letter == at && !escaped;
        escaped = letter == '\\' && !escaped;
        cuts
    })
}

/// Takes the backslashes away that stand before `,`, `|`, `$` and `\`.
fn unescape(text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ (',' | '|' | '$' | '\\')) => out.push(escaped),
                _ => return Err(Fault::value("a backslash may stand before , | $ and \\ only")),
            },
            plain => out.push(plain),
        }
    }
    Ok(out)
}
