//! `GET [base]/{Type}/{id}/_history`: what happened to a resource (FHIR R4, history of an instance).

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use hyper::StatusCode;

use super::read::unknown;
use crate::answer::{self, FHIR_JSON};
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::rest::history::{HistoryRequest, history as find};

/// Answers 200 with a `history` Bundle, newest first, deletions among them; 404 for what never was.
pub(super) async fn history(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_accept()?;
    let request = read(&call)?;
    let bundle = find(&call.app, call.rights(), (resource_type, &id), &request)
        .await?
        .ok_or_else(unknown)?;
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, bundle);
    answer::not_stored(response.headers_mut());
    Ok(response)
}

fn read(call: &Call) -> Result<HistoryRequest, Problem> {
    let mut request = HistoryRequest::default();
    let mut kept = Vec::new();
    for (piece, name, value) in call.parameters()? {
        let again = match name.as_str() {
            "_count" => request.count.replace(count(&value)?).is_some(),
            "_since" => request.since.replace(instant(&value)?).is_some(),
            "_cursor" => {
                request.cursor = Some(value);
                continue;
            }
            "_format" if value.contains("json") => false,
            _ => {
                let text = "a history takes _count, _since and _format=json only";
                return Err(Problem::bad_request(IssueCode::NotSupported, text));
            }
        };
        if again {
            return Err(Problem::bad_request(
                IssueCode::Value,
                "a parameter is given twice",
            ));
        }
        kept.push(piece);
    }
    request.query = kept.join("&");
    Ok(request)
}

/// Reads `_count`, which here is 1 at least: there is no count of a history alone.
pub(super) fn count(value: &str) -> Result<u32, Problem> {
    let count = value.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| Problem::bad_request(IssueCode::Value, "_count is not a number from 1 on"))
}

/// Reads an instant; a `+` that nobody escaped has become a space.
pub(super) fn instant(value: &str) -> Result<Instant, Problem> {
    Instant::parse(&value.replace(' ', "+"))
        .map_err(|_| Problem::bad_request(IssueCode::Value, "_since is no FHIR instant"))
}
