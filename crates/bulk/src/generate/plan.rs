//! Cutting a population into parts that can be made alone, in any order, in bounded memory.
//!
//! Main types: [`Plan`] and [`Part`]. The files are the parts' lines in the order of the parts.

use std::ops::Range;

use super::Population;
use super::chart;
use super::directory;
use super::group::{self, COHORTS};
use super::text::Sheets;

/// The patients of one part: about 5 MB of text.
const PART_PATIENTS: u32 = 16;
/// The panels of one part: about 1 MB of text.
const PART_PANELS: u32 = 100;

/// The parts of a population, in order: hospitals, patients, cohorts, panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    population: Population,
}

/// Something that is made in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Hospital(u32),
    Patients(Range<u32>),
    Cohort(usize),
    Panels(Range<u32>),
}

impl Plan {
    /// Plans a population; one without patients has no parts.
    pub(super) fn new(population: Population) -> Self {
        Self { population }
    }

    /// The part at a position; `None` past the last.
    pub(super) fn part(&self, position: u32) -> Option<Part> {
        let patients = self.population.patients;
        if patients == 0 {
            return None;
        }
        let hospitals = directory::hospitals(patients);
        if position < hospitals {
            return Some(Part::Hospital(position));
        }
        let position = position - hospitals;
        let patient_parts = patients.div_ceil(PART_PATIENTS);
        if position < patient_parts {
            return Some(Part::Patients(slice(position, PART_PATIENTS, patients)));
        }
        let position = position - patient_parts;
        if (position as usize) < COHORTS.len() {
            return Some(Part::Cohort(position as usize));
        }
        let position = position - COHORTS.len() as u32;
        let panels = directory::panels(patients);
        let range = slice(position, PART_PANELS, panels);
        (!range.is_empty()).then_some(Part::Panels(range))
    }

    /// Appends a part's lines.
    pub(super) fn write(&self, part: &Part, sheets: &mut Sheets) {
        let Population { seed, patients } = self.population;
        match part {
            Part::Hospital(index) => directory::write_hospital(seed, *index, patients, sheets),
            Part::Patients(range) => range
                .clone()
                .for_each(|index| chart::write_record(seed, index, sheets)),
            Part::Cohort(at) => group::write_cohort(COHORTS[*at], seed, patients, sheets),
            Part::Panels(range) => range
                .clone()
                .for_each(|panel| group::write_panel(panel, seed, patients, sheets)),
        }
    }
}

/// The `position`th slice of `size` out of `end`.
fn slice(position: u32, size: u32, end: u32) -> Range<u32> {
    let first = position.saturating_mul(size).min(end);
    first..first.saturating_add(size).min(end)
}

#[cfg(test)]
mod tests {
    use super::{Part, Plan};
    use crate::generate::Population;

    #[test]
    fn parts_cover_each_patient_once_and_then_end() {
        let plan = Plan::new(Population {
            seed: 1,
            patients: 3307,
        });
        let parts: Vec<Part> = (0..).map_while(|position| plan.part(position)).collect();
        let covered = parts.iter().flat_map(|part| match part {
            Part::Patients(range) => range.clone(),
            _ => 0..0,
        });
        assert!(covered.eq(0..3307));
        assert_eq!(parts.last(), Some(&Part::Panels(0..34)));
        assert_eq!(plan.part(parts.len() as u32), None);
    }

    #[test]
    fn nobody_has_no_parts() {
        let plan = Plan::new(Population { seed: 1, patients: 0 });
        assert_eq!(plan.part(0), None);
    }
}
