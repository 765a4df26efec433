//! Who may do what: [`Access`], of which each method of each route has one, and [`Rights`], what one request may do.
//!
//! The path alone is checked before a route is called. What depends on the content of a request, such as the types of an export, the
//! entries of a Bundle or the criteria of a search, its route checks by the same [`Rights`]. The table for people is
//! `docs/operations/access.md`.

mod cohort;
mod export;

use std::collections::BTreeSet;

use fhirhose_auth::{Actions, Grant, NamedScope};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use hyper::StatusCode;
use hyper::header::WWW_AUTHENTICATE;

use crate::problem::Problem;

/// Types that are named in one refusal.
const TYPES_NAMED_MAX: usize = 20;

/// What a method of a route asks of who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: everybody may, without a token.
    Public,
    /// The operator's scope.
    Operator,
    /// A client; the route checks what it may export (K-09, K-10, K-45).
    Export,
    /// The client whose job it is; the route looks (S-02, D-07, F-04).
    OwnJob,
    /// The scope of imports, or writing every type.
    Import,
    /// These actions on the path's `{type}`, or on its `{id}` alone.
    Type(Actions),
    /// Reading a patient's record, of those types that the client may read; the route narrows.
    PatientRecord,
    /// A client that may read and search the type that is asked for; the route checks.
    Digest,
    /// A client; each entry of the Bundle is checked as a request of its own.
    Bundle,
}

impl Access {
    /// Checks what the path alone says.
    ///
    /// # Errors
    /// 403 when the grant does not reach so far; 404 for a Group that is not for this client.
    pub(crate) fn check(
        self,
        rights: &Rights,
        resource_type: Option<ResourceType>,
        id: Option<&str>,
    ) -> Result<(), Problem> {
        match (self, resource_type, id) {
            (Self::Public | Self::Export | Self::OwnJob | Self::Digest | Self::Bundle, ..) => Ok(()),
            (Self::Operator, ..) => match rights.grant.has(NamedScope::Operator) {
                true => Ok(()),
                false => Err(forbidden(&needs(NamedScope::Operator.text()))),
            },
            (Self::Import, ..) => rights.check_import(),
            (Self::PatientRecord, ..) => rights.check(Actions::READ, ResourceType::PATIENT),
            // A type that there is not is told by the route.
            (Self::Type(_), None, _) => Ok(()),
            (Self::Type(actions), Some(known), None) => rights.check(actions, known),
            (Self::Type(actions), Some(known), Some(id)) => rights.check_one(actions, (known, id)),
        }
    }
}

/// What a request may do.
#[derive(Debug, Clone)]
pub(crate) struct Rights {
    grant: Grant,
    /// Whether anybody is asked who they are.
    has_tokens: bool,
}

impl Rights {
    pub(crate) fn new(grant: Grant, has_tokens: bool) -> Self {
        Self { grant, has_tokens }
    }

    /// In whose name, and by which scopes.
    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether all of `actions` may be done with all resources of a type.
    ///
    /// The trail of who did what is the server's own: where clients are told apart none of them writes it.
    pub(crate) fn may(&self, actions: Actions, resource_type: ResourceType) -> bool {
        let writes = !actions.in_common(Actions::WRITING).is_empty();
        let writes_trail = writes && self.has_tokens && resource_type == ResourceType::AUDIT_EVENT;
        let is_kept_out = writes_trail || self.grant.is_held_to_groups();
        !is_kept_out && self.grant.allows(actions, resource_type)
    }

