//! The documents below `.well-known`: for everybody, as JSON, whatever `Accept` says.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::Value;

use crate::answer::{self, JSON};
use crate::call::{Answer, Call};
use crate::problem::Problem;

/// Answers `[base]/.well-known/smart-configuration`.
pub(super) async fn smart_configuration(call: Call) -> Answer {
    document(call.app.authority.smart_configuration().await?)
}

/// Answers `/.well-known/oauth-authorization-server` (RFC 8414).
pub(super) async fn authorization_server(call: Call) -> Answer {
    document(call.app.authority.server_metadata())
}

/// Answers `/.well-known/oauth-protected-resource/fhir` (RFC 9728).
pub(super) async fn protected_resource(call: Call) -> Answer {
    document(call.app.authority.resource_metadata())
}

fn document(content: Option<Value>) -> Answer {
    let content = content.ok_or_else(|| Problem::not_found("there is no such authorization server here"))?;
    let mut response = answer::text(StatusCode::OK, JSON, content.to_string());
    let kept = HeaderValue::from_static("public, max-age=300");
    response.headers_mut().insert(CACHE_CONTROL, kept);
    Ok(response)
}
