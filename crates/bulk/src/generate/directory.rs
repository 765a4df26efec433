//! The providers that patients share: practices, hospitals, their staff and sites, and payers.
//!
//! Main types: [`Care`], what one patient's records name, and [`write_hospital`], which writes one hospital with its
//! practices. Who cares for a patient follows from the patient's index alone: panels of 100 patients, practices of four
//! panels, hospitals of eight practices.

use super::codes::{Code, code, snomed};
use super::kind::Kind;
use super::names::{FAMILIES, MEN, STREETS, TOWNS, Town, WOMEN};
use super::random::{Random, Stream};
use super::text::{Sheets, Text};
use super::uuid::Uuid;

/// The patients of one general practitioner.
pub(super) const PANEL_PATIENTS: u32 = 100;
const PRACTICE_PANELS: u32 = 4;
const HOSPITAL_PRACTICES: u32 = 8;
const HOSPITAL_PANELS: u32 = PRACTICE_PANELS * HOSPITAL_PRACTICES;

/// A member of staff, as other records name them.
#[derive(Debug)]
pub(super) struct Clinician {
    pub(super) id: Uuid,
    pub(super) name: String,
    given: &'static str,
    family: &'static str,
    female: bool,
    npi: u64,
}

/// An organization with its one site, as other records name them.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) location: Uuid,
    town: &'static Town,
    street: &'static str,
    house: u64,
    phone: u64,
}

/// Everyone who cares for one patient.
#[derive(Debug)]
pub(super) struct Care {
    pub(super) practitioner: Clinician,
    pub(super) practice: Provider,
    pub(super) specialists: [Clinician; SPECIALTIES.len()],
    pub(super) hospital: Provider,
    pub(super) payer: Uuid,
    pub(super) payer_name: &'static str,
}

impl Care {
    /// Finds who cares for the patient with an index and a payer.
    pub(super) fn of(seed: u64, patient: u32, payer: u32) -> Self {
        let panel = patient / PANEL_PATIENTS;
        let hospital = panel / HOSPITAL_PANELS;
        Self {
            practitioner: practitioner(seed, panel),
            practice: practice(seed, panel / PRACTICE_PANELS),
            specialists: std::array::from_fn(|at| {
                specialist(seed, hospital * SPECIALTIES.len() as u32 + at as u32)
            }),
            hospital: self::hospital(seed, hospital),
            payer: Uuid::shared(seed, Stream::Payer, payer),
            payer_name: PAYERS[payer as usize],
        }
    }
}

/// Counts the panels that hold `patients`.
pub(super) fn panels(patients: u32) -> u32 {
    patients.div_ceil(PANEL_PATIENTS)
}

/// Counts the hospitals that serve `patients`.
pub(super) fn hospitals(patients: u32) -> u32 {
    panels(patients).div_ceil(HOSPITAL_PANELS)
}

/// Finds the general practitioner of a panel.
pub(super) fn practitioner(seed: u64, panel: u32) -> Clinician {
    clinician(seed, Stream::Practitioner, panel)
}

/// Finds the practice that a panel belongs to.
pub(super) fn practice_of_panel(seed: u64, panel: u32) -> Provider {
    practice(seed, panel / PRACTICE_PANELS)
}

/// Writes one hospital with its specialists, its practices and their general practitioners; the first one brings the payers.
pub(super) fn write_hospital(seed: u64, index: u32, patients: u32, sheets: &mut Sheets) {
    if index == 0 {
        write_payers(seed, sheets);
    }
    let hospital = hospital(seed, index);
    write_provider(&hospital, "hospital", sheets);
    for (at, specialty) in SPECIALTIES.iter().enumerate() {
        let staff = index * SPECIALTIES.len() as u32 + at as u32;
        let role = Uuid::shared(seed, Stream::SpecialistRole, staff);
        write_clinician(&specialist(seed, staff), &hospital, &role, specialty, sheets);
    }
    let end = panels(patients).min((index + 1) * HOSPITAL_PANELS);
    for panel in index * HOSPITAL_PANELS..end {
        let practice = practice_of_panel(seed, panel);
        if panel % PRACTICE_PANELS == 0 {
            write_provider(&practice, "clinic", sheets);
        }
        let role = Uuid::shared(seed, Stream::Role, panel);
        write_clinician(&practitioner(seed, panel), &practice, &role, &GENERAL, sheets);
    }
}

