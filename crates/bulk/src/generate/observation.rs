//! Writing Observation and DiagnosticReport.

use super::chart::Chart;
use super::codes::{
    Code, INTERPRETED_HIGH, INTERPRETED_LOW, REPORT_LABORATORY, SOCIAL_HISTORY, SURVEY, VITAL_SIGNS, loinc,
    snomed,
};
use super::diseases::HYPERTENSION;
use super::kind::Kind;
use super::measures::{
    ALCOHOL, ANXIETY, BLOOD_COUNT, COMPREHENSIVE, DEPRESSION_SHORT, HEART_RATE, LIPIDS, METABOLIC, Measure,
    OXYGEN, PAIN, Panel, RESPIRATORY_RATE, SYSTOLIC, TEMPERATURE,
};
use super::person::Smoking;
use super::text::Text;
use super::uuid::Uuid;

/// Writes the vital signs of a full visit, with body measurements that fit the patient's age.
pub(super) fn write_vital_signs(chart: &mut Chart<'_>) {
    let months = chart.person.birth.months_until(chart.visit.start.day);
    let height_mm = height_at(chart.person.height_mm, months) + chart.random.between(-4, 4);
    let index_deci = mass_index_at(chart.person.mass_index_deci, months);
    let index_deci = chart.random.around(index_deci, 6);
    let weight_grams = index_deci * height_mm * height_mm / 10_000;
    write_value(chart, &HEIGHT, (height_mm, 1, "cm"));
    write_value(chart, &WEIGHT, (weight_grams / 100, 1, "kg"));
    if months >= 24 {
        write_value(chart, &MASS_INDEX, (index_deci * 10, 2, "kg/m2"));
    }
    if (24..240).contains(&months) {
        let percentile = chart.random.between(3, 970);
        write_value(chart, &MASS_INDEX_PERCENTILE, (percentile, 1, "%"));
    }
    if months < 36 {
        let grown = 345 + i64::from(months.min(24)) * 5;
        let head = chart.random.around(grown, 8);
        write_value(chart, &HEAD_CIRCUMFERENCE, (head, 1, "cm"));
    }
    if months >= 36 {
        write_blood_pressure(chart);
    }
    write_measure(chart, &HEART_RATE);
    write_measure(chart, &RESPIRATORY_RATE);
    write_measure(chart, &TEMPERATURE);
}

/// Writes the vital signs that a check-up of the chronically ill takes.
pub(super) fn write_check_vital_signs(chart: &mut Chart<'_>) {
    write_blood_pressure(chart);
    write_measure(chart, &HEART_RATE);
    if chart.random.chance(300) {
        write_measure(chart, &OXYGEN);
    }
}

/// Writes the vital signs of the acutely ill.
pub(super) fn write_short_vital_signs(chart: &mut Chart<'_>) {
    write_measure(chart, &TEMPERATURE);
    write_measure(chart, &HEART_RATE);
    write_measure(chart, &OXYGEN);
    if chart.person.birth.years_until(chart.visit.start.day) >= 3 {
        write_blood_pressure(chart);
        write_measure(chart, &PAIN);
    }
}

/// Writes the questionnaires of a wellness visit and the smoking status.
pub(super) fn write_questionnaires(chart: &mut Chart<'_>) {
    if chart.person.birth.years_until(chart.visit.start.day) < 12 {
        return;
    }
    write_measure(chart, &PAIN);
    for questionnaire in [&DEPRESSION_SHORT, &ANXIETY, &ALCOHOL] {
        if chart.random.chance(330) {
            write_measure(chart, questionnaire);
        }
    }
    write_smoking(chart);
}

/// Writes the laboratory panels of a wellness visit.
pub(super) fn write_checkup_panels(chart: &mut Chart<'_>) {
    let years = chart.person.birth.years_until(chart.visit.start.day);
    if years >= 20 && chart.random.chance(180) {
        write_panel(chart, &BLOOD_COUNT);
    }
    if years >= 35 && chart.random.chance(330) {
        write_panel(chart, &LIPIDS);
    }
    if years >= 40 && chart.random.chance(230) {
        write_panel(chart, &METABOLIC);
    }
}

