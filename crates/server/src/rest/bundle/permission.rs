//! What an entry of a Bundle needs: the same as the route of its own would.

use fhirhose_auth::Actions;

use super::request::{Asked, On, Read};
use crate::access::Rights;
use crate::app::App;
use crate::problem::Problem;
use crate::rest::search::check_inclusions;

/// Checks an entry.
///
/// # Errors
/// 403, or 404 for what is not for this client.
pub(super) fn check(app: &App, rights: &Rights, asked: &Asked<'_>) -> Result<(), Problem> {
    match asked {
        Asked::Create {
            resource_type,
            text,
            if_none_exist,
        } => {
            rights.check(Actions::CREATE, *resource_type)?;
            if if_none_exist.is_some() {
                rights.check(Actions::READING, *resource_type)?;
            }
            rights.check_filters(app, *resource_type, text.as_bytes())
        }
        Asked::Update {
            resource_type,
            on,
            text,
            ..
        } => {
            rights.check(on.with(Actions::UPDATE), *resource_type)?;
            rights.check_filters(app, *resource_type, text.as_bytes())
        }
        Asked::Delete {
            resource_type, on, ..
        } => rights.check(on.with(Actions::DELETE), *resource_type),
        Asked::Read(Read::Search(resource_type, query)) => {
            rights.check(Actions::READING, *resource_type)?;
            check_inclusions(app, rights, (*resource_type, query))
        }
        Asked::Read(
            Read::Resource {
                resource_type, id, ..
            }
            | Read::Version(resource_type, id, _)
            | Read::History(resource_type, id),
        ) => rights.check_one(Actions::READ, (*resource_type, id.as_str())),
    }
}

impl On<'_> {
    /// What is needed beside an action: a condition tells whether something matches.
    fn with(&self, action: Actions) -> Actions {
        match self {
            Self::Id(_) => action,
            Self::Match(_) => action.with(Actions::SEARCH),
        }
    }
}
