//! `DELETE [base]/{Type}/{id}`: deletes a resource; exports with `_since` tell of it (FHIR R4, delete; M-30).

use fhirhose_fhir::line::{LineChecker, LineLimits};
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_store::catalog::{Expect, HotAction, HotWrite};
use fhirhose_store::{ErrorKind, Found, Resource, Sequence};
use hyper::header::ETAG;
use hyper::{Response, StatusCode};

use crate::answer::{self, Body};
use crate::call::{Answer, Call};
use crate::problem::Problem;
use crate::resource::{commit, expectation, tag};

/// How often a deletion starts anew because somebody wrote the resource meanwhile.
const TRIES: u32 = 5;

/// Answers 204, also when there is nothing (any more) to delete. `If-Match` is honoured (412).
pub(super) async fn delete(call: Call) -> Answer {
    let (resource_type, id) = (call.resource_type()?, call.id()?);
    call.check_interaction()?;
    let wanted = expectation(&call, resource_type, &id).await?;
    for _ in 0..TRIES {
        let version = match call.app.store.read(resource_type, id.as_str()).await? {
            None => return Ok(answer::empty(StatusCode::NO_CONTENT)),
            Some(Found::Deleted(sequence)) => return Ok(no_content(sequence)),
            Some(Found::Resource(version)) => version,
        };
        let expect = match wanted {
            Expect::Any => Expect::Version(version.version.sequence),
            wanted => wanted,
        };
        let write = HotWrite {
            resource_type,
            id: id.as_str().to_owned(),
            expect,
            action: HotAction::Delete {
                others: other_patients(&version)?,
            },
        };
        match commit(&call.app, write).await {
            Ok(written) => return Ok(no_content(written.version.sequence)),
            Err(problem) if wanted != Expect::Any || !problem.is_precondition() => return Err(problem),
            Err(_) => {}
        }
    }
    let text = "the resource is being written too often to be deleted; try again";
    Err(Problem::new(StatusCode::CONFLICT, IssueCode::Conflict, text))
}

/// The further patients in whose compartments the version sits: exports for them must tell of the deletion too (M-33).
fn other_patients(version: &Resource) -> Result<Vec<String>, Problem> {
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

fn no_content(sequence: Sequence) -> Response<Body> {
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    answer::set(response.headers_mut(), ETAG, &tag(sequence));
    response
}
