//! The kinds of visits: how they are coded, how long they take and what they cost.

use super::codes::{Code, code, snomed};

/// A kind of visit.
#[derive(Debug)]
pub(super) struct VisitKind {
    pub(super) class: Code,
    pub(super) code: Code,
    /// The place of service that claims carry.
    pub(super) place: Code,
    pub(super) minutes: u32,
    pub(super) cents: i64,
}

const fn class(value: &'static str, display: &'static str) -> Code {
    code("http://terminology.hl7.org/CodeSystem/v3-ActCode", value, display)
}

const fn place(value: &'static str, display: &'static str) -> Code {
    code(
        "https://www.cms.gov/Medicare/Coding/place-of-service-codes",
        value,
        display,
    )
}

const fn ambulatory(value: Code, minutes: u32, cents: i64) -> VisitKind {
    VisitKind {
        class: class("AMB", "ambulatory"),
        code: value,
        place: place("11", "Office"),
        minutes,
        cents,
    }
}

pub(super) static GENERAL_EXAM: VisitKind = ambulatory(
    snomed("162673000", "General examination of patient (procedure)"),
    30,
    12_916,
);
pub(super) static WELL_CHILD: VisitKind =
    ambulatory(snomed("410620009", "Well child visit (procedure)"), 30, 12_916);
pub(super) static SYMPTOM: VisitKind = ambulatory(snomed("185345009", "Encounter for symptom"), 15, 8_555);
pub(super) static FOLLOW_UP: VisitKind = ambulatory(snomed("390906007", "Follow-up encounter"), 20, 10_240);
pub(super) static EMERGENCY: VisitKind = VisitKind {
    class: class("EMER", "emergency"),
    place: place("23", "Emergency Room - Hospital"),
    ..ambulatory(
        snomed("50849002", "Emergency room admission (procedure)"),
        145,
        87_430,
    )
};
pub(super) static INPATIENT: VisitKind = VisitKind {
    class: class("IMP", "inpatient encounter"),
    place: place("21", "Inpatient Hospital"),
    ..ambulatory(
        snomed("183452005", "Emergency hospital admission (procedure)"),
        4_610,
        1_245_975,
    )
};
