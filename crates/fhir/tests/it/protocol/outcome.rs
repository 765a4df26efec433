//! OperationOutcome, written and read.

use fhirhose_fhir::error::ErrorKind;
use fhirhose_fhir::outcome::{Issue, IssueCode, OperationOutcome, Severity};

#[test]
fn k_42_an_outcome_is_one_compact_line_of_fhir_json() {
    let issue = Issue::error(IssueCode::NotSupported, "a \"b\"\nc")
        .with_diagnostics("line 3")
        .with_expression("Parameters.parameter[0]");
    let outcome = OperationOutcome {
        issues: vec![issue, Issue::warning(IssueCode::CodeInvalid, "second")],
    };
    let expected = concat!(
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported","#,
        r#""details":{"text":"a \"b\"\nc"},"diagnostics":"line 3","expression":["Parameters.parameter[0]"]},"#,
        r#"{"severity":"warning","code":"code-invalid","details":{"text":"second"}}]}"#
    );
    assert_eq!(outcome.to_json(), expected);
    assert_eq!(OperationOutcome::parse(expected.as_bytes()), Ok(outcome));
}

#[test]
fn a_foreign_outcome_is_read_with_its_diagnostics_and_unknown_codes() {
    let body = br#"{"resourceType":"OperationOutcome","id":"x","text":{"status":"generated"},"issue":[
        {"severity":"fatal","code":"limited-filter","diagnostics":"no more"},{"severity":"error","code":"transient"}]}"#;
    let outcome = OperationOutcome::parse(body).expect("an outcome");
    assert_eq!(outcome.issues[0].severity, Severity::Fatal);
    assert_eq!(
        (outcome.issues[0].code, outcome.issues[0].details.as_str()),
        (IssueCode::Informational, "no more")
    );
    assert_eq!(
        outcome.issues[1].code,
        IssueCode::Transient,
        "S-08 lets the client retry on this code"
    );
}

#[test]
fn what_is_no_outcome_is_an_error_that_quotes_nothing() {
    let other = OperationOutcome::parse(br#"{"resourceType":"Patient","issue":[]}"#).expect_err("a Patient");
    assert_eq!(other.kind(), ErrorKind::Invalid);
    for body in [
        &b"<html>secret</html>"[..],
        b"",
        b"[]",
        br#"{"resourceType":"OperationOutcome","issue":"secret"}"#,
    ] {
        let error = OperationOutcome::parse(body).expect_err("no outcome");
        assert_eq!(error.kind(), ErrorKind::Json);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
