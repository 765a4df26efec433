//! What stands before a number or a date in a query, and what it means for stretches of either.

use super::decimal::Decimal;
use crate::instant::Span;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
    Approximately,
}

impl Prefix {
    /// Takes the prefix off a text; what has none is compared for equality.
    pub(super) fn split(text: &str) -> (Self, &str) {
        let Some((prefix, rest)) = text.split_at_checked(2) else {
            return (Self::Equal, text);
        };
        let prefix = match prefix {
            "eq" => Self::Equal,
            "ne" => Self::NotEqual,
            "gt" => Self::Greater,
            "lt" => Self::Less,
            "ge" => Self::GreaterOrEqual,
            "le" => Self::LessOrEqual,
            "sa" => Self::StartsAfter,
            "eb" => Self::EndsBefore,
            "ap" => Self::Approximately,
            _ => return (Self::Equal, text),
        };
        (prefix, rest)
    }
}

/// A date of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct DateValue {
    prefix: Prefix,
    span: Span,
}

impl DateValue {
    /// Reads a date with its prefix. A `+` that was not encoded arrives as a space and is taken for what it was.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (prefix, date) = Prefix::split(text);
        let span = Span::parse(&date.replace(' ', "+")).ok()?;
        Some(Self { prefix, span })
    }

    /// Whether a stretch of time in a resource is meant.
    ///
    /// Spec: FHIR R4, search, 3.1.1.4.7 and the table of prefixes.
    pub(super) fn matches(self, target: Span) -> bool {
        let asked = self.span;
        let within = asked.start <= target.start && target.end <= asked.end;
        match self.prefix {
            Prefix::Equal => within,
            Prefix::NotEqual => !within,
            Prefix::Greater => target.end > asked.end,
            Prefix::Less => target.start < asked.start,
            Prefix::GreaterOrEqual => within || target.end > asked.end,
            Prefix::LessOrEqual => within || target.start < asked.start,
            Prefix::StartsAfter => target.start >= asked.end,
            Prefix::EndsBefore => target.end <= asked.start,
            Prefix::Approximately => {
                let length = asked.end - asked.start;
                target.start < asked.end + length && target.end > asked.start - length
            }
        }
    }

    /// The stretch outside of which no microsecond can match.
    pub(super) fn bounds(self) -> Span {
        let Span { start, end } = self.span;
        match self.prefix {
            Prefix::Equal => self.span,
            Prefix::NotEqual => Span::ALL,
            Prefix::Greater | Prefix::StartsAfter => Span {
                start: end,
                ..Span::ALL
            },
            Prefix::GreaterOrEqual => Span { start, ..Span::ALL },
            Prefix::Less | Prefix::EndsBefore => Span {
                end: start,
                ..Span::ALL
            },
            Prefix::LessOrEqual => Span { end, ..Span::ALL },
            Prefix::Approximately => Span {
                start: start - (end - start),
                end: end + (end - start),
            },
        }
    }
}

/// A number of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct NumberValue {
    prefix: Prefix,
    value: Decimal,
}

/// A number of a resource, or a range of them; an end that is missing is open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) low: Option<Decimal>,
    pub(super) high: Option<Decimal>,
    /// Whether the low end itself is left out, as by `>`.
    pub(super) after_low: bool,
    /// Whether the high end itself is left out, as by `<`.
    pub(super) before_high: bool,
}

impl Numbers {
    /// One number.
    pub(super) fn one(value: Decimal) -> Self {
        Self {
            low: Some(value),
            high: Some(value),
            ..Self::default()
        }
    }
}

impl NumberValue {
    /// Reads a number with its prefix.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (prefix, number) = Prefix::split(text);
        let value = Decimal::parse(number)?;
        Some(Self { prefix, value })
    }

    /// Whether numbers of a resource are meant: for equality in the range that the written digits stand for, else compared exactly.
    ///
    /// Spec: FHIR R4, search, 3.1.1.4.6 and the table of prefixes.
    pub(super) fn matches(self, target: Numbers) -> bool {
        let value = self.value;
        let within = || {
            let (low, high) = value.precision();
            target.low.is_some_and(|at| at >= low)
                && target
                    .high
                    .is_some_and(|at| at < high || (at == high && target.before_high))
        };
        let reaches_above = target.high.is_none_or(|high| high > value);
        let reaches_below = target.low.is_none_or(|low| low < value);
        let ends_there = target.high == Some(value) && !target.before_high;
        let starts_there = target.low == Some(value) && !target.after_low;
        match self.prefix {
            Prefix::Equal => within(),
            Prefix::NotEqual => !within(),
            Prefix::Greater => reaches_above,
            Prefix::Less => reaches_below,
            Prefix::GreaterOrEqual => reaches_above || ends_there,
            Prefix::LessOrEqual => reaches_below || starts_there,
            Prefix::StartsAfter => !reaches_below && !starts_there,
            Prefix::EndsBefore => !reaches_above && !ends_there,
            Prefix::Approximately => {
                let (low, high) = value.approximation();
                target.low.is_none_or(|at| at <= high) && target.high.is_none_or(|at| at >= low)
            }
        }
    }
}
