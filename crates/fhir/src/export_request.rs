//! The kick-off of an export, from a query (GET) or a Parameters body (POST), as one [`ExportRequest`] (spec §1).
//!
//! Whatever cannot be honoured is an error: unknown parameters, those of the standard that are not built yet, and values that
//! cannot be read. All problems of a request come back together (K-48). Headers, authorization and whether the Group or
//! Patient exists are the server's part. `handling=lenient` (K-22) changes nothing yet: a server MAY go on, and this one does not.

use serde::{Deserialize, Serialize};

use crate::elements::ElementFilter;
use crate::id::Id;
use crate::instant::Instant;
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};
use crate::parameters::{clip, parse_parameters as read_body};
use crate::query;
use crate::resource_type::ResourceType;
use crate::search::Criteria;

/// The spellings of NDJSON that a server must take (spec §1.3), for exports and imports alike.
const NDJSON_SPELLINGS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Most elements that `_elements` can name, good and bad ones: each is looked up in every type.
const ELEMENTS_MAX: usize = 1000;

/// Longest name of an element, in bytes; R4's own stay below 80.
const ELEMENT_BYTES_MAX: usize = 128;

/// Parameters of the standard that are not built yet.
const NOT_BUILT: [&str; 8] = [
    "_until",
    "patient",
    "includeAssociatedData",
    "_typeFilter",
    "organizeOutputBy",
    "allowPartialManifests",
    "_minimumFileSize",
    "_maximumFileSize",
];

/// Whose data an export takes (K-01 to K-04).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportLevel {
    /// `[base]/$export`: everything.
    System,
    /// `[base]/Patient/$export`: the compartments of all patients.
    AllPatients,
    /// `[base]/Group/[id]/$export`: the compartments of the members.
    Group(Id),
    /// `[base]/Patient/[id]/$export`: one compartment (K-04: in no version of the IG, but asked for everywhere).
    Patient(Id),
}

/// An export as asked for; the same for GET and POST and for every version of the IG.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportRequest {
    /// Whose data.
    pub level: ExportLevel,
    /// `_type`: the types to export, in the order asked for, each once, at least one; `None` means all of the level.
    pub types: Option<Vec<ResourceType>>,
    /// `_since`: only what changed after this instant (exclusive).
    pub since: Option<Instant>,
    /// `_until`: only what changed before this instant (exclusive).
    #[serde(default)]
    pub until: Option<Instant>,
    /// `_elements`: the root elements to keep; `None` keeps resources whole.
    pub elements: Option<ElementFilter>,
    /// `patient`: only the compartments of these, each once, at least one; `None` means all of the level.
    #[serde(default)]
    pub patients: Option<Vec<Id>>,
    /// `_typeFilter`: of a type that is named, only resources that match one of its criteria (T-01 to T-07).
    #[serde(default)]
    pub type_filters: Vec<Criteria>,
    /// `includeAssociatedData`.
    #[serde(default)]
    pub associated_data: AssociatedData,
    /// `organizeOutputBy`: the type whose instances head the blocks of the output (spec §2.6).
    #[serde(default)]
    pub organize_output_by: Option<ResourceType>,
    /// `allowPartialManifests` (spec §2.4).
    #[serde(default)]
    pub allow_partial_manifests: bool,
    /// `_minimumFileSize`, in bytes: files are not shorter where it can be helped.
    #[serde(default)]
    pub file_bytes_min: Option<u64>,
    /// `_maximumFileSize`, in bytes: files are not longer, but for a single resource that is.
    #[serde(default)]
    pub file_bytes_max: Option<u64>,
    /// The version of the standard in which the client speaks, and wants the manifest.
    #[serde(default)]
    pub wire: Wire,
    /// What was ignored under `handling=lenient`: one outcome per parameter, for the manifest's `error` (K-22).
    #[serde(default)]
    pub ignored: Vec<OperationOutcome>,
    /// The exact kick-off URL, which the manifest echoes.
    pub request_url: String,
}

/// The version of the standard that is spoken on the wire; nothing above this crate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// STU1 to STU3: `$export`.
    #[default]
    Stu3,
    /// The STU4 ballot: `$export-v4`.
    Stu4,
}

/// What is added to the resources that were asked for (`includeAssociatedData`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssociatedData {
    /// Not given: all Provenance of the level, unless `_type` leaves Provenance out.
    #[default]
    Default,
    /// `LatestProvenanceResources`: for each exported resource the newest Provenance, and no other.
    LatestProvenance,
    /// `RelevantProvenanceResources`: all Provenance of the exported resources, and no other.
    RelevantProvenance,
}

