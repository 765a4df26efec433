//! `GET [base]/metadata`: the CapabilityStatement (spec §4.5).

use bytes::Bytes;
use hyper::StatusCode;

use crate::answer::{self, FHIR_JSON};
use crate::call::{Answer, Call};
use crate::conformance::statement;

/// Answers with the CapabilityStatement, which is made once: it says nothing that changes.
pub(super) async fn metadata(call: Call) -> Answer {
    call.check_interaction()?;
    let app = &call.app;
    let text = app
        .statement
        .get_or_init(|| Bytes::from(statement(app).to_string()));
    Ok(answer::text(StatusCode::OK, FHIR_JSON, text.clone()))
}
