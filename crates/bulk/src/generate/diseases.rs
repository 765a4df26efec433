//! The diseases that stay, and what they lead to.
//!
//! Main types: [`Disease`] and [`Diseases`], a set of them by position in the table [`DISEASES`].

use super::codes::{Code, icd10, snomed};
use super::measures::{
    AIRFLOW, BLOOD_COUNT, CLOTTING, COMPREHENSIVE, DEPRESSION_LONG, FILTRATION_RATE, HEMOGLOBIN_A1C, LIPIDS,
    LOW_DENSITY, METABOLIC, MICROALBUMIN, Measure, OXYGEN, PAIN, Panel, SYSTOLIC, TROPONIN,
};
use super::medications::{
    ALBUTEROL, ALENDRONATE, AMLODIPINE, CETIRIZINE, CLOPIDOGREL, DIGOXIN, FLUOXETINE, FLUTICASONE,
    HYDROCHLOROTHIAZIDE, INSULIN, LISINOPRIL, METFORMIN, Medication, NAPROXEN, NITROGLYCERIN, SALMETEROL,
    SIMVASTATIN, SIMVASTATIN_STRONG, VERAPAMIL, WARFARIN,
};

/// A disease that stays once it has begun.
#[derive(Debug)]
pub(super) struct Disease {
    pub(super) code: Code,
    pub(super) billing: Code,
    /// How many of a thousand people have it by the ages of 18, 40, 65 and above.
    pub(super) per_mille: [u64; 4],
    pub(super) medications: &'static [&'static Medication],
    pub(super) panels: &'static [&'static Panel],
    pub(super) measures: &'static [&'static Measure],
    pub(super) procedures: &'static [Code],
    pub(super) plan: Option<Plan>,
    /// The chance in a thousand of being admitted for it in a year.
    pub(super) admissions: u64,
}

/// How a disease is cared for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) category: Code,
    pub(super) activities: &'static [Code],
    pub(super) goal: &'static str,
    pub(super) target: &'static Measure,
    /// The goal's upper bound, scaled like the measure's values.
    pub(super) target_high: i64,
}

/// A set of diseases, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Diseases(u32);

impl Diseases {
    /// Both sets together.
    pub(super) const fn with(self, other: Diseases) -> Diseases {
        Diseases(self.0 | other.0)
    }

    /// The set of the one disease at a position of [`DISEASES`].
    pub(super) const fn at(position: usize) -> Diseases {
        Diseases(1 << position)
    }

    /// Tells whether the sets share a disease.
    #[inline]
    pub(super) const fn meets(self, other: Diseases) -> bool {
        self.0 & other.0 != 0
    }

    /// Counts the diseases.
    pub(super) const fn len(self) -> u32 {
        self.0.count_ones()
    }
}

pub(super) const NONE: Diseases = Diseases(0);
pub(super) const HYPERTENSION: Diseases = Diseases::at(0);
pub(super) const DIABETES: Diseases = Diseases::at(1);
pub(super) const PREDIABETES: Diseases = Diseases::at(2);
pub(super) const HYPERLIPIDEMIA: Diseases = Diseases::at(3);
pub(super) const COPD: Diseases = Diseases::at(5);
pub(super) const ATRIAL_FIBRILLATION: Diseases = Diseases::at(6);
pub(super) const CORONARY: Diseases = Diseases::at(7);
pub(super) const KIDNEY: Diseases = Diseases::at(8);
pub(super) const DEPRESSION: Diseases = Diseases::at(10);
pub(super) const OBESITY: Diseases = Diseases::at(11);
pub(super) const ANEMIA: Diseases = Diseases::at(12);

