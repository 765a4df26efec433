//! `$export` at system, all-patients, Group and patient level: kicks an export off (K-01 to K-07).

use fhirhose_bulk::export::{EXPORT, ExportSpec, Target, submit_export};
use fhirhose_fhir::accept::FhirJson;
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff, Wire};
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome};

use super::status::{accepted, check_room};
use crate::HeaderMode;
use crate::app::ANYBODY;
use crate::call::{Answer, Call, not_acceptable};
use crate::problem::Problem;

/// `[base]/$export`: everything (K-01).
pub(super) async fn system(call: Call) -> Answer {
    kick_off(call, ExportLevel::System).await
}

/// `[base]/Patient/$export`: the compartments of all patients (K-02).
pub(super) async fn all_patients(call: Call) -> Answer {
    kick_off(call, ExportLevel::AllPatients).await
}

/// `[base]/Group/{id}/$export`: the compartments of a Group's members (K-03).
pub(super) async fn group(call: Call) -> Answer {
    let level = ExportLevel::Group(call.id()?);
    kick_off(call, level).await
}

/// `[base]/Patient/{id}/$export`: one compartment (K-04).
pub(super) async fn patient(call: Call) -> Answer {
    let level = ExportLevel::Patient(call.id()?);
    kick_off(call, level).await
}

/// Checks headers and parameters, records the job, and answers 202: the job is durable then.
async fn kick_off(call: Call, level: ExportLevel) -> Answer {
    check_headers(&call)?;
    let app = call.app.clone();
    let request = request(call, level).await?;
    check_room(&app, EXPORT).await?;
    let spec = ExportSpec {
        file_bytes_max: app.settings.export_file_bytes_max,
        ..ExportSpec::new(request, Target::Outputs)
    };
    let job = submit_export(&app.store, &spec, ANYBODY, &*app.entropy).await?;
    Ok(accepted(&app, "$export-status", &job))
}

async fn request(call: Call, level: ExportLevel) -> Result<ExportRequest, Problem> {
    let app = call.app.clone();
    let kick_off = KickOff {
        level,
        wire: Wire::Stu3,
        handling: call.preferences().handling,
        base_url: &app.base_url,
        request_url: &call.request_url(),
        now: app.now(),
    };
    if call.is_post() {
        return Ok(kick_off.read_body(&call.json_body().await?)?);
    }
    Ok(kick_off.read_query(call.query())?)
}

/// Asks for the headers of the standard, or takes them for granted (K-20, K-21); both complaints come together.
fn check_headers(call: &Call) -> Result<(), Problem> {
    let accepts = call.accepts();
    let mut issues = Vec::new();
    if call.app.settings.headers == HeaderMode::Strict {
        if accepts == FhirJson::Missing {
            let text = "the header `Accept: application/fhir+json` is required";
            issues.push(Issue::error(IssueCode::Required, text));
        }
        if !call.preferences().respond_async {
            let text = "the header `Prefer: respond-async` is required";
            issues.push(Issue::error(IssueCode::Required, text));
        }
    }
    if !issues.is_empty() {
        return Err(OperationOutcome { issues }.into());
    }
    if accepts == FhirJson::Unacceptable {
        return Err(not_acceptable());
    }
    Ok(())
}
