//! Writing CarePlan, CareTeam, Goal and Device when a disease is found.

use super::chart::Chart;
use super::codes::{Code, HEALTHCARE_PROFESSIONAL, HEALTHCARE_SERVICE, PATIENT_ROLE, code, snomed};
use super::diseases::{ATRIAL_FIBRILLATION, CORONARY, DISEASES, Diseases, Plan};
use super::kind::Kind;
use super::text::Text;
use super::uuid::Uuid;

/// Writes the plan, team and goal of the disease at `position`, and the implant that it may call for.
pub(super) fn write_care(chart: &mut Chart<'_>, position: usize, problem: &Uuid) {
    if let Some(plan) = &DISEASES[position].plan {
        let goal = write_goal(chart, plan, problem);
        let team = write_team(chart, &DISEASES[position].code);
        write_plan(chart, plan, (problem, &goal, &team));
    }
    let cardiac = ATRIAL_FIBRILLATION.with(CORONARY);
    let first_patient = chart.person.index == 0;
    if Diseases::at(position).meets(cardiac) && (first_patient || chart.random.chance(250)) {
        write_device(chart);
    }
}

fn write_goal(chart: &mut Chart<'_>, plan: &Plan, problem: &Uuid) -> Uuid {
    let id = chart.random.uuid();
    let practitioner = &chart.care.practitioner;
    let text = chart.sheets.begin(Kind::Goal, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-goal");
    text.string("lifecycleStatus", "active");
    text.member("achievementStatus").coded(&IN_PROGRESS);
    text.raw(",\"description\":{\"text\":\"")
        .raw(plan.goal)
        .raw("\"}");
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.date("startDate", chart.visit.start.day);
    text.raw(",\"target\":[{\"measure\":")
        .concept_value(&plan.target.code)
        .raw(",\"detailRange\":{\"high\":")
        .quantity(plan.target_high, plan.target.places, plan.target.unit)
        .raw("}");
    text.date("dueDate", chart.visit.start.day.plus(182)).raw("}]");
    text.named(
        "expressedBy",
        Kind::Practitioner,
        &practitioner.id,
        &practitioner.name,
    );
    text.raw(",\"addresses\":[")
        .reference_value(Kind::Condition, problem)
        .raw("]")
        .finish();
    id
}

fn write_team(chart: &mut Chart<'_>, reason: &Code) -> Uuid {
    let id = chart.random.uuid();
    let care = &chart.care;
    let text = chart.sheets.begin(Kind::CareTeam, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-careteam");
    text.string("status", "active");
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &chart.visit.id);
    text.raw(",\"period\":{\"start\":\"")
        .ascii(&chart.visit.start_text)
        .raw("\"},\"participant\":[");
    write_member(
        &PATIENT_ROLE,
        (Kind::Patient, &chart.person.id, &chart.display),
        text,
    );
    text.raw(",");
    let practitioner = &care.practitioner;
    let member = (Kind::Practitioner, &practitioner.id, practitioner.name.as_str());
    write_member(&HEALTHCARE_PROFESSIONAL, member, text);
    text.raw(",");
    let member = (Kind::Organization, &care.practice.id, care.practice.name.as_str());
    write_member(&HEALTHCARE_SERVICE, member, text);
    text.raw("]").concepts("reasonCode", reason);
    text.raw(",\"managingOrganization\":[")
        .named_value(Kind::Organization, &care.practice.id, &care.practice.name)
        .raw("]")
        .finish();
    id
}

fn write_member(role: &Code, member: (Kind, &Uuid, &str), text: &mut Text) {
    text.raw("{\"role\":[").concept_value(role).raw("]");
    text.named("member", member.0, member.1, member.2).raw("}");
}

fn write_plan(chart: &mut Chart<'_>, plan: &Plan, ids: (&Uuid, &Uuid, &Uuid)) {
    let (problem, goal, team) = ids;
    let id = chart.random.uuid();
    let text = chart.sheets.begin(Kind::CarePlan, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-careplan");
    text.raw(",\"text\":{\"status\":\"generated\",\"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">Care Plan for ")
        .raw(plan.category.display)
        .raw(".<br/>Activities: <ul>");
    for activity in plan.activities {
        text.raw("<li>").raw(activity.display).raw("</li>");
    }
    text.raw("</ul></div>\"}");
    text.string("status", "active").string("intent", "order");
    text.raw(",\"category\":[")
        .coded(&ASSESSMENT_AND_PLAN)
        .raw(",")
        .concept_value(&plan.category)
        .raw("]");
    text.named("subject", Kind::Patient, &chart.person.id, &chart.display);
    text.reference("encounter", Kind::Encounter, &chart.visit.id);
    text.raw(",\"period\":{\"start\":\"")
        .ascii(&chart.visit.start_text)
        .raw("\"},\"careTeam\":[")
        .reference_value(Kind::CareTeam, team)
        .raw("],\"addresses\":[")
        .reference_value(Kind::Condition, problem)
        .raw("],\"goal\":[")
        .reference_value(Kind::Goal, goal)
        .raw("],\"activity\":");
    let practice = &chart.care.practice;
    for (at, activity) in plan.activities.iter().enumerate() {
        text.raw(if at == 0 { "[" } else { "," })
            .raw("{\"detail\":{\"code\":")
            .concept_value(activity)
            .raw(",\"status\":\"in-progress\"");
        text.named("location", Kind::Location, &practice.location, &practice.name)
            .raw("}}");
    }
    text.raw("]").finish();
}

fn write_device(chart: &mut Chart<'_>) {
    let id = chart.random.uuid();
    let serial = chart.random.below(1_000_000_000_000);
    let device = chart.random.pick(&DEVICES);
    let made = chart.visit.start.day.plus(-60);
    let expires = made.plus(25 * 365);
    let text = chart.sheets.begin(Kind::Device, &id);
    text.profile("http://hl7.org/fhir/us/core/StructureDefinition/us-core-implantable-device");
    text.raw(",\"udiCarrier\":[{\"deviceIdentifier\":\"")
        .padded(serial, 14)
        .raw("\",\"carrierHRF\":\"(01)")
        .padded(serial, 14)
        .raw("(21)")
        .padded(serial % 1_000_000_007, 10)
        .raw("\"}],\"status\":\"active\"");
    text.raw(",\"distinctIdentifier\":\"")
        .padded(serial, 14)
        .raw("\"");
    text.date("manufactureDate", made).date("expirationDate", expires);
    text.raw(",\"lotNumber\":\"")
        .padded(serial % 100_000_000, 8)
        .raw("\",\"serialNumber\":\"")
        .padded(serial % 1_000_000_007, 10)
        .raw("\",\"deviceName\":[{\"name\":\"")
        .raw(device.display)
        .raw("\",\"type\":\"user-friendly-name\"}]");
    text.concept("type", device);
    text.named("patient", Kind::Patient, &chart.person.id, &chart.display)
        .finish();
}

static DEVICES: [Code; 2] = [
    snomed("706004007", "Implantable cardiac pacemaker (physical object)"),
    snomed("72506001", "Implantable defibrillator, device (physical object)"),
];
static IN_PROGRESS: Code = code(
    "http://terminology.hl7.org/CodeSystem/goal-achievement",
    "in-progress",
    "In Progress",
);
static ASSESSMENT_AND_PLAN: Code = code(
    "http://hl7.org/fhir/us/core/CodeSystem/careplan-category",
    "assess-plan",
    "Assessment and Plan of Treatment",
);
