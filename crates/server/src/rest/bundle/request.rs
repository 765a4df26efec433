//! One entry's request, read from its verb and URL.

use fhirhose_fhir::bundle_request::{Method, RequestEntry};
use fhirhose_fhir::etag::{EntityTag, EntityTags};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::prefer::Handling;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::Snapshot;
use fhirhose_store::{Found, Resource};
use hyper::StatusCode;

use super::Answered;
use crate::access::Rights;
use crate::app::App;
use crate::audit::note_resource;
use crate::problem::Problem;
use crate::rest::history::{HistoryRequest, Version, history, version};
use crate::rest::search::search;
use crate::rest::visit::Budget;
use crate::rest::write::{Conditions, Done};

/// What an entry asks for.
pub(super) enum Asked<'a> {
    Create {
        resource_type: ResourceType,
        text: &'a str,
        if_none_exist: Option<&'a str>,
    },
    Update {
        resource_type: ResourceType,
        on: On<'a>,
        text: &'a str,
        conditions: Conditions,
    },
    Delete {
        resource_type: ResourceType,
        on: On<'a>,
        conditions: Conditions,
    },
    Read(Read<'a>),
}

/// Which resource is meant.
pub(super) enum On<'a> {
    Id(Id),
    Match(&'a str),
}

/// What an entry reads.
pub(super) enum Read<'a> {
    Resource {
        resource_type: ResourceType,
        id: Id,
        if_none_match: Option<EntityTags>,
        if_modified_since: Option<Instant>,
    },
    Version(ResourceType, Id, &'a str),
    History(ResourceType, Id),
    Search(ResourceType, &'a str),
}

/// Reads an entry.
///
/// # Errors
/// 400 for what makes no sense, 404 for what is not there to be asked.
pub(super) fn asked<'a>(app: &App, entry: &'a RequestEntry<'a>) -> Result<Asked<'a>, Problem> {
    let url = entry.url.strip_prefix(&app.base_url).unwrap_or(&entry.url);
    let url = url.strip_prefix('/').unwrap_or(url);
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let mut parts = path.split('/');
    let name = parts.next().unwrap_or_default();
    let resource_type = ResourceType::parse(name).ok_or_else(|| {
        let text = "request.url names no resource type of R4; operations are not done in Bundles";
        Problem::bad_request(IssueCode::NotSupported, text)
    })?;
    let rest: Vec<&str> = parts.collect();
    if !matches!(entry.method, Method::Get | Method::Head) && !matches!(rest.as_slice(), [] | [_]) {
        return Err(wrong("request.url is no place that is written to"));
    }
    match entry.method {
        Method::Get | Method::Head => Ok(Asked::Read(read(entry, resource_type, &rest, query)?)),
        Method::Patch => {
            let text = "PATCH is not supported";
            Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                IssueCode::NotSupported,
                text,
            ))
        }
        Method::Post if rest.is_empty() && query.is_empty() => Ok(Asked::Create {
            resource_type,
            text: text_of(entry)?,
            if_none_exist: entry.if_none_exist.as_deref(),
        }),
        Method::Post => Err(wrong("request.url of a POST is a resource type alone")),
        Method::Put => Ok(Asked::Update {
            resource_type,
            on: on(&rest, query)?,
            text: text_of(entry)?,
            conditions: conditions(entry)?,
        }),
        Method::Delete => Ok(Asked::Delete {
            resource_type,
            on: on(&rest, query)?,
            conditions: conditions(entry)?,
        }),
    }
}

fn read<'a>(
    entry: &RequestEntry<'_>,
    resource_type: ResourceType,
    rest: &[&'a str],
    query: &'a str,
) -> Result<Read<'a>, Problem> {
    let id = |text: &str| Id::parse(text).ok_or_else(|| Problem::not_found("request.url has no id"));
    match rest {
        [] => Ok(Read::Search(resource_type, query)),
        _ if !query.is_empty() => Err(wrong("request.url has parameters where none are taken")),
        [one] => Ok(Read::Resource {
            resource_type,
            id: id(one)?,
            if_none_match: conditions(entry)?.if_none_match,
            if_modified_since: match entry.if_modified_since.as_deref() {
                Some(text) => Some(Instant::parse(text).map_err(|_| wrong("ifModifiedSince is no instant"))?),
                None => None,
            },
        }),
        [one, "_history"] => Ok(Read::History(resource_type, id(one)?)),
        [one, "_history", number] => Ok(Read::Version(resource_type, id(one)?, number)),
        _ => Err(wrong("request.url is nothing that is read in Bundles")),
    }
}

