//! The token of a request, and what is answered without one: RFC 6750 and RFC 9728.

use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::http::request::Parts;

use crate::problem::Problem;
use crate::routes::path::decode;

/// Reads the token of a request. It belongs into the header `Authorization` and nowhere else: URLs are written to logs.
///
/// # Errors
/// 400 for a token in the query; 401 for none, for several, and for credentials of another kind.
pub(crate) fn bearer<'a>(head: &'a Parts, challenge: &Challenge) -> Result<&'a str, Problem> {
    let query = head.uri.query().unwrap_or_default();
    if query
        .split('&')
        .filter_map(|pair| decode(pair.split('=').next()?))
        .any(|name| name == "access_token")
    {
        let text = "an access token belongs into the header Authorization, never into a URL; this one has been seen, so get another";
        let problem = Problem::bad_request(IssueCode::Security, text);
        return Err(problem.with_header(WWW_AUTHENTICATE, challenge.text(Some("invalid_request"))));
    }
    let mut sent = head.headers.get_all(AUTHORIZATION).iter();
    let (Some(first), None) = (sent.next(), sent.next()) else {
        return Err(challenge.no_token());
    };
    let token = first.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then_some(token.trim())
            .filter(|token| !token.is_empty())
    });
    token.ok_or_else(|| challenge.no_token())
}

/// How a client is told to bring a token.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    /// Where it is said which authorization server gives tokens (RFC 9728).
    pub(crate) metadata_url: String,
}

impl Challenge {
    /// The value of `WWW-Authenticate`. A request that brought no token is told of no error (RFC 6750 §3.1).
    pub(crate) fn text(&self, error: Option<&str>) -> String {
        let error = error.map_or_else(String::new, |error| format!(", error=\"{error}\""));
        format!(
            "Bearer realm=\"fhirhose\"{error}, resource_metadata=\"{}\"",
            self.metadata_url
        )
    }

    /// Makes the 401 of a request without a token.
    pub(crate) fn no_token(&self) -> Problem {
        let text = "an access token is needed, in the header Authorization: Bearer";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        problem.with_header(WWW_AUTHENTICATE, self.text(None))
    }

    /// Makes the 401 of a token that is worth nothing; why is not told, for whoever holds it may have found it.
    pub(crate) fn invalid_token(&self) -> Problem {
        let text = "the access token is not valid, or not any more; get a new one";
        let problem = Problem::new(StatusCode::UNAUTHORIZED, IssueCode::Login, text);
        problem.with_header(WWW_AUTHENTICATE, self.text(Some("invalid_token")))
    }
}
