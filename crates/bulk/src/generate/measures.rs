//! Tables of what is measured: laboratory panels, vital signs and questionnaire scores, with their usual ranges.
//!
//! Main types: [`Measure`] and [`Panel`]. Values are whole numbers scaled by `10^places`, so that they are written with
//! exactly that many decimals.

use super::codes::{Code, LABORATORY, SURVEY, VITAL_SIGNS, loinc};
use super::diseases::{
    ANEMIA, ATRIAL_FIBRILLATION, COPD, CORONARY, DEPRESSION, DIABETES, Diseases, HYPERLIPIDEMIA, KIDNEY,
    NONE, PREDIABETES,
};

/// Something that is measured as a quantity.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) code: Code,
    pub(super) unit: &'static str,
    pub(super) places: u32,
    /// The reference range; values of the healthy mostly lie within.
    pub(super) low: i64,
    pub(super) high: i64,
    /// A patient with any of these diseases is off by `shift`.
    pub(super) shifted_by: Diseases,
    pub(super) shift: i64,
    pub(super) category: &'static Code,
    pub(super) profile: &'static str,
}

/// Measures that are ordered and reported together.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) code: Code,
    pub(super) measures: &'static [&'static Measure],
    pub(super) cents: i64,
}

const LAB_PROFILE: &str = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab";
const SCREENING_PROFILE: &str =
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-screening-assessment";

const fn lab(code: Code, unit: &'static str, places: u32, low: i64, high: i64) -> Measure {
    Measure {
        code,
        unit,
        places,
        low,
        high,
        shifted_by: NONE,
        shift: 0,
        category: &LABORATORY,
        profile: LAB_PROFILE,
    }
}

const fn vital(
    code: Code,
    unit: &'static str,
    places: u32,
    range: (i64, i64),
    profile: &'static str,
) -> Measure {
    Measure {
        category: &VITAL_SIGNS,
        profile,
        ..lab(code, unit, places, range.0, range.1)
    }
}

const fn score(code: Code, high: i64) -> Measure {
    Measure {
        category: &SURVEY,
        profile: SCREENING_PROFILE,
        shifted_by: DEPRESSION,
        shift: high / 2,
        ..lab(code, "{score}", 0, 0, high)
    }
}

const fn shifted(measure: Measure, shifted_by: Diseases, shift: i64) -> Measure {
    Measure {
        shifted_by,
        shift,
        ..measure
    }
}

