//! `GET [base]/{Type}/{id}/_history/{version}`: a version of a resource by its number, where it is the newest (FHIR R4, vread).

use fhirhose_store::{Found, Resource};
use hyper::StatusCode;

use super::read::{deleted, unknown};
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::resource::respond;

/// Answers 200 for the newest version, 410 for a deletion, 404 for all others: earlier versions cannot be read.
pub(super) async fn vread(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    let asked = call.argument("version");
    match call.app.store.read(resource_type, id.as_str()).await? {
        Some(Found::Resource(Resource { text, version, .. })) if version.sequence.0.to_string() == asked => {
            Ok(respond(StatusCode::OK, text, version))
        }
        Some(Found::Deleted(sequence)) if sequence.0.to_string() == asked => Err(deleted(sequence)),
        Some(_) => Err(Problem::not_found(
            "only the newest version of a resource can be read",
        )),
        None => Err(unknown()),
    }
}
