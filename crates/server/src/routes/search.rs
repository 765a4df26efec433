//! `GET [base]/{Type}?…` and `POST [base]/{Type}/_search`: search of one type (FHIR R4, search).

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::prefer::Preferences;
use hyper::StatusCode;
use hyper::header::HeaderName;

use crate::answer::{self, FHIR_JSON};
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::rest::search::search;
use crate::rest::visit::Budget;

/// Answers 200 with a `searchset`.
pub(super) async fn by_query(call: Call) -> Answer {
    answer_search(call, false).await
}

/// The same with parameters in the body, a form, beside those of the URL.
pub(super) async fn by_form(call: Call) -> Answer {
    answer_search(call, true).await
}

/// Refuses a search of all types, which would be neither narrowed by any order nor said to be limited.
pub(super) async fn whole_system(call: Call) -> Answer {
    call.check_accept()?;
    let text = "searching all types at once is not supported; search one type, such as [base]/Patient";
    Err(Problem::bad_request(IssueCode::NotSupported, text))
}

async fn answer_search(call: Call, has_form: bool) -> Answer {
    let resource_type = call.resource_type()?;
    call.check_accept()?;
    let handling = Preferences::parse(call.values(HeaderName::from_static("prefer"))).handling;
    let (app, query, rights) = (call.app.clone(), call.query().to_owned(), call.rights().clone());
    let form = if has_form {
        call.form_body().await?
    } else {
        String::new()
    };
    let bundle = search(
        &app,
        &rights,
        (resource_type, &[&query, &form]),
        handling,
        &Budget::of(&app.settings.rest),
    )
    .await?;
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, bundle);
    answer::not_stored(response.headers_mut());
    Ok(response)
}