pub(super) static GLUCOSE: Measure = shifted(
    lab(
        loinc("2339-0", "Glucose [Mass/volume] in Blood"),
        "mg/dL",
        2,
        6500,
        9900,
    ),
    DIABETES,
    7000,
);
pub(super) static UREA_NITROGEN: Measure = shifted(
    lab(
        loinc("6299-2", "Urea nitrogen [Mass/volume] in Blood"),
        "mg/dL",
        2,
        700,
        2000,
    ),
    KIDNEY,
    1500,
);
pub(super) static CREATININE: Measure = shifted(
    lab(
        loinc("38483-4", "Creatinine [Mass/volume] in Blood"),
        "mg/dL",
        2,
        60,
        130,
    ),
    KIDNEY,
    110,
);
pub(super) static CALCIUM: Measure = lab(
    loinc("49765-1", "Calcium [Mass/volume] in Blood"),
    "mg/dL",
    2,
    850,
    1020,
);
pub(super) static SODIUM: Measure = lab(
    loinc("2947-0", "Sodium [Moles/volume] in Blood"),
    "mmol/L",
    1,
    1360,
    1440,
);
pub(super) static POTASSIUM: Measure = lab(
    loinc("6298-4", "Potassium [Moles/volume] in Blood"),
    "mmol/L",
    2,
    370,
    520,
);
pub(super) static CHLORIDE: Measure = lab(
    loinc("2069-3", "Chloride [Moles/volume] in Blood"),
    "mmol/L",
    1,
    1010,
    1110,
);
pub(super) static CARBON_DIOXIDE: Measure = lab(
    loinc("20565-8", "Carbon dioxide, total [Moles/volume] in Blood"),
    "mmol/L",
    2,
    2000,
    2900,
);
pub(super) static FILTRATION_RATE: Measure = shifted(
    lab(
        loinc(
            "33914-3",
            "Glomerular filtration rate/1.73 sq M.predicted [Volume Rate/Area] in Serum or Plasma by Creatinine-based formula (MDRD)",
        ),
        "mL/min/{1.73_m2}",
        1,
        600,
        1200,
    ),
    KIDNEY,
    -450,
);
static PROTEIN: Measure = lab(
    loinc("2885-2", "Protein [Mass/volume] in Serum or Plasma"),
    "g/dL",
    2,
    600,
    830,
);
static ALBUMIN: Measure = lab(
    loinc("1751-7", "Albumin [Mass/volume] in Serum or Plasma"),
    "g/dL",
    2,
    350,
    550,
);
static GLOBULIN: Measure = lab(
    loinc("10834-0", "Globulin [Mass/volume] in Serum by calculation"),
    "g/dL",
    2,
    200,
    350,
);
static BILIRUBIN: Measure = lab(
    loinc("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma"),
    "mg/dL",
    2,
    10,
    120,
);
static ALKALINE_PHOSPHATASE: Measure = lab(
    loinc(
        "6768-6",
        "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma",
    ),
    "U/L",
    1,
    400,
    1290,
);
static ALANINE_AMINOTRANSFERASE: Measure = lab(
    loinc(
        "1742-6",
        "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
    ),
    "U/L",
    1,
    70,
    550,
);
static ASPARTATE_AMINOTRANSFERASE: Measure = lab(
    loinc(
        "1920-8",
        "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
    ),
    "U/L",
    1,
    80,
    480,
);
static CHOLESTEROL: Measure = shifted(
    lab(
        loinc("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma"),
        "mg/dL",
        2,
        12500,
        20000,
    ),
    HYPERLIPIDEMIA,
    6000,
);
static TRIGLYCERIDES: Measure = shifted(
    lab(
        loinc("2571-8", "Triglyceride [Mass/volume] in Serum or Plasma"),
        "mg/dL",
        2,
        6000,
        15000,
    ),
    HYPERLIPIDEMIA,
    7000,
);
pub(super) static LOW_DENSITY: Measure = shifted(
    lab(
        loinc(
            "18262-6",
            "Cholesterol in LDL [Mass/volume] in Serum or Plasma by Direct assay",
        ),
        "mg/dL",
        2,
        5000,
        10000,
    ),
    HYPERLIPIDEMIA,
    5500,
);
static HIGH_DENSITY: Measure = lab(
    loinc("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma"),
    "mg/dL",
    2,
    4000,
    6000,
);
static LEUKOCYTES: Measure = lab(
    loinc("6690-2", "Leukocytes [#/volume] in Blood by Automated count"),
    "10*3/uL",
    2,
    450,
    1100,
);
static ERYTHROCYTES: Measure = lab(
    loinc("789-8", "Erythrocytes [#/volume] in Blood by Automated count"),
    "10*6/uL",
    2,
    400,
    590,
);
static HEMOGLOBIN: Measure = shifted(
    lab(
        loinc("718-7", "Hemoglobin [Mass/volume] in Blood"),
        "g/dL",
        2,
        1200,
        1750,
    ),
    ANEMIA,
    -400,
);
static HEMATOCRIT: Measure = shifted(
    lab(
        loinc(
            "4544-3",
            "Hematocrit [Volume Fraction] of Blood by Automated count",
        ),
        "%",
        2,
        3600,
        5000,
    ),
    ANEMIA,
    -900,
);
static MEAN_VOLUME: Measure = lab(
    loinc("787-2", "MCV [Entitic volume] by Automated count"),
    "fL",
    2,
    8000,
    9600,
);
static MEAN_HEMOGLOBIN: Measure = lab(
    loinc("785-6", "MCH [Entitic mass] by Automated count"),
    "pg",
    2,
    2700,
    3300,
);
static MEAN_CONCENTRATION: Measure = lab(
    loinc("786-4", "MCHC [Mass/volume] by Automated count"),
    "g/dL",
    2,
    3200,
    3600,
);
static DISTRIBUTION_WIDTH: Measure = lab(
    loinc(
        "21000-5",
        "Erythrocyte distribution width [Entitic volume] by Automated count",
    ),
    "fL",
    2,
    3900,
    4600,
);
static PLATELETS: Measure = lab(
    loinc("777-3", "Platelets [#/volume] in Blood by Automated count"),
    "10*3/uL",
    1,
    1500,
    4500,
);
static PLATELET_WIDTH: Measure = lab(
    loinc(
        "32207-3",
        "Platelet distribution width [Entitic volume] in Blood by Automated count",
    ),
    "fL",
    1,
    1500,
    5200,
);
static PLATELET_VOLUME: Measure = lab(
    loinc(
        "32623-1",
        "Platelet mean volume [Entitic volume] in Blood by Automated count",
    ),
    "fL",
    1,
    94,
    123,
);
pub(super) static HEMOGLOBIN_A1C: Measure = shifted(
    lab(
        loinc("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood"),
        "%",
        2,
        400,
        560,
    ),
    DIABETES.with(PREDIABETES),
    170,
);
pub(super) static MICROALBUMIN: Measure = shifted(
    lab(
        loinc("14959-1", "Microalbumin/Creatinine [Mass Ratio] in Urine"),
        "mg/g",
        1,
        20,
        300,
    ),
    DIABETES.with(KIDNEY),
    350,
);
pub(super) static CLOTTING: Measure = shifted(
    lab(
        loinc("6301-6", "INR in Platelet poor plasma by Coagulation assay"),
        "{INR}",
        2,
        80,
        120,
    ),
    ATRIAL_FIBRILLATION,
    145,
);
pub(super) static TROPONIN: Measure = shifted(
    lab(
        loinc("10839-9", "Troponin I.cardiac [Mass/volume] in Serum or Plasma"),
        "ng/mL",
        3,
        0,
        40,
    ),
    CORONARY,
    30,
);
pub(super) static AIRFLOW: Measure = shifted(lab(loinc("19926-5", "FEV1/FVC"), "%", 1, 700, 990), COPD, -180);

