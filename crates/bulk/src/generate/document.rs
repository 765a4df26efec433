//! Writing the clinical note of a visit: DocumentReference, and the Provenance that says who wrote it.

use super::chart::{Chart, Visit};
use super::codes::{Code, code, loinc};
use super::kind::Kind;
use super::person::{Person, Sex, Smoking};
use super::text::Text;
use super::uuid::Uuid;

/// Writes a note for some visits, and a Provenance for it, its visit and its patient.
pub(super) fn write_documents(chart: &mut Chart<'_>) {
    let ambulatory = chart.visit.kind.class.code == "AMB";
    if ambulatory && !chart.random.chance(400) {
        return;
    }
    let id = chart.random.uuid();
    chart.note.clear();
    compose(
        &chart.person,
        &chart.visit,
        chart.care.payer_name,
        &mut chart.note,
    );
    write_reference(chart, &id);
    write_provenance(chart, &id);
}

fn write_reference(chart: &mut Chart<'_>, id: &Uuid) {
    let visit = &chart.visit;
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::DocumentReference, id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-documentreference");
    text.raw(",\"identifier\":[{\"system\":\"urn:ietf:rfc:3986\",\"value\":\"urn:uuid:")
        .id(id)
        .raw("\"}]");
    text.string("status", "current");
    text.concept("type", &PROGRESS_NOTE)
        .categories("category", &CLINICAL_NOTE);
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.time("date", &visit.issued_text);
    text.raw(",\"author\":[")
        .named_value(Kind::Practitioner, &clinician.id, &clinician.name)
        .raw("]");
    text.named("custodian", Kind::Organization, &provider.id, &provider.name);
    text.raw(",\"content\":[{\"attachment\":{\"contentType\":\"text/plain; charset=utf-8\",\"data\":\"");
    text.base64(chart.note.as_bytes());
    text.raw("\",\"size\":")
        .number(chart.note.as_bytes().len() as u64)
        .raw("},\"format\":")
        .coding(&UNSTRUCTURED)
        .raw("}],\"context\":{\"encounter\":[")
        .reference_value(Kind::Encounter, &visit.id)
        .raw("]");
    text.period("period", &visit.start_text, &visit.end_text)
        .raw("}")
        .finish();
}

fn write_provenance(chart: &mut Chart<'_>, document: &Uuid) {
    let id = chart.random.uuid();
    let visit = &chart.visit;
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Provenance, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-provenance");
    text.raw(",\"target\":[")
        .reference_value(Kind::Patient, &chart.person.id)
        .raw(",")
        .reference_value(Kind::Encounter, &visit.id)
        .raw(",")
        .reference_value(Kind::DocumentReference, document);
    for (report, _) in &visit.reports {
        text.raw(",").reference_value(Kind::DiagnosticReport, report);
    }
    for (procedure, _) in &visit.procedures {
        text.raw(",").reference_value(Kind::Procedure, procedure);
    }
    text.raw("]").time("recorded", &visit.issued_text);
    text.raw(",\"agent\":[");
    for (at, role) in [&AUTHOR, &TRANSMITTER].into_iter().enumerate() {
        text.raw(if at == 0 { "" } else { "," })
            .raw("{\"type\":")
            .concept_value(role);
        text.named("who", Kind::Practitioner, &clinician.id, &clinician.name);
        text.named("onBehalfOf", Kind::Organization, &provider.id, &provider.name)
            .raw("}");
    }
    text.raw("]").finish();
}

/// Composes a note as plain text.
fn compose(person: &Person, visit: &Visit, payer: &str, note: &mut Text) {
    let years = person.birth.years_until(visit.start.day);
    let sex = if person.sex == Sex::Female {
        "female"
    } else {
        "male"
    };
    let pronoun = if person.sex == Sex::Female { "She" } else { "He" };
    note.raw("\n").ascii(&visit.start.day.text());
    note.raw("\n\n# Chief Complaint\n- ").raw(visit.kind.code.display);
    note.raw("\n\n# History of Present Illness\n").raw(person.given);
    note.raw(" is a ").number(years.max(0) as u64);
    note.raw(" year-old ").raw(sex).raw(".");
    write_list(note, " Seen for ", visit.diagnoses.iter().map(|one| one.code));
    note.raw("\n\n# Social History\n")
        .raw(pronoun)
        .raw(match person.smoking {
            Smoking::Never => " has never smoked.",
            Smoking::Former => " quit smoking some years ago.",
            Smoking::Daily => " smokes daily and was advised to quit.",
        });
    note.raw(" Lives in ").raw(person.town.name);
    note.raw(". Covered by ").raw(payer);
    note.raw(".\n\n# Medications\n");
    if visit.medications.is_empty() {
        note.raw("No medication was ordered.");
    }
    write_list(note, "", visit.medications.iter().copied());
    note.raw("\n\n# Assessment and Plan\n");
    write_list(
        note,
        "The following was done: ",
        visit.procedures.iter().map(|one| one.1),
    );
    let vaccines = visit.immunizations.iter().map(|one| &one.1.code);
    write_list(note, " Given: ", vaccines);
    let panels = visit.reports.iter().map(|one| &one.1.code);
    write_list(note, " Ordered and reviewed: ", panels);
    note.raw(" Return as planned, or sooner if symptoms change.\n");
}

fn write_list<'c>(note: &mut Text, lead: &str, codes: impl Iterator<Item = &'c Code>) {
    let mut any = false;
    for code in codes {
        note.raw(if any { "; " } else { lead }).raw(code.display);
        any = true;
    }
    if any {
        note.raw(".");
    }
}

static PROGRESS_NOTE: Code = loinc("11506-3", "Progress note");
static CLINICAL_NOTE: Code = code(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category",
    "clinical-note",
    "Clinical Note",
);
static UNSTRUCTURED: Code = code(
    "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
    "urn:ihe:iti:xds:2017:mimeTypeSufficient",
    "mimeType Sufficient",
);
static AUTHOR: Code = code(
    "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
    "author",
    "Author",
);
static TRANSMITTER: Code = code(
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-provenance-participant-type",
    "transmitter",
    "Transmitter",
);
