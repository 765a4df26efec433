//! The short illnesses and injuries of everyday life.
//!
//! Main type: [`Episode`]; the table is [`EPISODES`].

use super::codes::{Code, icd10, snomed};
use super::medications::{
    ACETAMINOPHEN, AMOXICILLIN, COUGH_SYRUP, HYDROCODONE, IBUPROFEN, Medication, NAPROXEN, PENICILLIN,
};

/// A passing illness or an injury.
#[derive(Debug)]
pub(super) struct Episode {
    pub(super) code: Code,
    pub(super) billing: Code,
    /// How often it happens, against the others.
    pub(super) weight: u64,
    pub(super) days: i32,
    pub(super) emergency: bool,
    pub(super) medications: &'static [&'static Medication],
    pub(super) procedures: &'static [Code],
}

const fn episode(code: Code, billing: Code, weight: u64, days: i32) -> Episode {
    Episode {
        code,
        billing,
        weight,
        days,
        emergency: false,
        medications: &[],
        procedures: &[],
    }
}

const fn injury(code: Code, billing: Code, weight: u64, days: i32) -> Episode {
    Episode {
        emergency: true,
        ..episode(code, billing, weight, days)
    }
}

/// The sum of all weights of [`EPISODES`].
pub(super) const EPISODES_WEIGHT: u64 = {
    let mut sum = 0;
    let mut at = 0;
    while at < EPISODES.len() {
        sum += EPISODES[at].weight;
        at += 1;
    }
    sum
};

/// The passing illnesses and injuries.
pub(super) static EPISODES: [Episode; 20] = [
    episode(
        snomed("444814009", "Viral sinusitis (disorder)"),
        icd10("J01.90", "Acute sinusitis, unspecified"),
        180,
        18,
    ),
    Episode {
        procedures: &[snomed("117015009", "Throat culture (procedure)")],
        ..episode(
            snomed("195662009", "Acute viral pharyngitis (disorder)"),
            icd10("J02.9", "Acute pharyngitis, unspecified"),
            130,
            10,
        )
    },
    Episode {
        medications: &[&COUGH_SYRUP],
        procedures: &[snomed(
            "23426006",
            "Measurement of respiratory function (procedure)",
        )],
        ..episode(
            snomed("10509002", "Acute bronchitis (disorder)"),
            icd10("J20.9", "Acute bronchitis, unspecified"),
            100,
            16,
        )
    },
    Episode {
        medications: &[&AMOXICILLIN, &ACETAMINOPHEN],
        ..episode(
            snomed("65363002", "Otitis media"),
            icd10("H66.90", "Otitis media, unspecified, unspecified ear"),
            80,
            14,
        )
    },
    Episode {
        medications: &[&PENICILLIN],
        procedures: &[snomed("117015009", "Throat culture (procedure)")],
        ..episode(
            snomed("43878008", "Streptococcal sore throat (disorder)"),
            icd10("J02.0", "Streptococcal pharyngitis"),
            50,
            9,
        )
    },
    Episode {
        medications: &[&AMOXICILLIN],
        ..episode(
            snomed("68566005", "Urinary tract infectious disease (disorder)"),
            icd10("N39.0", "Urinary tract infection, site not specified"),
            60,
            8,
        )
    },
    episode(
        snomed("6142004", "Influenza (disorder)"),
        icd10(
            "J11.1",
            "Influenza due to unidentified influenza virus with other respiratory manifestations",
        ),
        60,
        8,
    ),
    Episode {
        procedures: &[snomed("252465000", "Pulse oximetry (procedure)")],
        ..episode(
            snomed(
                "840539006",
                "Disease caused by severe acute respiratory syndrome coronavirus 2 (disorder)",
            ),
            icd10("U07.1", "COVID-19"),
            55,
            14,
        )
    },
    episode(
        snomed("69776003", "Acute gastroenteritis (disorder)"),
        icd10("K52.9", "Noninfective gastroenteritis and colitis, unspecified"),
        50,
        5,
    ),
    Episode {
        medications: &[&AMOXICILLIN],
        procedures: &[snomed("399208008", "Plain chest X-ray (procedure)")],
        ..injury(
            snomed("233604007", "Pneumonia (disorder)"),
            icd10("J18.9", "Pneumonia, unspecified organism"),
            20,
            21,
        )
    },
    Episode {
        medications: &[&IBUPROFEN],
        ..episode(
            snomed("44465007", "Sprain of ankle"),
            icd10(
                "S93.409A",
                "Sprain of unspecified ligament of unspecified ankle, initial encounter",
            ),
            45,
            28,
        )
    },
    Episode {
        medications: &[&ACETAMINOPHEN],
        ..episode(
            snomed("70704007", "Sprain of wrist"),
            icd10(
                "S63.509A",
                "Unspecified sprain of unspecified wrist, initial encounter",
            ),
            30,
            28,
        )
    },
    Episode {
        procedures: &[snomed("288086009", "Suture open wound")],
        ..injury(
            snomed("283371005", "Laceration of forearm"),
            icd10(
                "S51.819A",
                "Laceration without foreign body of unspecified forearm, initial encounter",
            ),
            20,
            20,
        )
    },
    Episode {
        procedures: &[snomed("288086009", "Suture open wound")],
        ..injury(
            snomed("284549007", "Laceration of hand"),
            icd10(
                "S61.419A",
                "Laceration without foreign body of unspecified hand, initial encounter",
            ),
            20,
            20,
        )
    },
    injury(
        snomed("62106007", "Concussion with no loss of consciousness"),
        icd10(
            "S06.0X0A",
            "Concussion without loss of consciousness, initial encounter",
        ),
        15,
        40,
    ),
    Episode {
        medications: &[&HYDROCODONE, &IBUPROFEN],
        procedures: &[
            snomed("1225002", "Upper arm X-ray"),
            snomed("274474001", "Bone immobilization"),
        ],
        ..injury(
            snomed("65966004", "Fracture of forearm"),
            icd10(
                "S52.90XA",
                "Unspecified fracture of unspecified forearm, initial encounter for closed fracture",
            ),
            15,
            70,
        )
    },
    Episode {
        medications: &[&ACETAMINOPHEN],
        procedures: &[snomed("225116006", "Provision of a wound dressing")],
        ..injury(
            snomed("403190006", "First degree burn"),
            icd10("T30.0", "Burn of unspecified body region, unspecified degree"),
            15,
            15,
        )
    },
    Episode {
        medications: &[&HYDROCODONE],
        procedures: &[snomed("80146002", "Appendectomy")],
        ..injury(
            snomed("74400008", "Appendicitis"),
            icd10("K37", "Unspecified appendicitis"),
            8,
            30,
        )
    },
    Episode {
        medications: &[&NAPROXEN],
        procedures: &[snomed("91251008", "Physical therapy procedure")],
        ..episode(
            snomed("39848009", "Whiplash injury to neck"),
            icd10(
                "S13.4XXA",
                "Sprain of ligaments of cervical spine, initial encounter",
            ),
            20,
            30,
        )
    },
    episode(
        snomed("40055000", "Chronic sinusitis (disorder)"),
        icd10("J32.9", "Chronic sinusitis, unspecified"),
        25,
        200,
    ),
];
