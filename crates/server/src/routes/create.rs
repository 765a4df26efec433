//! `POST [base]/{Type}`: creates a resource under an id of the server's (FHIR R4, create).

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::catalog::{Expect, HotAction, HotWrite};
use hyper::StatusCode;
use hyper::header::{HeaderName, LOCATION};
use uuid::Builder;

use crate::answer;
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::resource::{commit, prepare_as, respond, text_of, version_url};

/// Answers 201 with the resource, `Location` and `ETag`. An id in the body is replaced by a random UUID.
pub(super) async fn create(call: Call) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_interaction()?;
    if call.has(HeaderName::from_static("if-none-exist")) {
        // Ignoring it would make the duplicates that it is there to prevent.
        let text = "conditional create (If-None-Exist) is not supported";
        return Err(Problem::bad_request(IssueCode::NotSupported, text));
    }
    let app = call.app.clone();
    let text = call.json_body().await?;
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    let id = Builder::from_random_bytes(random).into_uuid().to_string();
    let prepared = prepare_as(&app, &text, (resource_type, &id))?;
    let write = HotWrite {
        resource_type,
        id: prepared.id,
        expect: Expect::Absent,
        action: HotAction::Put(prepared.body.clone()),
    };
    let written = commit(&app, write).await?;
    let mut response = respond(
        StatusCode::CREATED,
        text_of(&prepared.body, written.version),
        written.version,
    );
    let location = version_url(&app, (resource_type, &id), written.version.sequence);
    answer::set(response.headers_mut(), LOCATION, &location);
    Ok(response)
}
