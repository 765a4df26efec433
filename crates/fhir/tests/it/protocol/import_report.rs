//! The report of a finished import.

use fhirhose_fhir::import_report::{
    ERRORS_INLINE_MAX, ImportCounts, ImportError, ImportErrors, ImportOutput, ImportReport,
};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::outcome::IssueCode;
use fhirhose_fhir::resource_type::ResourceType;

const URL: &str = "https://s/Patient.ndjson?sig=secret";

fn refused(line_number: u64) -> ImportError {
    ImportError {
        line_number: Some(line_number),
        byte_offset: Some(1234),
        rule: "id-missing".to_owned(),
        resource_id: None,
        message: "the resource has no id".to_owned(),
    }
}

fn report() -> ImportReport {
    let counts = ImportCounts {
        created: 3,
        updated: 2,
        unchanged: 1,
        rejected: 1,
    };
    let mut errors = ImportErrors::new(Some(ResourceType::PATIENT), URL);
    errors.push(ImportError {
        resource_id: Some("Patient/p".to_owned()),
        ..refused(27)
    });
    errors.url = Some("https://h/fhir/$import-file/j/1.ndjson".to_owned());
    ImportReport {
        transaction_time: Instant::parse("2026-01-01T00:00:00Z").expect("an instant"),
        request: "https://h/fhir/$import".to_owned(),
        requires_access_token: true,
        output: vec![
            ImportOutput::new(Some(ResourceType::PATIENT), URL, counts),
            ImportOutput::new(None, "file:///x", ImportCounts::default()),
        ],
        error: vec![errors],
        dangling_references: 4,
    }
}

#[test]
fn i_19_i_20_i_21_a_report_has_the_seeds_shape_with_counts() {
    let expected = concat!(
        r#"{"transactionTime":"2026-01-01T00:00:00.000000Z","request":"https://h/fhir/$import","requiresAccessToken":true,"#,
        r#""output":[{"type":"Patient","count":6,"inputUrl":"https://s/Patient.ndjson?sig=secret","#,
        r#""created":3,"updated":2,"unchanged":1,"rejected":1},"#,
        r#"{"count":0,"inputUrl":"file:///x","created":0,"updated":0,"unchanged":0,"rejected":0}],"#,
        r#""error":[{"type":"Patient","inputUrl":"https://s/Patient.ndjson?sig=secret","count":1,"#,
        r#""url":"https://h/fhir/$import-file/j/1.ndjson","errors":[{"lineNumber":27,"byteOffset":1234,"rule":"id-missing","#,
        r#""resourceId":"Patient/p","message":"the resource has no id"}]}],"danglingReferences":4}"#
    );
    assert_eq!(report().to_json(), expected);
    assert_eq!(
        serde_json::from_str::<ImportReport>(expected).expect("a report"),
        report()
    );
}

#[test]
fn refusals_beyond_the_limit_are_counted_but_not_inline() {
    let mut errors = ImportErrors::new(None, "file:///x");
    for line in 1..=250 {
        errors.push(refused(line));
    }
    assert_eq!((errors.count, errors.errors.len()), (250, ERRORS_INLINE_MAX));
    assert_eq!(
        errors.errors[99].line_number,
        Some(100),
        "the first ones are kept"
    );
    assert_eq!(errors.resource_type.name(), "OperationOutcome");
}

#[test]
fn i_43_the_outcome_of_a_line_tells_line_and_byte_but_no_signature() {
    let outcome = ImportError {
        resource_id: Some("Patient/p".to_owned()),
        ..refused(27)
    }
    .to_outcome(URL);
    let issue = &outcome.issues[0];
    assert_eq!(
        (issue.code, issue.details.as_str()),
        (IssueCode::Invalid, "the resource has no id")
    );
    let expected =
        "input https://s/Patient.ndjson, line 27, byte offset 1234, rule id-missing, resource Patient/p";
    assert_eq!(issue.diagnostics.as_deref(), Some(expected));
}

#[test]
fn the_outcome_of_a_whole_input_has_no_line() {
    let error = ImportError {
        line_number: None,
        byte_offset: None,
        rule: "fetch".to_owned(),
        ..refused(1)
    };
    let outcome = error.to_outcome("https://s/x#y");
    assert_eq!(outcome.issues[0].code, IssueCode::Incomplete);
    assert_eq!(
        outcome.issues[0].diagnostics.as_deref(),
        Some("input https://s/x, rule fetch")
    );
}

#[test]
fn counts_of_parts_add_up() {
    let part = ImportCounts {
        created: 1,
        updated: 2,
        unchanged: 3,
        rejected: 4,
    };
    let sum = part.plus(part);
    assert_eq!(
        sum,
        ImportCounts {
            created: 2,
            updated: 4,
            unchanged: 6,
            rejected: 8
        }
    );
    assert_eq!(sum.taken(), 12);
}