pub(super) static HEART_RATE: Measure = shifted(
    vital(
        loinc("8867-4", "Heart rate"),
        "/min",
        0,
        (60, 100),
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-heart-rate",
    ),
    ATRIAL_FIBRILLATION,
    18,
);
pub(super) static SYSTOLIC: Measure = vital(
    loinc("8480-6", "Systolic blood pressure"),
    "mm[Hg]",
    0,
    (90, 140),
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-blood-pressure",
);
pub(super) static RESPIRATORY_RATE: Measure = shifted(
    vital(
        loinc("9279-1", "Respiratory rate"),
        "/min",
        0,
        (12, 20),
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-respiratory-rate",
    ),
    COPD,
    5,
);
pub(super) static TEMPERATURE: Measure = vital(
    loinc("8310-5", "Body temperature"),
    "Cel",
    1,
    (361, 375),
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-body-temperature",
);
pub(super) static OXYGEN: Measure = shifted(
    vital(
        loinc("2708-6", "Oxygen saturation in Arterial blood"),
        "%",
        1,
        (950, 995),
        "http://hl7.org/fhir/us/core/StructureDefinition/us-core-pulse-oximetry",
    ),
    COPD,
    -55,
);

pub(super) static PAIN: Measure = Measure {
    high: 4,
    ..score(
        loinc(
            "72514-3",
            "Pain severity - 0-10 verbal numeric rating [Score] - Reported",
        ),
        6,
    )
};
pub(super) static DEPRESSION_SHORT: Measure = score(
    loinc(
        "55758-7",
        "Patient Health Questionnaire 2 item (PHQ-2) total score [Reported]",
    ),
    3,
);
pub(super) static DEPRESSION_LONG: Measure = score(
    loinc(
        "44261-6",
        "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]",
    ),
    12,
);
pub(super) static ANXIETY: Measure = score(
    loinc(
        "70274-6",
        "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]",
    ),
    9,
);
pub(super) static ALCOHOL: Measure = score(loinc("75626-2", "Total score [AUDIT-C]"), 4);

pub(super) static METABOLIC: Panel = Panel {
    code: loinc("51990-0", "Basic metabolic panel - Blood"),
    measures: &[
        &GLUCOSE,
        &UREA_NITROGEN,
        &CREATININE,
        &CALCIUM,
        &SODIUM,
        &POTASSIUM,
        &CHLORIDE,
        &CARBON_DIOXIDE,
    ],
    cents: 4_895,
};
pub(super) static COMPREHENSIVE: Panel = Panel {
    code: loinc("24323-8", "Comprehensive metabolic 2000 panel - Serum or Plasma"),
    measures: &[
        &GLUCOSE,
        &UREA_NITROGEN,
        &CREATININE,
        &CALCIUM,
        &SODIUM,
        &POTASSIUM,
        &CHLORIDE,
        &CARBON_DIOXIDE,
        &FILTRATION_RATE,
        &PROTEIN,
        &ALBUMIN,
        &GLOBULIN,
        &BILIRUBIN,
        &ALKALINE_PHOSPHATASE,
        &ALANINE_AMINOTRANSFERASE,
        &ASPARTATE_AMINOTRANSFERASE,
    ],
    cents: 8_120,
};
pub(super) static LIPIDS: Panel = Panel {
    code: loinc("57698-3", "Lipid panel with direct LDL - Serum or Plasma"),
    measures: &[&CHOLESTEROL, &TRIGLYCERIDES, &LOW_DENSITY, &HIGH_DENSITY],
    cents: 5_500,
};
pub(super) static BLOOD_COUNT: Panel = Panel {
    code: loinc("58410-2", "CBC panel - Blood by Automated count"),
    measures: &[
        &LEUKOCYTES,
        &ERYTHROCYTES,
        &HEMOGLOBIN,
        &HEMATOCRIT,
        &MEAN_VOLUME,
        &MEAN_HEMOGLOBIN,
        &MEAN_CONCENTRATION,
        &DISTRIBUTION_WIDTH,
        &PLATELETS,
        &PLATELET_WIDTH,
        &PLATELET_VOLUME,
    ],
    cents: 3_610,
};
