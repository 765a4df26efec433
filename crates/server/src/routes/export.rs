//! `$export` (STU1 to STU3) and `$export-v4` (STU4) at system, all-patients, Group and patient level: kicks an export off (K-01 to K-07).

use fhirhose_auth::Grant;
use fhirhose_bulk::export::{
    EXPORT, ExportSpec, PatientFault, Target, drop_patient_faults, filters_decide, patient_faults,
    submit_export,
};
use fhirhose_fhir::accept::FhirJson;
use fhirhose_fhir::export_request::{ExportLevel, ExportRequest, KickOff, Wire};
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome};
use fhirhose_fhir::prefer::Handling;
use fhirhose_store::Store;
use hyper::StatusCode;
use hyper::header::HeaderName;

use super::dry_run;
use super::status::{accepted, check_room};
use crate::HeaderMode;
use crate::answer;
use crate::audit::{Act, Told, note};
use crate::call::{Answer, Call, not_acceptable};
use crate::problem::Problem;

/// Patients that cannot be exported and are told one by one.
const PATIENTS_TOLD_MAX: usize = 50;

/// `[base]/$export`: everything (K-01).
pub(super) async fn system(call: Call) -> Answer {
    kick_off(call, ExportLevel::System, Wire::Stu3).await
}

/// `[base]/Patient/$export`: the compartments of all patients (K-02).
pub(super) async fn all_patients(call: Call) -> Answer {
    kick_off(call, ExportLevel::AllPatients, Wire::Stu3).await
}

/// `[base]/Group/{id}/$export`: the compartments of a Group's members (K-03).
pub(super) async fn group(call: Call) -> Answer {
    let level = ExportLevel::Group(call.id()?);
    kick_off(call, level, Wire::Stu3).await
}

/// `[base]/Patient/{id}/$export`: one compartment (K-04).
pub(super) async fn patient(call: Call) -> Answer {
    let level = ExportLevel::Patient(call.id()?);
    kick_off(call, level, Wire::Stu3).await
}

/// `[base]/$export-v4`: everything, in the words of STU4 (K-05).
pub(super) async fn system_v4(call: Call) -> Answer {
    kick_off(call, ExportLevel::System, Wire::Stu4).await
}

/// `[base]/Patient/$export-v4`: the compartments of all patients, in the words of STU4.
pub(super) async fn all_patients_v4(call: Call) -> Answer {
    kick_off(call, ExportLevel::AllPatients, Wire::Stu4).await
}

/// `[base]/Group/{id}/$export-v4`: the compartments of a Group's members, in the words of STU4.
pub(super) async fn group_v4(call: Call) -> Answer {
    let level = ExportLevel::Group(call.id()?);
    kick_off(call, level, Wire::Stu4).await
}

/// `[base]/Patient/{id}/$export-v4`: one compartment, in the words of STU4.
pub(super) async fn patient_v4(call: Call) -> Answer {
    let level = ExportLevel::Patient(call.id()?);
    kick_off(call, level, Wire::Stu4).await
}

/// Checks headers and parameters, records the job, and answers 202: the job is durable then.
async fn kick_off(call: Call, level: ExportLevel, wire: Wire) -> Answer {
    let rights = call.rights().clone();
    rights.check_level(&level)?;
    check_headers(&call)?;
    let (app, handling) = (call.app.clone(), call.preferences().handling);
    let mut request = request(call, level, wire).await?;
    let granted_types = rights.exported_types(&request)?;
    check_cohort(&app.store, &request, rights.grant()).await?;
    check_patients(&app.store, &mut request, (handling, rights.grant())).await?;
    let (separate_status, is_dry_run) = (request.separate_status, request.dry_run);
    let spec = ExportSpec {
        file_bytes_max: app.settings.export_file_bytes_max,
        base_url: Some(app.base_url.clone()),
        helper_resources: app.settings.export_helper_resources,
        group_joiners: app.settings.export_group_joiners,
        granted_types,
        ..ExportSpec::new(request, Target::Outputs)
    };
    if is_dry_run {
        return dry_run::answer(&app, spec).await;
    }
    check_room(&app, rights.grant(), EXPORT).await?;
    note(|told| tell(told, &spec.request));
    let mut open = app.audit.open(Act::ExportKickOff).await?;
    let job = submit_export(&app.store, &spec, &rights.grant().client, &*app.entropy).await?;
    open.told.job = Some(job.to_string());
    open.close(StatusCode::ACCEPTED);
    let mut response = accepted(&app, "$export-status", &job);
    if separate_status {
        let applied = HeaderName::from_static("preference-applied");
        answer::set(
            response.headers_mut(),
            applied,
            "respond-async, separate-export-status",
        );
    }
    Ok(response)
}