static GENERAL: Code = code(
    "http://nucc.org/provider-taxonomy",
    "208D00000X",
    "General Practice",
);

static SPECIALTIES: [Code; 6] = [
    code(
        "http://nucc.org/provider-taxonomy",
        "207P00000X",
        "Emergency Medicine",
    ),
    code(
        "http://nucc.org/provider-taxonomy",
        "207RC0000X",
        "Cardiovascular Disease",
    ),
    code(
        "http://nucc.org/provider-taxonomy",
        "207RE0101X",
        "Endocrinology, Diabetes & Metabolism",
    ),
    code("http://nucc.org/provider-taxonomy", "208600000X", "Surgery"),
    code(
        "http://nucc.org/provider-taxonomy",
        "2085R0202X",
        "Diagnostic Radiology",
    ),
    code(
        "http://nucc.org/provider-taxonomy",
        "163W00000X",
        "Registered Nurse",
    ),
];

static PROVIDER_TYPE: Code = code(
    "http://terminology.hl7.org/CodeSystem/organization-type",
    "prov",
    "Healthcare Provider",
);
static PAYER_TYPE: Code = code(
    "http://terminology.hl7.org/CodeSystem/organization-type",
    "pay",
    "Payer",
);
static DOCTOR: Code = snomed("309343006", "Physician");

static PAYERS: [&str; 7] = [
    "Medicare",
    "Medicaid",
    "Blue Cross Blue Shield",
    "UnitedHealthcare",
    "Aetna",
    "Cigna Health",
    "Humana",
];

static PRACTICE_NAMES: [&str; 8] = [
    "Family Medicine",
    "Primary Care Associates",
    "Community Health Center",
    "Medical Group",
    "Internal Medicine",
    "Health Partners",
    "Pediatrics and Family Care",
    "Walk-in Clinic",
];

/// The last update that the directory's records claim; a server replaces it by its own.
const LAST_UPDATED: &str =
    "\"meta\":{\"versionId\":\"1\",\"lastUpdated\":\"2025-06-30T08:00:00.000Z\",\"profile\":[\"";

fn practice(seed: u64, index: u32) -> Provider {
    provider(seed, (Stream::Practice, Stream::Location), index, &PRACTICE_NAMES)
}

fn hospital(seed: u64, index: u32) -> Provider {
    let names = ["General Hospital", "Medical Center", "Memorial Hospital"];
    provider(seed, (Stream::Hospital, Stream::HospitalLocation), index, &names)
}

fn provider(seed: u64, streams: (Stream, Stream), index: u32, names: &[&str]) -> Provider {
    let mut random = Random::stream(seed, streams.0, index);
    let town = random.pick(&TOWNS);
    let name = format!("{} {}", town.name, random.pick(names));
    let street: &&str = random.pick(&STREETS);
    Provider {
        id: Uuid::shared(seed, streams.0, index),
        name,
        location: Uuid::shared(seed, streams.1, index),
        town,
        street,
        house: 1 + random.below(400),
        phone: random.below(10_000),
    }
}

fn specialist(seed: u64, index: u32) -> Clinician {
    clinician(seed, Stream::Specialist, index)
}

fn clinician(seed: u64, stream: Stream, index: u32) -> Clinician {
    let mut random = Random::stream(seed, stream, index);
    let female = random.chance(500);
    let given = *random.pick(if female { &WOMEN } else { &MEN });
    let family = *random.pick(&FAMILIES);
    Clinician {
        id: Uuid::shared(seed, stream, index),
        name: format!("Dr. {given} {family}"),
        given,
        family,
        female,
        npi: 9_999_000_000 + random.below(1_000_000),
    }
}

fn begin<'s>(sheets: &'s mut Sheets, kind: Kind, id: &Uuid, profile: &str) -> &'s mut Text {
    let text = sheets.begin(kind, id);
    text.raw(",").raw(LAST_UPDATED);
    text.raw("http://hl7.org/fhir/us/core/StructureDefinition/")
        .raw(profile)
        .raw("\"]}")
}

