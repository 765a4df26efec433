//! Single resources: from a request's body to what the store keeps, and from there to an answer.
//!
//! The rules for a body are those of an import's line ([`fhirhose_fhir::line`]); only white space between tokens is dropped first,
//! because people send JSON over many lines.

use fhirhose_fhir::cohort_group::check_cohort;
use fhirhose_fhir::etag::EntityTag;
use fhirhose_fhir::line::{LineChecker, LineLimits, Refusal, Rule};
use fhirhose_fhir::meta::{write_spliced, write_stored};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::Sequence;
use fhirhose_store::catalog::{Commit, Expect, HotBody, HotResult, HotWrite, Origin, Snapshot, Write};
use hyper::header::{ETAG, HeaderMap, LAST_MODIFIED};
use hyper::{Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use crate::answer::{self, Body, FHIR_JSON};
use crate::app::App;
use crate::compact::compact;
use crate::problem::Problem;

/// A resource that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) resource_type: ResourceType,
    /// Its id, as its text says.
    pub(crate) id: String,
    pub(crate) body: HotBody,
}

/// Prepares a resource that says its id itself.
///
/// # Errors
/// 400 for a text that breaks a rule or is of another type.
pub(crate) fn prepare(app: &App, text: &[u8], resource_type: ResourceType) -> Result<Prepared, Problem> {
    prepare_checked(app, &compact(text), resource_type)
}

/// Prepares a resource under an id of ours; an id that it says itself is replaced.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_as(
    app: &App,
    text: &[u8],
    (resource_type, id): (ResourceType, &str),
) -> Result<Prepared, Problem> {
    let line = compact(text);
    let mut checker = LineChecker::new(limits(app));
    let named = match checker.check(&line, Some(resource_type)) {
        Ok(checked) => {
            let (before, rest) = line.split_at(checked.id_at);
            [before, id.as_bytes(), &rest[checked.id.len()..]].concat()
        }
        // The object has a type, so that there is a member behind which the comma belongs.
        Err(refusal) if refusal.rule == Rule::IdMissing => {
            let rest = line.strip_prefix(b"{").unwrap_or_default();
            [br#"{"id":""#, id.as_bytes(), br#"","#, rest].concat()
        }
        Err(refusal) => return Err(Problem::of_refusal(&refusal)),
    };
    prepare_checked(app, &named, resource_type)
}

/// Whether a text says an id, as far as it can be read that far.
pub(crate) fn says_its_id(app: &App, text: &[u8], resource_type: ResourceType) -> bool {
    let line = compact(text);
    let checked = LineChecker::new(limits(app))
        .check(&line, Some(resource_type))
        .map(|_| ());
    !matches!(checked, Err(refusal) if refusal.rule == Rule::IdMissing)
}

/// Holds a line to the rules of all resources, and a cohort to its profile.
fn prepare_checked(app: &App, line: &[u8], resource_type: ResourceType) -> Result<Prepared, Problem> {
    let prepared = prepare_line(limits(app), line, resource_type);
    let prepared = prepared.map_err(|refusal| Problem::of_refusal(&refusal))?;
    if resource_type == ResourceType::GROUP {
        check_cohort(&prepared.body.body, &app.base_url, app.now())?;
    }
    Ok(prepared)
}

/// Prepares a line within these limits.
///
/// # Errors
/// The rule that the line breaks.
pub(crate) fn prepare_line(
    limits: LineLimits,
    line: &[u8],
    resource_type: ResourceType,
) -> Result<Prepared, Refusal> {
    let mut checker = LineChecker::new(limits);
    let checked = checker.check(line, Some(resource_type))?;
    let mut body = Vec::with_capacity(line.len());
    let stored = write_stored(line, &checked, None, &mut body);
    Ok(Prepared {
        resource_type,
        id: checked.id.to_owned(),
        body: HotBody {
            owner: checked.owner.map(str::to_owned),
            others: checked.other_patients.iter().map(str::to_owned).collect(),
            hash: xxh3_64(&body),
            splice: stored.splice,
            id_at: stored.id_at,
            subsetted: checked.subsetted,
            body,
        },
    })
}

fn limits(app: &App) -> LineLimits {
    LineLimits {
        // The id that we add does not count.
        line_bytes_max: app.settings.body_bytes_max.saturating_add(128),
        depth_max: app.settings.import.depth_max,
    }
}

/// Writes one resource; durable when this returns.
///
/// # Errors
/// 412 when the expectation does not hold, 409 when a resource tagged SUBSETTED would replace a fuller one.
pub(crate) async fn commit(app: &App, write: HotWrite) -> Result<HotResult, Problem> {
    let conditional = write.expect != Expect::Any;
    let commit = Commit {
        write: Write::Hot(vec![write]),
        job: None,
        origin: Origin::default(),
    };
    match app.store.catalog().commit(commit).await {
        Ok(committed) => {
            let result = committed.results.first().copied();
            Ok(result.expect("one write has one result"))
        }
        Err(error) if conditional && error.kind() == fhirhose_store::ErrorKind::Conflict => Err(
            Problem::precondition("the resource has changed, or is not what was expected"),
        ),
        Err(error) => Err(error.into()),
    }
}

/// Makes the text of a version that was just written.
pub(crate) fn text_of(body: &HotBody, version: Snapshot) -> Vec<u8> {
    let mut text = Vec::new();
    write_spliced(
        &body.body,
        body.splice,
        version.sequence.0,
        version.instant,
        &mut text,
    );
    text
}

/// Answers with a version of a resource.
pub(crate) fn respond(status: StatusCode, text: Vec<u8>, version: Snapshot) -> Response<Body> {
    let mut response = answer::text(status, FHIR_JSON, text);
    describe(response.headers_mut(), version);
    response
}

/// Adds the headers that name a version.
pub(crate) fn describe(headers: &mut HeaderMap, version: Snapshot) {
    answer::set(headers, ETAG, &tag(version.sequence));
    answer::set(headers, LAST_MODIFIED, &version.instant.http_date());
    answer::not_stored(headers);
}

/// Makes the entity tag of a version.
pub(crate) fn tag(sequence: Sequence) -> String {
    EntityTag::of_version(sequence.0).to_string()
}

/// Makes the URL of a version.
pub(crate) fn version_url(
    app: &App,
    (resource_type, id): (ResourceType, &str),
    sequence: Sequence,
) -> String {
    app.url(&format!("{resource_type}/{id}/_history/{}", sequence.0))
}
