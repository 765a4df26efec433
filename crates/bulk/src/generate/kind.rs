//! The resource types that the generator makes.

/// A resource type that the generator makes; the order is alphabetical and is that of summaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AllergyIntolerance,
    CarePlan,
    CareTeam,
    Claim,
    Condition,
    Coverage,
    Device,
    DiagnosticReport,
    DocumentReference,
    Encounter,
    ExplanationOfBenefit,
    Goal,
    Group,
    Immunization,
    Location,
    MedicationRequest,
    Observation,
    Organization,
    Patient,
    Practitioner,
    PractitionerRole,
    Procedure,
    Provenance,
}

/// How many types there are.
pub(super) const KINDS: usize = 23;

/// The FHIR name of each type, by [`Kind`] as a number.
pub(super) const NAMES: [&str; KINDS] = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "Claim",
    "Condition",
    "Coverage",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "Goal",
    "Group",
    "Immunization",
    "Location",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
];

impl Kind {
    /// The FHIR name.
    #[inline]
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}
