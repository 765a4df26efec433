//! The `Prefer` header of a kick-off.

use fhirhose_fhir::prefer::{Handling, Preferences, Return};

fn parse(values: &[&str]) -> Preferences {
    Preferences::parse(values.iter().copied())
}

#[test]
fn k_21_a_missing_respond_async_is_told() {
    assert_eq!(parse(&[]), Preferences::default());
    assert!(!parse(&[]).respond_async);
    assert!(!parse(&["return=minimal"]).respond_async);
    assert!(!parse(&["respond-asynchronously"]).respond_async);
    assert!(!parse(&["wait=\"respond-async, x\""]).respond_async);
}

#[test]
fn k_22_k_24_every_spelling_of_respond_async_and_lenient_is_read() {
    let expected = Preferences {
        respond_async: true,
        handling: Handling::Lenient,
        separate_export_status: false,
        returns: Return::Representation,
    };
    for values in [
        &["respond-async, handling=lenient"] as &[&str],
        &["respond-async,handling=lenient"],
        &["respond-async", "handling=lenient"],
        &["handling = \"lenient\" , Respond-Async"],
        &["respond-async; handling=lenient"],
        &["RESPOND-ASYNC; wait=10, Handling=Lenient;x=y"],
        &[",, respond-async ,, handling=lenient,"],
    ] {
        assert_eq!(parse(values), expected, "{values:?}");
    }
}

#[test]
fn what_a_write_returns_is_read() {
    assert_eq!(parse(&["return=minimal"]).returns, Return::Minimal);
    assert_eq!(
        parse(&["RETURN = OperationOutcome"]).returns,
        Return::OperationOutcome
    );
    assert_eq!(
        parse(&["return=representation, return=minimal"]).returns,
        Return::Representation
    );
    assert_eq!(parse(&["return=everything"]).returns, Return::Representation);
}

#[test]
fn the_first_of_repeated_handlings_counts_and_unknown_ones_are_skipped() {
    assert_eq!(
        parse(&["handling=strict", "handling=lenient"]).handling,
        Handling::Strict
    );
    assert_eq!(
        parse(&["handling=lenient, handling=strict"]).handling,
        Handling::Lenient
    );
    assert_eq!(
        parse(&["handling=loose, handling=lenient"]).handling,
        Handling::Lenient
    );
    assert_eq!(parse(&["handling"]).handling, Handling::Strict);
}

#[test]
fn k_23_separate_export_status_is_read() {
    let preferences = parse(&["respond-async, separate-export-status"]);
    assert!(preferences.respond_async && preferences.separate_export_status);
}
