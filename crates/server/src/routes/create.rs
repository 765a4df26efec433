//! `POST [base]/{Type}`: creates a resource under an id of the server's, also on condition (FHIR R4, create).

use hyper::header::HeaderName;

use super::written::respond_to_write;
use crate::call::{Answer, Call};
use crate::rest::write::create as write;

/// Answers 201 with the resource, `Location` and `ETag`. An id in the body is replaced by a random UUID.
///
/// With `If-None-Exist` it answers 200 with the one resource that matches, if there is one, and 412 if there are several.
pub(super) async fn create(call: Call) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_interaction()?;
    let if_none_exist = call.text_header(HeaderName::from_static("if-none-exist"))?;
    let (app, returns) = (call.app.clone(), call.returns());
    let text = call.json_body().await?;
    let done = write(&app, resource_type, &text, if_none_exist.as_deref()).await?;
    Ok(respond_to_write(&app, done, returns))
}
