//! `GET [base]/{Type}/{id}`: the newest version of a resource, of a Binary its content (FHIR R4, read; F-11).

use fhirhose_fhir::etag::EntityTag;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{Found, Resource, Sequence};
use hyper::StatusCode;
use hyper::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH};

use crate::answer::{self, FHIR_JSON};
use crate::audit::note_resource;
use crate::call::{Answer, Call};
use crate::conformance::definition;
use crate::problem::Problem;
use crate::resource::{describe, respond, tag};
use crate::rest::binary::{respond_with_content, wants_resource};

/// Answers 200, 304 to a matching `If-None-Match`, 404 for what never was, 410 for what was deleted.
pub(super) async fn read(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    let as_content = resource_type == ResourceType::BINARY && !wants_resource(&call);
    if !as_content {
        call.check_interaction()?;
    }
    let found = call.app.store.read(resource_type, id.as_str()).await?;
    if let Some(Found::Resource(resource)) = &found {
        note_resource(resource_type.name(), id.as_str(), &resource.text);
    }
    match found {
        Some(Found::Resource(resource)) if is_known(&call, resource.version)? => {
            let mut response = answer::empty(StatusCode::NOT_MODIFIED);
            describe(response.headers_mut(), resource.version);
            Ok(response)
        }
        Some(Found::Resource(resource)) if as_content => respond_with_content(&call, &resource),
        Some(Found::Resource(Resource { text, version, .. })) => Ok(respond(StatusCode::OK, text, version)),
        Some(Found::Deleted(sequence)) => Err(deleted(sequence)),
        // What was never stored may come with the server.
        None => match definition(resource_type, id.as_str(), &call.app.base_url) {
            Some(built_in) => Ok(answer::text(StatusCode::OK, FHIR_JSON, built_in.to_string())),
            None => Err(unknown()),
        },
    }
}

/// Makes the 404 of a resource that never was.
pub(super) fn unknown() -> Problem {
    Problem::not_found("there is no such resource")
}

/// Makes the 410 of a resource that was deleted.
pub(super) fn deleted(sequence: Sequence) -> Problem {
    let problem = Problem::new(StatusCode::GONE, IssueCode::Deleted, "the resource was deleted");
    problem.with_header(ETAG, tag(sequence))
}

/// Whether the client has the version already: by its tag, or where it names none by its time, which HTTP cuts to seconds.
fn is_known(call: &Call, version: Snapshot) -> Result<bool, Problem> {
    if call.has(IF_NONE_MATCH) {
        let current = EntityTag::of_version(version.sequence.0);
        let known = call.conditions()?.if_none_match;
        return Ok(known.is_some_and(|known| known.matches_weak(&current)));
    }
    // A date that cannot be read is as good as none (RFC 9110, 13.1.3).
    let since = call
        .value(IF_MODIFIED_SINCE)
        .and_then(|date| Instant::parse_http_date(date).ok());
    Ok(since.is_some_and(|since| version.instant.micros() < since.micros() + 1_000_000))
}
