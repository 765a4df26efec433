//! What goes wrong with a request, and the only place where kinds of errors become a status and an OperationOutcome.

use std::error::Error as StdError;

use fhirhose_bulk::ErrorKind as BulkKind;
use fhirhose_fhir::line::Refusal;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome};
use fhirhose_jobs::{ErrorKind as JobsKind, Failure};
use fhirhose_store::ErrorKind as StoreKind;
use hyper::header::{HeaderName, RETRY_AFTER};
use hyper::{Response, StatusCode};

use serde_json::json;

use crate::answer::{self, Body, FHIR_JSON};
use crate::authority::oauth;
use crate::clients::ClientFault;

/// What a client is told of a failure that is not its own; the cause goes to the log.
const INTERNAL: &str = "the server failed; its log says why";

/// A request that cannot be honoured: a status with its OperationOutcome (K-42, S-07, D-03, F-03).
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    outcome: OperationOutcome,
    headers: Vec<(HeaderName, String)>,
    /// The error code, if it is one of OAuth.
    oauth_code: Option<&'static str>,
    cause: Option<String>,
}

impl Problem {
    /// Makes a problem with one issue.
    pub(crate) fn new(status: StatusCode, code: IssueCode, text: impl Into<String>) -> Self {
        Self::of(status, OperationOutcome::error(code, text))
    }

    /// Makes a problem out of an outcome.
    pub(crate) fn of(status: StatusCode, outcome: OperationOutcome) -> Self {
        Self {
            status,
            outcome,
            headers: Vec::new(),
            oauth_code: None,
            cause: None,
        }
    }

    /// Makes a 400 with one issue.
    pub(crate) fn bad_request(code: IssueCode, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    /// Makes a 404.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, IssueCode::NotFound, text)
    }

    /// Makes a 412.
    pub(crate) fn precondition(text: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, IssueCode::Conflict, text)
    }

    /// Makes a 400 out of a resource that breaks a rule of [`fhirhose_fhir::line`].
    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        let place = format!(
            "byte offset {} without white space, rule {}",
            refusal.offset,
            refusal.rule.code()
        );
        let issue = Issue::error(IssueCode::Invalid, &refusal.message).with_diagnostics(place);
        Self::of(StatusCode::BAD_REQUEST, OperationOutcome::of(issue))
    }

    /// Makes the answer of a job that failed (S-07).
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        let (status, code) = match failure.code.as_str() {
            "invalid-spec" | "not-found" => (StatusCode::UNPROCESSABLE_ENTITY, IssueCode::Invalid),
            "input-unreachable" => (StatusCode::FAILED_DEPENDENCY, IssueCode::Incomplete),
            "input-changed" => (StatusCode::CONFLICT, IssueCode::Conflict),
            "disk-full" | "storage-full" => (StatusCode::INSUFFICIENT_STORAGE, IssueCode::NoStore),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception),
        };
        let issue =
            Issue::error(code, &failure.message).with_diagnostics(format!("failure {}", failure.code));
        Self::of(status, OperationOutcome::of(issue))
    }

    /// Makes the 500 of a handler that panicked. What it said may hold content of resources, so it stays out of answer and log.
    pub(crate) fn panicked() -> Self {
        let mut problem = Self::internal();
        problem.cause = Some("a request handler panicked".to_owned());
        problem
    }

    /// Makes the 503 of something that may pass.
    pub(crate) fn transient(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, IssueCode::Transient, text).with_header(RETRY_AFTER, "5")
    }

    /// Adds a header; the value is of visible ASCII characters.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says which error of OAuth it is.
    #[must_use]
    pub(crate) fn with_oauth_code(mut self, code: &'static str) -> Self {
        self.oauth_code = Some(code);
        self
    }

    /// Says where in the request the problem is, as a FHIRPath, unless it says so already.
    #[must_use]
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        if let Some(first) = self.outcome.issues.first_mut() {
            first.expression.get_or_insert_with(|| place.into());
        }
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client is told.
    pub(crate) fn outcome(&self) -> &OperationOutcome {
        &self.outcome
    }

    /// Whether it is a 412.
    pub(crate) fn is_precondition(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED
    }

    /// What the log is to say of it, if the server is to blame.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Makes the response.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = answer::text(self.status, FHIR_JSON, self.outcome.to_json());
        answer::not_stored(response.headers_mut());
        for (name, value) in self.headers {
            answer::set(response.headers_mut(), name, &value);
        }
        response
    }

    /// Makes the response of an OAuth endpoint.
    pub(crate) fn into_oauth_response(self) -> Response<Body> {
        let error = self.oauth_code.unwrap_or_else(|| oauth::code_of(self.status));
        let description = self.outcome.issues.first().map(|issue| issue.details.as_str());
        let content = json!({ "error": error, "error_description": description });
        let mut response = oauth::json_answer(self.status, &content);
        for (name, value) in self.headers {
            answer::set(response.headers_mut(), name, &value);
        }
        response
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, IssueCode::Exception, INTERNAL)
    }

    fn disk_full() -> Self {
        let text = "no space is left on the server's disk; nothing was written";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, IssueCode::NoStore, text)
    }

    /// Tells the log why.
    #[must_use]
    pub(crate) fn because(mut self, error: &(dyn StdError + 'static)) -> Self {
        self.cause = Some(Failure::from_error("", error).message);
        self
    }
}

