//! One patient's record: the timeline of visits, and what happens at each.
//!
//! Main types: [`Chart`], the patient's state while the record is written from first to last day, and [`Visit`], what one
//! visit has gathered so far. [`write_record`] is the only way in. The resources themselves are written by the
//! neighbouring modules.

use super::codes::Code;
use super::date::{Day, Moment};
use super::directory::{Care, Clinician, Provider};
use super::diseases::{DISEASES, Disease};
use super::episodes::{EPISODES, EPISODES_WEIGHT, Episode};
use super::measures::Panel;
use super::person::Person;
use super::random::{Random, Stream};
use super::text::{Sheets, Text};
use super::uuid::Uuid;
use super::vaccines::Vaccine;
use super::visit_kinds::{EMERGENCY, FOLLOW_UP, GENERAL_EXAM, INPATIENT, SYMPTOM, VisitKind, WELL_CHILD};
use super::{care_plan, claim, clinical, document, observation, patient};

/// A patient's record in the making.
pub(super) struct Chart<'s> {
    pub(super) person: Person,
    pub(super) care: Care,
    pub(super) random: Random,
    pub(super) sheets: &'s mut Sheets,
    /// The patient's name as references show it.
    pub(super) display: String,
    pub(super) coverage: Uuid,
    /// The Condition of each disease that a visit has found, by position in [`DISEASES`].
    pub(super) problems: [Option<Uuid>; DISEASES.len()],
    /// The age in months up to which vaccinations are done.
    pub(super) vaccinated_months: i32,
    pub(super) last_influenza: Day,
    pub(super) visit: Visit,
    /// The clinical note being composed; its memory is used again.
    pub(super) note: Text,
}