/// Reads a GET kick-off.
///
/// `query` is the raw query string without `?`; `request_url` the kick-off URL as the client sent it; `now` the server's time,
/// against which a future `_since` is refused.
///
/// Repeats of `_type` and `_elements` equal one comma list (K-07); `_outputFormat` and `_since` are allowed once. A `+` that was not
/// encoded arrives as a space and is accepted in both of them (K-06).
///
/// # Errors
/// An outcome (400) with an issue for each problem that names the parameter.
pub fn parse_query(
    level: ExportLevel,
    query: &str,
    request_url: &str,
    now: Instant,
) -> Result<ExportRequest, OperationOutcome> {
    let mut reader = Reader::new(level, now);
    for pair in query::pairs(query) {
        match pair {
            Some(pair) => reader.take(Argument {
                name: &pair.name,
                value: Value::Query(&pair.value),
            }),
            None => reader.findings.push(Issue::error(
                IssueCode::Structure,
                "the query has a parameter that is not percent-encoded UTF-8",
            )),
        }
    }
    reader.finish(request_url)
}

/// Reads a POST kick-off with a Parameters body, whose size the caller bounds.
///
/// As [`parse_query`], with values of any text-like `value[x]`. `request_url` is the kick-off URL as the client sent it: parameters
/// in its query beside those of the body are refused, for they would be lost silently.
///
/// # Errors
/// An outcome (400) with an issue for each problem that names the parameter.
pub fn parse_parameters(
    level: ExportLevel,
    body: &[u8],
    request_url: &str,
    now: Instant,
) -> Result<ExportRequest, OperationOutcome> {
    let parameters = read_body(body)?;
    let mut reader = Reader::new(level, now);
    if request_url
        .split_once('?')
        .is_some_and(|(_, query)| !query.is_empty())
    {
        let text = "a POST kick-off takes its parameters from the body, not from the URL";
        reader.findings.push(Issue::error(IssueCode::Invalid, text));
    }
    for parameter in &parameters {
        let value = Value::Body {
            text: parameter.text(),
            expression: &parameter.expression,
        };
        reader.take(Argument {
            name: &parameter.name,
            value,
        });
    }
    reader.finish(request_url)
}

/// Tells whether a format is one of the three spellings of NDJSON, in any case.
pub(crate) fn is_ndjson(format: &str) -> bool {
    NDJSON_SPELLINGS
        .iter()
        .any(|spelling| spelling.eq_ignore_ascii_case(format))
}

/// Says which formats there are, after the name of the parameter.
pub(crate) fn ndjson_only(parameter: &str, given: &str) -> Issue {
    let text = format!(
        "{parameter}: the format {} is not supported; use application/fhir+ndjson, application/ndjson or ndjson",
        clip(given)
    );
    Issue::error(IssueCode::NotSupported, text)
}

struct Argument<'a> {
    name: &'a str,
    value: Value<'a>,
}

enum Value<'a> {
    /// Decoded from a query.
    Query(&'a str),
    /// From a Parameters resource; no text when its value is of another kind or empty.
    Body {
        text: Option<&'a str>,
        expression: &'a str,
    },
}

impl Argument<'_> {
    fn text(&self) -> Option<&str> {
        match self.value {
            Value::Query(text) => (!text.is_empty()).then_some(text),
            Value::Body { text, .. } => text,
        }
    }

    /// The text, with the plus signs that became spaces on the way through a query (K-06).
    fn text_with_plus(&self, text: &str) -> String {
        match self.value {
            Value::Query(_) => text.replace(' ', "+"),
            Value::Body { .. } => text.to_owned(),
        }
    }

    fn issue(&self, code: IssueCode, problem: impl std::fmt::Display) -> Issue {
        self.place(Issue::error(code, format!("{}: {problem}", clip(self.name))))
    }

    fn place(&self, issue: Issue) -> Issue {
        match self.value {
            Value::Query(_) => issue,
            Value::Body { expression, .. } => issue.with_expression(expression),
        }
    }
}

/// Gathers the parameters of one request, and all that is wrong with them.
struct Reader {
    level: ExportLevel,
    now: Instant,
    findings: Findings,
    format_given: bool,
    since_given: bool,
    since: Option<Instant>,
    types: Option<Vec<ResourceType>>,
    elements: Vec<String>,
    elements_seen: usize,
}

impl Reader {
    fn new(level: ExportLevel, now: Instant) -> Self {
        Self {
            level,
            now,
            findings: Findings::default(),
            format_given: false,
            since_given: false,
            since: None,
            types: None,
            elements: Vec::new(),
            elements_seen: 0,
        }
    }

