//! Writing Claim and ExplanationOfBenefit.

use super::chart::{Chart, Visit};
use super::codes::{CLAIM_INSTITUTIONAL, CLAIM_PHARMACY, CLAIM_PROFESSIONAL, Code, code};
use super::kind::Kind;
use super::medications::Medication;
use super::text::Text;
use super::uuid::Uuid;

/// Writes the Claim of the present visit; its ExplanationOfBenefit must follow.
pub(super) fn write_claim(chart: &mut Chart<'_>) {
    let number = chart.random.below(1_000_000_000_000);
    let visit = &chart.visit;
    let text = chart.sheets.begin(Kind::Claim, &visit.claim);
    write_number(number, text);
    text.string("status", "active");
    text.member("type").coded(claim_type(visit));
    text.string("use", "claim");
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display);
    text.period("billablePeriod", &visit.start_text, &visit.end_text);
    text.time("created", &visit.end_text);
    let (_, provider) = chart.care.attending(visit.attending);
    text.named(
        "insurer",
        Kind::Organization,
        &chart.care.payer,
        chart.care.payer_name,
    );
    text.named("provider", Kind::Organization, &provider.id, &provider.name);
    text.member("priority").coded(&NORMAL);
    text.named("facility", Kind::Location, &provider.location, &provider.name);
    for (at, (immunization, _)) in visit.immunizations.iter().enumerate() {
        text.raw(if at == 0 { ",\"supportingInfo\":[" } else { "," });
        text.raw("{\"sequence\":")
            .number(at as u64 + 1)
            .member("category")
            .coded(&INFORMATION);
        text.reference("valueReference", Kind::Immunization, immunization)
            .raw("}");
    }
    if !visit.immunizations.is_empty() {
        text.raw("]");
    }
    write_diagnoses(visit, text);
    write_claim_procedures(visit, text);
    write_insurance(&chart.coverage, chart.care.payer_name, text);
    for (at, line) in lines(visit).enumerate() {
        write_claim_line(visit, at, &line, text);
    }
    text.raw("]").money("total", total(visit)).finish();
}

/// Writes the ExplanationOfBenefit of the present visit's Claim.
pub(super) fn write_explanation(chart: &mut Chart<'_>) {
    let id = chart.random.uuid();
    let visit = &chart.visit;
    let claim = &visit.claim;
    let (clinician, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::ExplanationOfBenefit, &id);
    text.profile("http://hl7.org/fhir/us/carin-bb/StructureDefinition/C4BB-ExplanationOfBenefit");
    text.raw(",\"contained\":[{\"resourceType\":\"ServiceRequest\",\"id\":\"referral\",\"status\":\"completed\",\"intent\":\"order\"");
    text.reference("subject", Kind::Patient, &chart.person.id);
    text.reference("requester", Kind::Practitioner, &clinician.id)
        .raw("}]");
    text.raw(",\"identifier\":[{\"system\":\"https://bluebutton.cms.gov/resources/variables/clm_id\",\"value\":\"")
        .id(claim)
        .raw("\"},{\"system\":\"https://bluebutton.cms.gov/resources/identifier/claim-group\",\"value\":\"99999999999\"}]");
    text.string("status", "active");
    text.member("type").coded(claim_type(visit));
    text.string("use", "claim");
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display);
    text.period("billablePeriod", &visit.start_text, &visit.end_text);
    text.time("created", &visit.end_text);
    text.named(
        "insurer",
        Kind::Organization,
        &chart.care.payer,
        chart.care.payer_name,
    );
    text.named("provider", Kind::Practitioner, &clinician.id, &clinician.name);
    text.raw(",\"referral\":{\"reference\":\"#referral\"}");
    text.named("facility", Kind::Location, &provider.location, &provider.name);
    text.reference("claim", Kind::Claim, claim)
        .string("outcome", "complete");
    text.raw(",\"careTeam\":[{\"sequence\":1");
    text.named("provider", Kind::Practitioner, &clinician.id, &clinician.name);
    text.member("role").coded(&PRIMARY).raw("}]");
    write_diagnoses(visit, text);
    text.raw(",\"insurance\":[{\"focal\":true");
    text.named("coverage", Kind::Coverage, &chart.coverage, chart.care.payer_name)
        .raw("}]");
    for (at, line) in lines(visit).enumerate() {
        write_explained_line(visit, at, &line, text);
    }
    let total = total(visit);
    text.raw("],\"total\":[{\"category\":")
        .coded(&SUBMITTED)
        .money("amount", total)
        .raw("}]");
    text.raw(",\"payment\":{\"date\":\"")
        .ascii(&visit.start.day.plus(14).text())
        .raw("\"")
        .money("amount", total - share(total))
        .raw("}")
        .finish();
}

