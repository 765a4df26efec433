//! `GET [base]/$digest`: the tree of hashes over a type. An extension of this server (`docs/decisions/0022-two-way-and-reconcile.md`).

use fhirhose_auth::Actions;
use fhirhose_bulk::reconcile::Listing;
use fhirhose_bulk::reconcile::tree::{Ask, Prefix};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use hyper::StatusCode;

use crate::answer::{self, FHIR_JSON};
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::rest::digest::{DigestRequest, digest as make};

/// Answers 200 with a Parameters resource.
pub(super) async fn digest(call: Call) -> Answer {
    call.check_accept()?;
    // Before anything is said of the parameters.
    call.rights().check_not_held()?;
    let given = call.parameters()?.into_iter();
    let request = read(given.map(|(_, name, value)| (name, value)))?;
    call.rights()
        .check(Actions::READ.with(Actions::SEARCH), request.resource_type)?;
    let parameters = make(&call.app, call.rights(), &request).await?;
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, parameters.to_string());
    answer::not_stored(response.headers_mut());
    Ok(response)
}

fn read(given: impl Iterator<Item = (String, String)>) -> Result<DigestRequest, Problem> {
    let wrong = |text: &str| Problem::bad_request(IssueCode::Value, text);
    let (mut resource_type, mut depth, mut listing, mut cursor) = (None, None, None, None);
    let mut prefixes = Vec::new();
    for (name, value) in given {
        let again = match name.as_str() {
            "_type" => {
                let known = ResourceType::parse(&value);
                let known = known.ok_or_else(|| wrong("_type names no resource type of FHIR R4"))?;
                resource_type.replace(known).is_some()
            }
            "prefix" => {
                for text in value.split(',') {
                    let prefix: Prefix = text
                        .parse()
                        .map_err(|_| wrong("prefix: 0 to 16 digits of 0-9 and a-f"))?;
                    prefixes.push(prefix);
                }
                false
            }
            "depth" => {
                let digits = value.parse().map_err(|_| wrong("depth is no number of digits"))?;
                depth.replace(digits).is_some()
            }
            "entries" => {
                let wanted = match value.as_str() {
                    "true" => Listing::Entries,
                    "false" => Listing::Buckets,
                    _ => return Err(wrong("entries is true or false")),
                };
                listing.replace(wanted).is_some()
            }
            "_cursor" => cursor.replace(value).is_some(),
            "_format" if value.contains("json") => false,
            _ => {
                let text = "$digest takes _type, prefix, depth, entries and _format=json only";
                return Err(Problem::bad_request(IssueCode::NotSupported, text));
            }
        };
        if again {
            return Err(wrong("a parameter is given twice"));
        }
    }
    let resource_type = resource_type.ok_or_else(|| wrong("_type is missing: a tree is of one type"))?;
    let ask = Ask::new(prefixes, depth.unwrap_or(0)).map_err(|why| wrong(&why.to_string()))?;
    let listing = listing.unwrap_or(Listing::Buckets);
    Ok(DigestRequest {
        query: query(resource_type, &ask, listing),
        resource_type,
        ask,
        listing,
        cursor,
    })
}

/// The request as a query of one form, by which its cursors are told from others'.
fn query(resource_type: ResourceType, ask: &Ask, listing: Listing) -> String {
    let prefixes: Vec<String> = ask.prefixes().iter().map(ToString::to_string).collect();
    format!(
        "_type={resource_type}&prefix={}&depth={}&entries={}",
        prefixes.join(","),
        ask.depth(),
        listing == Listing::Entries
    )
}
