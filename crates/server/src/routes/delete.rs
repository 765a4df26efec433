//! `DELETE [base]/{Type}/{id}` and `DELETE [base]/{Type}?condition`: deletes a resource; exports with `_since` tell of it
//! (FHIR R4, delete; M-30).

use super::written::respond_to_delete;
use crate::call::{Answer, Call};
use crate::rest::visit::Budget;
use crate::rest::write::{delete as write, delete_where};

/// Answers 204, also when there is nothing (any more) to delete. `If-Match` is honoured (412).
pub(super) async fn delete(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    let done = write(&call.app, (resource_type, id.as_str()), &call.conditions()?).await?;
    Ok(respond_to_delete(&done))
}

/// The same for the one resource that the query matches; 412 when several do.
pub(super) async fn conditional(call: Call) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_accept()?;
    let budget = Budget::of(&call.app.settings.rest);
    let wanted = (resource_type, call.query());
    let done = delete_where(&call.app, wanted, &call.conditions()?, &budget).await?;
    Ok(respond_to_delete(&done))
}
