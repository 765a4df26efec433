//! `[base]/Patient/{id}/$everything`: a patient's whole record, in pages (FHIR R4, Patient-everything).

use std::collections::BTreeSet;

use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use hyper::StatusCode;
use serde_json::Value;

use super::history::{count, instant};
use super::read::unknown;
use crate::answer::{self, FHIR_JSON};
use crate::audit::note;
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::rest::everything::{EverythingRequest, everything as find};

/// Answers 200 with a `searchset`; 404 when there is no such patient (any more).
pub(super) async fn everything(call: Call) -> Answer {
    let patient = call.id()?;
    note(|told| told.add_patient(patient.as_str()));
    call.check_accept()?;
    let (app, rights) = (call.app.clone(), call.rights().clone());
    let given: Vec<(String, String)> = match call.is_post() {
        true if !call.query().is_empty() => {
            let text = "parameters of a POST are in its body; the URL takes none";
            return Err(Problem::bad_request(IssueCode::Value, text));
        }
        true => of_body(&call.json_body().await?)?,
        false => {
            let given = call.parameters()?.into_iter();
            given.map(|(_, name, value)| (name, value)).collect()
        }
    };
    let mut request = read(given)?;
    request.is_narrowed = request.types.is_none() && rights.narrows_records();
    request.types = Some(rights.types_of_record(request.types)?);
    let bundle = find(&app, &rights, &patient, &request)
        .await?
        .ok_or_else(unknown)?;
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, bundle);
    answer::not_stored(response.headers_mut());
    Ok(response)
}

fn read(given: Vec<(String, String)>) -> Result<EverythingRequest, Problem> {
    let mut request = EverythingRequest::default();
    let mut kept = Vec::new();
    for (name, value) in given {
        let again = match name.as_str() {
            "_type" => {
                let types = request.types.get_or_insert_with(BTreeSet::new);
                for each in value.split(',') {
                    types.insert(ResourceType::parse(each).ok_or_else(|| {
                        Problem::bad_request(IssueCode::Value, "_type names no resource type of R4")
                    })?);
                }
                false
            }
            "_count" => request.count.replace(count(&value)?).is_some(),
            "_since" => request.since.replace(instant(&value)?).is_some(),
            "_cursor" => {
                request.cursor = Some(value);
                continue;
            }
            "_format" if value.contains("json") => false,
            "start" | "end" => {
                let text = "start and end are not supported: types disagree on what the care date is; use _since or a search";
                return Err(Problem::bad_request(IssueCode::NotSupported, text));
            }
            _ => {
                let text = "$everything takes _type, _since, _count and _format=json only";
                return Err(Problem::bad_request(IssueCode::NotSupported, text));
            }
        };
        if again {
            return Err(Problem::bad_request(
                IssueCode::Value,
                "a parameter is given twice",
            ));
        }
        kept.push(format!("{name}={}", value.replace(['+', ' '], "%2B")));
    }
    request.query = kept.join("&");
    Ok(request)
}

/// Reads a Parameters resource whose values are texts or numbers; an empty body has none.
fn of_body(body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let wrong = |text: &str| Problem::bad_request(IssueCode::Structure, text);
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| wrong("the body is not JSON"))?;
    if body["resourceType"] != "Parameters" {
        return Err(wrong("the body is not a Parameters resource"));
    }
    let parameters = body["parameter"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let one = |parameter: &Value| {
        let name = parameter["name"].as_str()?.to_owned();
        let values = parameter
            .as_object()?
            .iter()
            .filter(|(member, _)| member.starts_with("value"));
        match values.map(|(_, value)| value).collect::<Vec<_>>().as_slice() {
            [Value::String(text)] => Some((name, text.clone())),
            [Value::Number(number)] => Some((name, number.to_string())),
            _ => None,
        }
    };
    let given = parameters.iter().map(one).collect::<Option<_>>();
    given.ok_or_else(|| wrong("a parameter has no name, or not one value that is a text or a number"))
}