/// Writes the pharmacy's Claim for a MedicationRequest.
pub(super) fn write_pharmacy_claim(chart: &mut Chart<'_>, request: &Uuid, medication: &Medication) {
    let id = chart.random.uuid();
    let number = chart.random.below(1_000_000_000_000);
    let visit = &chart.visit;
    let (_, provider) = chart.care.attending(visit.attending);
    let text = chart.sheets.begin(Kind::Claim, &id);
    write_number(number, text);
    text.string("status", "active");
    text.member("type").coded(&CLAIM_PHARMACY);
    text.string("use", "claim");
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display);
    text.period("billablePeriod", &visit.start_text, &visit.end_text);
    text.time("created", &visit.end_text);
    text.named(
        "insurer",
        Kind::Organization,
        &chart.care.payer,
        chart.care.payer_name,
    );
    text.named("provider", Kind::Organization, &provider.id, &provider.name);
    text.member("priority").coded(&NORMAL);
    text.reference("prescription", Kind::MedicationRequest, request);
    write_insurance(&chart.coverage, chart.care.payer_name, text);
    text.raw("{\"sequence\":1,\"productOrService\":")
        .concept_value(&medication.code);
    text.raw(",\"encounter\":[")
        .reference_value(Kind::Encounter, &visit.id)
        .raw("]}]");
    text.money("total", medication.cents).finish();
}

/// One billed line: what for, its price, and the number of the supporting information that it rests on.
struct Line {
    code: &'static Code,
    cents: i64,
    information: Option<u64>,
}

/// The visit itself, then its vaccinations, panels and procedures.
fn lines(visit: &Visit) -> impl Iterator<Item = Line> {
    let whole = Line {
        code: &visit.kind.code,
        cents: visit.kind.cents,
        information: None,
    };
    let immunizations = visit.immunizations.iter().enumerate();
    let immunizations = immunizations.map(|(at, (_, vaccine))| Line {
        code: &vaccine.code,
        cents: vaccine.cents,
        information: Some(at as u64 + 1),
    });
    let reports = visit.reports.iter().map(|(_, panel)| Line {
        code: &panel.code,
        cents: panel.cents,
        information: None,
    });
    let procedures = visit.procedures.iter().map(|(_, code)| Line {
        code,
        cents: procedure_cents(code),
        information: None,
    });
    std::iter::once(whole)
        .chain(immunizations)
        .chain(reports)
        .chain(procedures)
}

/// A price that looks arbitrary and is always the same for the same procedure.
fn procedure_cents(code: &Code) -> i64 {
    let digits = code
        .code
        .bytes()
        .fold(7_u64, |sum, digit| (sum * 31 + u64::from(digit)) % 1_000_003);
    4_500 + (digits % 61_000) as i64
}

fn total(visit: &Visit) -> i64 {
    lines(visit).map(|line| line.cents).sum()
}

/// The part that the patient pays.
fn share(cents: i64) -> i64 {
    cents / 5
}

fn claim_type(visit: &Visit) -> &'static Code {
    match visit.kind.class.code {
        "AMB" => &CLAIM_PROFESSIONAL,
        _ => &CLAIM_INSTITUTIONAL,
    }
}

fn write_number(number: u64, text: &mut Text) {
    text.raw(",\"identifier\":[{\"system\":\"https://payer.example.com/claims\",\"value\":\"CLM")
        .padded(number, 12)
        .raw("\"}]");
}

fn write_diagnoses(visit: &Visit, text: &mut Text) {
    for (at, diagnosis) in visit.diagnoses.iter().enumerate() {
        text.raw(if at == 0 { ",\"diagnosis\":[" } else { "," });
        text.raw("{\"sequence\":").number(at as u64 + 1);
        text.raw(",\"diagnosisCodeableConcept\":")
            .concept_value(diagnosis.billing);
        text.raw(",\"type\":[")
            .coded(if at == 0 { &PRINCIPAL } else { &SECONDARY })
            .raw("]}");
    }
    if !visit.diagnoses.is_empty() {
        text.raw("]");
    }
}

fn write_claim_procedures(visit: &Visit, text: &mut Text) {
    for (at, (procedure, _)) in visit.procedures.iter().enumerate() {
        text.raw(if at == 0 { ",\"procedure\":[" } else { "," });
        text.raw("{\"sequence\":").number(at as u64 + 1);
        text.reference("procedureReference", Kind::Procedure, procedure)
            .raw("}");
    }
    if !visit.procedures.is_empty() {
        text.raw("]");
    }
}