/// Tells whose data and which types are asked for.
fn tell(told: &mut Told, request: &ExportRequest) {
    match &request.level {
        ExportLevel::System => told.add_detail("level", "system"),
        ExportLevel::AllPatients => told.add_detail("level", "all patients"),
        ExportLevel::Group(id) => told.add_resource(&format!("Group/{}", id.as_str())),
        ExportLevel::Patient(id) => told.add_patient(id.as_str()),
    }
    for patient in request.patients.iter().flatten() {
        told.add_patient(patient.as_str());
    }
    if let Some(types) = &request.types {
        let names: Vec<String> = types.iter().map(ToString::to_string).collect();
        told.add_detail("types", names.join(","));
    }
    if let Some(since) = request.since {
        told.add_detail("since", since);
    }
}

async fn request(call: Call, level: ExportLevel, wire: Wire) -> Result<ExportRequest, Problem> {
    let app = call.app.clone();
    let kick_off = KickOff {
        level,
        wire,
        preferences: call.preferences(),
        base_url: &app.base_url,
        request_url: &call.request_url(),
        now: app.now(),
    };
    if call.is_post() {
        return Ok(kick_off.read_body(&call.json_body().await?)?);
    }
    Ok(kick_off.read_query(call.query())?)
}

/// Refuses what would tell a client that is held to its Groups of others than their members: who is in a cohort is known only once it
/// is exported, so an estimate counts all patients, and a patient who is not there is told apart from one who is not in it.
async fn check_cohort(store: &Store, request: &ExportRequest, grant: &Grant) -> Result<(), Problem> {
    let tells = request.dry_run || request.patients.is_some();
    let ExportLevel::Group(group) = &request.level else {
        return Ok(());
    };
    if !(tells && grant.is_held_to_groups() && filters_decide(store, group).await?) {
        return Ok(());
    }
    let text = "patient and _dryRun are not for a client that is held to certain Groups where filters decide who is in the Group";
    Err(Problem::new(StatusCode::FORBIDDEN, IssueCode::Forbidden, text))
}

/// Refuses patients that do not exist or are not in the Group, each by name, or leaves them out and says so (spec §1.3 `patient`).
async fn check_patients(
    store: &Store,
    request: &mut ExportRequest,
    (handling, grant): (Handling, &Grant),
) -> Result<(), Problem> {
    let mut faults = patient_faults(store, request).await?;
    if grant.is_held_to_groups() {
        // Of others than its members a client learns not even whether they are there.
        faults = faults
            .into_iter()
            .map(|fault| PatientFault::NotMember(fault.id().clone()))
            .collect();
    }
    if handling == Handling::Lenient {
        drop_patient_faults(request, &faults);
        return Ok(());
    }
    if faults.is_empty() {
        return Ok(());
    }
    let mut issues: Vec<Issue> = faults
        .iter()
        .take(PATIENTS_TOLD_MAX)
        .map(PatientFault::issue)
        .collect();
    if faults.len() > PATIENTS_TOLD_MAX {
        let text = format!("patient: {} further ones", faults.len() - PATIENTS_TOLD_MAX);
        issues.push(Issue::error(IssueCode::TooLong, text));
    }
    Err(OperationOutcome { issues }.into())
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
