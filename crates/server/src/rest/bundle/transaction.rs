//! Transactions: every entry of a Bundle or none (FHIR R4, http, transaction).
//!
//! Conditions are looked up, ids given and references between entries replaced first; then all writes are one commit, so a crash leaves
//! all of them or none. Each resource is written once at most, which makes the order DELETE, POST, PUT that R4 asks for one with any
//! other; reads come last. When somebody else writes one of the resources in between, everything begins anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use fhirhose_auth::Actions;
use fhirhose_fhir::bundle_request::{RequestEntry, relink};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::reference::{Reference, Target};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::catalog::{Commit, Expect, HotAction, HotDone, HotResult, HotWrite, Origin, Write};
use fhirhose_store::{ErrorKind, Found};
use hyper::StatusCode;

use super::permission::check;
use super::request::{Asked, On, asked};
use super::{Answered, ReadsLeft};
use crate::access::Rights;
use crate::app::App;
use crate::audit::note;
use crate::problem::Problem;
use crate::resource::{Prepared, prepare, prepare_as, text_of};
use crate::rest::visit::{Budget, Hit};
use crate::rest::write::{
    Conditions, Done, TRIES, condition, expectation, new_id, note_write, only_match, other_patients,
    prepare_match,
};

/// What is done for an entry.
enum Planned<'a> {
    /// Nothing: the resource that matches is there. It has no text here.
    Kept(Hit),
    Put {
        prepared: Prepared,
        expect: Expect,
        /// The text as it was sent, whose links are still to be replaced.
        text: &'a str,
    },
    Delete {
        resource_type: ResourceType,
        id: String,
        expect: Expect,
        others: Vec<String>,
    },
    /// Nothing: there is nothing to delete.
    Gone(ResourceType, String),
    Read,
}

/// What each condition of a Bundle matches, by type and query, without the texts: there may be many.
type Matches<'a> = HashMap<(ResourceType, Cow<'a, str>), Option<Hit>>;

/// Does all entries and gives their answers in the order of the entries.
///
/// # Errors
/// What is wrong with the first entry that cannot be done; nothing was done then.
pub(super) async fn process(
    app: &App,
    rights: &Rights,
    entries: &[RequestEntry<'_>],
) -> Result<Vec<Result<Answered, Problem>>, Problem> {
    let mut asks = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        asks.push(asked(app, entry).map_err(|problem| problem.at(place(number)))?);
    }
    let conditions = conditions(&asks);
    let reads = ReadsLeft::of(app);
    check_rights(app, rights, &asks, &conditions)?;
    for _ in 0..TRIES {
        // Held until the commit, so that what was looked up still holds.
        let _alone = match conditions.is_empty() {
            true => None,
            false => Some(app.conditional.lock().await),
        };
        let matches = look_up(app, &conditions, &reads.budget).await?;
        let mut planned = Vec::with_capacity(asks.len());
        for (number, ask) in asks.iter().enumerate() {
            let plan = plan(app, ask, &matches).await;
            planned.push(plan.map_err(|problem| problem.at(place(number)))?);
        }
        link(app, entries, &mut planned, &matches)?;
        check_each_once(&planned)?;
        if let Some(results) = commit(app, &planned).await? {
            drop(_alone);
            return Ok(answer(app, rights, reads, &asks, (planned, results)).await);
        }
    }
    let text = "the resources of the transaction are being written too often, or one tagged SUBSETTED would replace a fuller one";
    Err(Problem::new(StatusCode::CONFLICT, IssueCode::Conflict, text))
}

