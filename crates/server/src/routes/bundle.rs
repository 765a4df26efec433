//! `POST [base]`: a batch or a transaction (FHIR R4, http).

use hyper::StatusCode;

use crate::answer::{self, FHIR_JSON};
use crate::call::{Answer, Call};
use crate::rest::bundle::process as do_all;

/// Answers 200 with a Bundle of answers in the order of the entries.
pub(super) async fn process(call: Call) -> Answer {
    call.check_interaction()?;
    let (app, returns, rights) = (call.app.clone(), call.returns(), call.rights().clone());
    let body = call.json_body().await?;
    let answers = do_all(&app, &rights, &body, returns).await?;
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, answers);
    answer::not_stored(response.headers_mut());
    Ok(response)
}
