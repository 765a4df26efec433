//! `PUT [base]/{Type}/{id}`: creates or replaces a resource under its id (FHIR R4, update).

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::catalog::{HotAction, HotDone, HotWrite};
use hyper::StatusCode;
use hyper::header::LOCATION;

use crate::answer;
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::resource::{commit, expectation, prepare, respond, text_of, version_url};

/// Answers 201 when the resource was not there, else 200; the same content again makes no new version.
///
/// `If-Match` with a version and `If-None-Match: *` are honoured (412).
pub(super) async fn update(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    let expect = expectation(&call, resource_type, &id).await?;
    let app = call.app.clone();
    let text = call.json_body().await?;
    let prepared = prepare(&app, &text, resource_type)?;
    if prepared.id != id.as_str() {
        let text = "the id in the body is not the one in the URL";
        return Err(Problem::bad_request(IssueCode::Invalid, text));
    }
    let write = HotWrite {
        resource_type,
        id: prepared.id,
        expect,
        action: HotAction::Put(prepared.body.clone()),
    };
    let written = commit(&app, write).await?;
    let status = match written.done {
        HotDone::Created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let mut response = respond(status, text_of(&prepared.body, written.version), written.version);
    let location = version_url(&app, (resource_type, id.as_str()), written.version.sequence);
    answer::set(response.headers_mut(), LOCATION, &location);
    Ok(response)
}