/// Writes the insurance and opens the list of items.
fn write_insurance(coverage: &Uuid, payer: &str, text: &mut Text) {
    text.raw(",\"insurance\":[{\"sequence\":1,\"focal\":true");
    text.named("coverage", Kind::Coverage, coverage, payer)
        .raw("}],\"item\":[");
}

fn write_claim_line(visit: &Visit, at: usize, line: &Line, text: &mut Text) {
    text.raw(if at == 0 {
        "{\"sequence\":"
    } else {
        ",{\"sequence\":"
    })
    .number(at as u64 + 1);
    if let Some(information) = line.information {
        text.raw(",\"informationSequence\":[")
            .number(information)
            .raw("]");
    }
    text.concept("productOrService", line.code);
    if at == 0 {
        text.raw(",\"encounter\":[")
            .reference_value(Kind::Encounter, &visit.id)
            .raw("]");
    }
    text.money("net", line.cents).raw("}");
}

fn write_explained_line(visit: &Visit, at: usize, line: &Line, text: &mut Text) {
    text.raw(if at == 0 {
        ",\"item\":[{\"sequence\":"
    } else {
        ",{\"sequence\":"
    })
    .number(at as u64 + 1);
    text.member("category").coded(&MEDICAL_CARE);
    text.member("productOrService").coded(line.code);
    text.period("servicedPeriod", &visit.start_text, &visit.end_text);
    text.member("locationCodeableConcept").coded(&visit.kind.place);
    if at == 0 {
        text.raw(",\"encounter\":[")
            .reference_value(Kind::Encounter, &visit.id)
            .raw("]}");
        return;
    }
    text.money("net", line.cents).raw(",\"adjudication\":[");
    let patient_pays = share(line.cents);
    let amounts = [patient_pays, line.cents - patient_pays, line.cents, line.cents];
    for (category, cents) in ADJUDICATIONS.iter().zip(amounts) {
        text.raw("{\"category\":")
            .coded(category)
            .money("amount", cents)
            .raw("},");
    }
    text.raw("{\"category\":").coded(&PROCESSING).raw("}]}");
}

const INFORMATION_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/claiminformationcategory";
const DIAGNOSIS_TYPES: &str = "http://terminology.hl7.org/CodeSystem/ex-diagnosistype";
const ADJUDICATION_SYSTEM: &str = "https://bluebutton.cms.gov/resources/codesystem/adjudication";

static NORMAL: Code = code(
    "http://terminology.hl7.org/CodeSystem/processpriority",
    "normal",
    "Normal",
);
static INFORMATION: Code = code(INFORMATION_SYSTEM, "info", "Information");
static PRINCIPAL: Code = code(DIAGNOSIS_TYPES, "principal", "Principal Diagnosis");
static SECONDARY: Code = code(DIAGNOSIS_TYPES, "discharge", "Discharge Diagnosis");
static PRIMARY: Code = code(
    "http://terminology.hl7.org/CodeSystem/claimcareteamrole",
    "primary",
    "Primary provider",
);
static SUBMITTED: Code = code(
    "http://terminology.hl7.org/CodeSystem/adjudication",
    "submitted",
    "Submitted Amount",
);
static MEDICAL_CARE: Code = code(
    "https://bluebutton.cms.gov/resources/variables/line_cms_type_srvc_cd",
    "1",
    "Medical care",
);
static PROCESSING: Code = code(
    ADJUDICATION_SYSTEM,
    "https://bluebutton.cms.gov/resources/variables/line_prcsg_ind_cd",
    "Line Processing Indicator Code",
);
static ADJUDICATIONS: [Code; 4] = [
    code(
        ADJUDICATION_SYSTEM,
        "https://bluebutton.cms.gov/resources/variables/line_coinsrnc_amt",
        "Line Beneficiary Coinsurance Amount",
    ),
    code(
        ADJUDICATION_SYSTEM,
        "https://bluebutton.cms.gov/resources/variables/line_prvdr_pmt_amt",
        "Line Provider Payment Amount",
    ),
    code(
        ADJUDICATION_SYSTEM,
        "https://bluebutton.cms.gov/resources/variables/line_sbmtd_chrg_amt",
        "Line Submitted Charge Amount",
    ),
    code(
        ADJUDICATION_SYSTEM,
        "https://bluebutton.cms.gov/resources/variables/line_alowd_chrg_amt",
        "Line Allowed Charge Amount",
    ),
];
