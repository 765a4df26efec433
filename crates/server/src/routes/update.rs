//! `PUT [base]/{Type}/{id}` and `PUT [base]/{Type}?condition`: creates or replaces a resource (FHIR R4, update).

use super::written::respond_to_write;
use crate::call::{Answer, Call};
use crate::rest::visit::Budget;
use crate::rest::write::{update as write, update_where};

/// Answers 201 when the resource was not there, else 200; the same content again makes no new version.
///
/// `If-Match` with a version and `If-None-Match: *` are honoured (412).
pub(super) async fn update(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    let (app, returns, conditions) = (call.app.clone(), call.returns(), call.conditions()?);
    let rights = call.rights().clone();
    let text = call.json_body().await?;
    rights.check_filters(&app, resource_type, &text)?;
    let done = write(&app, (resource_type, &id), &text, &conditions).await?;
    Ok(respond_to_write(&app, done, returns))
}

/// The same for the one resource that the query matches; 201 when none does, 412 when several do.
pub(super) async fn conditional(call: Call) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_accept()?;
    let (app, returns, conditions) = (call.app.clone(), call.returns(), call.conditions()?);
    let (query, rights) = (call.query().to_owned(), call.rights().clone());
    let text = call.json_body().await?;
    rights.check_filters(&app, resource_type, &text)?;
    let budget = Budget::of(&app.settings.rest);
    let done = update_where(&app, (resource_type, &query), &text, &conditions, &budget).await?;
    Ok(respond_to_write(&app, done, returns))
}
