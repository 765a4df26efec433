//! Lines that cannot be taken: reported with their place, kept verbatim, and in nobody's way.

use fhirhose_bulk::import::{ImportResult, ImportSpec, InputSpec, ReportLinks};
use fhirhose_fhir::import_report::ImportCounts;
use fhirhose_fhir::outcome::OperationOutcome;
use fhirhose_fhir::resource_type::ResourceType;

use super::fixture::{Bench, small_chunks};
use fhirhose_bulk::import::ImportSettings;

const GOOD: &str = r#"{"resourceType":"Patient","id":"good"}"#;

/// Broken lines with the rule that each breaks and the offset in the line.
const BROKEN: [(&[u8], &str, u64); 12] = [
    (b"{\"resourceType\":\"Patient\",\"id\":\"1\",}", "json", 35),
    (
        b"{\"resourceType\":\"Patient\",\"id\":\"1\"} x",
        "trailing-text",
        36,
    ),
    (
        b"{\"resourceType\":\"Patient\",\"id\":\"1\",\"id\":\"1\"}",
        "duplicate-key",
        35,
    ),
    (b"[1]", "not-an-object", 0),
    (b"{\"id\":\"1\"}", "resource-type-missing", 0),
    (
        b"{\"resourceType\":\"Patientt\",\"id\":\"1\"}",
        "resource-type-unknown",
        17,
    ),
    (
        b"{\"resourceType\":\"Group\",\"id\":\"1\"}",
        "resource-type-mismatch",
        17,
    ),
    (b"{\"resourceType\":\"Patient\"}", "id-missing", 0),
    (b"{\"resourceType\":\"Patient\",\"id\":\"a b\"}", "id-invalid", 32),
    (
        b"{\"resourceType\":\"Patient\",\"id\":\"1\",\"meta\":1}",
        "meta",
        36,
    ),
    (b"{\"resourceType\":\"Patient\",\"id\":\"\xFF\"}", "utf8", 32),
    (
        b"{\"resourceType\":\"Patient\",\"id\":\"1\",\"x\":[[[[[[1]]]]]]}",
        "depth",
        0,
    ),
];

fn settings(threads: usize, chunk_bytes: usize) -> ImportSettings {
    ImportSettings {
        depth_max: 5,
        line_bytes_max: 300,
        ..small_chunks(threads, chunk_bytes)
    }
}

async fn import_text(
    bench: &Bench,
    text: &[u8],
    settings: &ImportSettings,
) -> (ImportResult, Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Patient.ndjson");
    std::fs::write(&path, text).unwrap();
    let input = InputSpec::path(&path).declaring(ResourceType::PATIENT);
    let spec = ImportSpec {
        inputs: vec![input],
        source: None,
        request_url: "http://x/$import".to_owned(),
    };
    let job = bench.submit(spec).await;
    let context = bench.claim().await;
    let result = bench.attempt(&context, settings, None).await.unwrap();
    let input = &result.inputs[0];
    let outcomes = bench.file(job, &input.outcomes.as_ref().unwrap().name).await;
    let rejects = match &input.rejects {
        Some(rejects) => bench.file(job, &rejects.name).await,
        None => Vec::new(),
    };
    (result, outcomes, rejects)
}

#[tokio::test]
async fn broken_lines_are_reported_with_line_offset_and_rule_and_kept_verbatim() {
    for chunk_bytes in [1 << 10, 1 << 20] {
        let bench = Bench::in_memory();
        let (mut text, mut expected, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (line, rule, offset)) in (0u64..).zip(BROKEN) {
            text.extend_from_slice(
                format!("{}\n\r\n", GOOD.replace("good", &format!("g{number}"))).as_bytes(),
            );
            expected.push((number * 3 + 3, text.len() as u64 + offset, rule));
            text.extend_from_slice(line);
            text.extend_from_slice(b"\r\n");
            rejected.extend_from_slice(line);
            rejected.extend_from_slice(b"\r\n");
        }
        let (result, outcomes, rejects) = import_text(&bench, &text, &settings(2, chunk_bytes)).await;
        let good = BROKEN.len() as u64;
        let counts = ImportCounts {
            created: good,
            rejected: good,
            ..ImportCounts::default()
        };
        assert_eq!(result.counts(), counts);
        assert_eq!(bench.contents().await.len(), BROKEN.len());
        let mut reported: Vec<_> = result.inputs[0]
            .errors
            .iter()
            .map(|error| {
                (
                    error.line_number.unwrap(),
                    error.byte_offset.unwrap(),
                    error.rule.as_str(),
                )
            })
            .collect();
        // Where a depth that is too great is noticed is the checker's affair.
        let depth = expected.len() - 1;
        assert_eq!(reported[depth].2, "depth");
        reported[depth].1 = expected[depth].1;
        assert_eq!(reported, expected);
        assert_eq!(rejects, rejected);
        assert_outcomes(&outcomes, &result);
    }
}

