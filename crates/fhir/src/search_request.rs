//! A search as a client asks for it: criteria and the parameters that say what the answer is to look like (FHIR R4, search).
//!
//! [`SearchRequest::parse`] takes a query apart into [`Criteria`], which decide about resources, and result parameters, which do
//! not. Chosen readings: `docs/spec-clarifications.md`, *Search*.

use crate::elements::ElementFilter;
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};
use crate::parameters::clip;
use crate::prefer::Handling;
use crate::query::{Pair, pairs};
use crate::resource_type::ResourceType;
use crate::search::{CRITERIA_BYTES_MAX, Criteria, ReferenceParameter};

/// The name of the parameter that continues a search; its value is the server's own.
pub const CURSOR: &str = "_cursor";

/// Most bytes of a search's queries together, before they are decoded; a body could have any number.
const SEARCH_BYTES_MAX: usize = 2 * CRITERIA_BYTES_MAX;

/// Most parameters of a search, criteria and others.
const SEARCH_PARAMETERS_MAX: usize = 64;

/// Most inclusions of a search: each is looked for in every match.
const INCLUSIONS_MAX: usize = 20;

/// Most elements that `_elements` names: each is looked up in every type.
const ELEMENTS_MAX: usize = 1_000;

/// A search of one type.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// Which resources are meant.
    pub criteria: Criteria,
    /// The order of the answer.
    pub order: Order,
    /// `_count`: the most matches on a page.
    pub count: Option<u32>,
    /// `_total`.
    pub total: Total,
    /// `_summary=count` or `_count=0`: the number of matches alone.
    pub only_count: bool,
    /// `_elements`.
    pub elements: Option<ElementFilter>,
    /// `_include`: references of the matches that are followed.
    pub includes: Vec<Inclusion>,
    /// `_revinclude`: references that lead to the matches.
    pub reverse_includes: Vec<Inclusion>,
    /// `_cursor`: where a page before this one ended.
    pub cursor: Option<String>,
    /// The query without the cursor, as it was sent, to which a cursor may be added.
    pub query: String,
    /// One issue for each parameter that was left out because the client allowed it.
    pub ignored: Vec<Issue>,
}

/// The order of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The server's own.
    #[default]
    Store,
    /// `_sort=_id`, `_sort=-_id`.
    Id(Direction),
    /// `_sort=_lastUpdated`, `_sort=-_lastUpdated`.
    LastUpdated(Direction),
}

/// Which way an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// How the number of all matches is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Total {
    /// Where it costs nothing.
    #[default]
    IfKnown,
    /// Not at all.
    None,
    /// About.
    Estimate,
    /// Exactly.
    Accurate,
}

/// A reference that is followed: `Type:parameter` or `Type:parameter:Target`.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// The type that holds the reference.
    pub source: ResourceType,
    /// The name of the search parameter.
    pub name: String,
    /// The references that it means.
    pub parameter: ReferenceParameter,
    /// The only type to which it is followed.
    pub target: Option<ResourceType>,
}

impl SearchRequest {
    /// Reads the queries of a search: that of the URL and, with `_search`, that of the body.
    ///
    /// # Errors
    /// An outcome with an issue for each parameter that is unknown, not supported or cannot be read. With lenient handling what is
    /// unknown or not supported is left out and told in `ignored`. One issue for more than 131,072 bytes, 64 parameters or 20
    /// inclusions.
    pub fn parse(
        resource_type: ResourceType,
        queries: &[&str],
        base_url: &str,
        handling: Handling,
    ) -> Result<Self, OperationOutcome> {
        let pieces = queries
            .iter()
            .flat_map(|query| query.split('&'))
            .filter(|piece| !piece.is_empty());
        check_size(queries, pieces.clone())?;
        let everything = Criteria::parse(&format!("{resource_type}?"), base_url);
        let everything = everything.map_err(|issues| OperationOutcome { issues })?;
        let mut reader = Reader {
            request: Self::of(everything),
            handling,
            findings: Findings::default(),
            criteria: Vec::new(),
            kept: Vec::new(),
            seen: Vec::new(),
        };
        for piece in pieces {
            reader.read(piece, base_url);
        }
        reader.finish(base_url)
    }

