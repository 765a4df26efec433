//! Batches: entry by entry, in their order, each for itself.

use fhirhose_fhir::bundle_request::RequestEntry;
use hyper::StatusCode;

use super::permission::check;
use super::request::{Asked, On, asked};
use super::{Answered, ReadsLeft};
use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;
use crate::rest::write::{create, delete, delete_where, update, update_where};

/// Does each entry; what is wrong with one is its answer.
pub(super) async fn process(
    app: &App,
    rights: &Rights,
    entries: &[RequestEntry<'_>],
) -> Vec<Result<Answered, Problem>> {
    let (mut answers, mut reads) = (Vec::with_capacity(entries.len()), ReadsLeft::of(app));
    for entry in entries {
        answers.push(answer(app, rights, entry, &mut reads).await);
    }
    answers
}

async fn answer(
    app: &App,
    rights: &Rights,
    entry: &RequestEntry<'_>,
    reads: &mut ReadsLeft,
) -> Result<Answered, Problem> {
    let asked = asked(app, entry)?;
    check(app, rights, &asked)?;
    let done = match asked {
        Asked::Read(read) => return reads.answer(app, rights, &read).await,
        Asked::Create {
            resource_type,
            text,
            if_none_exist,
        } => {
            let done = create(app, resource_type, text.as_bytes(), if_none_exist, &reads.budget).await?;
            // What is created is no longer than what was sent.
            if done.status == StatusCode::OK {
                return Ok(reads.kept(done));
            }
            done
        }
        Asked::Update {
            resource_type,
            on: On::Id(id),
            text,
            conditions,
        } => update(app, (resource_type, &id), text.as_bytes(), &conditions).await?,
        Asked::Update {
            resource_type,
            on: On::Match(query),
            text,
            conditions,
        } => {
            update_where(
                app,
                (resource_type, query),
                text.as_bytes(),
                &conditions,
                &reads.budget,
            )
            .await?
        }
        Asked::Delete {
            resource_type,
            on: On::Id(id),
            conditions,
        } => delete(app, (resource_type, id.as_str()), &conditions).await?,
        Asked::Delete {
            resource_type,
            on: On::Match(query),
            conditions,
        } => delete_where(app, (resource_type, query), &conditions, &reads.budget).await?,
    };
    Ok(Answered::Done(done))
}
