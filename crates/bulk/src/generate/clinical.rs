//! Writing Encounter, Condition, Procedure, Immunization and MedicationRequest.

use super::chart::Chart;
use super::codes::{
    ANXIETY_ASSESSMENT, COLONOSCOPY, CONDITION_ACTIVE, CONDITION_CONFIRMED, CONDITION_RESOLVED, Code,
    DEPRESSION_SCREENING, ENCOUNTER_DIAGNOSIS, MAMMOGRAPHY, MEDICATION_RECONCILIATION, NEEDS_ASSESSMENT,
    PROBLEM_LIST_ITEM, SUBSTANCE_ASSESSMENT, code, snomed,
};
use super::date::Day;
use super::diseases::Disease;
use super::episodes::Episode;
use super::kind::Kind;
use super::medications::Medication;
use super::person::Sex;
use super::text::Text;
use super::uuid::Uuid;
use super::vaccines::{INFLUENZA, VACCINES, Vaccine};

/// Writes the Encounter of the present visit, when its diagnoses are known.
pub(super) fn write_encounter(chart: &mut Chart<'_>) {
    let visit = &chart.visit;
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Encounter, &visit.id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-encounter");
    text.raw(",\"identifier\":[{\"use\":\"official\",\"system\":\"https://fhirhose.example.com/synthetic-encounters\",\"value\":\"")
        .id(&visit.id)
        .raw("\"}]");
    text.string("status", "finished");
    text.member("class").coding(&visit.kind.class);
    text.concepts("type", &visit.kind.code);
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.raw(",\"participant\":[{\"type\":[")
        .concept_value(&PRIMARY_PERFORMER)
        .raw("]");
    text.period("period", &visit.start_text, &visit.end_text);
    text.named("individual", Kind::Practitioner, &clinician.id, &clinician.name)
        .raw("}]");
    text.period("period", &visit.start_text, &visit.end_text);
    if let Some(diagnosis) = visit.diagnoses.first() {
        text.concepts("reasonCode", diagnosis.code);
        text.raw(",\"diagnosis\":[{\"condition\":")
            .named_value(Kind::Condition, &diagnosis.id, diagnosis.code.display)
            .raw(",\"rank\":1}]");
    }
    if visit.kind.class.code == "IMP" {
        text.member("hospitalization")
            .raw("{\"dischargeDisposition\":")
            .concept_value(&DISCHARGED_HOME)
            .raw("}");
    }
    text.raw(",\"location\":[{\"location\":")
        .named_value(Kind::Location, &provider.location, &provider.name)
        .raw("}]");
    text.named(
        "serviceProvider",
        Kind::Organization,
        &provider.id,
        &provider.name,
    )
    .finish();
}

/// Writes the Condition of a lasting disease; gives its id.
pub(super) fn write_problem(chart: &mut Chart<'_>, disease: &Disease, onset: Day) -> Uuid {
    let id = chart.random.uuid();
    let text = begin_condition(chart, &id, (&disease.code, &disease.billing), &PROBLEM_LIST_ITEM);
    text.date("onsetDateTime", onset);
    finish_condition(chart);
    id
}

/// Writes the Condition of a passing illness or injury; gives its id.
pub(super) fn write_episode(chart: &mut Chart<'_>, episode: &Episode) -> Uuid {
    let id = chart.random.uuid();
    let start = chart.visit.start_text;
    let end = chart.visit.start.day.plus(episode.days);
    let end = end.min(chart.person.last_day());
    let text = begin_condition(
        chart,
        &id,
        (&episode.code, &episode.billing),
        &ENCOUNTER_DIAGNOSIS,
    );
    text.time("onsetDateTime", &start).date("abatementDateTime", end);
    finish_condition(chart);
    id
}

