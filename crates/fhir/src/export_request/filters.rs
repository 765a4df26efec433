//! Reads `_typeFilter` (T-01 to T-12).

use super::Wire;
use super::argument::Argument;
use super::reader::Reader;
use crate::outcome::{Issue, IssueCode};
use crate::resource_type::ResourceType;
use crate::search::Criteria;

/// Most filters of a request, good and bad ones: each resource of a type is asked about all of the type.
const FILTERS_MAX: usize = 200;

/// A filter whose type is still to be compared with `_type`.
pub(super) struct Filter {
    pub(super) criteria: Criteria,
    /// Where it stood in a body.
    pub(super) expression: Option<String>,
}

pub(super) fn take_filter(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    let Some(text) = argument.text() else {
        return reader
            .refuse(argument.issue(IssueCode::Value, "a query such as Patient?active=true is needed"));
    };
    let queries = match reader.kick_off.wire {
        Wire::Stu3 => split(text),
        Wire::Stu4 => vec![text],
    };
    for query in queries {
        reader.filters.1 += 1;
        if reader.filters.1 > FILTERS_MAX {
            let problem = format!("more than {FILTERS_MAX} filters");
            return reader.refuse(argument.issue(IssueCode::TooLong, problem));
        }
        match Criteria::parse(query, reader.kick_off.base_url) {
            Ok(criteria) => reader.filters.0.push(Filter {
                criteria,
                expression: argument.place(Issue::error(IssueCode::Invalid, "")).expression,
            }),
            Err(issues) => {
                let named = |issue: Issue| {
                    let details = format!("{}: {}", argument.name, issue.details);
                    argument.place(Issue { details, ..issue })
                };
                reader.leave_out_all(issues.into_iter().map(named).collect());
            }
        }
    }
}

/// Splits the lists of STU1 and STU2 at commas before `Type?`; all other commas belong to a search (T-12).
fn split(text: &str) -> Vec<&str> {
    let mut queries = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices(',') {
        if starts_query(&text[at + 1..]) {
            queries.push(text[start..at].trim());
            start = at + 1;
        }
    }
    queries.push(text[start..].trim());
    queries
}

fn starts_query(text: &str) -> bool {
    let text = text.trim_start();
    // Looked at no further than a name goes: behind each of many commas the whole rest would be searched.
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric());
    end.and_then(|end| text[end..].starts_with('?').then_some(&text[..end]))
        .is_some_and(|name| ResourceType::parse(name).is_some())
}
