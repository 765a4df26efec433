//! Writing what is known of a patient before any visit: Patient, Coverage and AllergyIntolerance.

use super::chart::Chart;
use super::codes::{Code, code, snomed};
use super::date::Day;
use super::kind::Kind;
use super::person::{Person, Sex};
use super::random::Random;
use super::text::Text;
use super::uuid::Uuid;

/// Writes the Patient of a chart.
pub(super) fn write_patient(chart: &mut Chart<'_>) {
    let person = &chart.person;
    let text = chart.sheets.begin(Kind::Patient, &person.id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient");
    text.raw(
        ",\"text\":{\"status\":\"generated\",\"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\"><p>",
    )
    .raw(&chart.display)
    .raw(", born ")
    .ascii(&person.birth.text())
    .raw(". A synthetic person, number ")
    .number(u64::from(person.index))
    .raw(" of a generated population.</p></div>\"}");
    write_extensions(person, text);
    write_identifiers(person, &mut chart.random, text);
    write_names(person, text);
    let phone = chart.random.below(10_000_000);
    text.raw(",\"telecom\":[{\"system\":\"phone\",\"value\":\"555-")
        .padded(phone / 10_000, 3)
        .raw("-")
        .padded(phone % 10_000, 4)
        .raw("\",\"use\":\"home\"}]");
    let gender = match person.sex {
        Sex::Female => "female",
        Sex::Male => "male",
    };
    text.string("gender", gender).date("birthDate", person.birth);
    if let Some(death) = person.death {
        text.raw(",\"deceasedDateTime\":\"")
            .ascii(&death.text())
            .raw("T23:59:59-05:00\"");
    }
    write_address(person, &mut chart.random, text);
    text.concept("maritalStatus", &MARITAL[usize::from(person.married)]);
    text.raw(",\"multipleBirthBoolean\":false,\"communication\":[{\"language\":")
        .concept_value(&LANGUAGES[person.descent])
        .raw("}],\"generalPractitioner\":[");
    let care = &chart.care;
    text.named_value(Kind::Practitioner, &care.practitioner.id, &care.practitioner.name)
        .raw("]");
    text.named(
        "managingOrganization",
        Kind::Organization,
        &care.practice.id,
        &care.practice.name,
    )
    .finish();
}

/// Writes the Coverage that the patient's claims name.
pub(super) fn write_coverage(chart: &mut Chart<'_>) {
    let Chart {
        person,
        care,
        coverage,
        sheets,
        random,
        ..
    } = chart;
    let member = random.below(1_000_000_000);
    let text = sheets.begin(Kind::Coverage, coverage);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-coverage");
    text.raw(",\"identifier\":[{\"type\":")
        .coded(&MEMBER_NUMBER)
        .raw(",\"system\":\"https://payer.example.com/members\",\"value\":\"M")
        .padded(member, 9)
        .raw("\"}]");
    text.string("status", "active");
    text.concept("type", &COVERAGE_TYPES[usize::from(person.payer > 1)]);
    text.reference("subscriber", Kind::Patient, &person.id);
    text.raw(",\"subscriberId\":\"M").padded(member, 9).raw("\"");
    text.reference("beneficiary", Kind::Patient, &person.id);
    text.concept("relationship", &SELF);
    text.period("period", &person.first_day().text(), b"2025-12-31");
    text.raw(",\"payor\":[")
        .named_value(Kind::Organization, &care.payer, care.payer_name)
        .raw("]");
    text.raw(",\"class\":[{\"type\":")
        .coded(&PLAN_CLASS)
        .string("value", care.payer_name)
        .string("name", care.payer_name)
        .raw("}]")
        .finish();
}

/// Writes an AllergyIntolerance for each of the patient's allergies.
pub(super) fn write_allergies(chart: &mut Chart<'_>) {
    let first = chart.random.below(ALLERGIES.len() as u64) as usize;
    for at in 0..chart.person.allergies {
        let allergy = &ALLERGIES[(first + at * 3) % ALLERGIES.len()];
        let since = chart.random.below(3000) as i32;
        let recorded = chart.person.birth.plus(400 + since).min(chart.person.last_day());
        let id = chart.random.uuid();
        write_allergy(chart, &id, allergy, recorded);
    }
}

fn write_allergy(chart: &mut Chart<'_>, id: &Uuid, allergy: &Allergy, recorded: Day) {
    let text = chart.sheets.begin(Kind::AllergyIntolerance, id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-allergyintolerance");
    text.member("clinicalStatus").coded(&ALLERGY_ACTIVE);
    text.member("verificationStatus").coded(&ALLERGY_CONFIRMED);
    text.string("type", "allergy")
        .raw(",\"category\":[\"")
        .raw(allergy.category)
        .raw("\"]");
    text.string("criticality", allergy.criticality);
    text.concept("code", &allergy.code);
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display);
    text.date("recordedDate", recorded);
    let practitioner = &chart.care.practitioner;
    text.named(
        "recorder",
        Kind::Practitioner,
        &practitioner.id,
        &practitioner.name,
    );
    text.raw(",\"reaction\":[{\"manifestation\":[")
        .concept_value(&allergy.reaction)
        .raw("],\"severity\":\"")
        .raw(allergy.severity)
        .raw("\"}]")
        .finish();
}

fn write_extensions(person: &Person, text: &mut Text) {
    let race = &RACES[person.descent];
    let ethnicity = &ETHNICITIES[usize::from(person.descent == 3)];
    text.raw(",\"extension\":[{\"url\":\"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race\",\"extension\":[{\"url\":\"ombCategory\",\"valueCoding\":")
        .coding(race)
        .raw("},{\"url\":\"text\",\"valueString\":\"")
        .raw(race.display)
        .raw("\"}]},{\"url\":\"http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity\",\"extension\":[{\"url\":\"ombCategory\",\"valueCoding\":")
        .coding(ethnicity)
        .raw("},{\"url\":\"text\",\"valueString\":\"")
        .raw(ethnicity.display)
        .raw("\"}]},{\"url\":\"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex\",\"valueCode\":\"")
        .raw(if person.sex == Sex::Female { "F" } else { "M" })
        .raw("\"},{\"url\":\"http://hl7.org/fhir/StructureDefinition/patient-birthPlace\",\"valueAddress\":{\"city\":\"")
        .raw(person.town.name)
        .raw("\",\"state\":\"Massachusetts\",\"country\":\"US\"}}]");
}

fn write_identifiers(person: &Person, random: &mut Random, text: &mut Text) {
    text.raw(",\"identifier\":[{\"system\":\"https://fhirhose.example.com/synthetic-patients\",\"value\":\"")
        .id(&person.id)
        .raw("\"},{\"type\":")
        .concept_value(&RECORD_NUMBER)
        .raw(",\"system\":\"http://hospital.example.com\",\"value\":\"MRN")
        .padded(u64::from(person.index), 9);
    // Numbers from 900 on are never given to anyone.
    text.raw("\"},{\"type\":")
        .concept_value(&SOCIAL_SECURITY)
        .raw(",\"system\":\"http://hl7.org/fhir/sid/us-ssn\",\"value\":\"999-")
        .padded(random.between(10, 99) as u64, 2)
        .raw("-")
        .padded(random.between(1, 9999) as u64, 4)
        .raw("\"},{\"type\":")
        .concept_value(&DRIVERS_LICENSE)
        .raw(",\"system\":\"urn:oid:2.16.840.1.113883.4.3.25\",\"value\":\"S999")
        .padded(random.below(100_000), 5)
        .raw("\"}]");
}

fn write_names(person: &Person, text: &mut Text) {
    text.raw(",\"name\":[");
    write_name(person, "official", person.family, text);
    if let Some(maiden) = person.maiden {
        text.raw(",");
        write_name(person, "maiden", maiden, text);
    }
    text.raw("]");
}

fn write_name(person: &Person, usage: &str, family: &str, text: &mut Text) {
    text.raw("{\"use\":\"").raw(usage).raw("\"");
    text.string("family", family)
        .raw(",\"given\":[\"")
        .raw(person.given)
        .raw("\",\"")
        .raw(person.middle)
        .raw("\"],\"prefix\":[\"")
        .raw(person.prefix())
        .raw("\"]}");
}

fn write_address(person: &Person, random: &mut Random, text: &mut Text) {
    text.raw(",\"address\":[{\"extension\":[{\"url\":\"http://hl7.org/fhir/StructureDefinition/geolocation\",\"extension\":[{\"url\":\"latitude\",\"valueDecimal\":")
        .decimal(person.town.latitude_micro + random.between(-20_000, 20_000), 6)
        .raw("},{\"url\":\"longitude\",\"valueDecimal\":")
        .decimal(person.town.longitude_micro + random.between(-20_000, 20_000), 6)
        .raw("}]}],\"line\":[\"")
        .number(person.house)
        .raw(" ")
        .raw(person.street)
        .raw("\"]");
    text.string("city", person.town.name)
        .string("state", "MA")
        .string("postalCode", person.town.postal_code)
        .raw(",\"country\":\"US\"}]");
}

/// A substance with what it does to the allergic.
struct Allergy {
    code: Code,
    category: &'static str,
    criticality: &'static str,
    reaction: Code,
    severity: &'static str,
}

const fn allergy(
    code: Code,
    category: &'static str,
    criticality: &'static str,
    reaction: Code,
    severity: &'static str,
) -> Allergy {
    Allergy {
        code,
        category,
        criticality,
        reaction,
        severity,
    }
}

const fn rhinitis() -> Code {
    snomed("878820003", "Rhinoconjunctivitis (disorder)")
}

const fn hives() -> Code {
    snomed("247472004", "Wheal (finding)")
}

static ALLERGIES: [Allergy; 10] = [
    allergy(
        snomed("419474003", "Allergy to mould"),
        "environment",
        "low",
        rhinitis(),
        "mild",
    ),
    allergy(
        snomed("232347008", "Dander (animal) allergy"),
        "environment",
        "low",
        rhinitis(),
        "mild",
    ),
    allergy(
        snomed("418689008", "Allergy to grass pollen"),
        "environment",
        "low",
        rhinitis(),
        "moderate",
    ),
    allergy(
        snomed("232350006", "House dust mite allergy"),
        "environment",
        "low",
        rhinitis(),
        "mild",
    ),
    allergy(
        snomed("419263009", "Allergy to tree pollen"),
        "environment",
        "low",
        rhinitis(),
        "moderate",
    ),
    allergy(
        snomed("300913006", "Shellfish allergy"),
        "food",
        "high",
        hives(),
        "severe",
    ),
    allergy(
        snomed("91934008", "Allergy to nut"),
        "food",
        "high",
        hives(),
        "severe",
    ),
    allergy(
        snomed("425525006", "Allergy to dairy product"),
        "food",
        "low",
        hives(),
        "mild",
    ),
    allergy(
        snomed("424213003", "Allergy to bee venom"),
        "environment",
        "high",
        hives(),
        "moderate",
    ),
    allergy(
        snomed("91936005", "Allergy to penicillin"),
        "medication",
        "high",
        hives(),
        "moderate",
    ),
];

const RACE_SYSTEM: &str = "urn:oid:2.16.840.1.113883.6.238";

static RACES: [Code; 5] = [
    code(RACE_SYSTEM, "2106-3", "White"),
    code(RACE_SYSTEM, "2054-5", "Black or African American"),
    code(RACE_SYSTEM, "2028-9", "Asian"),
    code(RACE_SYSTEM, "2106-3", "White"),
    code(RACE_SYSTEM, "2131-1", "Other Race"),
];
static ETHNICITIES: [Code; 2] = [
    code(RACE_SYSTEM, "2186-5", "Not Hispanic or Latino"),
    code(RACE_SYSTEM, "2135-2", "Hispanic or Latino"),
];
static LANGUAGES: [Code; 5] = [
    code("urn:ietf:bcp:47", "en-US", "English (United States)"),
    code("urn:ietf:bcp:47", "en-US", "English (United States)"),
    code("urn:ietf:bcp:47", "zh", "Chinese"),
    code("urn:ietf:bcp:47", "es", "Spanish"),
    code("urn:ietf:bcp:47", "pt", "Portuguese"),
];
static MARITAL: [Code; 2] = [
    code(
        "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
        "S",
        "Never Married",
    ),
    code(
        "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
        "M",
        "Married",
    ),
];

const IDENTIFIER_TYPES: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

static RECORD_NUMBER: Code = code(IDENTIFIER_TYPES, "MR", "Medical Record Number");
static SOCIAL_SECURITY: Code = code(IDENTIFIER_TYPES, "SS", "Social Security Number");
static DRIVERS_LICENSE: Code = code(IDENTIFIER_TYPES, "DL", "Driver's license number");
static MEMBER_NUMBER: Code = code(IDENTIFIER_TYPES, "MB", "Member Number");

static COVERAGE_TYPES: [Code; 2] = [
    code(
        "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "PUBLICPOL",
        "public healthcare",
    ),
    code(
        "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "EHCPOL",
        "extended healthcare",
    ),
];
static SELF: Code = code(
    "http://terminology.hl7.org/CodeSystem/subscriber-relationship",
    "self",
    "Self",
);
static PLAN_CLASS: Code = code(
    "http://terminology.hl7.org/CodeSystem/coverage-class",
    "plan",
    "Plan",
);
static ALLERGY_ACTIVE: Code = code(
    "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical",
    "active",
    "Active",
);
static ALLERGY_CONFIRMED: Code = code(
    "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
    "confirmed",
    "Confirmed",
);
