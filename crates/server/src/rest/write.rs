//! Writing single resources: create, update and delete, by id or by what a condition matches (FHIR R4, http).
//!
//! A condition is looked up and acted upon under one lock of the process that holds the store, so that two requests with the same
//! condition do not both create. Writes without a condition, and imports, do not wait for that lock.

use fhirhose_fhir::etag::EntityTags;
use fhirhose_fhir::id::Id;
use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::prefer::Handling;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::Criteria;
use fhirhose_fhir::search_request::{Order, SearchRequest, Total};
use fhirhose_store::catalog::{Expect, HotAction, HotDone, HotWrite, Snapshot};
use fhirhose_store::{ErrorKind, Found, Resource};
use hyper::StatusCode;
use uuid::Builder;

use super::search::first_two;
use super::visit::{Budget, Hit};
use crate::app::App;
use crate::audit::{note, note_resource};
use crate::problem::Problem;
use crate::resource::{Prepared, commit, prepare, prepare_as, says_its_id, text_of};

/// How often a deletion starts anew because somebody wrote the resource meanwhile.
pub(crate) const TRIES: u32 = 5;

/// What a write demands of the newest version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    /// `If-Match`
    pub(crate) if_match: Option<EntityTags>,
    /// `If-None-Match`
    pub(crate) if_none_match: Option<EntityTags>,
}

/// What became of an interaction, however it was asked for.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: StatusCode,
    pub(crate) resource_type: ResourceType,
    pub(crate) id: String,
    /// The version that is the newest now; none where there is none.
    pub(crate) version: Option<Snapshot>,
    /// The resource as it is now.
    pub(crate) text: Option<Vec<u8>>,
}

impl Done {
    /// A resource that is there.
    pub(crate) fn with(status: StatusCode, hit: Hit) -> Self {
        note_resource(hit.resource_type.name(), &hit.id, &hit.text);
        Self {
            status,
            resource_type: hit.resource_type,
            id: hit.id,
            version: Some(hit.version),
            text: Some(hit.text),
        }
    }

    /// A resource that is not there (any more).
    pub(crate) fn gone((resource_type, id): (ResourceType, &str), version: Option<Snapshot>) -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            resource_type,
            id: id.to_owned(),
            version,
            text: None,
        }
    }
}

/// Creates a resource under an id of ours, unless something matches `if_none_exist`.
///
/// # Errors
/// 400 for a text or condition that breaks a rule, 412 when several resources match.
pub(crate) async fn create(
    app: &App,
    resource_type: ResourceType,
    text: &[u8],
    if_none_exist: Option<&str>,
    budget: &Budget,
) -> Result<Done, Problem> {
    let _alone;
    if let Some(query) = if_none_exist {
        _alone = app.conditional.lock().await;
        let criteria = condition(app, resource_type, query)?;
        if let Some(hit) = only_match(app, &criteria, budget).await? {
            return Ok(Done::with(StatusCode::OK, hit));
        }
    }
    put(
        app,
        prepare_as(app, text, (resource_type, &new_id(app)))?,
        Expect::Absent,
    )
    .await
}

/// Creates or replaces a resource under its id.
///
/// # Errors
/// 400 for a text that breaks a rule or says another id, 412 when the conditions do not hold.
pub(crate) async fn update(
    app: &App,
    (resource_type, id): (ResourceType, &Id),
    text: &[u8],
    conditions: &Conditions,
) -> Result<Done, Problem> {
    let expect = expectation(app, (resource_type, id.as_str()), conditions).await?;
    let prepared = prepare(app, text, resource_type)?;
    if prepared.id != id.as_str() {
        let text = "the id in the body is not the one in the URL";
        return Err(Problem::bad_request(IssueCode::Invalid, text));
    }
    put(app, prepared, expect).await
}

/// Replaces the one resource that a condition matches; creates it when none does.
///
/// # Errors
/// As [`update`], and 412 when several match.
pub(crate) async fn update_where(
    app: &App,
    (resource_type, query): (ResourceType, &str),
    text: &[u8],
    conditions: &Conditions,
    budget: &Budget,
) -> Result<Done, Problem> {
    let _alone = app.conditional.lock().await;
    let criteria = condition(app, resource_type, query)?;
    let matched = only_match(app, &criteria, budget).await?;
    let (prepared, expect) = prepare_match(app, resource_type, text, matched.as_ref())?;
    let expect = match (
        matched,
        conditions.if_match.is_some() || conditions.if_none_match.is_some(),
    ) {
        (Some(hit), true) => expectation(app, (resource_type, &hit.id), conditions).await?,
        (None, true) if conditions.if_match.is_some() => {
            return Err(Problem::precondition(
                "If-Match names a version, and nothing matches the condition",
            ));
        }
        _ => expect,
    };
    put(app, prepared, expect).await
}