impl Read<'_> {
    /// Reads.
    ///
    /// # Errors
    /// As the route of the same URL.
    pub(super) async fn answer(
        &self,
        app: &App,
        rights: &Rights,
        budget: &Budget,
    ) -> Result<Answered, Problem> {
        match self {
            Read::Search(resource_type, query) => {
                let bundle =
                    search(app, rights, (*resource_type, &[query]), Handling::Strict, budget).await?;
                Ok(Answered::Bundle(bundle))
            }
            Read::History(resource_type, id) => {
                let bundle = history(app, rights, (*resource_type, id), &HistoryRequest::default()).await?;
                bundle.map(Answered::Bundle).ok_or_else(unknown)
            }
            Read::Version(resource_type, id, number) => {
                match version(app, (*resource_type, id), number).await? {
                    Version::Resource(resource) => Ok(Answered::Read(found(*resource_type, id, resource))),
                    Version::Deleted(_) => Err(gone()),
                    Version::Unknown => Err(unknown()),
                }
            }
            Read::Resource {
                resource_type,
                id,
                if_none_match,
                if_modified_since,
            } => match app.store.read(*resource_type, id.as_str()).await? {
                Some(Found::Resource(resource)) => {
                    if is_known(resource.version, if_none_match.as_ref(), *if_modified_since) {
                        return Ok(Answered::NotModified);
                    }
                    Ok(Answered::Read(found(*resource_type, id, resource)))
                }
                Some(Found::Deleted(_)) => Err(gone()),
                None => Err(unknown()),
            },
        }
    }
}

fn is_known(version: Snapshot, tags: Option<&EntityTags>, since: Option<Instant>) -> bool {
    match tags {
        Some(tags) => tags.matches_weak(&EntityTag::of_version(version.sequence.0)),
        None => since.is_some_and(|since| version.instant <= since),
    }
}

fn found(resource_type: ResourceType, id: &Id, resource: Resource) -> Done {
    note_resource(resource_type.name(), id.as_str(), &resource.text);
    Done {
        status: StatusCode::OK,
        resource_type,
        id: id.as_str().to_owned(),
        version: Some(resource.version),
        text: Some(resource.text),
    }
}

fn text_of<'a>(entry: &'a RequestEntry<'a>) -> Result<&'a str, Problem> {
    entry.resource.ok_or_else(|| wrong("the entry has no resource"))
}

fn on<'a>(rest: &[&'a str], query: &'a str) -> Result<On<'a>, Problem> {
    match rest {
        [] => Ok(On::Match(query)),
        [id] if query.is_empty() => Id::parse(id)
            .map(On::Id)
            .ok_or_else(|| wrong("request.url has no valid id")),
        _ => Err(wrong("request.url has both an id and a condition")),
    }
}

fn conditions(entry: &RequestEntry<'_>) -> Result<Conditions, Problem> {
    let tags = |text: Option<&str>, name: &str| match text {
        Some(text) => {
            let parsed = EntityTags::parse([text]);
            parsed
                .map(Some)
                .ok_or_else(|| wrong(&format!("{name} holds no list of entity tags")))
        }
        None => Ok(None),
    };
    Ok(Conditions {
        if_match: tags(entry.if_match.as_deref(), "ifMatch")?,
        if_none_match: tags(entry.if_none_match.as_deref(), "ifNoneMatch")?,
    })
}

fn wrong(text: &str) -> Problem {
    Problem::bad_request(IssueCode::Value, text)
}

fn unknown() -> Problem {
    Problem::not_found("there is no such resource")
}

fn gone() -> Problem {
    Problem::new(StatusCode::GONE, IssueCode::Deleted, "the resource was deleted")
}