/// A visit with the ids of what was written for it, for the claim and the note that refer to them.
pub(super) struct Visit {
    pub(super) id: Uuid,
    pub(super) claim: Uuid,
    pub(super) kind: &'static VisitKind,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) start_text: [u8; 25],
    pub(super) end_text: [u8; 25],
    pub(super) issued_text: [u8; 29],
    pub(super) attending: Attending,
    pub(super) diagnoses: Vec<Diagnosis>,
    pub(super) procedures: Vec<(Uuid, &'static Code)>,
    pub(super) immunizations: Vec<(Uuid, &'static Vaccine)>,
    pub(super) reports: Vec<(Uuid, &'static Panel)>,
    pub(super) medications: Vec<&'static Code>,
}

/// A Condition that a visit dealt with.
pub(super) struct Diagnosis {
    pub(super) id: Uuid,
    pub(super) code: &'static Code,
    pub(super) billing: &'static Code,
}

/// Who sees the patient at a visit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attending {
    General,
    Specialist(usize),
}

impl Care {
    /// The clinician of a visit and where they work.
    pub(super) fn attending(&self, attending: Attending) -> (&Clinician, &Provider) {
        match attending {
            Attending::General => (&self.practitioner, &self.practice),
            Attending::Specialist(at) => (&self.specialists[at], &self.hospital),
        }
    }
}

/// Writes everything about the `index`th patient.
pub(super) fn write_record(seed: u64, index: u32, sheets: &mut Sheets) {
    let mut chart = Chart::open(seed, index, sheets);
    patient::write_patient(&mut chart);
    patient::write_coverage(&mut chart);
    patient::write_allergies(&mut chart);
    for planned in chart.plan() {
        chart.see(planned);
    }
}

/// Why a visit takes place.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Wellness,
    Check,
    Episode(&'static Episode),
    Admission(usize),
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    day: Day,
    reason: Reason,
}

impl<'s> Chart<'s> {
    fn open(seed: u64, index: u32, sheets: &'s mut Sheets) -> Self {
        let person = Person::draw(seed, index);
        let mut random = Random::stream(seed, Stream::History, index);
        let first = person.first_day();
        let visit = Visit::open(&mut random, &GENERAL_EXAM, first, Attending::General, 0);
        Self {
            care: Care::of(seed, index, person.payer),
            coverage: random.uuid(),
            sheets,
            display: person.display(),
            problems: [None; DISEASES.len()],
            vaccinated_months: person.birth.months_until(first) - 1,
            last_influenza: first.plus(-300),
            visit,
            note: Text::default(),
            random,
            person,
        }
    }

    /// Plans all visits in the order of their days.
    fn plan(&mut self) -> Vec<Planned> {
        let mut visits = Vec::with_capacity(64);
        self.plan_wellness(&mut visits);
        self.plan_checks(&mut visits);
        self.plan_episodes(&mut visits);
        self.plan_admissions(&mut visits);
        visits.sort_by_key(|planned| planned.day);
        visits
    }

    fn plan_wellness(&mut self, visits: &mut Vec<Planned>) {
        let mut day = self.person.first_day();
        if day != self.person.birth {
            day = day.plus(self.random.below(300) as i32);
        }
        while day <= self.person.last_day() {
            visits.push(Planned {
                day,
                reason: Reason::Wellness,
            });
            let gap = match self.person.birth.months_until(day) {
                0 => 32,
                1..6 => 61,
                6..18 => 92,
                18..36 => 183,
                36..216 => 366,
                216..480 => 900,
                480..780 => 600,
                _ => 420,
            };
            day = day.plus(self.random.around(gap, gap / 20) as i32);
        }
    }

    /// Plans the check-ups of the chronically ill, the more often the more diseases they have.
    fn plan_checks(&mut self, visits: &mut Vec<Planned>) {
        let first = self.person.first_day();
        let onsets = self.person.onsets.iter().flatten();
        let Some(onset) = onsets.min().copied() else {
            return;
        };
        let mut day = onset.max(first).plus(20 + self.random.below(60) as i32);
        while day <= self.person.last_day() {
            visits.push(Planned {
                day,
                reason: Reason::Check,
            });
            let gap = match self.person.diseases_on(day).len() {
                0 | 1 => 480,
                2 => 340,
                3 => 260,
                4 => 200,
                _ => 150,
            };
            day = day.plus(self.random.around(gap, gap / 8) as i32);
        }
    }

    fn plan_episodes(&mut self, visits: &mut Vec<Planned>) {
        let mut day = self.person.first_day();
        loop {
            let young = self.person.birth.years_until(day) < 16;
            let gap = 1100 - 190 * self.person.frailty - if young { 260 } else { 0 };
            day = day.plus(5 + self.random.below(gap as u64 * 2) as i32);
            if day > self.person.last_day() {
                return;
            }
            let episode = draw_episode(&mut self.random);
            visits.push(Planned {
                day,
                reason: Reason::Episode(episode),
            });
            if self.random.chance(150) {
                visits.push(Planned {
                    day: day.plus(episode.days).min(self.person.last_day()),
                    reason: Reason::Check,
                });
            }
        }
    }

    fn plan_admissions(&mut self, visits: &mut Vec<Planned>) {
        for (position, disease) in DISEASES.iter().enumerate() {
            let Some(onset) = self.person.onsets[position] else {
                continue;
            };
            let mut day = onset.max(self.person.first_day()).plus(100);
            while day <= self.person.last_day() {
                if self.random.chance(disease.admissions) {
                    let reason = Reason::Admission(position);
                    visits.push(Planned { day, reason });
                }
                day = day.plus(365);
            }
        }
    }

    fn see(&mut self, planned: Planned) {
        self.open_visit(planned);
        match planned.reason {
            Reason::Wellness => self.see_well(),
            Reason::Check => self.see_chronically_ill(),
            Reason::Episode(episode) => self.see_acutely_ill(episode),
            Reason::Admission(position) => self.admit(position),
        }
        clinical::write_encounter(self);
        document::write_documents(self);
        claim::write_claim(self);
        claim::write_explanation(self);
    }

    fn open_visit(&mut self, planned: Planned) {
        let adult = self.person.birth.years_until(planned.day) >= 18;
        let (kind, attending) = match planned.reason {
            Reason::Wellness if adult => (&GENERAL_EXAM, Attending::General),
            Reason::Wellness => (&WELL_CHILD, Attending::General),
            Reason::Check => (&FOLLOW_UP, Attending::General),
            Reason::Episode(episode) if episode.emergency => (&EMERGENCY, Attending::Specialist(0)),
            Reason::Episode(_) => (&SYMPTOM, Attending::General),
            Reason::Admission(position) => (&INPATIENT, Attending::Specialist(position % 4)),
        };
        let second = self.random.between(8 * 3600, 17 * 3600) as u32;
        let mut visit = Visit::open(&mut self.random, kind, planned.day, attending, second);
        std::mem::swap(&mut visit, &mut self.visit);
        self.visit.take_lists(visit);
    }

    fn see_well(&mut self) {
        observation::write_vital_signs(self);
        observation::write_questionnaires(self);
        self.review();
        observation::write_checkup_panels(self);
        clinical::write_screenings(self);
        clinical::write_vaccinations(self);
    }

    fn see_chronically_ill(&mut self) {
        observation::write_check_vital_signs(self);
        self.review();
        for (position, disease) in DISEASES.iter().enumerate() {
            if let Some(problem) = self.problems[position] {
                self.follow_up(disease, problem);
            }
        }
        clinical::write_influenza_vaccination(self);
    }

    fn see_acutely_ill(&mut self, episode: &'static Episode) {
        let diagnosis = clinical::write_episode(self, episode);
        self.visit.diagnoses.push(Diagnosis {
            id: diagnosis,
            code: &episode.code,
            billing: &episode.billing,
        });
        observation::write_short_vital_signs(self);
        if episode.emergency {
            observation::write_emergency_panels(self);
        }
        for procedure in episode.procedures {
            clinical::write_procedure(self, procedure, Some(&diagnosis));
        }
        for medication in episode.medications {
            clinical::write_medication(self, medication, &diagnosis, episode.days);
        }
    }

    fn admit(&mut self, position: usize) {
        self.review();
        let disease = &DISEASES[position];
        let Some(problem) = self.problems[position] else {
            return;
        };
        self.visit.diagnose(problem, disease);
        observation::write_vital_signs(self);
        observation::write_emergency_panels(self);
        for procedure in disease.procedures {
            clinical::write_procedure(self, procedure, Some(&problem));
        }
        self.follow_up(disease, problem);
    }

    /// Finds the diseases that have begun since the last visit and records each with its plan, team, goal and device.
    fn review(&mut self) {
        for (position, disease) in DISEASES.iter().enumerate() {
            let begun = self.person.onsets[position].filter(|&day| day <= self.visit.start.day);
            if let (Some(onset), None) = (begun, self.problems[position]) {
                let problem = clinical::write_problem(self, disease, onset);
                self.problems[position] = Some(problem);
                self.visit.diagnose(problem, disease);
                care_plan::write_care(self, position, &problem);
            }
        }
    }

    fn follow_up(&mut self, disease: &'static Disease, problem: Uuid) {
        self.visit.diagnose(problem, disease);
        for panel in disease.panels {
            if self.random.chance(300) {
                observation::write_panel(self, panel);
            }
        }
        for measure in disease.measures {
            observation::write_measure(self, measure);
        }
        if let Some(procedure) = disease.procedures.first() {
            clinical::write_procedure(self, procedure, Some(&problem));
        }
        for medication in disease.medications {
            if self.random.chance(600) {
                clinical::write_medication(self, medication, &problem, 180);
            }
        }
    }
}

impl Visit {
    fn open(
        random: &mut Random,
        kind: &'static VisitKind,
        day: Day,
        attending: Attending,
        second: u32,
    ) -> Self {
        let start = Moment { day, second };
        let end = start.plus_minutes(kind.minutes);
        Self {
            id: random.uuid(),
            claim: random.uuid(),
            kind,
            start,
            end,
            start_text: start.text(),
            end_text: end.text(),
            issued_text: end.instant_text(second % 1000),
            attending,
            diagnoses: Vec::new(),
            procedures: Vec::new(),
            immunizations: Vec::new(),
            reports: Vec::new(),
            medications: Vec::new(),
        }
    }

    /// Takes over the emptied lists of the visit before, for their memory.
    fn take_lists(&mut self, before: Visit) {
        self.diagnoses = before.diagnoses;
        self.procedures = before.procedures;
        self.immunizations = before.immunizations;
        self.reports = before.reports;
        self.medications = before.medications;
        self.diagnoses.clear();
        self.procedures.clear();
        self.immunizations.clear();
        self.reports.clear();
        self.medications.clear();
    }

    fn diagnose(&mut self, id: Uuid, disease: &'static Disease) {
        if self.diagnoses.iter().all(|known| known.id != id) {
            self.diagnoses.push(Diagnosis {
                id,
                code: &disease.code,
                billing: &disease.billing,
            });
        }
    }
}

fn draw_episode(random: &mut Random) -> &'static Episode {
    let mut left = random.below(EPISODES_WEIGHT);
    for episode in &EPISODES {
        if left < episode.weight {
            return episode;
        }
        left -= episode.weight;
    }
    unreachable!("a draw below the sum of the weights lies within one of them")
}