/// Every refusal has its OperationOutcome, in order, with the place in the diagnostics.
fn assert_outcomes(outcomes: &[u8], result: &ImportResult) {
    let lines: Vec<&[u8]> = outcomes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), result.inputs[0].errors.len());
    for (line, error) in lines.iter().zip(&result.inputs[0].errors) {
        let outcome = OperationOutcome::parse(line).unwrap();
        assert_eq!(outcome.issues[0].details, error.message);
        let diagnostics = outcome.issues[0].diagnostics.as_deref().unwrap();
        let place = format!(
            "line {}, byte offset {}, rule {}",
            error.line_number.unwrap(),
            error.byte_offset.unwrap(),
            error.rule
        );
        assert!(
            diagnostics.contains("Patient.ndjson") && diagnostics.contains(&place),
            "{diagnostics}"
        );
    }
}

#[tokio::test]
async fn an_overlong_line_is_refused_by_its_length_and_the_rest_goes_on() {
    let long = format!(
        r#"{{"resourceType":"Patient","id":"long","x":"{}"}}"#,
        "y".repeat(5_000)
    );
    for (text, line_number) in [
        (format!("{GOOD}\n{long}\n{}\n", GOOD.replace("good", "after")), 2),
        (format!("{GOOD}\n{}\n{long}", GOOD.replace("good", "after")), 3),
    ] {
        let bench = Bench::in_memory();
        let (result, outcomes, rejects) = import_text(&bench, text.as_bytes(), &settings(2, 1 << 10)).await;
        let counts = ImportCounts {
            created: 2,
            rejected: 1,
            ..ImportCounts::default()
        };
        assert_eq!(result.counts(), counts);
        let error = &result.inputs[0].errors[0];
        let offset = text.find(&long).unwrap() as u64 + 300;
        let reported = (error.line_number, error.byte_offset, error.rule.as_str());
        assert_eq!(reported, (Some(line_number), Some(offset), "line-too-long"));
        assert_eq!(rejects, format!("{long}\n").as_bytes());
        assert_outcomes(&outcomes, &result);
        assert_eq!(result.text_bytes, text.trim_end().len() as u64 + 1);
    }
}

#[tokio::test]
async fn the_report_lists_a_hundred_refusals_and_links_to_all() {
    let bench = Bench::in_memory();
    let text = "{}\n".repeat(1_000);
    let (result, outcomes, rejects) = import_text(&bench, text.as_bytes(), &settings(2, 1 << 10)).await;
    assert_eq!(result.inputs[0].errors.len(), 100);
    let lines: Vec<u64> = result.inputs[0]
        .errors
        .iter()
        .map(|error| error.line_number.unwrap())
        .collect();
    assert_eq!(lines, (1..=100).collect::<Vec<_>>());
    assert_eq!(rejects, text.as_bytes());
    assert_eq!(outcomes.iter().filter(|byte| **byte == b'\n').count(), 1_000);
    let links = ReportLinks {
        files_url: "http://x/files/".to_owned(),
        requires_access_token: true,
    };
    let report = result.report(&links);
    assert_eq!(
        (report.error[0].count, report.error[0].errors.len()),
        (1_000, 100)
    );
    assert_eq!(
        report.error[0].url.as_deref(),
        Some("http://x/files/1.outcomes.ndjson")
    );
    assert_eq!(
        (report.output[0].count, report.output[0].counts.rejected),
        (0, 1_000)
    );
    assert_eq!(
        (report.request.as_str(), report.requires_access_token),
        ("http://x/$import", true)
    );
}

/// What the server tells of itself nobody else writes; events of other systems come in.
#[tokio::test]
async fn events_that_would_pass_for_the_servers_own_are_refused() {
    let bench = Bench::in_memory();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.ndjson");
    let lines = [
        ("AuditEvent", "audit-1"),
        ("AuditEvent", "audit-x"),
        ("AuditEvent", "1"),
        ("Patient", "audit-1"),
    ];
    let text: String = lines
        .iter()
        .map(|(name, id)| format!("{{\"resourceType\":\"{name}\",\"id\":\"{id}\"}}\n"))
        .collect();
    std::fs::write(&path, text).unwrap();
    bench.submit(ImportSpec::of_paths([&path])).await;
    let context = bench.claim().await;
    let result = bench
        .attempt(&context, &ImportSettings::with_threads(1), None)
        .await
        .unwrap();
    let error = &result.inputs[0].errors[0];
    assert_eq!((error.line_number, error.rule.as_str()), (Some(1), "reserved-id"));
    let counts = ImportCounts {
        created: 3,
        rejected: 1,
        ..ImportCounts::default()
    };
    assert_eq!(result.counts(), counts);
}
