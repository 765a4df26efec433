//! What a clause asks of a value, and whether a value has it.

use super::{
    decimal::Decimal,
    folding,
    path::Leaf,
    prefix::{DateValue, NumberValue, Numbers},
    program::Program,
    reference::{self, ReferenceValue, of_type, target_type},
    token::{self, TokenValue},
    value::Value,
};
use crate::instant::Span;

/// What a clause asks of a value; any of its alternatives will do.
#[derive(Clone, Debug)]
pub(super) enum Predicate {
    /// That it is there.
    Present,
    /// Nothing is ever so.
    Never,
    Ids(Vec<String>),
    Token(Vec<TokenValue>),
    /// `:text`; folded.
    TokenText(Vec<String>),
    /// `:of-type`: the type of an Identifier, and its value.
    OfType(Vec<(TokenValue, String)>),
    Text(TextMode, Vec<String>),
    Date(Vec<DateValue>),
    Number(Vec<NumberValue>),
    Quantity(Vec<QuantityValue>),
    Reference(Vec<ReferenceValue>),
    /// `:identifier`
    ReferenceIdentifier(Vec<TokenValue>),
    Uri(UriMode, Vec<String>),
    /// Each alternative is one program for each part.
    Composite(Vec<Vec<Part>>),
}

/// How strings are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextMode {
    /// The beginning, folded.
    Start,
    /// Anywhere, folded.
    Anywhere,
    /// All of it, as it is.
    Exact,
}

/// How URIs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriMode {
    Exact,
    /// The resource's is the one asked for, or lies above it.
    Above,
    /// The resource's is the one asked for, or lies below it.
    Below,
}

/// A number of a query with its unit.
#[derive(Clone, Debug)]
pub(super) struct QuantityValue {
    pub(super) number: NumberValue,
    pub(super) system: Option<String>,
    pub(super) code: Option<String>,
}

/// One part of a composite.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Whether its paths begin at the resource.
    pub(super) from_resource: bool,
    pub(super) program: Program,
}

impl Predicate {
    /// Whether a value at the end of a path has what is asked; `resource` is what it lies in.
    pub(super) fn holds(&self, leaf: Leaf, value: Value<'_>, resource: Value<'_>) -> bool {
        match self {
            Self::Present => is_present(leaf, value),
            Self::Never => false,
            Self::Ids(ids) => ids.iter().any(|id| value.is_text(id)),
            Self::Token(tokens) => token::any(tokens, leaf, value),
            Self::TokenText(texts) => token::any_text(leaf, value, |raw| folding::any_start(raw, texts)),
            Self::OfType(pairs) => pairs
                .iter()
                .any(|(of_type, text)| token::is_of_type(value, of_type, text)),
            Self::Text(mode, texts) => any_string(leaf, value, &|text| mode.any(texts, text)),
            Self::Date(dates) => {
                time_of(leaf, value).is_some_and(|span| dates.iter().any(|date| date.matches(span)))
            }
            Self::Number(numbers) => numbers_of(leaf, value)
                .is_some_and(|target| numbers.iter().any(|number| number.matches(target))),
            Self::Quantity(quantities) => quantities.iter().any(|asked| asked.matches(leaf, value)),
            Self::Reference(asked) => reference::any(asked, leaf, value),
            Self::ReferenceIdentifier(tokens) => {
                let identifier = value.member("identifier").filter(|_| of_type(leaf, value));
                identifier.is_some_and(|value| token::any(tokens, Leaf::Identifier, value))
            }
            Self::Uri(mode, uris) => value
                .string()
                .is_some_and(|text| uris.iter().any(|asked| mode.matches(leaf, &text, asked))),
            Self::Composite(alternatives) => alternatives.iter().any(|parts| {
                parts.iter().all(|part| {
                    let at = if part.from_resource { resource } else { value };
                    part.program.hits(at, resource, 0) != 0
                })
            }),
        }
    }
}

fn is_present(leaf: Leaf, value: Value<'_>) -> bool {
    match leaf {
        Leaf::Reference(Some(expected)) => target_type(value) == Some(expected),
        _ => true,
    }
}

impl TextMode {
    fn any(self, asked: &[String], value: Value<'_>) -> bool {
        let Some(raw) = value.raw_string() else {
            return false;
        };
        match self {
            Self::Start => folding::any_start(raw, asked),
            Self::Anywhere => folding::any_within(raw, asked),
            Self::Exact => asked.iter().any(|text| value.is_text(text)),
        }
    }
}

/// Whether any string of a value is so; names and addresses have several.
fn any_string(leaf: Leaf, value: Value<'_>, is_so: &dyn Fn(Value<'_>) -> bool) -> bool {
    let parts: &[&str] = match leaf {
        Leaf::HumanName => &["family", "given", "prefix", "suffix", "text"],
        Leaf::Address => &[
            "line",
            "city",
            "district",
            "state",
            "country",
            "postalCode",
            "text",
        ],
        _ => return is_so(value),
    };
    value
        .members()
        .filter(|(name, _)| parts.iter().any(|part| super::value::means(name, part)))
        .any(|(_, value)| value.elements().any(is_so))
}

