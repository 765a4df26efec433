//! Line checking: what is refused and why, and the facts of what is taken.

mod broken;
mod facts;
mod laws;

use fhirhose_fhir::line::{LineChecker, LineLimits, Refusal, Rule};

fn checker() -> LineChecker {
    LineChecker::new(LineLimits::default())
}

/// The refusal of a line that must not pass.
fn refusal(line: &[u8]) -> Refusal {
    match checker().check(line, None) {
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(line)),
        Err(refusal) => refusal,
    }
}

fn assert_refused(line: &[u8], rule: Rule) {
    assert_eq!(
        refusal(line).rule,
        rule,
        "{}",
        String::from_utf8_lossy(&line[..line.len().min(200)])
    );
}

fn assert_accepted(line: &[u8]) {
    if let Err(refusal) = checker().check(line, None) {
        panic!(
            "{refusal}: {}",
            String::from_utf8_lossy(&line[..line.len().min(200)])
        );
    }
}