/// Writes the assessments of a wellness visit and the screenings that age and sex call for.
pub(super) fn write_screenings(chart: &mut Chart<'_>) {
    let years = chart.person.birth.years_until(chart.visit.start.day);
    let has_problem = chart.problems.iter().any(Option::is_some);
    if has_problem && chart.random.chance(600) {
        write_procedure(chart, &MEDICATION_RECONCILIATION, None);
    }
    if years >= 12 {
        for assessment in [
            &DEPRESSION_SCREENING,
            &NEEDS_ASSESSMENT,
            &SUBSTANCE_ASSESSMENT,
            &ANXIETY_ASSESSMENT,
        ] {
            if chart.random.chance(350) {
                write_procedure(chart, assessment, None);
            }
        }
    }
    if years >= 50 && chart.random.chance(110) {
        write_procedure(chart, &COLONOSCOPY, None);
    }
    if years >= 40 && chart.person.sex == Sex::Female && chart.random.chance(330) {
        write_procedure(chart, &MAMMOGRAPHY, None);
    }
}

/// Writes a Procedure, which may have a Condition as its reason.
pub(super) fn write_procedure(chart: &mut Chart<'_>, procedure: &'static Code, reason: Option<&Uuid>) {
    let id = chart.random.uuid();
    let visit = &mut chart.visit;
    visit.procedures.push((id, procedure));
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Procedure, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-procedure");
    text.string("status", "completed").concept("code", procedure);
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &visit.id);
    text.period("performedPeriod", &visit.start_text, &visit.end_text);
    text.raw(",\"performer\":[{\"actor\":")
        .named_value(Kind::Practitioner, &clinician.id, &clinician.name)
        .raw("}]");
    text.named("location", Kind::Location, &provider.location, &provider.name);
    if let Some(condition) = reason {
        text.raw(",\"reasonReference\":[")
            .reference_value(Kind::Condition, condition)
            .raw("]");
    }
    text.finish();
}

/// Writes the vaccinations that have fallen due since the last wellness visit.
pub(super) fn write_vaccinations(chart: &mut Chart<'_>) {
    let months = chart.person.birth.months_until(chart.visit.start.day);
    let done = chart.vaccinated_months;
    for vaccine in &VACCINES {
        if vaccine
            .due_months
            .iter()
            .any(|due| (done + 1..=months).contains(due))
        {
            write_vaccination(chart, vaccine);
        }
    }
    chart.vaccinated_months = months;
    write_influenza_vaccination(chart);
}

/// Writes the season's influenza vaccination, most of the time.
pub(super) fn write_influenza_vaccination(chart: &mut Chart<'_>) {
    let day = chart.visit.start.day;
    let old_enough = chart.person.birth.months_until(day) >= 6;
    let due = day.0 - chart.last_influenza.0 >= 270;
    if old_enough && due && chart.random.chance(800) {
        chart.last_influenza = day;
        write_vaccination(chart, &INFLUENZA);
    }
}

/// Writes the MedicationRequest of a drug for a Condition, and its pharmacy Claim.
pub(super) fn write_medication(
    chart: &mut Chart<'_>,
    medication: &'static Medication,
    reason: &Uuid,
    days: i32,
) {
    let id = chart.random.uuid();
    let number = chart.random.below(10_000_000_000);
    let visit = &mut chart.visit;
    visit.medications.push(&medication.code);
    let ended = visit.start.day.plus(days) <= chart.person.last_day();
    let (clinician, _) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::MedicationRequest, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-medicationrequest");
    text.raw(",\"identifier\":[{\"system\":\"https://pharmacy.example.com/prescriptions\",\"value\":\"RX")
        .padded(number, 10)
        .raw("\"}]");
    text.string("status", if ended { "stopped" } else { "active" })
        .string("intent", "order")
        .categories("category", &COMMUNITY);
    text.concept("medicationCodeableConcept", &medication.code);
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &visit.id);
    text.time("authoredOn", &visit.start_text);
    text.named("requester", Kind::Practitioner, &clinician.id, &clinician.name);
    text.raw(",\"reasonReference\":[")
        .reference_value(Kind::Condition, reason)
        .raw("]");
    write_dosage(medication, days, text);
    text.finish();
    super::claim::write_pharmacy_claim(chart, &id, medication);
}