/// Checks every entry as a request of its own, and each condition as a search.
fn check_rights(
    app: &App,
    rights: &Rights,
    asks: &[Asked<'_>],
    conditions: &BTreeSet<(ResourceType, Cow<'_, str>)>,
) -> Result<(), Problem> {
    for (number, ask) in asks.iter().enumerate() {
        check(app, rights, ask).map_err(|problem| problem.at(place(number)))?;
    }
    let mut types = conditions.iter().map(|(resource_type, _)| *resource_type);
    types.try_for_each(|each| rights.check(Actions::SEARCH, each))
}

fn place(number: usize) -> String {
    format!("Bundle.entry[{number}]")
}

/// Every condition that must be looked up: of the entries, and of references such as `Patient?identifier=1`.
fn conditions<'a>(asks: &'a [Asked<'a>]) -> BTreeSet<(ResourceType, Cow<'a, str>)> {
    let mut found = BTreeSet::new();
    for ask in asks {
        match ask {
            Asked::Create {
                resource_type,
                if_none_exist: Some(query),
                ..
            }
            | Asked::Update {
                resource_type,
                on: On::Match(query),
                ..
            }
            | Asked::Delete {
                resource_type,
                on: On::Match(query),
                ..
            } => {
                found.insert((*resource_type, Cow::Borrowed(*query)));
            }
            _ => {}
        }
        if let Asked::Create { text, .. } | Asked::Update { text, .. } = ask {
            relink(text, |name, link| {
                if let Some((resource_type, query)) = conditional(name, link) {
                    found.insert((resource_type, Cow::Owned(query.to_owned())));
                }
                None
            });
        }
    }
    found
}

/// Reads a conditional reference.
fn conditional<'l>(name: &str, link: &'l str) -> Option<(ResourceType, &'l str)> {
    let (resource_type, query) = link.split_once('?').filter(|_| name == "reference")?;
    Some((ResourceType::parse(resource_type)?, query))
}

async fn look_up<'a>(
    app: &App,
    conditions: &BTreeSet<(ResourceType, Cow<'a, str>)>,
    budget: &Budget,
) -> Result<Matches<'a>, Problem> {
    let mut matches = Matches::new();
    for (resource_type, query) in conditions {
        let criteria = condition(app, *resource_type, query)?;
        let hit = only_match(app, &criteria, budget).await?;
        let hit = hit.map(|hit| Hit {
            text: Vec::new(),
            ..hit
        });
        matches.insert((*resource_type, query.clone()), hit);
    }
    Ok(matches)
}

async fn plan<'a>(app: &App, ask: &Asked<'a>, matches: &Matches<'_>) -> Result<Planned<'a>, Problem> {
    let matched = |resource_type: &ResourceType, query: &str| {
        let found = matches.get(&(*resource_type, Cow::Borrowed(query)));
        found.cloned().flatten()
    };
    match ask {
        Asked::Read(_) => Ok(Planned::Read),
        Asked::Create {
            resource_type,
            text,
            if_none_exist,
        } => match if_none_exist.and_then(|query| matched(resource_type, query)) {
            Some(hit) => Ok(Planned::Kept(hit)),
            None => Ok(Planned::Put {
                prepared: prepare_as(app, text.as_bytes(), (*resource_type, &new_id(app)))?,
                expect: Expect::Absent,
                text,
            }),
        },
        Asked::Update {
            resource_type,
            on,
            text,
            conditions,
        } => {
            let (prepared, otherwise) = match on {
                On::Id(id) => {
                    let prepared = prepare(app, text.as_bytes(), *resource_type)?;
                    if prepared.id != id.as_str() {
                        let text = "the id in the resource is not the one in request.url";
                        return Err(Problem::bad_request(IssueCode::Invalid, text));
                    }
                    (prepared, Expect::Any)
                }
                On::Match(query) => {
                    let hit = matched(resource_type, query);
                    prepare_match(app, *resource_type, text.as_bytes(), hit.as_ref())?
                }
            };
            let expect = match expectation(app, (*resource_type, &prepared.id), conditions).await? {
                Expect::Any => otherwise,
                expect => expect,
            };
            Ok(Planned::Put {
                prepared,
                expect,
                text,
            })
        }
        Asked::Delete {
            resource_type,
            on,
            conditions,
        } => {
            let id = match on {
                On::Id(id) => Some(id.as_str().to_owned()),
                On::Match(query) => matched(resource_type, query).map(|hit| hit.id),
            };
            match id {
                Some(id) => plan_deletion(app, (*resource_type, id), conditions).await,
                None => Ok(Planned::Gone(*resource_type, String::new())),
            }
        }
    }
}

