//! What a FHIR client says and hears: requests, headers, manifests, reports and outcomes.

mod accept;
mod bundle;
mod bundle_request;
mod etag;
mod export_parameters;
mod export_request;
mod group;
mod import_report;
mod import_request;
mod manifest;
mod outcome;
mod outside_input;
mod parameters;
mod prefer;
mod range;
mod type_filters;

use fhirhose_fhir::outcome::OperationOutcome;

/// The texts of all issues.
fn texts(outcome: &OperationOutcome) -> Vec<&str> {
    outcome
        .issues
        .iter()
        .map(|issue| issue.details.as_str())
        .collect()
}

/// Asserts that there is exactly one issue, and that it speaks of this.
#[track_caller]
fn assert_only_issue(outcome: &OperationOutcome, fragment: &str) {
    let texts = texts(outcome);
    assert!(
        texts.len() == 1 && texts[0].contains(fragment),
        "wanted one issue with {fragment:?}, got {texts:?}"
    );
}