/// The stretch of time that a value covers; `None` if it says none.
fn time_of(leaf: Leaf, value: Value<'_>) -> Option<Span> {
    match leaf {
        Leaf::Period => period(value),
        Leaf::Timing => timing(value),
        _ => Span::parse(&value.string()?).ok(),
    }
}

/// An end that is missing is open; a Period without both, or with one that cannot be read, says nothing.
fn period(value: Value<'_>) -> Option<Span> {
    let end = |name| -> Option<Option<Span>> {
        match value.member(name) {
            Some(value) => Some(Some(Span::parse(&value.string()?).ok()?)),
            None => Some(None),
        }
    };
    let (start, end) = (end("start")?, end("end")?);
    if start.is_none() && end.is_none() {
        return None;
    }
    Some(Span {
        start: start.map_or(i64::MIN, |span| span.start),
        end: end.map_or(i64::MAX, |span| span.end),
    })
}

/// The outer limits of a schedule: from its first event or bound to its last.
fn timing(value: Value<'_>) -> Option<Span> {
    let events = value.member("event");
    let events = events
        .iter()
        .flat_map(|events| events.elements())
        .filter_map(|event| Span::parse(&event.string()?).ok());
    let bounds = value
        .member("repeat")
        .and_then(|repeat| repeat.member("boundsPeriod"))
        .and_then(period);
    events.chain(bounds).reduce(|a, b| Span {
        start: a.start.min(b.start),
        end: a.end.max(b.end),
    })
}

fn number(value: Value<'_>) -> Option<Decimal> {
    Decimal::parse(value.scalar()?)
}

/// The numbers that a value stands for: one, or a Range.
fn numbers_of(leaf: Leaf, value: Value<'_>) -> Option<Numbers> {
    if leaf != Leaf::Range {
        return number(value).map(Numbers::one);
    }
    let end = |name| value.member(name)?.member("value").and_then(number);
    let (low, high) = (end("low"), end("high"));
    (low.is_some() || high.is_some()).then_some(Numbers {
        low,
        high,
        ..Numbers::default()
    })
}

/// The system of the codes of currencies.
const CURRENCIES: &str = "urn:iso:std:iso:4217";

impl QuantityValue {
    fn matches(&self, leaf: Leaf, value: Value<'_>) -> bool {
        match leaf {
            Leaf::Range => {
                let ends = ["low", "high"].iter().filter_map(|end| value.member(end));
                ends.into_iter().all(|end| self.has_unit(end))
                    && numbers_of(leaf, value).is_some_and(|target| self.number.matches(target))
            }
            Leaf::Money => {
                let system = self.system.as_deref().is_none_or(|system| system == CURRENCIES);
                let currency = self
                    .code
                    .as_deref()
                    .is_none_or(|code| has_text(value, "currency", code));
                system && currency && self.matches_number(value)
            }
            _ => self.has_unit(value) && self.matches_number(value),
        }
    }

    fn matches_number(&self, value: Value<'_>) -> bool {
        let Some(number) = value.member("value").and_then(number) else {
            return false;
        };
        let mut target = Numbers::one(number);
        let comparator = value.member("comparator").and_then(Value::string);
        match comparator.as_deref() {
            Some("<") => (target.low, target.before_high) = (None, true),
            Some("<=") => target.low = None,
            Some(">=") => target.high = None,
            Some(">") => (target.high, target.after_low) = (None, true),
            _ => {}
        }
        self.number.matches(target)
    }

    /// A unit without a system is a code or the unit as people write it.
    fn has_unit(&self, value: Value<'_>) -> bool {
        match (self.system.as_deref(), self.code.as_deref()) {
            (_, None) => self
                .system
                .as_deref()
                .is_none_or(|system| has_text(value, "system", system)),
            (None, Some(code)) => has_text(value, "code", code) || has_text(value, "unit", code),
            (Some(system), Some(code)) => has_text(value, "system", system) && has_text(value, "code", code),
        }
    }
}

fn has_text(value: Value<'_>, member: &str, text: &str) -> bool {
    value.member(member).is_some_and(|value| value.is_text(text))
}

impl UriMode {
    fn matches(self, leaf: Leaf, text: &str, asked: &str) -> bool {
        match self {
            Self::Exact => text == asked || (leaf == Leaf::Canonical && is_version_of(text, asked)),
            Self::Above => is_below(asked, text),
            Self::Below => is_below(text, asked),
        }
    }
}

/// Whether a canonical is a version of one that is asked for without version.
pub(super) fn is_version_of(canonical: &str, asked: &str) -> bool {
    canonical
        .split_once('|')
        .is_some_and(|(unversioned, _)| unversioned == asked)
}

fn is_below(uri: &str, top: &str) -> bool {
    uri.strip_prefix(top).is_some_and(|rest| {
        rest.is_empty() || (top.ends_with('/') || rest.starts_with(['/', '|', '#', '?'])) && !top.is_empty()
    })
}
