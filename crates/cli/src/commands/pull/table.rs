//! What a pull has come to, as text: a table, a line, a JSON object.

use crate::progress::{bytes, count};
use anyhow::Result;
use fhirhose_client::pull::{AttachmentReport, FileKind, PullReport, PulledFile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is there, by type.
pub(super) fn files(report: &PullReport) -> String {
    let mut types: BTreeMap<(FileKind, &str), (u64, u64, u64)> = BTreeMap::new();
    for file in &report.files {
        let (files, lines, bytes) = types.entry((file.kind, type_of(file))).or_default();
        *files += 1;
        *lines += file.lines;
        *bytes += file.bytes;
    }
    let mut text = String::from("resources\tbytes\tfiles\ttype\n");
    for ((kind, name), (files, lines, bytes)) in types {
        let kind = match kind {
            FileKind::Output => "",
            FileKind::Deleted => " (deletions)",
            FileKind::Error => " (the server's remarks)",
        };
        let _ = writeln!(text, "{lines}\t{bytes}\t{files}\t{name}{kind}");
    }
    text
}

fn type_of(file: &PulledFile) -> &str {
    file.resource_type.as_deref().unwrap_or("all types")
}

/// One line, and one for each file that is missing.
pub(super) fn summary(report: &PullReport, place: &str) -> String {
    let output = |file: &&PulledFile| file.kind == FileKind::Output;
    let lines = report.files.iter().filter(output).map(|file| file.lines).sum();
    let size = report.files.iter().map(|file| file.bytes).sum();
    let mut text = format!(
        "{} resources, {} in {} files, as of {}, in {}",
        count(lines),
        bytes(size),
        count(report.files.len() as u64),
        report.transaction_time,
        place
    );
    if let Some(attachments) = &report.attachments {
        let _ = write!(text, "\n{}", of_attachments(attachments));
    }
    if report.already_whole {
        text.push_str("\nit was finished already: nothing was fetched");
    }
    if report.retries > 0 {
        let _ = write!(text, "\n{} tries again on the way", count(report.retries));
    }
    if let Some(problem) = &report.delete_problem {
        let _ = write!(
            text,
            "\nwarning: the server could not be told that its files can go: {problem}"
        );
    }
    let remarks = |severity: &str| report.issues.get(severity).copied().unwrap_or(0);
    let (errors, fatal) = (remarks("error"), remarks("fatal"));
    if errors + fatal > 0 {
        let _ = write!(
            text,
            "\nwarning: the server remarks {} errors: see the files in error/",
            count(errors + fatal)
        );
    }
    for file in &report.missing {
        let _ = write!(text, "\nmissing: {}: {}", file.name, file.why);
    }
    text
}

/// What has come of the attachments.
fn of_attachments(attachments: &AttachmentReport) -> String {
    let mut text = format!(
        "{} attachments, {}, in attachments/",
        count(attachments.files),
        bytes(attachments.bytes)
    );
    if attachments.inlined > 0 {
        let _ = write!(text, "; {} put into their resources", count(attachments.inlined));
    }
    if attachments.other_size > 0 {
        let number = count(attachments.other_size);
        let _ = write!(
            text,
            "\nwarning: {number} attachments are not as long as their `size` says"
        );
    }
    if attachments.ignored > 0 {
        let number = count(attachments.ignored);
        let _ = write!(
            text,
            "\nwarning: {number} attachments could not be had and lead to the server still: see log.ndjson"
        );
    }
    text
}

/// The report as the last event.
pub(super) fn event(report: &PullReport) -> Result<String> {
    let mut event = json!({ "event": "report", "whole": report.is_whole() });
    if let (Value::Object(event), Value::Object(report)) = (&mut event, serde_json::to_value(report)?) {
        event.extend(report);
    }
    Ok(format!("{event}\n"))
}
