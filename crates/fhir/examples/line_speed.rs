//! Measures the line checker on the sample population, one core: `cargo run --release -p fhirhose-fhir --example line_speed`.
//!
//! For each type: time per line and bytes per second of the whole check, and beside it what `simdutf8` and `serde_json`
//! (a `RawValue`, which checks much less) take for the same lines. A folder of `*.ndjson.zst` may be given.
#![allow(clippy::print_stdout, reason = "the table is the example's output")]

use std::{fs::File, hint::black_box, path::PathBuf, time::Instant};

use fhirhose_fhir::line::{LineChecker, LineLimits};
use serde_json::value::RawValue;

const ROUNDS: usize = 9;
const TYPES: [&str; 5] = [
    "Observation",
    "Claim",
    "ExplanationOfBenefit",
    "Encounter",
    "Patient",
];

fn main() -> std::io::Result<()> {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/synthea-100");
    let folder = std::env::args().nth(1).map_or(sample, PathBuf::from);
    println!(
        "{:<24} {:>7} {:>7} | {:>8} {:>6} | ns by utf8, serde_json",
        "type", "lines", "bytes", "ns", "GB/s"
    );
    for name in TYPES {
        let text = zstd::decode_all(File::open(folder.join(format!("{name}.ndjson.zst")))?)?;
        let lines: Vec<&[u8]> = text
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .collect();
        let mut checker = LineChecker::new(LineLimits::default());
        let ours = best_ns(&lines, |line| checker.check(line, None).is_ok());
        let utf8 = best_ns(&lines, |line| simdutf8::basic::from_utf8(line).is_ok());
        let serde = best_ns(&lines, |line| serde_json::from_slice::<&RawValue>(line).is_ok());
        let bytes = text.len() as f64 / lines.len() as f64;
        let rate = bytes / ours;
        println!(
            "{name:<24} {:>7} {bytes:>7.0} | {ours:>8.0} {rate:>6.2} | {utf8:.0}, {serde:.0}",
            lines.len()
        );
    }
    Ok(())
}

/// Nanoseconds per line in the best of some rounds.
fn best_ns(lines: &[&[u8]], mut check: impl FnMut(&[u8]) -> bool) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for line in lines {
            assert!(check(black_box(line)), "the sample's lines are good");
        }
        best = best.min(start.elapsed().as_nanos() as f64 / lines.len() as f64);
    }
    best
}
