//! What a round came to, for people.

use crate::progress::count;
use fhirhose_bulk::sync::RoundReport;
use std::fmt::Write as _;

/// A round in some lines.
pub(super) fn round(report: &RoundReport) -> String {
    if report.nothing_new {
        return "nothing new\n".to_owned();
    }
    if !report.missing.is_empty() {
        let mut text = format!(
            "round {}: not applied, for files are missing or damaged\n",
            report.round
        );
        for (name, why) in &report.missing {
            let _ = writeln!(text, "  {name}: {why}");
        }
        return text;
    }
    let counts = &report.counts;
    let mut text = format!(
        "round {}: {} created, {} updated, {} deleted, {} the same",
        report.round,
        count(counts.created),
        count(counts.updated),
        count(counts.removed()),
        count(counts.same),
    );
    let further = [
        (counts.filtered, "left out by the filter"),
        (report.dropped, "kept back by the command"),
        (counts.subsetted, "incomplete and passed over"),
        (report.joiners, "patients have joined"),
        (report.leavers, "patients have left"),
        (report.refused, "lines refused"),
        (
            report.refused_by_target,
            "refused by the target, tried again next time",
        ),
        (report.source_errors, "errors that the source tells of"),
    ];
    for (number, what) in further.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, ", {} {what}", count(number));
    }
    let at = report.transaction_time.as_deref().unwrap_or_default();
    let _ = writeln!(text, "; as of {at}, {:.1} s", report.duration_ms as f64 / 1e3);
    text
}
