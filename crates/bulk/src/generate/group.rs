//! Writing the Groups: panels of practitioners, and the cohorts that demonstrations and benchmarks ask for by id.
//!
//! Each Group is one line. Cohorts draw the people they choose from, not their histories.

use super::date::{Day, TODAY};
use super::directory::{self, PANEL_PATIENTS};
use super::diseases::DIABETES;
use super::kind::Kind;
use super::person::Person;
use super::random::{Random, Stream};
use super::text::{Sheets, Text};
use super::uuid::Uuid;

/// The most members that a Group has; the first ones by patient number are taken.
pub(super) const MEMBERS_MAX: usize = 50_000;

/// A cohort with a readable id, the same in every population.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cohort {
    /// Everyone, up to [`MEMBERS_MAX`].
    All,
    /// Everyone whose diabetes has begun, even if no visit has found it yet.
    Diabetes,
    /// One patient in a hundred, at least one, by chance.
    OnePercent,
    /// The diabetes cohort and the first panel as nested Groups, beside one patient of its own.
    Nested,
    /// The first fifty patients, a third of whom have left.
    Inactive,
}

/// The cohorts in the order of their lines.
pub(super) const COHORTS: [Cohort; 5] = [
    Cohort::All,
    Cohort::Diabetes,
    Cohort::OnePercent,
    Cohort::Nested,
    Cohort::Inactive,
];

/// The id of the cohort of everyone, or of the first 50,000 patients of a larger population: a Group is one line.
pub const GROUP_ALL: &str = "demo-all";
/// The id of the cohort of everyone whose diabetes has begun.
pub const GROUP_DIABETES: &str = "demo-diabetes";
/// The id of the random cohort of one patient in a hundred.
pub const GROUP_ONE_PERCENT: &str = "one-percent";
/// The id of the cohort that holds other Groups.
pub const GROUP_NESTED: &str = "demo-nested";
/// The id of the cohort with inactive members.
pub const GROUP_INACTIVE: &str = "demo-inactive";

/// Writes a cohort.
pub(super) fn write_cohort(cohort: Cohort, seed: u64, patients: u32, sheets: &mut Sheets) {
    match cohort {
        Cohort::All => {
            let members = 0..patients;
            write_people(GROUP_ALL, "All patients", members, seed, sheets);
        }
        Cohort::Diabetes => {
            let diabetic = |&index: &u32| {
                let person = Person::draw(seed, index);
                person.diseases_on(person.last_day()).meets(DIABETES)
            };
            let members = (0..patients).filter(diabetic);
            write_people(GROUP_DIABETES, "Patients with diabetes", members, seed, sheets);
        }
        Cohort::OnePercent => {
            let members = sample(seed, patients);
            write_people(
                GROUP_ONE_PERCENT,
                "One patient in a hundred",
                members,
                seed,
                sheets,
            );
        }
        Cohort::Nested => write_nested(seed, sheets),
        Cohort::Inactive => write_inactive(seed, patients, sheets),
    }
}

/// Writes the Group of a practitioner's panel.
pub(super) fn write_panel(panel: u32, seed: u64, patients: u32, sheets: &mut Sheets) {
    let practitioner = directory::practitioner(seed, panel);
    let practice = directory::practice_of_panel(seed, panel);
    let text = begin(sheets, &PanelId(panel).to_string(), "person");
    text.raw(",\"name\":\"Panel of ").raw(&practitioner.name);
    text.raw(", ").raw(&practice.name).raw("\"");
    let first = panel * PANEL_PATIENTS;
    let end = patients.min(first + PANEL_PATIENTS);
    text.raw(",\"quantity\":").number(u64::from(end - first));
    text.named(
        "managingEntity",
        Kind::Practitioner,
        &practitioner.id,
        &practitioner.name,
    );
    write_members(first..end, seed, text);
    text.finish();
}

/// The readable id of a panel's Group.
struct PanelId(u32);

impl std::fmt::Display for PanelId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "panel-{:05}", self.0 + 1)
    }
}

/// Chooses one patient in a hundred, each set of that size with the same chance (selection sampling, Knuth 3.4.2 S).
fn sample(seed: u64, patients: u32) -> impl Iterator<Item = u32> {
    let mut random = Random::stream(seed, Stream::Sample, 0);
    let mut wanted = u64::from((patients / 100).max(1));
    (0..patients).filter(move |&index| {
        let chosen = random.below(u64::from(patients - index)) < wanted;
        wanted -= u64::from(chosen);
        chosen
    })
}

fn begin<'s>(sheets: &'s mut Sheets, id: &str, kind: &str) -> &'s mut Text {
    let text = sheets.begin_named(Kind::Group);
    text.raw(id).raw("\",\"active\":true");
    text.string("type", kind).raw(",\"actual\":true")
}

fn write_people(id: &str, name: &str, members: impl Iterator<Item = u32>, seed: u64, sheets: &mut Sheets) {
    let members: Vec<u32> = members.take(MEMBERS_MAX).collect();
    let text = begin(sheets, id, "person");
    text.string("name", name);
    text.raw(",\"quantity\":").number(members.len() as u64);
    write_members(members.into_iter(), seed, text);
    text.finish();
}

fn write_members(members: impl Iterator<Item = u32>, seed: u64, text: &mut Text) {
    let mut any = false;
    for index in members {
        text.raw(if any { "," } else { ",\"member\":[" });
        write_member(seed, index, text);
        text.raw("}");
        any = true;
    }
    if any {
        text.raw("]");
    }
}

/// Writes a member and leaves it open.
fn write_member(seed: u64, index: u32, text: &mut Text) {
    let id = Uuid::shared(seed, Stream::Person, index);
    text.raw("{\"entity\":").reference_value(Kind::Patient, &id);
}

fn write_nested(seed: u64, sheets: &mut Sheets) {
    let text = begin(sheets, GROUP_NESTED, "person");
    text.string("name", "Patients with diabetes and the first panel");
    text.raw(",\"quantity\":3,\"member\":[{\"entity\":{\"reference\":\"Group/");
    text.raw(GROUP_DIABETES)
        .raw("\"}},{\"entity\":{\"reference\":\"Group/");
    text.raw(&PanelId(0).to_string()).raw("\"}},");
    write_member(seed, 0, text);
    text.raw("}]").finish();
}

fn write_inactive(seed: u64, patients: u32, sheets: &mut Sheets) {
    const INACTIVE_MEMBERS_MAX: u32 = 50;
    let members = patients.min(INACTIVE_MEMBERS_MAX);
    let mut random = Random::stream(seed, Stream::Membership, 0);
    let text = begin(sheets, GROUP_INACTIVE, "person");
    text.string("name", "Patients of whom some have left");
    text.raw(",\"quantity\":").number(u64::from(members));
    for index in 0..members {
        text.raw(if index == 0 { ",\"member\":[" } else { "," });
        write_member(seed, index, text);
        let since: Day = TODAY.plus(-(random.between(400, 3000) as i32));
        // The first always stays and the second always leaves, so that both kinds exist whatever the chances.
        let left = index == 1 || (index > 1 && random.chance(333));
        if left {
            text.period("period", &since.text(), &since.plus(300).text())
                .raw(",\"inactive\":true}");
        } else {
            text.raw(",\"period\":{\"start\":\"")
                .ascii(&since.text())
                .raw("\"},\"inactive\":false}");
        }
    }
    text.raw("]").finish();
}