async fn plan_deletion<'a>(
    app: &App,
    (resource_type, id): (ResourceType, String),
    conditions: &Conditions,
) -> Result<Planned<'a>, Problem> {
    let wanted = expectation(app, (resource_type, &id), conditions).await?;
    match app.store.read(resource_type, &id).await? {
        Some(Found::Resource(resource)) => Ok(Planned::Delete {
            resource_type,
            id,
            expect: match wanted {
                Expect::Any => Expect::Version(resource.version.sequence),
                wanted => wanted,
            },
            others: other_patients(&resource)?,
        }),
        _ => Ok(Planned::Gone(resource_type, id)),
    }
}

/// Replaces the links between entries, and conditional references, by the ids that the resources have.
fn link(
    app: &App,
    entries: &[RequestEntry<'_>],
    planned: &mut [Planned<'_>],
    matches: &Matches<'_>,
) -> Result<(), Problem> {
    let links = links(entries, planned)?;
    for (number, plan) in planned.iter_mut().enumerate() {
        let Planned::Put { prepared, text, .. } = plan else {
            continue;
        };
        let mut unmatched = false;
        let linked = relink(text, |name, link| {
            if let Some(known) = links.get(link) {
                return Some(known.clone());
            }
            let (resource_type, query) = conditional(name, link)?;
            match matches.get(&(resource_type, Cow::Borrowed(query))) {
                Some(Some(hit)) => Some(format!("{resource_type}/{}", hit.id)),
                _ => {
                    unmatched = true;
                    None
                }
            }
        });
        if unmatched {
            let text = "a conditional reference matches nothing";
            return Err(Problem::precondition(text).at(place(number)));
        }
        if let Cow::Owned(linked) = linked {
            let name = (prepared.resource_type, prepared.id.clone());
            let linked = prepare_as(app, linked.as_bytes(), (name.0, &name.1));
            *prepared = linked.map_err(|problem| problem.at(place(number)))?;
        }
    }
    Ok(())
}

/// By which texts other entries mean a resource, and as what it is stored.
fn links(entries: &[RequestEntry<'_>], planned: &[Planned<'_>]) -> Result<HashMap<String, String>, Problem> {
    let mut links = HashMap::new();
    for (number, (entry, plan)) in entries.iter().zip(planned).enumerate() {
        let stored = match plan {
            Planned::Put { prepared, .. } => format!("{}/{}", prepared.resource_type, prepared.id),
            Planned::Kept(hit) => format!("{}/{}", hit.resource_type, hit.id),
            _ => continue,
        };
        let Some(full_url) = entry.full_url.as_deref() else {
            continue;
        };
        if !full_url.starts_with("urn:")
            && let Target::Resource(Reference { resource_type, id }) = Target::parse(full_url)
        {
            // The same resource by a reference relative to where the Bundle came from.
            links.insert(format!("{resource_type}/{id}"), stored.clone());
        }
        if links.insert(full_url.to_owned(), stored).is_some() {
            let text = "another entry has the same fullUrl";
            return Err(Problem::bad_request(IssueCode::Invalid, text).at(place(number)));
        }
    }
    Ok(links)
}

/// Refuses a transaction in which two entries are about one resource.
fn check_each_once(planned: &[Planned<'_>]) -> Result<(), Problem> {
    let mut seen = BTreeMap::new();
    for (number, plan) in planned.iter().enumerate() {
        let name = match plan {
            Planned::Put { prepared, .. } => (prepared.resource_type, prepared.id.as_str()),
            Planned::Delete {
                resource_type, id, ..
            } => (*resource_type, id.as_str()),
            Planned::Gone(resource_type, id) if !id.is_empty() => (*resource_type, id.as_str()),
            Planned::Gone(..) | Planned::Kept(_) | Planned::Read => continue,
        };
        if let Some(first) = seen.insert(name, number) {
            let text = format!("the entries {first} and {number} are about the same resource");
            return Err(Problem::bad_request(IssueCode::Invalid, text).at(place(number)));
        }
    }
    let is_deleted = |hit: &Hit| {
        let deleted = |plan: &Planned<'_>| {
            matches!(plan, Planned::Delete { resource_type, id, .. }
                if *resource_type == hit.resource_type && *id == hit.id)
        };
        planned.iter().any(deleted)
    };
    let kept = planned
        .iter()
        .position(|plan| matches!(plan, Planned::Kept(hit) if is_deleted(hit)));
    match kept {
        None => Ok(()),
        Some(number) => {
            let text = "the resource that matches is deleted by another entry";
            Err(Problem::bad_request(IssueCode::Invalid, text).at(place(number)))
        }
    }
}

/// Commits all writes at once; `None` when one of the resources is not as it was when they were planned.
async fn commit(app: &App, planned: &[Planned<'_>]) -> Result<Option<Vec<HotResult>>, Problem> {
    let writes: Vec<HotWrite> = planned.iter().filter_map(write_of).collect();
    planned.iter().for_each(note_plan);
    if writes.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let commit = Commit {
        write: Write::Hot(writes),
        job: None,
        origin: Origin::default(),
    };
    match app.store.catalog().commit(commit).await {
        Ok(committed) => Ok(Some(committed.results)),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Tells what is about to be written.
fn note_plan(plan: &Planned<'_>) {
    match plan {
        Planned::Put { prepared, .. } => note_write(prepared),
        Planned::Delete {
            resource_type,
            id,
            others,
            ..
        } => note(|told| {
            told.add_resource(&format!("{resource_type}/{id}"));
            others.iter().for_each(|other| told.add_patient(other));
        }),
        Planned::Kept(_) | Planned::Gone(..) | Planned::Read => {}
    }
}

fn write_of(plan: &Planned<'_>) -> Option<HotWrite> {
    match plan {
        Planned::Put { prepared, expect, .. } => Some(HotWrite {
            resource_type: prepared.resource_type,
            id: prepared.id.clone(),
            expect: *expect,
            action: HotAction::Put(prepared.body.clone()),
        }),
        Planned::Delete {
            resource_type,
            id,
            expect,
            others,
        } => Some(HotWrite {
            resource_type: *resource_type,
            id: id.clone(),
            expect: *expect,
            action: HotAction::Delete {
                others: others.clone(),
            },
        }),
        Planned::Kept(_) | Planned::Gone(..) | Planned::Read => None,
    }
}

async fn answer(
    app: &App,
    rights: &Rights,
    mut reads: ReadsLeft,
    asks: &[Asked<'_>],
    (planned, results): (Vec<Planned<'_>>, Vec<HotResult>),
) -> Vec<Result<Answered, Problem>> {
    let mut results = results.into_iter();
    let mut answers = Vec::with_capacity(asks.len());
    for (ask, plan) in asks.iter().zip(planned) {
        let result = if write_of(&plan).is_some() {
            results.next()
        } else {
            None
        };
        answers.push(match (ask, plan, result) {
            (Asked::Read(read), ..) => reads.answer(app, rights, read).await,
            (_, Planned::Kept(hit), _) => Ok(reads.kept(kept(app, hit).await)),
            (_, Planned::Put { prepared, .. }, Some(result)) => Ok(Answered::Done(put(prepared, result))),
            (
                _,
                Planned::Delete {
                    resource_type, id, ..
                },
                Some(result),
            ) => Ok(Answered::Done(Done::gone(
                (resource_type, &id),
                Some(result.version),
            ))),
            (_, Planned::Gone(resource_type, id), _) => {
                Ok(Answered::Done(Done::gone((resource_type, &id), None)))
            }
            // Each write has one result.
            _ => Err(Problem::internal()),
        });
    }
    answers
}

/// Tells of a resource that was there already. What cannot be read now is told without its text, for all is done.
async fn kept(app: &App, mut hit: Hit) -> Done {
    if let Ok(Some(Found::Resource(resource))) = app.store.read(hit.resource_type, &hit.id).await {
        (hit.version, hit.text) = (resource.version, resource.text);
    }
    Done::with(StatusCode::OK, hit)
}

fn put(prepared: Prepared, result: HotResult) -> Done {
    Done {
        status: match result.done {
            HotDone::Created => StatusCode::CREATED,
            _ => StatusCode::OK,
        },
        resource_type: prepared.resource_type,
        version: Some(result.version),
        text: Some(text_of(&prepared.body, result.version)),
        id: prepared.id,
    }
}
