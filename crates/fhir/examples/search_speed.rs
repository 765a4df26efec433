//! How long it takes to decide whether a resource matches, on the sample population in `../shared`:
//! `cargo run --release -p fhirhose-fhir --example search_speed -- [query…]`.

use std::{hint::black_box, path::Path, time::Instant};

use fhirhose_fhir::search::{Criteria, VersionFacts};

/// Queries as filters of exports have them.
const QUERIES: &[&str] = &[
    "Observation",
    "Observation?code=http://loinc.org|8302-2",
    "Observation?code=http://loinc.org|8302-2&date=ge2015",
    "Observation?category=vital-signs",
    "Observation?category=laboratory&date=ge2015",
    "Observation?status=final&date=ge2015",
    "Observation?date=lt2010",
    "Observation?value-quantity=gt100",
    "Observation?code-value-quantity=8302-2$gt150",
    "Observation?patient=no-such-patient",
    "Patient?gender=female&birthdate=lt1970",
    "Patient?name=jo",
    "Condition?code=http://snomed.info/sct|44054006",
    "Condition?clinical-status=active",
    "Encounter?class=AMB&date=ge2015",
    "MedicationRequest?status=active&intent=order",
    "ExplanationOfBenefit?created=ge2015",
    "Claim?status:not=active",
];
/// The best of so many rounds counts, for other programs run beside.
const ROUNDS: u32 = 60;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let queries: Vec<&str> = if given.is_empty() {
        QUERIES.to_vec()
    } else {
        given.iter().map(String::as_str).collect()
    };
    let version = VersionFacts {
        last_updated: fhirhose_fhir::instant::Instant::MIN,
    };
    for query in queries {
        let criteria = Criteria::parse(query, "").map_err(|issues| format!("{query}: {issues:?}"))?;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100");
        let file = folder.join(format!("{}.ndjson.zst", criteria.resource_type()));
        let text = zstd::decode_all(std::fs::File::open(file)?)?;
        let bodies: Vec<&[u8]> = text
            .split(|&byte| byte == b'\n')
            .filter(|body| !body.is_empty())
            .collect();
        let (mut matched, mut best) = (0, f64::INFINITY);
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let matches = bodies
                .iter()
                .filter(|body| criteria.matches(black_box(body), version));
            matched = matches.count();
            best = best.min(began.elapsed().as_nanos() as f64);
        }
        let report = format!(
            "{:7.0} ns  {:5.2} GB/s  {matched:6} of {:6}  {query}",
            best / bodies.len() as f64,
            text.len() as f64 / best,
            bodies.len()
        );
        std::io::Write::write_all(&mut std::io::stdout(), format!("{report}\n").as_bytes())?;
    }
    Ok(())
}
