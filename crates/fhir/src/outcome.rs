//! OperationOutcome: how every refusal, warning and failure is told to a FHIR client.
//!
//! [`OperationOutcome`] is a list of [`Issue`]s. It is written as one compact JSON line, so the same text serves as a
//! response body and as a line of an error file (spec §2.3). It does not choose HTTP status codes; that is the server's part.
//!
//! ```
//! use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
//! let outcome = OperationOutcome::error(IssueCode::NotFound, "no such job");
//! assert!(outcome.to_json().starts_with(r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","#));
//! ```

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How bad an issue is (FHIR value set issue-severity, R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The action failed and nothing further was checked.
    Fatal,
    /// The action failed, or a part of it did.
    Error,
    /// The action went on; the result may not be what was meant.
    Warning,
    /// Nothing is wrong.
    Information,
}

/// What kind of issue it is (FHIR value set issue-type, R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IssueCode {
    /// Content does not hold to the specification.
    Invalid,
    /// The text is not well-formed.
    Structure,
    /// Something mandatory is missing.
    Required,
    /// A value is outside what is allowed.
    Value,
    /// A rule between values is broken.
    Invariant,
    /// An authentication or authorization problem.
    Security,
    /// The client must log in.
    Login,
    /// The user or system cannot be told.
    #[serde(rename = "unknown")]
    UnknownUser,
    /// The session is over.
    Expired,
    /// The client may not do this.
    Forbidden,
    /// Some information was withheld.
    Suppressed,
    /// Processing failed.
    Processing,
    /// The interaction, operation, parameter or resource is not supported.
    NotSupported,
    /// A duplicate was found.
    Duplicate,
    /// Several matches were found where one was expected.
    MultipleMatches,
    /// The thing named is not there.
    NotFound,
    /// The thing named was deleted.
    Deleted,
    /// Content is longer than the limit.
    TooLong,
    /// A code is not known.
    CodeInvalid,
    /// An extension could not be understood.
    Extension,
    /// The operation costs too much.
    TooCostly,
    /// A rule of the application forbids it.
    BusinessRule,
    /// The version on which the change was based is not the current one.
    Conflict,
    /// A passing problem: try again (S-08: a poll that failed without the job failing).
    Transient,
    /// A lock could not be had.
    LockError,
    /// Nothing could be stored.
    NoStore,
    /// An unexpected error.
    Exception,
    /// It took too long.
    Timeout,
    /// Not all data sources could be reached.
    Incomplete,
    /// Too many requests.
    Throttled,
    /// Only for information. A code of another FHIR version is read as this one too.
    #[serde(other)]
    Informational,
}

/// One thing that is wrong, or worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: IssueCode,
    /// `details.text`: a sentence for people. Never resource content.
    pub details: String,
    /// `diagnostics`: where and why, for whoever looks for the cause.
    pub diagnostics: Option<String>,
    /// `expression[0]`: a FHIRPath to the element at fault.
    pub expression: Option<String>,
}

impl Issue {
    /// Makes an issue with a text and nothing else.
    pub fn new(severity: Severity, code: IssueCode, details: impl Into<String>) -> Self {
        Self {
            severity,
            code,
            details: details.into(),
            diagnostics: None,
            expression: None,
        }
    }

    /// Makes an issue of severity `error`.
    pub fn error(code: IssueCode, details: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, details)
    }

    /// Makes an issue of severity `warning`.
    pub fn warning(code: IssueCode, details: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, details)
    }

    /// Adds the diagnostics.
    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: impl Into<String>) -> Self {
        self.diagnostics = Some(diagnostics.into());
        self
    }

    /// Adds the FHIRPath of the element at fault.
    #[must_use]
    pub fn with_expression(mut self, expression: impl Into<String>) -> Self {
        self.expression = Some(expression.into());
        self
    }
}

/// A FHIR OperationOutcome: one or more issues, the first the most telling.
///
/// Serialises to, and reads from, the FHIR JSON form. A reader takes what other servers write: an issue without
/// `details` falls back to its `diagnostics`, a code that R4 does not have is read as `informational`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireOutcome", into = "WireOutcome")]
pub struct OperationOutcome {
    /// The issues; FHIR wants at least one.
    pub issues: Vec<Issue>,
}

