//! Tables of drugs and how they are taken.
//!
//! Main type: [`Medication`].

use super::codes::{Code, rxnorm};

/// A drug with how it is taken.
#[derive(Debug)]
pub(super) struct Medication {
    pub(super) code: Code,
    pub(super) dosage: &'static str,
    pub(super) times_a_day: u64,
    pub(super) cents: i64,
}

const fn medication(code: Code, dosage: &'static str, times_a_day: u64, cents: i64) -> Medication {
    Medication {
        code,
        dosage,
        times_a_day,
        cents,
    }
}

const DAILY: &str = "Take 1 tablet by mouth once daily.";
const TWICE: &str = "Take 1 tablet by mouth twice daily with food.";
const AS_NEEDED: &str = "Take 1 tablet by mouth every 6 hours as needed for pain or fever.";

pub(super) static HYDROCHLOROTHIAZIDE: Medication = medication(
    rxnorm("310798", "Hydrochlorothiazide 25 MG Oral Tablet"),
    DAILY,
    1,
    2_630,
);
pub(super) static LISINOPRIL: Medication =
    medication(rxnorm("314076", "lisinopril 10 MG Oral Tablet"), DAILY, 1, 1_999);
pub(super) static AMLODIPINE: Medication =
    medication(rxnorm("197361", "Amlodipine 5 MG Oral Tablet"), DAILY, 1, 3_012);
pub(super) static METFORMIN: Medication = medication(
    rxnorm(
        "860975",
        "24 HR Metformin hydrochloride 500 MG Extended Release Oral Tablet",
    ),
    TWICE,
    2,
    4_075,
);
pub(super) static INSULIN: Medication = medication(
    rxnorm(
        "106892",
        "insulin human, isophane 70 UNT/ML / Regular Insulin, Human 30 UNT/ML Injectable Suspension [Humulin]",
    ),
    "Inject 12 units under the skin before breakfast and before the evening meal.",
    2,
    17_250,
);
pub(super) static SIMVASTATIN: Medication = medication(
    rxnorm("314231", "Simvastatin 10 MG Oral Tablet"),
    "Take 1 tablet by mouth in the evening.",
    1,
    2_260,
);
pub(super) static SIMVASTATIN_STRONG: Medication = medication(
    rxnorm("312961", "Simvastatin 20 MG Oral Tablet"),
    "Take 1 tablet by mouth in the evening.",
    1,
    2_845,
);
pub(super) static FLUTICASONE: Medication = medication(
    rxnorm(
        "895994",
        "120 ACTUAT Fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler",
    ),
    "Inhale 2 puffs twice daily; rinse the mouth afterwards.",
    2,
    21_040,
);
pub(super) static ALBUTEROL: Medication = medication(
    rxnorm(
        "2123111",
        "NDA020503 200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler",
    ),
    "Inhale 2 puffs every 4 to 6 hours as needed for wheezing.",
    4,
    5_860,
);
pub(super) static SALMETEROL: Medication = medication(
    rxnorm(
        "896209",
        "60 ACTUAT Fluticasone propionate 0.25 MG/ACTUAT / salmeterol 0.05 MG/ACTUAT Dry Powder Inhaler",
    ),
    "Inhale 1 puff twice daily, twelve hours apart.",
    2,
    33_715,
);
pub(super) static WARFARIN: Medication = medication(
    rxnorm("855332", "Warfarin Sodium 5 MG Oral Tablet"),
    "Take 1 tablet by mouth once daily at the same time; dose by INR.",
    1,
    1_480,
);
pub(super) static DIGOXIN: Medication =
    medication(rxnorm("197604", "Digoxin 0.125 MG Oral Tablet"), DAILY, 1, 4_210);
pub(super) static VERAPAMIL: Medication = medication(
    rxnorm("897718", "Verapamil Hydrochloride 40 MG"),
    "Take 1 tablet by mouth three times daily.",
    3,
    3_325,
);
pub(super) static CLOPIDOGREL: Medication =
    medication(rxnorm("309362", "Clopidogrel 75 MG Oral Tablet"), DAILY, 1, 2_150);
pub(super) static NITROGLYCERIN: Medication = medication(
    rxnorm("705129", "Nitroglycerin 0.4 MG/ACTUAT Mucosal Spray"),
    "Spray once under the tongue at the onset of chest pain; repeat after 5 minutes if needed.",
    1,
    18_900,
);
pub(super) static NAPROXEN: Medication = medication(
    rxnorm("849574", "Naproxen sodium 220 MG Oral Tablet"),
    TWICE,
    2,
    1_120,
);
pub(super) static FLUOXETINE: Medication = medication(
    rxnorm("310385", "FLUoxetine 20 MG Oral Capsule"),
    "Take 1 capsule by mouth every morning.",
    1,
    1_645,
);
pub(super) static CETIRIZINE: Medication = medication(
    rxnorm("1014676", "cetirizine hydrochloride 5 MG Oral Tablet"),
    DAILY,
    1,
    890,
);
pub(super) static ALENDRONATE: Medication = medication(
    rxnorm("904419", "Alendronic acid 10 MG Oral Tablet"),
    "Take 1 tablet by mouth on rising, with a full glass of water; stay upright for 30 minutes.",
    1,
    2_975,
);
pub(super) static ACETAMINOPHEN: Medication = medication(
    rxnorm("313782", "Acetaminophen 325 MG Oral Tablet"),
    AS_NEEDED,
    4,
    549,
);
pub(super) static IBUPROFEN: Medication = medication(
    rxnorm("310965", "Ibuprofen 200 MG Oral Tablet"),
    AS_NEEDED,
    4,
    645,
);
pub(super) static AMOXICILLIN: Medication = medication(
    rxnorm("562251", "Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet"),
    "Take 1 tablet by mouth every 8 hours for 10 days; finish all of them.",
    3,
    3_485,
);
pub(super) static PENICILLIN: Medication = medication(
    rxnorm("834102", "Penicillin V Potassium 500 MG Oral Tablet"),
    "Take 1 tablet by mouth every 12 hours for 10 days; finish all of them.",
    2,
    1_275,
);
pub(super) static COUGH_SYRUP: Medication = medication(
    rxnorm(
        "1043400",
        "Acetaminophen 21.7 MG/ML / Dextromethorphan Hydrobromide 1 MG/ML / doxylamine succinate 0.417 MG/ML Oral Solution",
    ),
    "Take 30 mL by mouth at bedtime as needed for cough.",
    1,
    1_199,
);
pub(super) static HYDROCODONE: Medication = medication(
    rxnorm(
        "856987",
        "Acetaminophen 300 MG / HYDROcodone Bitartrate 5 MG Oral Tablet",
    ),
    "Take 1 tablet by mouth every 6 hours as needed for severe pain, for at most 5 days.",
    4,
    2_310,
);