/// Writes the laboratory panels of an emergency.
pub(super) fn write_emergency_panels(chart: &mut Chart<'_>) {
    if chart.random.chance(500) {
        write_panel(chart, &BLOOD_COUNT);
    }
    if chart.random.chance(250) {
        write_panel(chart, &COMPREHENSIVE);
    }
}

/// Writes a panel's Observations and the DiagnosticReport that gathers them, once a visit.
pub(super) fn write_panel(chart: &mut Chart<'_>, panel: &'static Panel) {
    if chart
        .visit
        .reports
        .iter()
        .any(|(_, known)| std::ptr::eq(*known, panel))
    {
        return;
    }
    let mut results = [None; RESULTS_MAX];
    for (result, measure) in results.iter_mut().zip(panel.measures) {
        *result = Some(write_measure(chart, measure));
    }
    let id = chart.random.uuid();
    chart.visit.reports.push((id, panel));
    let visit = &chart.visit;
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::DiagnosticReport, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-diagnosticreport-lab");
    text.string("status", "final")
        .categories("category", &REPORT_LABORATORY)
        .concept("code", &panel.code);
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &visit.id);
    text.time("effectiveDateTime", &visit.start_text)
        .time("issued", &visit.issued_text);
    text.raw(",\"performer\":[")
        .named_value(Kind::Organization, &provider.id, &provider.name)
        .raw(",")
        .named_value(Kind::Practitioner, &clinician.id, &clinician.name)
        .raw("]");
    text.raw(",\"result\":");
    for (at, (result, measure)) in results.iter().flatten().zip(panel.measures).enumerate() {
        text.raw(if at == 0 { "[" } else { "," });
        text.named_value(Kind::Observation, result, measure.code.display);
    }
    text.raw("]").finish();
}

/// Writes the Observation of a drawn value; gives its id.
pub(super) fn write_measure(chart: &mut Chart<'_>, measure: &'static Measure) -> Uuid {
    let middle = (measure.low + measure.high) / 2;
    let spread = ((measure.high - measure.low) * 3 / 10).max(1);
    let ill = chart.person.diseases_on(chart.visit.start.day);
    let shift = if measure.shifted_by.meets(ill) {
        measure.shift
    } else {
        0
    };
    let value = chart.random.around(middle + shift, spread).max(0);
    let id = chart.random.uuid();
    begin(chart, &id, &measure.code, measure.category, measure.profile);
    let text = chart.sheets.open(Kind::Observation);
    text.member("valueQuantity")
        .quantity(value, measure.places, measure.unit);
    if !std::ptr::eq(measure.category, &SURVEY) {
        write_reading(measure, value, text);
    }
    text.finish();
    id
}

/// The most measures that a panel has.
const RESULTS_MAX: usize = 16;

/// Something that is computed, not drawn from a range.
struct Reading {
    code: Code,
    profile: &'static str,
}

static HEIGHT: Reading = Reading {
    code: loinc("8302-2", "Body Height"),
    profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-body-height",
};
static WEIGHT: Reading = Reading {
    code: loinc("29463-7", "Body Weight"),
    profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-body-weight",
};
static MASS_INDEX: Reading = Reading {
    code: loinc("39156-5", "Body mass index (BMI) [Ratio]"),
    profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-bmi",
};
static MASS_INDEX_PERCENTILE: Reading = Reading {
    code: loinc("59576-9", "Body mass index (BMI) [Percentile] Per age and sex"),
    profile: "http://hl7.org/fhir/us/core/StructureDefinition/pediatric-bmi-for-age",
};
static HEAD_CIRCUMFERENCE: Reading = Reading {
    code: loinc("9843-4", "Head Occipital-frontal circumference"),
    profile: "http://hl7.org/fhir/us/core/StructureDefinition/us-core-head-circumference",
};
static BLOOD_PRESSURE: Code = loinc("85354-9", "Blood pressure panel with all children optional");
static DIASTOLIC: Code = loinc("8462-4", "Diastolic blood pressure");
static SMOKING_STATUS: Code = loinc("72166-2", "Tobacco smoking status");
static NEVER_SMOKED: Code = snomed("266919005", "Never smoked tobacco (finding)");
static EX_SMOKER: Code = snomed("8517006", "Ex-smoker (finding)");
static SMOKES_DAILY: Code = snomed("449868002", "Smokes tobacco daily (finding)");

