//! One patient's fixed facts, drawn from the seed and the patient's index alone.
//!
//! Main type: [`Person`]. Groups draw people without their histories, so nothing here writes or looks at other patients.

use super::date::{Day, TODAY};
use super::diseases::{
    ATRIAL_FIBRILLATION, DIABETES, DISEASES, Diseases, HYPERLIPIDEMIA, HYPERTENSION, NONE, OBESITY,
};
use super::names::{FAMILIES, MEN, STREETS, TOWNS, Town, WOMEN};
use super::random::{Random, Stream};
use super::uuid::Uuid;

/// The years of a life that have records.
const RECORDED_YEARS: i32 = 10;

/// Administrative sex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sex {
    Female,
    Male,
}

/// Tobacco use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Smoking {
    Never,
    Former,
    Daily,
}

/// A patient before anything has happened to them.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) index: u32,
    pub(super) id: Uuid,
    pub(super) sex: Sex,
    pub(super) birth: Day,
    pub(super) death: Option<Day>,
    pub(super) given: &'static str,
    pub(super) middle: &'static str,
    pub(super) family: &'static str,
    pub(super) maiden: Option<&'static str>,
    pub(super) town: &'static Town,
    pub(super) street: &'static str,
    pub(super) house: u64,
    /// The position in the tables of race and language.
    pub(super) descent: usize,
    pub(super) married: bool,
    /// The day on which each disease begins, by position in [`DISEASES`].
    pub(super) onsets: [Option<Day>; DISEASES.len()],
    /// From 0 (never ill) to 4 (often).
    pub(super) frailty: i64,
    pub(super) height_mm: i64,
    /// Body mass index as an adult, times 10.
    pub(super) mass_index_deci: i64,
    pub(super) smoking: Smoking,
    pub(super) allergies: usize,
    /// The position among the payers.
    pub(super) payer: u32,
}

impl Person {
    /// Draws the `index`th patient. The first is the same kind of person in every population: see [`Person::showcase`].
    pub(super) fn draw(seed: u64, index: u32) -> Self {
        let mut random = Random::stream(seed, Stream::Person, index);
        let sex = *random.pick(&[Sex::Female, Sex::Male]);
        let age_days = draw_age_days(&mut random);
        let birth = TODAY.plus(-age_days);
        let years = birth.years_until(TODAY);
        let names: &[&str] = if sex == Sex::Female { &WOMEN } else { &MEN };
        let married = years >= 18 && random.chance(560);
        let frailty = (random.around(18, 12).max(0) + i64::from(years) / 12) / 10;
        let mut person = Self {
            index,
            id: Uuid::shared(seed, Stream::Person, index),
            sex,
            birth,
            death: None,
            given: *random.pick(names),
            middle: *random.pick(names),
            family: *random.pick(&FAMILIES),
            maiden: None,
            town: random.pick(&TOWNS),
            street: *random.pick(&STREETS),
            house: 1 + random.below(980),
            descent: draw_descent(&mut random),
            married,
            onsets: [None; DISEASES.len()],
            frailty: frailty.min(4),
            height_mm: random.around(if sex == Sex::Female { 1630 } else { 1760 }, 70),
            mass_index_deci: random.around(265, 45),
            smoking: draw_smoking(&mut random, years),
            allergies: [0, 0, 0, 0, 0, 0, 1, 1, 2, 4][random.below(10) as usize],
            payer: draw_payer(&mut random, years),
        };
        if married && sex == Sex::Female && random.chance(700) {
            person.maiden = Some(*random.pick(&FAMILIES));
        }
        person.draw_onsets(&mut random, years);
        person.draw_death(&mut random, years);
        if index == 0 {
            person.showcase();
        }
        person
    }

    /// The diseases begun by `day`.
    pub(super) fn diseases_on(&self, day: Day) -> Diseases {
        let begun = |onset: &Option<Day>| onset.is_some_and(|onset| onset <= day);
        (0..DISEASES.len())
            .filter(|&position| begun(&self.onsets[position]))
            .fold(NONE, |all, position| all.with(Diseases::at(position)))
    }