impl OperationOutcome {
    /// Makes an outcome with one issue.
    pub fn of(issue: Issue) -> Self {
        Self { issues: vec![issue] }
    }

    /// Makes an outcome with one issue of severity `error`.
    pub fn error(code: IssueCode, details: impl Into<String>) -> Self {
        Self::of(Issue::error(code, details))
    }

    /// Makes an outcome with one issue of severity `warning`.
    pub fn warning(code: IssueCode, details: impl Into<String>) -> Self {
        Self::of(Issue::warning(code, details))
    }

    /// Makes an outcome that only informs (a 202 with a body, K-41, D-02).
    pub fn information(details: impl Into<String>) -> Self {
        Self::of(Issue::new(
            Severity::Information,
            IssueCode::Informational,
            details,
        ))
    }

    /// Reads an OperationOutcome that another server sent.
    ///
    /// # Errors
    /// [`ErrorKind::Json`] if the bytes are not a JSON object of that shape, [`ErrorKind::Invalid`] if it is another resource.
    pub fn parse(body: &[u8]) -> Result<Self> {
        let wire: WireOutcome =
            serde_json::from_slice(body).map_err(|source| Error::json("the OperationOutcome", &source))?;
        Self::try_from(wire)
    }

    /// Writes the outcome as one compact JSON line without a line feed.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an outcome is strings and enums, which always serialise")
    }
}

/// Most issues that one answer lists: a request of a megabyte can hold half a million mistakes.
pub(crate) const LISTED_ISSUES_MAX: usize = 50;

/// Gathers every problem of a request, so that the client learns all of them at once (K-48).
#[derive(Default)]
pub(crate) struct Findings {
    issues: Vec<Issue>,
    unlisted: usize,
}

impl Findings {
    /// Adds a problem; beyond the limit it is only counted.
    pub(crate) fn push(&mut self, issue: Issue) {
        if self.issues.len() < LISTED_ISSUES_MAX {
            self.issues.push(issue);
        } else {
            self.unlisted += 1;
        }
    }

    /// Gives the value if nothing was found, else all that was.
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, OperationOutcome> {
        if self.issues.is_empty() {
            return Ok(value);
        }
        if self.unlisted > 0 {
            let text = format!("{} further problems are not listed", self.unlisted);
            self.issues.push(Issue::error(IssueCode::TooLong, text));
        }
        Err(OperationOutcome { issues: self.issues })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireOutcome {
    resource_type: String,
    #[serde(default)]
    issue: Vec<WireIssue>,
}

#[derive(Serialize, Deserialize)]
struct WireIssue {
    severity: Severity,
    code: IssueCode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<WireDetails>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    diagnostics: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expression: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct WireDetails {
    #[serde(default)]
    text: String,
}

impl From<OperationOutcome> for WireOutcome {
    fn from(outcome: OperationOutcome) -> Self {
        let issue = outcome.issues.into_iter().map(WireIssue::from).collect();
        Self {
            resource_type: "OperationOutcome".to_owned(),
            issue,
        }
    }
}

impl From<Issue> for WireIssue {
    fn from(issue: Issue) -> Self {
        Self {
            severity: issue.severity,
            code: issue.code,
            details: Some(WireDetails { text: issue.details }),
            diagnostics: issue.diagnostics,
            expression: issue.expression.into_iter().collect(),
        }
    }
}

impl TryFrom<WireOutcome> for OperationOutcome {
    type Error = Error;

    fn try_from(wire: WireOutcome) -> Result<Self> {
        if wire.resource_type != "OperationOutcome" {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the resource is not an OperationOutcome",
            ));
        }
        Ok(Self {
            issues: wire.issue.into_iter().map(Issue::from).collect(),
        })
    }
}

impl From<WireIssue> for Issue {
    fn from(wire: WireIssue) -> Self {
        let text = wire
            .details
            .map(|details| details.text)
            .filter(|text| !text.is_empty());
        Self {
            severity: wire.severity,
            code: wire.code,
            details: text.or_else(|| wire.diagnostics.clone()).unwrap_or_default(),
            diagnostics: wire.diagnostics,
            expression: wire.expression.into_iter().next(),
        }
    }
}
