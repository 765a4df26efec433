//! What OAuth endpoints answer: JSON that nobody keeps, and the errors of RFC 6749 §5.2.
//!
//! An error is a [`Problem`] like all others, with the code that OAuth has for it; [`Problem::into_oauth_response`] writes it.

use fhirhose_fhir::outcome::IssueCode;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue, PRAGMA};
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::answer::{self, Body, JSON};
use crate::problem::Problem;

/// The media type of requests to OAuth endpoints, and the only one.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A code of RFC 6749 §5.2. All are answered with 400, which every suite that certifies servers takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OauthCode {
    InvalidRequest,
    InvalidClient,
    UnsupportedGrantType,
    InvalidScope,
}

impl OauthCode {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
        }
    }

    fn issue(self) -> IssueCode {
        match self {
            Self::InvalidRequest => IssueCode::Invalid,
            Self::InvalidClient => IssueCode::Login,
            Self::UnsupportedGrantType => IssueCode::NotSupported,
            Self::InvalidScope => IssueCode::Forbidden,
        }
    }
}

/// Makes a problem with this code. The text quotes nothing of the request.
pub(crate) fn fault(code: OauthCode, text: impl Into<String>) -> Problem {
    Problem::bad_request(code.issue(), text).with_oauth_code(code.name())
}

/// Makes an `invalid_request`.
pub(crate) fn invalid_request(text: impl Into<String>) -> Problem {
    fault(OauthCode::InvalidRequest, text)
}

/// Makes an `invalid_client`.
pub(crate) fn invalid_client(text: impl Into<String>) -> Problem {
    fault(OauthCode::InvalidClient, text)
}

/// Makes an `invalid_scope`.
pub(crate) fn invalid_scope(text: impl Into<String>) -> Problem {
    fault(OauthCode::InvalidScope, text)
}

/// The code that goes with a status which something outside of OAuth has decided, such as a limit.
pub(crate) fn code_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "invalid_token",
        StatusCode::FORBIDDEN => "insufficient_scope",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
        status if status.is_server_error() => "server_error",
        _ => OauthCode::InvalidRequest.name(),
    }
}

/// Makes an answer that nobody may keep.
pub(crate) fn json_answer(status: StatusCode, content: &Value) -> Response<Body> {
    let mut response = answer::text(status, JSON, content.to_string());
    not_kept(response.headers_mut());
    response
}

/// Says that nobody may keep an answer, to old caches too.
pub(crate) fn not_kept(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}