fn write_dosage(medication: &Medication, days: i32, text: &mut Text) {
    let supply_days = u64::from(days.clamp(5, 90).unsigned_abs());
    text.raw(",\"dosageInstruction\":[{\"sequence\":1");
    text.string("text", medication.dosage)
        .raw(",\"timing\":{\"repeat\":{\"frequency\":")
        .number(medication.times_a_day)
        .raw(",\"period\":1.0,\"periodUnit\":\"d\"}},\"asNeededBoolean\":")
        .raw(if medication.times_a_day == 4 {
            "true"
        } else {
            "false"
        })
        .raw(",\"doseAndRate\":[{\"type\":")
        .coded(&ORDERED_DOSE)
        .raw(",\"doseQuantity\":{\"value\":1.00}}]}]");
    text.raw(",\"dispenseRequest\":{\"numberOfRepeatsAllowed\":")
        .number(u64::from(days > 90))
        .raw(",\"quantity\":{\"value\":")
        .number(supply_days * medication.times_a_day)
        .raw("},\"expectedSupplyDuration\":")
        .quantity(supply_days as i64, 0, "d")
        .raw("}");
}

fn begin_condition<'c>(
    chart: &'c mut Chart<'_>,
    id: &Uuid,
    codes: (&Code, &Code),
    category: &'static Code,
) -> &'c mut Text {
    let lasting = std::ptr::eq(category, &PROBLEM_LIST_ITEM);
    let text = chart.sheets.begin(Kind::Condition, id);
    text.profile(if lasting {
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition-problems-health-concerns"
    } else {
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition-encounter-diagnosis"
    });
    let status = if lasting {
        &CONDITION_ACTIVE
    } else {
        &CONDITION_RESOLVED
    };
    text.member("clinicalStatus").coded(status);
    text.member("verificationStatus").coded(&CONDITION_CONFIRMED);
    text.categories("category", category);
    text.raw(",\"code\":{\"coding\":[")
        .coding(codes.0)
        .raw(",")
        .coding(codes.1)
        .raw("],\"text\":\"")
        .raw(codes.0.display)
        .raw("\"}");
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &chart.visit.id)
}

fn finish_condition(chart: &mut Chart<'_>) {
    let (clinician, _) = chart.care.attending(chart.visit.attending);
    chart
        .sheets
        .open(Kind::Condition)
        .time("recordedDate", &chart.visit.start_text)
        .named("recorder", Kind::Practitioner, &clinician.id, &clinician.name)
        .finish();
}

fn write_vaccination(chart: &mut Chart<'_>, vaccine: &'static Vaccine) {
    let id = chart.random.uuid();
    let lot = chart.random.below(100_000_000);
    let visit = &mut chart.visit;
    visit.immunizations.push((id, vaccine));
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Immunization, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-immunization");
    text.string("status", "completed")
        .concept("vaccineCode", &vaccine.code);
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &visit.id);
    text.time("occurrenceDateTime", &visit.start_text)
        .raw(",\"primarySource\":true");
    text.named("location", Kind::Location, &provider.location, &provider.name);
    text.raw(",\"manufacturer\":{\"display\":\"")
        .raw(vaccine.manufacturer)
        .raw("\"},\"lotNumber\":\"")
        .padded(lot, 8)
        .raw("\"");
    text.member("site").coded(&LEFT_ARM);
    text.raw(",\"doseQuantity\":")
        .quantity(50, 2, "mL")
        .raw(",\"performer\":[{\"actor\":")
        .named_value(Kind::Practitioner, &clinician.id, &clinician.name)
        .raw("}]")
        .finish();
}

static PRIMARY_PERFORMER: Code = code(
    "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
    "PPRF",
    "primary performer",
);
static DISCHARGED_HOME: Code = code(
    "http://terminology.hl7.org/CodeSystem/discharge-disposition",
    "home",
    "Home",
);
static COMMUNITY: Code = code(
    "http://terminology.hl7.org/CodeSystem/medicationrequest-category",
    "community",
    "Community",
);
static ORDERED_DOSE: Code = code(
    "http://terminology.hl7.org/CodeSystem/dose-rate-type",
    "ordered",
    "Ordered",
);
static LEFT_ARM: Code = snomed("368208006", "Left upper arm structure (body structure)");