    /// A search with these criteria and nothing else.
    fn of(criteria: Criteria) -> Self {
        Self {
            criteria,
            order: Order::default(),
            count: None,
            total: Total::default(),
            only_count: false,
            elements: None,
            includes: Vec::new(),
            reverse_includes: Vec::new(),
            cursor: None,
            query: String::new(),
            ignored: Vec::new(),
        }
    }
}

/// Refuses a search that is too long to be read.
fn check_size<'q>(queries: &[&str], pieces: impl Iterator<Item = &'q str>) -> Result<(), OperationOutcome> {
    if queries.iter().map(|query| query.len()).sum::<usize>() > SEARCH_BYTES_MAX {
        let text = format!("a search has {SEARCH_BYTES_MAX} bytes at most");
        return Err(OperationOutcome::error(IssueCode::TooLong, text));
    }
    if pieces.take(SEARCH_PARAMETERS_MAX + 1).count() > SEARCH_PARAMETERS_MAX {
        let text = format!("a search has {SEARCH_PARAMETERS_MAX} parameters at most");
        return Err(OperationOutcome::error(IssueCode::TooCostly, text));
    }
    Ok(())
}

/// A query while it is read, piece by piece.
struct Reader<'q> {
    request: SearchRequest,
    handling: Handling,
    findings: Findings,
    /// The pieces that are criteria, as they were sent.
    criteria: Vec<&'q str>,
    /// All pieces but the cursor, as they were sent.
    kept: Vec<&'q str>,
    /// Parameters that may be there only once.
    seen: Vec<String>,
}

/// Result parameters that may be given once.
const ONCE: [&str; 6] = ["_count", "_total", "_summary", "_sort", "_elements", CURSOR];

impl<'q> Reader<'q> {
    fn read(&mut self, piece: &'q str, base_url: &str) {
        let Some(Some(pair)) = pairs(piece).next() else {
            let text = "a parameter is not percent-encoded UTF-8";
            return self.findings.push(Issue::error(IssueCode::Structure, text));
        };
        if ONCE.contains(&pair.name.as_str()) {
            if self.seen.contains(&pair.name) {
                let text = format!("{} is given twice", pair.name);
                return self.findings.push(Issue::error(IssueCode::Value, text));
            }
            self.seen.push(pair.name.clone());
        }
        match self.result_parameter(&pair) {
            Ok(Is::Cursor) => {}
            Ok(Is::ForTheResult) => self.kept.push(piece),
            Ok(Is::Criterion) => self.criterion(piece, base_url),
            Err(issue) => self.push(issue),
        }
    }

    /// Adds an issue, as one that only tells where the client allows it.
    fn push(&mut self, mut issue: Issue) {
        if self.handling == Handling::Lenient && issue.code == IssueCode::NotSupported {
            issue.severity = crate::outcome::Severity::Warning;
            self.request.ignored.push(issue);
        } else {
            self.findings.push(issue);
        }
    }

    fn result_parameter(&mut self, pair: &Pair) -> Result<Is, Issue> {
        let request = &mut self.request;
        match pair.name.as_str() {
            "_count" => {
                let count: u32 = pair
                    .value
                    .parse()
                    .map_err(|_| wrong(pair, "is not a number from 0 on"))?;
                request.count = Some(count);
                request.only_count |= count == 0;
            }
            "_total" => {
                request.total = match pair.value.as_str() {
                    "none" => Total::None,
                    "estimate" => Total::Estimate,
                    "accurate" => Total::Accurate,
                    _ => return Err(wrong(pair, "is none of none, estimate and accurate")),
                }
            }
            "_summary" => match pair.value.as_str() {
                "false" => {}
                "count" => request.only_count = true,
                _ => return Err(unsupported(pair, "count and false are")),
            },
            "_sort" => request.order = order(pair)?,
            "_elements" if pair.value.split(',').count() > ELEMENTS_MAX => {
                return Err(wrong(pair, &format!("names more than {ELEMENTS_MAX} elements")));
            }
            "_elements" => {
                let filter = ElementFilter::parse(pair.value.split(','));
                request.elements = Some(filter.map_err(|error| wrong(pair, &error.to_string()))?);
            }
            "_format" => match pair.value.as_str() {
                // A `+` in a query that nobody escaped is a space.
                "json" | "application/json" | "application/fhir+json" | "application/fhir json" => {}
                _ => return Err(unsupported(pair, "json is")),
            },
            "_include" => request
                .includes
                .push(inclusion(pair, Some(request.criteria.resource_type()))?),
            "_revinclude" => request.reverse_includes.push(inclusion(pair, None)?),
            CURSOR => {
                request.cursor = Some(pair.value.clone());
                return Ok(Is::Cursor);
            }
            name if name.starts_with("_include:") || name.starts_with("_revinclude:") => {
                return Err(unsupported(pair, "one step without modifier is"));
            }
            _ => return Ok(Is::Criterion),
        }
        Ok(Is::ForTheResult)
    }