    fn take(&mut self, argument: Argument<'_>) {
        let name = argument.name;
        if NOT_BUILT.contains(&name) {
            let text = format!("the parameter {name} is not supported yet");
            return self
                .findings
                .push(argument.place(Issue::error(IssueCode::NotSupported, text)));
        }
        if !["_outputFormat", "_since", "_type", "_elements"].contains(&name) {
            let text = format!("the parameter {} is unknown", clip(name));
            return self
                .findings
                .push(argument.place(Issue::error(IssueCode::NotSupported, text)));
        }
        let Some(text) = argument.text() else {
            return self
                .findings
                .push(argument.issue(IssueCode::Value, "a text value is needed"));
        };
        match name {
            "_outputFormat" => self.take_format(&argument, text),
            "_since" => self.take_since(&argument, text),
            "_type" => self.take_types(&argument, text),
            _ => self.take_elements(&argument, text),
        }
    }

    fn take_format(&mut self, argument: &Argument<'_>, text: &str) {
        if std::mem::replace(&mut self.format_given, true) {
            return self
                .findings
                .push(argument.issue(IssueCode::Invalid, "given more than once"));
        }
        if !is_ndjson(&argument.text_with_plus(text)) {
            self.findings
                .push(argument.place(ndjson_only(argument.name, text)));
        }
    }

    fn take_since(&mut self, argument: &Argument<'_>, text: &str) {
        if std::mem::replace(&mut self.since_given, true) {
            return self
                .findings
                .push(argument.issue(IssueCode::Invalid, "given more than once"));
        }
        match Instant::parse(&argument.text_with_plus(text)) {
            Ok(since) if since > self.now => {
                self.findings
                    .push(argument.issue(IssueCode::Value, "the instant lies in the future"));
            }
            Ok(since) => self.since = Some(since),
            Err(_) => self.findings.push(argument.issue(
                IssueCode::Value,
                "not an instant: date, time with seconds and zone are needed, such as 2026-01-31T00:00:00Z",
            )),
        }
    }

    fn take_types(&mut self, argument: &Argument<'_>, text: &str) {
        for name in text.split(',').map(str::trim) {
            match ResourceType::parse(name) {
                Some(resource_type) => {
                    let types = self.types.get_or_insert_default();
                    if !types.contains(&resource_type) {
                        types.push(resource_type);
                    }
                }
                None if name.is_empty() => {
                    self.findings
                        .push(argument.issue(IssueCode::Value, "a type in the list is empty"));
                }
                None => {
                    let problem = format!("{} is not a resource type of FHIR R4", clip(name));
                    self.findings
                        .push(argument.issue(IssueCode::NotSupported, problem));
                }
            }
        }
    }

    fn take_elements(&mut self, argument: &Argument<'_>, text: &str) {
        for element in text.split(',').map(str::trim) {
            self.elements_seen += 1;
            if self.elements_seen > ELEMENTS_MAX {
                let problem = format!("more than {ELEMENTS_MAX} elements");
                return self.findings.push(argument.issue(IssueCode::TooLong, problem));
            }
            self.take_element(argument, element);
        }
    }

    fn take_element(&mut self, argument: &Argument<'_>, element: &str) {
        if element.len() > ELEMENT_BYTES_MAX {
            let problem = format!("{}: longer than any element", clip(element));
            return self.findings.push(argument.issue(IssueCode::TooLong, problem));
        }
        // Each element is tried alone, so that all the bad ones are told and not only the first.
        match ElementFilter::parse([element]) {
            Ok(_) => self.elements.push(element.to_owned()),
            Err(error) => self.findings.push(argument.issue(IssueCode::Value, error)),
        }
    }

    fn finish(mut self, request_url: &str) -> Result<ExportRequest, OperationOutcome> {
        self.check_compartment();
        let elements = self.element_filter();
        self.findings.or(ExportRequest {
            level: self.level,
            types: self.types,
            since: self.since,
            until: None,
            elements,
            patients: None,
            type_filters: Vec::new(),
            associated_data: AssociatedData::Default,
            organize_output_by: None,
            allow_partial_manifests: false,
            file_bytes_min: None,
            file_bytes_max: None,
            wire: Wire::Stu3,
            ignored: Vec::new(),
            request_url: request_url.to_owned(),
        })
    }

    /// Refuses types that can all not be in the export (spec §1.3 `_type`); some outside the compartment beside others are fine.
    fn check_compartment(&mut self) {
        let Some(types) = self.types.as_ref().filter(|_| self.level != ExportLevel::System) else {
            return;
        };
        if types
            .iter()
            .all(|resource_type| !resource_type.in_patient_compartment())
        {
            let text = "_type: none of the types is in the Patient compartment; use the system-level export";
            self.findings.push(Issue::error(IssueCode::NotSupported, text));
        }
    }

    fn element_filter(&mut self) -> Option<ElementFilter> {
        if self.elements.is_empty() {
            return None;
        }
        ElementFilter::parse(self.elements.iter().map(String::as_str))
            .map_err(|error| {
                self.findings
                    .push(Issue::error(IssueCode::Value, format!("_elements: {error}")))
            })
            .ok()
    }
}