    /// The first day with records, which cover the last ten years of a life or all of a shorter one.
    pub(super) fn first_day(&self) -> Day {
        self.birth.max(self.last_day().minus_years(RECORDED_YEARS))
    }

    /// The last day with records.
    pub(super) fn last_day(&self) -> Day {
        self.death.unwrap_or(TODAY)
    }

    /// The title that displays carry.
    pub(super) fn prefix(&self) -> &'static str {
        match (self.sex, self.married) {
            (Sex::Male, _) => "Mr.",
            (Sex::Female, true) => "Mrs.",
            (Sex::Female, false) => "Ms.",
        }
    }

    /// Title and name, as references show them.
    pub(super) fn display(&self) -> String {
        format!("{} {} {}", self.prefix(), self.given, self.family)
    }

    /// Makes the first patient an old woman with several diseases, allergies and an implant, so that even a population
    /// of one holds every resource type and always has a member for the diabetes Group.
    fn showcase(&mut self) {
        self.sex = Sex::Female;
        self.given = "Eleanor";
        self.middle = "Ruth";
        self.family = "Whitcomb";
        self.birth = TODAY.minus_years(67);
        self.death = None;
        self.allergies = 2;
        self.payer = 0;
        let diseases = DIABETES
            .with(HYPERTENSION)
            .with(HYPERLIPIDEMIA)
            .with(ATRIAL_FIBRILLATION);
        for (position, onset) in self.onsets.iter_mut().enumerate() {
            if diseases.meets(Diseases::at(position)) {
                *onset = Some(TODAY.minus_years(9));
            }
        }
    }

    fn draw_onsets(&mut self, random: &mut Random, years: i32) {
        let band = match years {
            0..18 => 0,
            18..40 => 1,
            40..65 => 2,
            _ => 3,
        };
        // The healthiest fifth has a third of the disease, the frailest two thirds more than its share.
        let share = 40 + 35 * self.frailty as u64;
        for (onset, disease) in self.onsets.iter_mut().zip(&DISEASES) {
            if random.chance(disease.per_mille[band] * share / 100) {
                let lived = (TODAY.0 - self.birth.0) as u64;
                let since = random.below(lived.min(20 * 365) + 1) as i32;
                *onset = Some(TODAY.plus(-since));
            }
        }
        let obese = self
            .onsets
            .iter()
            .enumerate()
            .any(|(position, onset)| onset.is_some() && Diseases::at(position).meets(OBESITY));
        if obese {
            self.mass_index_deci = self.mass_index_deci.max(302) + 25;
        }
    }

    fn draw_death(&mut self, random: &mut Random, years: i32) {
        let per_mille = match years {
            0..40 => 4,
            40..65 => 25,
            65..80 => 110,
            _ => 300,
        };
        if random.chance(per_mille) {
            let lived = (TODAY.0 - self.birth.0) as u64;
            let since = random.below((lived / 2).min(8 * 365) + 1);
            self.death = Some(TODAY.plus(-(since as i32)));
        }
    }
}

/// Draws an age from a pyramid that is flat to 60 and falls off to 95.
fn draw_age_days(random: &mut Random) -> i32 {
    let years = match random.below(100) {
        0..19 => random.below(18),
        19..76 => 18 + random.below(44),
        76..95 => 62 + random.below(18),
        _ => 80 + random.below(15),
    };
    (years * 365 + years / 4 + random.below(365)) as i32
}

fn draw_descent(random: &mut Random) -> usize {
    match random.below(100) {
        0..68 => 0,
        68..80 => 1,
        80..88 => 2,
        88..96 => 3,
        _ => 4,
    }
}

fn draw_smoking(random: &mut Random, years: i32) -> Smoking {
    match random.below(100) {
        0..12 if years >= 18 => Smoking::Daily,
        12..35 if years >= 25 => Smoking::Former,
        _ => Smoking::Never,
    }
}

/// Draws a payer: the old have Medicare, some of the others Medicaid, the rest a private insurer.
fn draw_payer(random: &mut Random, years: i32) -> u32 {
    let private = 2 + random.below(5) as u32;
    match random.below(100) {
        0..94 if years >= 65 => 0,
        0..22 => 1,
        _ => private,
    }
}
