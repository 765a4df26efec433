//! From a query's text to its clauses, and back to a text.

use std::sync::Arc;

use super::{
    Compiled, Criteria, LastUpdatedBounds, OtherPairs,
    clause::{self, Clause},
    hint::shortened,
    prefix::DateValue,
    program::{CLAUSES_MAX, Program},
    screen::Screen,
};
use crate::{
    id::Id,
    instant::{Instant, Span},
    outcome::{Issue, IssueCode},
    query::{self, Pair},
    resource_type::ResourceType,
};

/// The most bytes that a query may have, before it is decoded.
pub const CRITERIA_BYTES_MAX: usize = 65_536;
/// The most parameters that a query may have.
pub const PARAMETERS_MAX: usize = 32;
/// The most values that all parameters of a query may have together.
pub const VALUES_MAX: usize = 1_000;

const _: () = assert!(PARAMETERS_MAX <= CLAUSES_MAX, "each parameter has a bit");

/// A query that is being put together.
struct Builder {
    resource_type: ResourceType,
    text: String,
    program: Program,
    values: usize,
    last_updated: Vec<(u64, Vec<DateValue>)>,
    bounds: Span,
    ids: Option<Vec<Id>>,
    patients: Option<Vec<Id>>,
    screen: Option<Screen>,
    issues: Vec<Issue>,
}

pub(super) fn parse(text: &str, base_url: &str) -> Result<Criteria, Vec<Issue>> {
    if text.len() > CRITERIA_BYTES_MAX {
        let problem = format!("the criteria have more than {CRITERIA_BYTES_MAX} bytes");
        return Err(vec![Issue::error(IssueCode::TooLong, problem)]);
    }
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let Some(resource_type) = ResourceType::parse(name) else {
        return Err(vec![no_type(name)]);
    };
    let mut builder = Builder::new(resource_type);
    for pair in query::pairs(query) {
        match pair {
            Some(Pair { name, value }) => builder.add(&name, &value, base_url),
            None => builder.issues.push(Issue::error(
                IssueCode::Structure,
                "the criteria have a parameter that is not percent-encoded UTF-8",
            )),
        }
    }
    builder.finish()
}

pub(super) fn from_pairs(
    resource_type: ResourceType,
    pairs: impl IntoIterator<Item = (String, String)>,
    base_url: &str,
) -> Result<(Criteria, OtherPairs), Vec<Issue>> {
    let mut builder = Builder::new(resource_type);
    let mut others = Vec::new();
    let mut bytes = 0;
    for (name, value) in pairs {
        if clause::find(resource_type, &name).is_err() {
            others.push((name, value));
            continue;
        }
        bytes += name.len() + value.len();
        if bytes > CRITERIA_BYTES_MAX {
            let problem = format!("the search has more than {CRITERIA_BYTES_MAX} bytes");
            builder.issues.push(Issue::error(IssueCode::TooLong, problem));
            break;
        }
        builder.add(&name, &value, base_url);
    }
    Ok((builder.finish()?, others))
}

/// T-06: the context is one type.
fn no_type(name: &str) -> Issue {
    let hint = if name.contains('/') {
        "a search within a compartment or below a URL is not possible; name one type, as in Observation?code=…"
    } else if name.contains(',') {
        "several types at once are not possible; give one query for each"
    } else {
        "the criteria must begin with one resource type of R4, as in Observation?code=…"
    };
    Issue::error(IssueCode::Invalid, format!("{}: {hint}", shortened(name)))
}

impl Builder {
    fn new(resource_type: ResourceType) -> Self {
        Self {
            resource_type,
            text: resource_type.name().to_owned(),
            program: Program::default(),
            values: 0,
            last_updated: Vec::new(),
            bounds: Span::ALL,
            ids: None,
            patients: None,
            screen: None,
            issues: Vec::new(),
        }
    }

    fn add(&mut self, name: &str, value: &str, base_url: &str) {
        let limit = |limit: usize, what: &str| {
            let problem = format!("{}: a query has at most {limit} {what}", shortened(name));
            Issue::error(IssueCode::TooCostly, problem)
        };
        if self.program.clauses() >= PARAMETERS_MAX || self.issues.len() >= PARAMETERS_MAX {
            self.issues.push(limit(PARAMETERS_MAX, "parameters"));
            self.issues.truncate(PARAMETERS_MAX + 1);
            return;
        }
        match clause::read(self.resource_type, name, value, base_url) {
            Ok(clause) => {
                self.values += clause.values;
                if self.values > VALUES_MAX {
                    self.issues.push(limit(VALUES_MAX, "values"));
                    return;
                }
                self.take(name, clause);
            }
            Err(fault) => self.issues.push(fault.issue(name)),
        }
    }

    fn take(&mut self, name: &str, clause: Clause) {
        self.text.push(if self.text.contains('?') { '&' } else { '?' });
        self.text.push_str(name);
        self.text.push('=');
        encode(&clause.text, &mut self.text);
        if self.screen.is_none() && !clause.negated {
            self.screen = Screen::of(&clause.predicate);
        }
        let bit = self.program.add(clause.predicate, &clause.paths, clause.negated);
        if let Some(dates) = clause.last_updated {
            let hull = dates.iter().map(|date| date.bounds()).reduce(|a, b| Span {
                start: a.start.min(b.start),
                end: a.end.max(b.end),
            });
            let hull = hull.unwrap_or(Span::ALL);
            self.bounds.start = self.bounds.start.max(hull.start);
            self.bounds.end = self.bounds.end.min(hull.end);
            self.last_updated.push((bit, dates));
        }
        narrow(&mut self.ids, clause.ids);
        narrow(&mut self.patients, clause.patients);
    }

    fn finish(self) -> Result<Criteria, Vec<Issue>> {
        if !self.issues.is_empty() {
            return Err(self.issues);
        }
        Ok(Criteria(Arc::new(Compiled {
            resource_type: self.resource_type,
            text: self.text,
            program: self.program,
            last_updated: self.last_updated,
            bounds: LastUpdatedBounds {
                first: Instant::from_micros(self.bounds.start),
                last: Instant::from_micros(self.bounds.end.saturating_sub(1)),
            },
            ids: self.ids,
            patients: self.patients,
            screen: self.screen,
        })))
    }
}

/// Of two lists that both hold, the shorter one is the better way to what matches.
fn narrow(known: &mut Option<Vec<Id>>, found: Option<Vec<Id>>) {
    let Some(mut found) = found else { return };
    found.sort();
    found.dedup();
    if known.as_ref().is_none_or(|known| found.len() < known.len()) {
        *known = Some(found);
    }
}

/// Writes a value so that reading it gives the same back.
fn encode(value: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for letter in value.chars() {
        if letter <= ' ' || matches!(letter, '%' | '&' | '+' | '#' | '\u{7f}') {
            let byte = letter as usize;
            out.push('%');
            out.push(char::from(HEX[byte >> 4 & 15]));
            out.push(char::from(HEX[byte & 15]));
        } else {
            out.push(letter);
        }
    }
}
