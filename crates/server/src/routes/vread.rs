//! `GET [base]/{Type}/{id}/_history/{version}`: a version of a resource by its number (FHIR R4, vread).

use hyper::StatusCode;

use super::read::{deleted, unknown};
use crate::audit::note_resource;
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::resource::respond;
use crate::rest::history::{Version, version};

/// Answers 200 for a version, the newest or one that is still kept, 410 for a deletion, 404 for all others.
pub(super) async fn vread(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    match version(&call.app, (resource_type, &id), call.argument("version")).await? {
        Version::Resource(resource) => {
            note_resource(resource_type.name(), id.as_str(), &resource.text);
            Ok(respond(StatusCode::OK, resource.text, resource.version))
        }
        Version::Deleted(sequence) => Err(deleted(sequence)),
        Version::Unknown => match call.app.store.read(resource_type, id.as_str()).await? {
            Some(_) => Err(Problem::not_found(
                "there is no such version, or it is not kept any more",
            )),
            None => Err(unknown()),
        },
    }
}