/// Prepares a body for the resource that a condition matched, or for a new one.
///
/// # Errors
/// 400 for a text that breaks a rule, or has another id than the match.
pub(crate) fn prepare_match(
    app: &App,
    resource_type: ResourceType,
    text: &[u8],
    matched: Option<&Hit>,
) -> Result<(Prepared, Expect), Problem> {
    // A body with an id is taken under it; without one it gets the id of the match, or a new one.
    let own = match says_its_id(app, text, resource_type) {
        true => Some(prepare(app, text, resource_type)?),
        false => None,
    };
    match (own, matched) {
        (Some(own), Some(hit)) if own.id != hit.id => {
            let text = "the id in the body is not that of the resource that matches";
            Err(Problem::bad_request(IssueCode::Invalid, text))
        }
        (Some(own), Some(hit)) => Ok((own, Expect::Version(hit.version.sequence))),
        (Some(own), None) => Ok((own, Expect::Absent)),
        (None, Some(hit)) => {
            let prepared = prepare_as(app, text, (resource_type, &hit.id))?;
            Ok((prepared, Expect::Version(hit.version.sequence)))
        }
        (None, None) => Ok((
            prepare_as(app, text, (resource_type, &new_id(app)))?,
            Expect::Absent,
        )),
    }
}

/// Deletes a resource; what is not there (any more) is fine.
///
/// # Errors
/// 412 when the conditions do not hold, 409 when the resource is written too often.
pub(crate) async fn delete(
    app: &App,
    (resource_type, id): (ResourceType, &str),
    conditions: &Conditions,
) -> Result<Done, Problem> {
    let wanted = expectation(app, (resource_type, id), conditions).await?;
    for _ in 0..TRIES {
        let version = match app.store.read(resource_type, id).await? {
            None => return Ok(Done::gone((resource_type, id), None)),
            Some(Found::Deleted(sequence)) => {
                let instant = app.store.catalog().instant_of(sequence).await?;
                let version = instant.map(|instant| Snapshot { sequence, instant });
                return Ok(Done::gone((resource_type, id), version));
            }
            Some(Found::Resource(version)) => version,
        };
        note_resource(resource_type.name(), id, &version.text);
        let expect = match wanted {
            Expect::Any => Expect::Version(version.version.sequence),
            wanted => wanted,
        };
        let write = HotWrite {
            resource_type,
            id: id.to_owned(),
            expect,
            action: HotAction::Delete {
                others: other_patients(&version)?,
            },
        };
        match commit(app, write).await {
            Ok(written) => return Ok(Done::gone((resource_type, id), Some(written.version))),
            Err(problem) if wanted != Expect::Any || !problem.is_precondition() => return Err(problem),
            Err(_) => {}
        }
    }
    let text = "the resource is being written too often to be deleted; try again";
    Err(Problem::new(StatusCode::CONFLICT, IssueCode::Conflict, text))
}

/// Deletes the one resource that a condition matches; none is fine.
///
/// # Errors
/// 412 when several match; else as [`delete`].
pub(crate) async fn delete_where(
    app: &App,
    (resource_type, query): (ResourceType, &str),
    conditions: &Conditions,
    budget: &Budget,
) -> Result<Done, Problem> {
    let _alone = app.conditional.lock().await;
    let criteria = condition(app, resource_type, query)?;
    match only_match(app, &criteria, budget).await? {
        Some(hit) => delete(app, (resource_type, &hit.id), conditions).await,
        None => Ok(Done::gone((resource_type, ""), None)),
    }
}