fn write_payers(seed: u64, sheets: &mut Sheets) {
    for (index, name) in PAYERS.iter().enumerate() {
        let id = Uuid::shared(seed, Stream::Payer, index as u32);
        let text = begin(sheets, Kind::Organization, &id, "us-core-organization");
        text.raw(",\"active\":true").concepts("type", &PAYER_TYPE);
        text.string("name", name)
            .raw(",\"telecom\":[{\"system\":\"phone\",\"value\":\"800-555-01")
            .padded(10 + index as u64, 2)
            .raw("\"}],\"address\":[{\"city\":\"Boston\",\"state\":\"MA\",\"postalCode\":\"02110\",\"country\":\"US\"}]")
            .finish();
    }
}

fn write_provider(provider: &Provider, site: &str, sheets: &mut Sheets) {
    let text = begin(sheets, Kind::Organization, &provider.id, "us-core-organization");
    text.raw(",\"identifier\":[{\"system\":\"http://hl7.org/fhir/sid/us-npi\",\"value\":\"");
    text.number(1_730_000_000 + provider.phone * 97)
        .raw("\"}],\"active\":true");
    text.concepts("type", &PROVIDER_TYPE)
        .string("name", &provider.name);
    write_telecom(provider, text);
    text.raw(",\"address\":[");
    write_address(provider, text);
    text.raw("]").finish();

    let text = begin(sheets, Kind::Location, &provider.location, "us-core-location");
    text.string("status", "active");
    text.string("name", &provider.name).string("description", site);
    text.string("mode", "instance");
    write_telecom(provider, text);
    text.member("address");
    write_address(provider, text);
    text.raw(",\"position\":{\"longitude\":")
        .decimal(provider.town.longitude_micro, 6)
        .raw(",\"latitude\":")
        .decimal(provider.town.latitude_micro, 6)
        .raw("}");
    text.named(
        "managingOrganization",
        Kind::Organization,
        &provider.id,
        &provider.name,
    )
    .finish();
}

fn write_telecom(provider: &Provider, text: &mut Text) {
    text.raw(",\"telecom\":[{\"system\":\"phone\",\"value\":\"617-555-")
        .padded(provider.phone, 4)
        .raw("\",\"use\":\"work\"}]");
}

fn write_address(provider: &Provider, text: &mut Text) {
    text.raw("{\"line\":[\"")
        .number(provider.house)
        .raw(" ")
        .raw(provider.street)
        .raw("\"]");
    text.string("city", provider.town.name)
        .string("state", "MA")
        .string("postalCode", provider.town.postal_code)
        .raw(",\"country\":\"US\"}");
}

fn write_clinician(
    clinician: &Clinician,
    employer: &Provider,
    role: &Uuid,
    specialty: &Code,
    sheets: &mut Sheets,
) {
    let text = begin(sheets, Kind::Practitioner, &clinician.id, "us-core-practitioner");
    text.raw(",\"identifier\":[{\"system\":\"http://hl7.org/fhir/sid/us-npi\",\"value\":\"");
    text.number(clinician.npi).raw("\"}],\"active\":true");
    text.raw(",\"name\":[{\"use\":\"official\"");
    text.string("family", clinician.family)
        .raw(",\"given\":[\"")
        .raw(clinician.given)
        .raw("\"],\"prefix\":[\"Dr.\"]}]");
    text.raw(",\"telecom\":[{\"system\":\"email\",\"value\":\"clinician.")
        .number(clinician.npi)
        .raw("@example.com\",\"use\":\"work\"}],\"address\":[");
    write_address(employer, text);
    let gender = if clinician.female { "female" } else { "male" };
    text.raw("]").string("gender", gender).finish();

    let text = begin(sheets, Kind::PractitionerRole, role, "us-core-practitionerrole");
    text.raw(",\"active\":true");
    text.named("practitioner", Kind::Practitioner, &clinician.id, &clinician.name);
    text.named("organization", Kind::Organization, &employer.id, &employer.name);
    text.concepts("code", &DOCTOR).concepts("specialty", specialty);
    text.raw(",\"location\":[")
        .named_value(Kind::Location, &employer.location, &employer.name)
        .raw("]");
    write_telecom(employer, text);
    text.finish();
}