    /// Checks that all of `actions` may be done with all resources of a type.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) fn check(&self, actions: Actions, resource_type: ResourceType) -> Result<(), Problem> {
        if self.may(actions, resource_type) {
            return Ok(());
        }
        Err(match self.grant.is_held_to_groups() {
            true => held(),
            false => forbidden(&needs(&format!("system/{resource_type}.{actions}"))),
        })
    }

    /// Checks that all of `actions` may be done with one resource: a client that is held to its Groups may read those.
    ///
    /// # Errors
    /// 403 if not; 404 for another Group, whether or not it is there (K-10).
    pub(crate) fn check_one(
        &self,
        actions: Actions,
        (resource_type, id): (ResourceType, &str),
    ) -> Result<(), Problem> {
        let is_read_of_group = actions == Actions::READ && resource_type == ResourceType::GROUP;
        if !(self.grant.is_held_to_groups() && is_read_of_group) {
            return self.check(actions, resource_type);
        }
        if !self.grant.allows(actions, resource_type) {
            return Err(forbidden(&needs("system/Group.r")));
        }
        match Id::parse(id).is_some_and(|id| self.grant.reaches_group(&id)) {
            true => Ok(()),
            false => Err(Problem::not_found("there is no such resource")),
        }
    }

    /// Checks that resources of any type may be imported (A-46). A client that is held to its Groups may not: it could put anybody
    /// into them.
    ///
    /// # Errors
    /// 403 if not.
    pub(crate) fn check_import(&self) -> Result<(), Problem> {
        self.check_not_held()?;
        let writing = Actions::CREATE.with(Actions::UPDATE);
        match self.grant.has(NamedScope::BulkImport) || self.grant.scopes.allows_every(writing) {
            true => Ok(()),
            false => Err(forbidden(&needs(NamedScope::BulkImport.text()))),
        }
    }

    /// Checks that the client is not held to its Groups, whatever it asks for.
    ///
    /// # Errors
    /// 403 if it is.
    pub(crate) fn check_not_held(&self) -> Result<(), Problem> {
        match self.grant.is_held_to_groups() {
            true => Err(held()),
            false => Ok(()),
        }
    }

    /// Finds the types of a patient's record that may be read; `AuditEvent` only where it is asked for.
    ///
    /// # Errors
    /// 403 for types that are asked for and may not.
    pub(crate) fn types_of_record(
        &self,
        asked: Option<BTreeSet<ResourceType>>,
    ) -> Result<BTreeSet<ResourceType>, Problem> {
        let Some(asked) = asked else {
            let all = ResourceType::all().filter(|each| *each != ResourceType::AUDIT_EVENT);
            return Ok(all.filter(|each| self.may(Actions::READ, *each)).collect());
        };
        let may_not = |each: &ResourceType| !self.may(Actions::READ, *each);
        let refused: Vec<ResourceType> = asked.iter().copied().filter(may_not).collect();
        match refused.is_empty() {
            true => Ok(asked),
            false => Err(unreadable("_type", &refused)),
        }
    }

    /// Whether there are types, `AuditEvent` apart, that may not be read.
    pub(crate) fn narrows_records(&self) -> bool {
        !self.grant.scopes.allows_every(Actions::READ)
    }

    /// Whether a job is this client's, or nobody is asked who they are (A-53).
    pub(crate) fn owns(&self, owner: &str) -> bool {
        !self.has_tokens || self.grant.client == owner
    }

    /// For whom a position in a search is good: the client that was given it.
    pub(crate) fn holder(&self) -> &str {
        match self.has_tokens {
            true => &self.grant.client,
            false => "",
        }
    }
}

/// Makes the 403 of a scope that is too small (RFC 6750, 3.1).
fn forbidden(text: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
        .with_header(WWW_AUTHENTICATE, r#"Bearer error="insufficient_scope""#)
}

fn needs(scope: &str) -> String {
    format!("the token does not allow this: it needs {scope}")
}

fn held() -> Problem {
    let text = "this client may export and read its own Groups, and nothing else";
    Problem::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
}

/// Makes the 403 of types that may not be read, naming them.
fn unreadable(what: &str, types: &[ResourceType]) -> Problem {
    let named: Vec<&str> = types
        .iter()
        .take(TYPES_NAMED_MAX)
        .map(|each| each.name())
        .collect();
    let more = match types.len().saturating_sub(TYPES_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    forbidden(&format!(
        "{what}: the token does not allow to read {}{more}",
        named.join(", ")
    ))
}
