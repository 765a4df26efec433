//! The vaccination schedule: which doses fall due at which age.

use super::codes::{Code, cvx};

/// A vaccine with the ages at which it is given.
#[derive(Debug)]
pub(super) struct Vaccine {
    pub(super) code: Code,
    pub(super) manufacturer: &'static str,
    pub(super) due_months: &'static [i32],
    pub(super) cents: i64,
}

const fn vaccine(code: Code, manufacturer: &'static str, due_months: &'static [i32], cents: i64) -> Vaccine {
    Vaccine {
        code,
        manufacturer,
        due_months,
        cents,
    }
}

/// Given every autumn and winter at a visit, by chance.
pub(super) static INFLUENZA: Vaccine = vaccine(
    cvx("140", "Influenza, seasonal, injectable, preservative free"),
    "Seqirus",
    &[],
    4_250,
);

/// Given by age at the first visit after it falls due.
pub(super) static VACCINES: [Vaccine; 16] = [
    vaccine(
        cvx("08", "Hep B, adolescent or pediatric"),
        "Merck Sharp & Dohme",
        &[0, 1, 6],
        6_510,
    ),
    vaccine(
        cvx("119", "rotavirus, monovalent"),
        "GlaxoSmithKline",
        &[2, 4],
        13_120,
    ),
    vaccine(cvx("20", "DTaP"), "Sanofi Pasteur", &[2, 4, 6, 15, 48], 5_390),
    vaccine(
        cvx("49", "Hib (PRP-OMP)"),
        "Merck Sharp & Dohme",
        &[2, 4, 12],
        3_880,
    ),
    vaccine(
        cvx("133", "Pneumococcal conjugate PCV 13"),
        "Pfizer",
        &[2, 4, 6, 12, 780],
        21_800,
    ),
    vaccine(cvx("10", "IPV"), "Sanofi Pasteur", &[2, 4, 6, 48], 4_670),
    vaccine(cvx("03", "MMR"), "Merck Sharp & Dohme", &[12, 48], 8_930),
    vaccine(cvx("21", "varicella"), "Merck Sharp & Dohme", &[12, 48], 15_375),
    vaccine(
        cvx("83", "Hep A, ped/adol, 2 dose"),
        "GlaxoSmithKline",
        &[12, 18],
        5_160,
    ),
    vaccine(
        cvx("114", "meningococcal MCV4P"),
        "Sanofi Pasteur",
        &[132, 192],
        15_210,
    ),
    vaccine(
        cvx("62", "HPV, quadrivalent"),
        "Merck Sharp & Dohme",
        &[132, 138],
        22_840,
    ),
    vaccine(cvx("115", "Tdap"), "GlaxoSmithKline", &[132], 5_045),
    vaccine(
        cvx("113", "Td (adult) preservative free"),
        "Grifols",
        &[252, 372, 492, 612, 732, 852, 972],
        3_590,
    ),
    vaccine(cvx("52", "Hep A, adult"), "GlaxoSmithKline", &[264], 9_060),
    vaccine(cvx("121", "zoster"), "GlaxoSmithKline", &[600, 606], 18_320),
    vaccine(
        cvx("33", "pneumococcal polysaccharide vaccine, 23 valent"),
        "Merck Sharp & Dohme",
        &[792],
        12_640,
    ),
];
