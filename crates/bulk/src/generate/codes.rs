//! Codes with their systems and displays, and the ones that are used across the generator.
//!
//! Main type: [`Code`]. The codes are public and well known; displays are those of their systems or of common practice.

/// A code of a code system.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) system: &'static str,
    pub(super) code: &'static str,
    pub(super) display: &'static str,
}

/// Makes a code of any system.
pub(super) const fn code(system: &'static str, code: &'static str, display: &'static str) -> Code {
    Code {
        system,
        code,
        display,
    }
}

/// Makes a SNOMED CT code.
pub(super) const fn snomed(value: &'static str, display: &'static str) -> Code {
    code("http://snomed.info/sct", value, display)
}

/// Makes a LOINC code.
pub(super) const fn loinc(value: &'static str, display: &'static str) -> Code {
    code("http://loinc.org", value, display)
}

/// Makes an RxNorm code.
pub(super) const fn rxnorm(value: &'static str, display: &'static str) -> Code {
    code("http://www.nlm.nih.gov/research/umls/rxnorm", value, display)
}

/// Makes a CVX code.
pub(super) const fn cvx(value: &'static str, display: &'static str) -> Code {
    code("http://hl7.org/fhir/sid/cvx", value, display)
}

/// Makes an ICD-10-CM code.
pub(super) const fn icd10(value: &'static str, display: &'static str) -> Code {
    code("http://hl7.org/fhir/sid/icd-10-cm", value, display)
}

pub(super) static CONDITION_ACTIVE: Code = code(
    "http://terminology.hl7.org/CodeSystem/condition-clinical",
    "active",
    "Active",
);
pub(super) static CONDITION_RESOLVED: Code = code(
    "http://terminology.hl7.org/CodeSystem/condition-clinical",
    "resolved",
    "Resolved",
);
pub(super) static CONDITION_CONFIRMED: Code = code(
    "http://terminology.hl7.org/CodeSystem/condition-ver-status",
    "confirmed",
    "Confirmed",
);
pub(super) static PROBLEM_LIST_ITEM: Code = code(
    "http://terminology.hl7.org/CodeSystem/condition-category",
    "problem-list-item",
    "Problem List Item",
);
pub(super) static ENCOUNTER_DIAGNOSIS: Code = code(
    "http://terminology.hl7.org/CodeSystem/condition-category",
    "encounter-diagnosis",
    "Encounter Diagnosis",
);
pub(super) static LABORATORY: Code = code(
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "laboratory",
    "Laboratory",
);
pub(super) static VITAL_SIGNS: Code = code(
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "vital-signs",
    "Vital Signs",
);
pub(super) static SURVEY: Code = code(
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "survey",
    "Survey",
);
pub(super) static SOCIAL_HISTORY: Code = code(
    "http://terminology.hl7.org/CodeSystem/observation-category",
    "social-history",
    "Social History",
);
pub(super) static REPORT_LABORATORY: Code = code(
    "http://terminology.hl7.org/CodeSystem/v2-0074",
    "LAB",
    "Laboratory",
);
pub(super) static INTERPRETED_LOW: Code = code(
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
    "L",
    "Low",
);
pub(super) static INTERPRETED_HIGH: Code = code(
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
    "H",
    "High",
);
pub(super) static CLAIM_INSTITUTIONAL: Code = code(
    "http://terminology.hl7.org/CodeSystem/claim-type",
    "institutional",
    "Institutional",
);
pub(super) static CLAIM_PROFESSIONAL: Code = code(
    "http://terminology.hl7.org/CodeSystem/claim-type",
    "professional",
    "Professional",
);
pub(super) static CLAIM_PHARMACY: Code = code(
    "http://terminology.hl7.org/CodeSystem/claim-type",
    "pharmacy",
    "Pharmacy",
);

pub(super) static MEDICATION_RECONCILIATION: Code =
    snomed("430193006", "Medication Reconciliation (procedure)");
pub(super) static DEPRESSION_SCREENING: Code = snomed("171207006", "Depression screening (procedure)");
pub(super) static NEEDS_ASSESSMENT: Code = snomed(
    "710824005",
    "Assessment of health and social care needs (procedure)",
);
pub(super) static SUBSTANCE_ASSESSMENT: Code =
    snomed("428211000124100", "Assessment of substance use (procedure)");
pub(super) static ANXIETY_ASSESSMENT: Code = snomed("710841007", "Assessment of anxiety (procedure)");
pub(super) static COLONOSCOPY: Code = snomed("73761001", "Colonoscopy");
pub(super) static MAMMOGRAPHY: Code = snomed("71651007", "Mammography (procedure)");

pub(super) static PATIENT_ROLE: Code = snomed("116154003", "Patient");
pub(super) static HEALTHCARE_PROFESSIONAL: Code = snomed("223366009", "Healthcare professional (occupation)");
pub(super) static HEALTHCARE_SERVICE: Code = snomed("224891009", "Healthcare services (qualifier value)");
