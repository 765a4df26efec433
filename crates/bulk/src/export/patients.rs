//! The `patient` parameter: only patients that exist, and in a Group export only its members (spec §1.3).

use std::collections::HashSet;

use fhirhose_fhir::export_request::{ExportLevel, ExportRequest};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::StopSignal;
use fhirhose_store::Store;

use super::roster::{Groups, Reading};
use crate::Result;

/// Patients that are looked up in one call.
const LOOKUP_IDS: usize = 8_192;

/// Why a patient cannot be exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatientFault {
    /// There is no such patient.
    Unknown(Id),
    /// The patient is not a member of the Group.
    NotMember(Id),
}

impl PatientFault {
    /// Whose fault it is.
    pub fn id(&self) -> &Id {
        match self {
            Self::Unknown(id) | Self::NotMember(id) => id,
        }
    }

    /// What to tell the client; it names the patient, so it belongs into no log.
    pub fn issue(&self) -> Issue {
        let (code, text) = match self {
            Self::Unknown(id) => (
                IssueCode::NotFound,
                format!("patient: Patient/{} does not exist", id.as_str()),
            ),
            Self::NotMember(id) => (
                IssueCode::Invalid,
                format!("patient: Patient/{} is not a member of the Group", id.as_str()),
            ),
        };
        Issue::error(code, text)
    }
}

/// Finds the patients of a request that cannot be exported, in their order.
///
/// Who is in a cohort with filters is only known when the export resolves them; there only existence is looked at, and the export
/// itself leaves others out and says so.
///
/// # Errors
/// What the store gives.
pub async fn patient_faults(store: &Store, request: &ExportRequest) -> Result<Vec<PatientFault>> {
    let Some(patients) = &request.patients else {
        return Ok(Vec::new());
    };
    let members = match &request.level {
        ExportLevel::Group(group) => members(store, group).await?,
        ExportLevel::System | ExportLevel::AllPatients | ExportLevel::Patient(_) => None,
    };
    let mut faults = Vec::new();
    for some in patients.chunks(LOOKUP_IDS) {
        let ids: Vec<_> = some
            .iter()
            .map(|id| (ResourceType::PATIENT, id.as_str()))
            .collect();
        let newest = store.catalog().newest(&ids).await?;
        for (id, newest) in some.iter().zip(newest) {
            if newest.is_none_or(|newest| newest.deleted) {
                faults.push(PatientFault::Unknown(id.clone()));
            } else if members.as_ref().is_some_and(|members| !members.contains(id)) {
                faults.push(PatientFault::NotMember(id.clone()));
            }
        }
    }
    Ok(faults)
}

/// Takes the patients that cannot be exported out of a request, and notes each among what was ignored (`handling=lenient`, K-22). When
/// none is left nothing is exported.
pub fn drop_patient_faults(request: &mut ExportRequest, faults: &[PatientFault]) {
    if let Some(patients) = &mut request.patients {
        let faulty: HashSet<&Id> = faults.iter().map(PatientFault::id).collect();
        patients.retain(|id| !faulty.contains(id));
    }
    for fault in faults {
        let mut issue = fault.issue();
        issue.severity = fhirhose_fhir::outcome::Severity::Warning;
        request.ignored.push(OperationOutcome::of(issue));
    }
}

/// Whether filters decide about the members of a Group, so that only an export of it finds out who they are; `false` for one that is
/// not there.
///
/// # Errors
/// What the store gives.
pub async fn filters_decide(store: &Store, group: &Id) -> Result<bool> {
    let stop = StopSignal::new();
    let reading = reading(store, &stop).await?;
    Ok(Groups::read(reading, group)
        .await?
        .is_some_and(|groups| groups.have_filters()))
}

/// The members of a Group, where no filter decides about them.
async fn members(store: &Store, group: &Id) -> Result<Option<std::collections::BTreeSet<Id>>> {
    let stop = StopSignal::new();
    let reading = reading(store, &stop).await?;
    match Groups::read(reading, group).await? {
        Some(groups) if !groups.have_filters() => Ok(Some(groups.resolve(reading).await?.patients)),
        _ => Ok(None),
    }
}

/// Reads members as they are now; filters are not evaluated with it.
async fn reading<'r>(store: &'r Store, stop: &'r StopSignal) -> Result<Reading<'r>> {
    Ok(Reading {
        store,
        at: store.catalog().snapshot().await?,
        base_url: "",
        stop,
    })
}