fn begin(chart: &mut Chart<'_>, id: &Uuid, code: &Code, category: &Code, profile: &str) {
    let visit = &chart.visit;
    // Results come in one by one after the visit, not all in the same millisecond.
    let issued = visit.end.instant_text(chart.random.below(1000) as u32);
    let (clinician, _) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Observation, id);
    text.profile(profile).string("status", "final");
    text.categories("category", category).concept("code", code);
    text.reference("subject", Kind::Patient, &chart.person.id);
    text.reference("encounter", Kind::Encounter, &visit.id);
    text.time("effectiveDateTime", &visit.start_text)
        .time("issued", &issued);
    text.raw(",\"performer\":[")
        .reference_value(Kind::Practitioner, &clinician.id)
        .raw("]");
}

fn write_value(chart: &mut Chart<'_>, reading: &Reading, value: (i64, u32, &str)) {
    let id = chart.random.uuid();
    begin(chart, &id, &reading.code, &VITAL_SIGNS, reading.profile);
    let text = chart.sheets.open(Kind::Observation);
    text.member("valueQuantity").quantity(value.0, value.1, value.2);
    text.finish();
}

fn write_blood_pressure(chart: &mut Chart<'_>) {
    let ill = chart.person.diseases_on(chart.visit.start.day);
    let raised = if ill.meets(HYPERTENSION) { 22 } else { 0 };
    let years = i64::from(chart.person.birth.years_until(chart.visit.start.day));
    let systolic = chart.random.around(104 + years.min(60) / 4 + raised, 8);
    let diastolic = chart.random.around(66 + years.min(60) / 7 + raised / 2, 5);
    let id = chart.random.uuid();
    let profile = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-blood-pressure";
    begin(chart, &id, &BLOOD_PRESSURE, &VITAL_SIGNS, profile);
    let text = chart.sheets.open(Kind::Observation);
    text.raw(",\"component\":[{\"code\":")
        .concept_value(&SYSTOLIC.code)
        .member("valueQuantity")
        .quantity(systolic, 0, SYSTOLIC.unit)
        .raw("},{\"code\":")
        .concept_value(&DIASTOLIC)
        .member("valueQuantity")
        .quantity(diastolic, 0, "mm[Hg]")
        .raw("}]")
        .finish();
}

fn write_smoking(chart: &mut Chart<'_>) {
    let status = match chart.person.smoking {
        Smoking::Never => &NEVER_SMOKED,
        Smoking::Former => &EX_SMOKER,
        Smoking::Daily => &SMOKES_DAILY,
    };
    let id = chart.random.uuid();
    let profile = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-smokingstatus";
    begin(chart, &id, &SMOKING_STATUS, &SOCIAL_HISTORY, profile);
    let text = chart.sheets.open(Kind::Observation);
    text.concept("valueCodeableConcept", status).finish();
}

/// Writes how a value is to be read: what is out of range, and the range.
fn write_reading(measure: &Measure, value: i64, text: &mut Text) {
    if value < measure.low {
        text.categories("interpretation", &INTERPRETED_LOW);
    } else if value > measure.high {
        text.categories("interpretation", &INTERPRETED_HIGH);
    }
    text.raw(",\"referenceRange\":[{\"low\":{\"value\":")
        .decimal(measure.low, measure.places)
        .string("unit", measure.unit)
        .raw("},\"high\":{\"value\":")
        .decimal(measure.high, measure.places)
        .string("unit", measure.unit)
        .raw("}}]");
}

/// The height at an age, from the height as an adult.
fn height_at(adult_mm: i64, months: i32) -> i64 {
    /// Thousandths of the adult height at each year of age.
    const GROWTH: [i64; 19] = [
        292, 435, 503, 553, 594, 632, 668, 703, 737, 770, 802, 834, 868, 904, 938, 966, 985, 995, 1000,
    ];
    let year = (months / 12).clamp(0, 18) as usize;
    let next = (year + 1).min(18);
    let months = i64::from(months % 12);
    let per_mille = GROWTH[year] + (GROWTH[next] - GROWTH[year]) * months / 12;
    adult_mm * per_mille / 1000
}

/// The body mass index at an age, times 10, from that as an adult: children are slim and alike.
fn mass_index_at(adult_deci: i64, months: i32) -> i64 {
    let grown = i64::from(months.clamp(72, 240)) - 72;
    160 + (adult_deci - 160) * grown / 168
}
