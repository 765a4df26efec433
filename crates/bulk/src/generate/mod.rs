//! Synthetic populations of R4 resources, for demonstrations, tests and benchmarks.
//!
//! Main types: [`Population`], what is asked for, and [`write_population`], which writes it as NDJSON, one file a type.
//! Patients are invented one by one: each record is a pure function of the seed and the patient's number, so a population
//! is the same bytes whatever the number of threads, its first patients are those of any smaller one, and it is made in
//! bounded memory. The text follows US Core and uses real code systems; the mix of types, the sizes and the
//! compressibility follow Synthea's. It deliberately is no model of medicine: rates and values are only plausible.
//!
//! ```
//! use fhirhose_bulk::generate::Population;
//!
//! let population = Population { seed: 7, patients: 3 };
//! let patients = population.resources().filter(|made| made.resource_type == "Patient");
//! assert_eq!(patients.count(), 3);
//! ```

mod care_plan;
mod chart;
mod claim;
mod clinical;
mod codes;
mod date;
mod directory;
mod diseases;
mod document;
mod episodes;
mod error;
mod group;
mod kind;
mod measures;
mod medications;
mod names;
mod observation;
mod patient;
mod person;
mod plan;
mod random;
mod text;
mod uuid;
mod vaccines;
mod visit_kinds;
mod write;

pub use error::GenerateError;
pub use group::{GROUP_ALL, GROUP_DIABETES, GROUP_INACTIVE, GROUP_NESTED, GROUP_ONE_PERCENT};
pub use write::write_population;

use kind::NAMES;
use plan::Plan;
use text::Sheets;

/// A synthetic population: the same one for the same numbers, for ever within one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// What all ids and values are drawn from.
    pub seed: u64,
    /// The number of patients.
    pub patients: u32,
}

/// How far a population has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generated {
    /// Patients written.
    pub patients: u64,
    /// Resources written, patients among them.
    pub resources: u64,
    /// Bytes of NDJSON written.
    pub bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The number of patients.
    pub patients: u32,
    /// One entry a type, in alphabetical order.
    pub types: Vec<TypeSummary>,
}

/// What was written of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeSummary {
    /// The FHIR name of the type.
    pub resource_type: &'static str,
    /// The number of resources.
    pub resources: u64,
    /// The file's size in bytes.
    pub bytes: u64,
}

/// A generated resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The FHIR name of its type.
    pub resource_type: &'static str,
    /// Its JSON text without a newline.
    pub line: Vec<u8>,
}

/// How many resources a patient has on average, times 10; `resources_are_about_as_many_as_asked_for` holds it.
const RESOURCES_PER_PATIENT_DECI: u64 = 3_160;

impl Population {
    /// Asks for about `resources` resources, at least one patient's; large populations are within 5 % of it.
    pub fn for_resources(seed: u64, resources: u64) -> Self {
        let patients = (resources * 10).div_ceil(RESOURCES_PER_PATIENT_DECI);
        Self {
            seed,
            patients: u32::try_from(patients).unwrap_or(u32::MAX).max(1),
        }
    }

    /// Makes the resources one after the other, with a few patients at a time in memory.
    ///
    /// Within a type the order is that of the files.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + use<> {
        let plan = Plan::new(*self);
        (0..)
            .map_while(move |position| plan.part(position))
            .flat_map(move |part| {
                let mut sheets = Sheets::default();
                plan.write(&part, &mut sheets);
                lines(&sheets)
            })
    }
}

impl Summary {
    /// The number of resources of all types.
    pub fn resources(&self) -> u64 {
        self.types.iter().map(|one| one.resources).sum()
    }

    /// The size of all files in bytes.
    pub fn bytes(&self) -> u64 {
        self.types.iter().map(|one| one.bytes).sum()
    }
}

impl TypeSummary {
    fn empty(resource_type: &'static str) -> Self {
        Self {
            resource_type,
            resources: 0,
            bytes: 0,
        }
    }
}

fn lines(sheets: &Sheets) -> Vec<Resource> {
    let of_type = |(text, resource_type): (&text::Text, &'static str)| {
        let lines = text.as_bytes().split(|&byte| byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(move |line| Resource {
                resource_type,
                line: line.to_vec(),
            })
            .collect::<Vec<_>>()
    };
    sheets.texts().iter().zip(NAMES).flat_map(of_type).collect()
}