/// The lasting diseases; the sets above name their positions.
pub(super) static DISEASES: [Disease; 16] = [
    Disease {
        code: snomed("59621000", "Essential hypertension (disorder)"),
        billing: icd10("I10", "Essential (primary) hypertension"),
        per_mille: [0, 70, 330, 620],
        medications: &[&HYDROCHLOROTHIAZIDE, &LISINOPRIL, &AMLODIPINE],
        panels: &[&METABOLIC],
        measures: &[],
        procedures: &[],
        plan: Some(Plan {
            category: snomed("443402002", "Lifestyle education regarding hypertension"),
            activities: &[
                snomed("386463000", "Prescribed activity/exercise education"),
                snomed("413473000", "Counseling about alcohol consumption"),
                snomed("1151000175103", "Dietary approaches to stop hypertension diet"),
                snomed("225323000", "Smoking cessation education"),
            ],
            goal: "Blood pressure below 140/90 mm[Hg] at every visit",
            target: &SYSTOLIC,
            target_high: 140,
        }),
        admissions: 2,
    },
    Disease {
        code: snomed("44054006", "Diabetes mellitus type 2 (disorder)"),
        billing: icd10("E11.9", "Type 2 diabetes mellitus without complications"),
        per_mille: [0, 25, 120, 220],
        medications: &[&METFORMIN, &INSULIN],
        panels: &[&METABOLIC],
        measures: &[&HEMOGLOBIN_A1C, &MICROALBUMIN],
        procedures: &[
            snomed("134395001", "Diabetic retinal eye exam (procedure)"),
            snomed("401191002", "Diabetic foot examination"),
        ],
        plan: Some(Plan {
            category: snomed("698360004", "Diabetes self management plan"),
            activities: &[
                snomed("160670007", "Diabetic diet"),
                snomed("229065009", "Exercise therapy"),
            ],
            goal: "Hemoglobin A1c below 7.00 % within six months",
            target: &HEMOGLOBIN_A1C,
            target_high: 700,
        }),
        admissions: 12,
    },
    Disease {
        code: snomed("15777000", "Prediabetes (finding)"),
        billing: icd10("R73.03", "Prediabetes"),
        per_mille: [0, 120, 240, 250],
        medications: &[],
        panels: &[],
        measures: &[&HEMOGLOBIN_A1C],
        procedures: &[],
        plan: None,
        admissions: 0,
    },
    Disease {
        code: snomed("55822004", "Hyperlipidemia (disorder)"),
        billing: icd10("E78.5", "Hyperlipidemia, unspecified"),
        per_mille: [0, 60, 270, 420],
        medications: &[&SIMVASTATIN, &SIMVASTATIN_STRONG],
        panels: &[&LIPIDS],
        measures: &[],
        procedures: &[],
        plan: Some(Plan {
            category: snomed("736285004", "Hyperlipidemia clinical management plan"),
            activities: &[
                snomed("226234005", "Healthy diet (finding)"),
                snomed("281090004", "Recommendation to exercise"),
            ],
            goal: "LDL cholesterol below 100 mg/dL at the yearly visit",
            target: &LOW_DENSITY,
            target_high: 10000,
        }),
        admissions: 0,
    },
    Disease {
        code: snomed("195967001", "Asthma (disorder)"),
        billing: icd10("J45.909", "Unspecified asthma, uncomplicated"),
        per_mille: [90, 80, 70, 60],
        medications: &[&FLUTICASONE, &ALBUTEROL],
        panels: &[],
        measures: &[],
        procedures: &[snomed(
            "23426006",
            "Measurement of respiratory function (procedure)",
        )],
        plan: Some(Plan {
            category: snomed("699728000", "Asthma self management"),
            activities: &[
                snomed("371605008", "Deep breathing and coughing exercises"),
                snomed("710081004", "Smoking cessation therapy"),
            ],
            goal: "No night-time symptoms and no use of reliever medication for four weeks",
            target: &OXYGEN,
            target_high: 1000,
        }),
        admissions: 8,
    },
    Disease {
        code: snomed("13645005", "Chronic obstructive lung disease (disorder)"),
        billing: icd10("J44.9", "Chronic obstructive pulmonary disease, unspecified"),
        per_mille: [0, 2, 50, 120],
        medications: &[&SALMETEROL, &ALBUTEROL],
        panels: &[],
        measures: &[&AIRFLOW],
        procedures: &[
            snomed("127783003", "Spirometry (procedure)"),
            snomed("15081005", "Pulmonary rehabilitation (regime/therapy)"),
        ],
        plan: Some(Plan {
            category: snomed(
                "412776001",
                "Chronic obstructive pulmonary disease clinical management plan",
            ),
            activities: &[
                snomed("304510005", "Recommendation to avoid exercise"),
                snomed("371605008", "Deep breathing and coughing exercises"),
            ],
            goal: "Oxygen saturation stable at rest and on walking six minutes",
            target: &OXYGEN,
            target_high: 1000,
        }),
        admissions: 70,
    },
    Disease {
        code: snomed("49436004", "Atrial fibrillation (disorder)"),
        billing: icd10("I48.91", "Unspecified atrial fibrillation"),
        per_mille: [0, 1, 15, 90],
        medications: &[&WARFARIN, &DIGOXIN, &VERAPAMIL],
        panels: &[],
        measures: &[&CLOTTING],
        procedures: &[snomed("29303009", "Electrocardiographic procedure")],
        plan: Some(Plan {
            category: snomed("734163000", "Care plan (record artifact)"),
            activities: &[
                snomed("182764009", "Anticoagulant therapy"),
                snomed("183301007", "Physical exercise (regime/therapy)"),
            ],
            goal: "INR between 2.00 and 3.00",
            target: &CLOTTING,
            target_high: 300,
        }),
        admissions: 60,
    },
    Disease {
        code: snomed("53741008", "Coronary arteriosclerosis (disorder)"),
        billing: icd10(
            "I25.10",
            "Atherosclerotic heart disease of native coronary artery without angina pectoris",
        ),
        per_mille: [0, 3, 50, 170],
        medications: &[&CLOPIDOGREL, &SIMVASTATIN_STRONG, &NITROGLYCERIN],
        panels: &[&LIPIDS],
        measures: &[&TROPONIN],
        procedures: &[snomed("29303009", "Electrocardiographic procedure")],
        plan: None,
        admissions: 55,
    },
    Disease {
        code: snomed("433144002", "Chronic kidney disease stage 3 (disorder)"),
        billing: icd10("N18.30", "Chronic kidney disease, stage 3 unspecified"),
        per_mille: [0, 4, 45, 160],
        medications: &[&LISINOPRIL],
        panels: &[&COMPREHENSIVE],
        measures: &[&MICROALBUMIN],
        procedures: &[],
        plan: Some(Plan {
            category: snomed("734163000", "Care plan (record artifact)"),
            activities: &[snomed("229065009", "Exercise therapy")],
            goal: "Glomerular filtration rate stable over the year",
            target: &FILTRATION_RATE,
            target_high: 1200,
        }),
        admissions: 30,
    },
    Disease {
        code: snomed("239873007", "Osteoarthritis of knee"),
        billing: icd10("M17.9", "Osteoarthritis of knee, unspecified"),
        per_mille: [0, 10, 110, 260],
        medications: &[&NAPROXEN],
        panels: &[],
        measures: &[],
        procedures: &[snomed("91251008", "Physical therapy procedure")],
        plan: Some(Plan {
            category: snomed("408869004", "Musculoskeletal care"),
            activities: &[
                snomed("386294003", "Joint mobility exercises"),
                snomed("266694003", "Heat therapy"),
            ],
            goal: "Pain of 3 or less on a scale of 10 on most days",
            target: &PAIN,
            target_high: 3,
        }),
        admissions: 4,
    },
    Disease {
        code: snomed("370143000", "Major depressive disorder (disorder)"),
        billing: icd10("F32.9", "Major depressive disorder, single episode, unspecified"),
        per_mille: [25, 90, 95, 60],
        medications: &[&FLUOXETINE],
        panels: &[],
        measures: &[&DEPRESSION_LONG],
        procedures: &[snomed("228557008", "Cognitive and behavioral therapy")],
        plan: None,
        admissions: 5,
    },
    Disease {
        code: snomed("162864005", "Body mass index 30+ - obesity (finding)"),
        billing: icd10("E66.9", "Obesity, unspecified"),
        per_mille: [60, 260, 380, 340],
        medications: &[],
        panels: &[],
        measures: &[],
        procedures: &[],
        plan: None,
        admissions: 0,
    },
    Disease {
        code: snomed("271737000", "Anemia (disorder)"),
        billing: icd10("D64.9", "Anemia, unspecified"),
        per_mille: [30, 40, 50, 110],
        medications: &[],
        panels: &[&BLOOD_COUNT],
        measures: &[],
        procedures: &[],
        plan: None,
        admissions: 3,
    },
    Disease {
        code: snomed("446096008", "Perennial allergic rhinitis"),
        billing: icd10("J30.89", "Other allergic rhinitis"),
        per_mille: [80, 90, 80, 60],
        medications: &[&CETIRIZINE],
        panels: &[],
        measures: &[],
        procedures: &[snomed("180256009", "Subcutaneous immunotherapy")],
        plan: None,
        admissions: 0,
    },
    Disease {
        code: snomed("64859006", "Osteoporosis (disorder)"),
        billing: icd10(
            "M81.0",
            "Age-related osteoporosis without current pathological fracture",
        ),
        per_mille: [0, 0, 30, 170],
        medications: &[&ALENDRONATE],
        panels: &[],
        measures: &[],
        procedures: &[snomed("312681000", "Bone density scan (procedure)")],
        plan: None,
        admissions: 3,
    },
    Disease {
        code: snomed("124171000119105", "Chronic intractable migraine without aura"),
        billing: icd10(
            "G43.719",
            "Chronic migraine without aura, intractable, without status migrainosus",
        ),
        per_mille: [15, 60, 50, 20],
        medications: &[&NAPROXEN],
        panels: &[],
        measures: &[],
        procedures: &[],
        plan: None,
        admissions: 1,
    },
];
