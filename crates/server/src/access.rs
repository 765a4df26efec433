//! Who may use which route: [`Access`], of which each method of each route has one, and the checks that need no more than
//! the path. What depends on the content of a request, such as the types of an export, its route checks by the [`Grant`].

use fhirhose_auth::{Actions, Grant, NamedScope};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;
use hyper::StatusCode;

use crate::problem::Problem;

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
    /// These actions on the path's `{type}`.
    Type(Actions),
    /// Reading every type of a patient's record that the client may; the route narrows.
    PatientRecord,
    /// A client; each entry of the Bundle is checked as a request of its own.
    Bundle,
}

impl Access {
    /// Checks what the path alone says.
    ///
    /// # Errors
    /// 403 when the grant does not reach so far.
    pub(crate) fn check(self, grant: &Grant, resource_type: Option<ResourceType>) -> Result<(), Problem> {
        let is_allowed = match self {
            Self::Public | Self::Export | Self::OwnJob | Self::Bundle => true,
            Self::Operator => grant.has(NamedScope::Operator),
            Self::Import => {
                let writing = Actions::CREATE.with(Actions::UPDATE);
                grant.has(NamedScope::BulkImport) || grant.scopes.allows_every(writing)
            }
            Self::PatientRecord => grant.allows(Actions::READ, ResourceType::PATIENT),
            // A type that there is not is told by the route.
            Self::Type(actions) => resource_type.is_none_or(|known| grant.allows(actions, known)),
        };
        if is_allowed { Ok(()) } else { Err(forbidden()) }
    }
}

/// Makes the 403 of a scope that is too small.
pub(crate) fn forbidden() -> Problem {
    let text = "the scopes of the token do not allow this";
    Problem::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text)
}
