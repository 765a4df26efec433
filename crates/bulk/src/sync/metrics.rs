//! What a sync tells monitoring: [`render_metrics`], in the text form of Prometheus. Numbers only, no ids.

use std::fmt::Write;

use fhirhose_fhir::instant::Instant;

use super::state::State;

/// Name, help and value of one number; one without a value is left out.
type Metric = (&'static str, &'static str, Option<f64>);

/// Writes the metrics of a state as of `now`.
pub fn render_metrics(state: &State, now: Instant) -> String {
    let mut text = String::new();
    let kinds = [("gauge", gauges(state, now)), ("counter", counters(state))];
    for (kind, metrics) in kinds {
        for (name, help, value) in metrics {
            let Some(value) = value else { continue };
            let _ = writeln!(text, "# HELP fhirhose_sync_{name} {help}");
            let _ = writeln!(text, "# TYPE fhirhose_sync_{name} {kind}");
            let _ = writeln!(text, "fhirhose_sync_{name} {value}");
        }
    }
    text
}

fn gauges(state: &State, now: Instant) -> Vec<Metric> {
    let secs = |instant: Instant| instant.micros() as f64 / 1e6;
    let cursor = state.cursor.as_deref();
    let cursor = cursor.and_then(|cursor| Instant::parse(cursor).ok());
    let lag = state.lag_secs(now).map(|lag| lag as f64);
    let duration = state.last.as_ref().map(|last| last.duration_ms as f64 / 1e3);
    let help_of_lag = "Time since the transactionTime that was applied last.";
    let help_of_cursor = "The transactionTime that was applied last, as Unix time.";
    let help_of_success = "When a round last ended well, as Unix time.";
    let help_of_pending = "Lines and deletions that the target refuses and that are tried again.";
    let help_of_failures = "Rounds that have failed since the last that did not.";
    let success = state.last_success.map(secs);
    vec![
        ("lag_seconds", help_of_lag, lag),
        ("transaction_time_seconds", help_of_cursor, cursor.map(secs)),
        ("last_success_timestamp_seconds", help_of_success, success),
        (
            "round_duration_seconds",
            "How long the last round took.",
            duration,
        ),
        (
            "resources",
            "Resources that were brought and are there.",
            count(state.entries),
        ),
        ("pending", help_of_pending, count(state.pending)),
        ("failures_in_row", help_of_failures, count(state.failures_in_row)),
    ]
}

fn counters(state: &State) -> Vec<Metric> {
    let totals = &state.totals;
    vec![
        ("rounds_total", "Rounds that were applied.", count(totals.rounds)),
        (
            "failures_total",
            "Tries that have failed.",
            count(totals.failures),
        ),
        ("put_total", "Resources created or updated.", count(totals.put)),
        ("deleted_total", "Resources deleted.", count(totals.deleted)),
        ("refused_total", "Lines that were refused.", count(totals.refused)),
    ]
}

fn count(number: u64) -> Option<f64> {
    Some(number as f64)
}