    fn criterion(&mut self, piece: &'q str, base_url: &str) {
        // Each is read alone first, so that each is refused, or left out, alone.
        let resource_type = self.request.criteria.resource_type();
        match Criteria::parse(&format!("{resource_type}?{piece}"), base_url) {
            Ok(_) => {
                self.criteria.push(piece);
                self.kept.push(piece);
            }
            Err(issues) => issues.into_iter().for_each(|issue| self.push(issue)),
        }
    }

    fn finish(mut self, base_url: &str) -> Result<SearchRequest, OperationOutcome> {
        if !self.criteria.is_empty() {
            let resource_type = self.request.criteria.resource_type();
            let text = format!("{resource_type}?{}", self.criteria.join("&"));
            match Criteria::parse(&text, base_url) {
                Ok(criteria) => self.request.criteria = criteria,
                Err(issues) => issues.into_iter().for_each(|issue| self.findings.push(issue)),
            }
        }
        if self.request.includes.len() + self.request.reverse_includes.len() > INCLUSIONS_MAX {
            let text = format!("a search has {INCLUSIONS_MAX} _include and _revinclude at most");
            self.findings.push(Issue::error(IssueCode::TooCostly, text));
        }
        self.request.query = self.kept.join("&");
        self.findings.or(self.request)
    }
}

/// What a parameter is for.
enum Is {
    Criterion,
    ForTheResult,
    Cursor,
}

fn order(pair: &Pair) -> Result<Order, Issue> {
    Ok(match pair.value.as_str() {
        "_id" => Order::Id(Direction::Ascending),
        "-_id" => Order::Id(Direction::Descending),
        "_lastUpdated" => Order::LastUpdated(Direction::Ascending),
        "-_lastUpdated" => Order::LastUpdated(Direction::Descending),
        _ => return Err(unsupported(pair, "_id, -_id, _lastUpdated and -_lastUpdated are")),
    })
}

fn inclusion(pair: &Pair, of_matches: Option<ResourceType>) -> Result<Inclusion, Issue> {
    let mut parts = pair.value.split(':');
    let source = parts.next().unwrap_or_default();
    if source == "*" || pair.value.contains('*') {
        return Err(unsupported(pair, "naming each parameter is"));
    }
    let source =
        ResourceType::parse(source).ok_or_else(|| wrong(pair, "names no resource type of R4 first"))?;
    if of_matches.is_some_and(|matches| matches != source) {
        return Err(unsupported(pair, "references of the type that is searched are"));
    }
    let name = parts.next().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| wrong(pair, "names no search parameter"))?;
    let parameter = ReferenceParameter::find(source, name);
    let parameter = parameter.ok_or_else(|| wrong(pair, "names no reference parameter of the type"))?;
    let target = match parts.next() {
        None => None,
        Some(name) => {
            Some(ResourceType::parse(name).ok_or_else(|| wrong(pair, "names no target type of R4"))?)
        }
    };
    if parts.next().is_some() {
        return Err(wrong(pair, "has more than three parts"));
    }
    Ok(Inclusion {
        source,
        name: name.to_owned(),
        parameter,
        target,
    })
}

fn wrong(pair: &Pair, problem: &str) -> Issue {
    Issue::error(
        IssueCode::Value,
        format!("the value of {} {problem}", clip(&pair.name)),
    )
}

fn unsupported(pair: &Pair, supported: &str) -> Issue {
    let text = format!(
        "{} with this value is not supported; {supported}",
        clip(&pair.name)
    );
    Issue::error(IssueCode::NotSupported, text)
}
