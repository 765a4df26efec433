//! One parameter as it arrived: its name and its value, wherever they stood.

use std::borrow::Cow;
use std::fmt::Display;

use super::Wire;
use crate::outcome::{Issue, IssueCode};
use crate::parameters::{Coding, Parameter, ParameterContent, clip};

/// A parameter with its value.
pub(super) struct Argument<'a> {
    pub(super) name: &'a str,
    value: Value<'a>,
}

/// Where a value comes from.
pub(super) enum Value<'a> {
    /// Decoded from a query.
    Query(&'a str),
    /// From no URL, as it is.
    Plain(&'a str),
    /// From a Parameters resource.
    Body(&'a Parameter),
}

impl<'a> Argument<'a> {
    pub(super) fn new(name: &'a str, value: Value<'a>) -> Self {
        Self { name, value }
    }

    /// Whether it stood in a URL.
    pub(super) fn is_query(&self) -> bool {
        matches!(self.value, Value::Query(_))
    }

    /// The text; `None` when it is empty or the value is of another kind.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::Query(text) | Value::Plain(text) => (!text.is_empty()).then_some(text),
            Value::Body(parameter) => parameter.text(),
        }
    }

    /// The text, with the plus signs that became spaces on the way through a query (K-06).
    pub(super) fn text_with_plus(&self) -> Option<Cow<'a, str>> {
        let text = self.text()?;
        Some(match self.value {
            Value::Query(_) => Cow::Owned(text.replace(' ', "+")),
            Value::Plain(_) | Value::Body(_) => Cow::Borrowed(text),
        })
    }

    /// The items of a text: separated by commas, but for STU4, where a comma separates nothing (K-07).
    pub(super) fn items(&self, text: &'a str, wire: Wire) -> Vec<&'a str> {
        match wire {
            Wire::Stu3 => text.split(',').map(str::trim).collect(),
            Wire::Stu4 => vec![text],
        }
    }

    /// `true` or `false`, as JSON or as text.
    pub(super) fn boolean(&self) -> Option<bool> {
        if let Some(ParameterContent::Boolean(flag)) = self.content() {
            return Some(*flag);
        }
        self.text()?.parse().ok()
    }

    /// A whole number, as JSON or as digits.
    pub(super) fn integer(&self) -> Option<u64> {
        if let Some(ParameterContent::Integer(number)) = self.content() {
            return Some(*number);
        }
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        self.text().filter(digits)?.parse().ok()
    }

    /// The text of a Reference, or a text.
    pub(super) fn reference(&self) -> Option<&'a str> {
        match self.content() {
            Some(ParameterContent::Reference(text)) => Some(text),
            _ => self.text(),
        }
    }

    /// A Coding, if it is one.
    pub(super) fn coding(&self) -> Option<&'a Coding> {
        match self.content() {
            Some(ParameterContent::Coding(coding)) => Some(coding),
            _ => None,
        }
    }

    /// Makes an issue that begins with the parameter's name and tells its place.
    pub(super) fn issue(&self, code: IssueCode, problem: impl Display) -> Issue {
        self.place(Issue::error(code, format!("{}: {problem}", clip(self.name))))
    }

    /// Adds the place to an issue.
    pub(super) fn place(&self, issue: Issue) -> Issue {
        match self.expression() {
            Some(expression) => issue.with_expression(expression),
            None => issue,
        }
    }

    fn expression(&self) -> Option<&'a str> {
        match self.value {
            Value::Query(_) | Value::Plain(_) => None,
            Value::Body(parameter) => Some(&parameter.expression),
        }
    }

    fn content(&self) -> Option<&'a ParameterContent> {
        match self.value {
            Value::Query(_) | Value::Plain(_) => None,
            Value::Body(parameter) => Some(&parameter.content),
        }
    }
}
