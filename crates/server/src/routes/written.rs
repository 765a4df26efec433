//! What writes answer: status, version headers, and the body that `Prefer: return` asks for.

use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::prefer::Return;
use hyper::header::{ETAG, LOCATION};
use hyper::{Response, StatusCode};

use crate::answer::{self, Body, FHIR_JSON};
use crate::app::App;
use crate::resource::{describe, tag, version_url};
use crate::rest::write::Done;

/// Answers a create or update.
pub(super) fn respond_to_write(app: &App, done: Done, returns: Return) -> Response<Body> {
    let mut response = match (returns, done.text) {
        (Return::Representation, Some(text)) => answer::text(done.status, FHIR_JSON, text),
        (Return::OperationOutcome, _) => {
            let what = if done.status == StatusCode::CREATED {
                "the resource was created"
            } else {
                "the resource is as it was sent, or as it matches the condition"
            };
            answer::text(
                done.status,
                FHIR_JSON,
                OperationOutcome::information(what).to_json(),
            )
        }
        _ => answer::empty(done.status),
    };
    if let Some(version) = done.version {
        describe(response.headers_mut(), version);
        let location = version_url(app, (done.resource_type, &done.id), version.sequence);
        answer::set(response.headers_mut(), LOCATION, &location);
    }
    response
}

/// Answers a deletion.
pub(super) fn respond_to_delete(done: &Done) -> Response<Body> {
    let mut response = answer::empty(done.status);
    if let Some(version) = done.version {
        answer::set(response.headers_mut(), ETAG, &tag(version.sequence));
    }
    response
}