impl From<OperationOutcome> for Problem {
    /// A request that the parsers of `fhir` refuse is a 400.
    fn from(outcome: OperationOutcome) -> Self {
        Self::of(StatusCode::BAD_REQUEST, outcome)
    }
}

impl From<fhirhose_store::Error> for Problem {
    fn from(error: fhirhose_store::Error) -> Self {
        match error.kind() {
            StoreKind::DiskFull => Self::disk_full(),
            StoreKind::Conflict => Self::new(StatusCode::CONFLICT, IssueCode::Conflict, error.to_string()),
            _ => Self::internal(),
        }
        .because(&error)
    }
}

impl From<ClientFault> for Problem {
    fn from(fault: ClientFault) -> Self {
        let text = fault.to_string();
        match fault {
            ClientFault::Invalid(_) => Self::bad_request(IssueCode::Invalid, text),
            ClientFault::Unknown => Self::not_found(text),
            ClientFault::Exists => Self::new(StatusCode::CONFLICT, IssueCode::Duplicate, text),
            ClientFault::Revoked | ClientFault::Full => {
                Self::new(StatusCode::CONFLICT, IssueCode::BusinessRule, text)
            }
            ClientFault::Busy | ClientFault::Untold => Self::transient(text),
            ClientFault::Store(error) => error.into(),
        }
    }
}

impl From<fhirhose_jobs::Error> for Problem {
    fn from(error: fhirhose_jobs::Error) -> Self {
        match error.kind() {
            JobsKind::StorageFull => Self::disk_full(),
            JobsKind::Unavailable => Self::transient("the job store does not answer; try again"),
            _ => Self::internal(),
        }
        .because(&error)
    }
}

impl From<fhirhose_bulk::Error> for Problem {
    fn from(error: fhirhose_bulk::Error) -> Self {
        match error.kind() {
            BulkKind::Invalid => Self::bad_request(IssueCode::Invalid, error.to_string()),
            BulkKind::NotFound => Self::not_found(error.to_string()),
            BulkKind::DiskFull => Self::disk_full().because(&error),
            BulkKind::Unreachable => Self::transient("the store does not answer; try again").because(&error),
            _ => Self::internal().because(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_answers_4xx_or_5xx_with_its_message_s_07() {
        for (code, status) in [
            ("invalid-spec", 422),
            ("input-unreachable", 424),
            ("input-changed", 409),
            ("disk-full", 507),
            ("storage", 500),
            ("never heard of", 500),
        ] {
            let problem = Problem::of_failure(&Failure::new(code, "what happened"));
            assert_eq!(problem.status.as_u16(), status, "{code}");
            assert!(problem.outcome.to_json().contains("what happened"));
        }
    }

    #[test]
    fn a_poll_that_fails_without_the_job_is_transient_s_08() {
        let error = fhirhose_jobs::Error::new(JobsKind::Unavailable, "the job store is away");
        let problem = Problem::from(error);
        assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem.outcome.issues[0].code, IssueCode::Transient);
        assert!(problem.headers.iter().any(|(name, _)| name == RETRY_AFTER));
    }

    #[test]
    fn an_internal_error_tells_the_log_more_than_the_client() {
        let below = std::io::Error::other("disk 7 is on fire");
        let error = fhirhose_store::Error::io("reading run a", below);
        let problem = Problem::from(error);
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(problem.cause(), Some("reading run a: disk 7 is on fire"));
        assert!(!problem.outcome.to_json().contains("fire"));
    }
}
