//! `POST [base]/{Type}`: creates a resource under an id of the server's, also on condition (FHIR R4, create).

use fhirhose_auth::Actions;
use fhirhose_fhir::resource_type::ResourceType;
use hyper::header::HeaderName;

use super::status::{accepted, check_room};
use super::written::respond_to_write;
use crate::call::{Answer, Call};
use crate::create_job::{CREATE, submit_create};
use crate::resource::prepare_as;
use crate::rest::visit::Budget;
use crate::rest::write::{create as write, new_id};

/// Answers 201 with the resource, `Location` and `ETag`. An id in the body is replaced by a random UUID.
///
/// A Group is created as a job where the client prefers `respond-async` (C-01).
///
/// With `If-None-Exist` it answers 200 with the one resource that matches, if there is one, and 412 if there are several.
pub(super) async fn create(call: Call) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_interaction()?;
    let if_none_exist = call.text_header(HeaderName::from_static("if-none-exist"))?;
    let (app, returns) = (call.app.clone(), call.returns());
    // C-01: only cohorts must be created so; other types are done at once whatever is preferred.
    let as_job =
        resource_type == ResourceType::GROUP && if_none_exist.is_none() && call.preferences().respond_async;
    let rights = call.rights().clone();
    if if_none_exist.is_some() {
        // The answer is what matches.
        rights.check(Actions::READING, resource_type)?;
    }
    let text = call.json_body().await?;
    rights.check_filters(&app, resource_type, &text)?;
    if as_job {
        check_room(&app, rights.grant(), CREATE).await?;
        let prepared = prepare_as(&app, &text, (resource_type, &new_id(&app)))?;
        let job = submit_create(&app.store, prepared, &rights.grant().client, &*app.entropy).await?;
        return Ok(accepted(&app, "$async-status", &job));
    }
    let budget = Budget::of(&app.settings.rest);
    let done = write(&app, resource_type, &text, if_none_exist.as_deref(), &budget).await?;
    Ok(respond_to_write(&app, done, returns))
}