/// Reads the condition of a conditional interaction: criteria, at least one, and nothing else.
///
/// # Errors
/// 400 for anything else.
pub(crate) fn condition(app: &App, resource_type: ResourceType, query: &str) -> Result<Criteria, Problem> {
    let request = SearchRequest::parse(resource_type, &[query], &app.base_url, Handling::Strict)?;
    let is_plain = request.order == Order::Store
        && request.total == Total::IfKnown
        && request.count.is_none()
        && !request.only_count
        && request.elements.is_none()
        && request.includes.is_empty()
        && request.reverse_includes.is_empty()
        && request.cursor.is_none();
    if !is_plain || request.criteria.is_unrestricted() {
        let text =
            "a condition is one search parameter or more, and no parameter about the form of an answer";
        return Err(Problem::bad_request(IssueCode::Value, text));
    }
    Ok(request.criteria)
}

/// Gives the only resource that criteria match, or `None`.
///
/// # Errors
/// 412 when several match, 422 when not all that may match could be looked at.
pub(crate) async fn only_match(
    app: &App,
    criteria: &Criteria,
    budget: &Budget,
) -> Result<Option<Hit>, Problem> {
    let mut hits = first_two(app, criteria, budget).await?;
    if hits.len() > 1 {
        return Err(several_match());
    }
    Ok(hits.pop())
}

/// Makes the 412 of a condition that is not selective enough.
pub(crate) fn several_match() -> Problem {
    let text = "several resources match the condition";
    Problem::new(StatusCode::PRECONDITION_FAILED, IssueCode::MultipleMatches, text)
}

/// Says what the conditions of a write by id demand.
///
/// # Errors
/// 400 for conditions that make no sense, 412 when `If-Match` does not hold.
pub(crate) async fn expectation(
    app: &App,
    (resource_type, id): (ResourceType, &str),
    conditions: &Conditions,
) -> Result<Expect, Problem> {
    match (&conditions.if_match, &conditions.if_none_match) {
        (None, None) => Ok(Expect::Any),
        (None, Some(EntityTags::Any)) => Ok(Expect::Absent),
        (Some(wanted), None) => {
            let newest = app.store.catalog().newest(&[(resource_type, id)]).await?;
            let newest = newest.into_iter().flatten().find(|newest| !newest.deleted);
            newest
                .map(|newest| newest.sequence)
                .filter(|sequence| wanted.matches_version(sequence.0))
                .map(Expect::Version)
                .ok_or_else(|| Problem::precondition("If-Match names another version than the current one"))
        }
        _ => {
            let text = "a write takes If-Match with versions, or If-None-Match: *";
            Err(Problem::bad_request(IssueCode::Value, text))
        }
    }
}

async fn put(app: &App, prepared: Prepared, expect: Expect) -> Result<Done, Problem> {
    note_write(&prepared);
    let write = HotWrite {
        resource_type: prepared.resource_type,
        id: prepared.id.clone(),
        expect,
        action: HotAction::Put(prepared.body.clone()),
    };
    let written = commit(app, write).await?;
    Ok(Done {
        status: match written.done {
            HotDone::Created => StatusCode::CREATED,
            _ => StatusCode::OK,
        },
        resource_type: prepared.resource_type,
        id: prepared.id,
        version: Some(written.version),
        text: Some(text_of(&prepared.body, written.version)),
    })
}

/// Tells which resource is about to be written, and about whom it is.
pub(crate) fn note_write(prepared: &Prepared) {
    note(|told| {
        told.add_resource(&format!("{}/{}", prepared.resource_type, prepared.id));
        let patients = prepared.body.owner.iter().chain(&prepared.body.others);
        patients.for_each(|patient| told.add_patient(patient));
    });
}

/// Makes an id: a random UUID.
pub(crate) fn new_id(app: &App) -> String {
    let mut random = [0; 16];
    app.entropy.fill(&mut random);
    Builder::from_random_bytes(random).into_uuid().to_string()
}

/// The further patients in whose compartments a version sits: exports for them must tell of the deletion too (M-33).
pub(crate) fn other_patients(version: &Resource) -> Result<Vec<String>, Problem> {
    // What is stored was checked once, whatever the limits were then: these are the widest that there are.
    let limits = LineLimits {
        line_bytes_max: usize::MAX,
        depth_max: 10_000,
    };
    let mut checker = LineChecker::new(limits);
    let checked = checker.check(&version.text, None).map_err(|refusal| {
        let error = fhirhose_store::Error::new(ErrorKind::Corrupt, "checking a stored resource");
        Problem::from(error.with_source(refusal))
    })?;
    Ok(checked.other_patients.iter().map(str::to_owned).collect())
}
