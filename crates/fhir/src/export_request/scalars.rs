//! Reads the parameters that have one value.

use super::argument::Argument;
use super::reader::Reader;
use super::{is_ndjson, ndjson_only};
use crate::instant::Instant;
use crate::outcome::IssueCode;
use crate::parameters::clip;
use crate::resource_type::ResourceType;

/// The largest `positiveInt` of FHIR R4.
const POSITIVE_INT_MAX: u64 = 2_147_483_647;

/// The types by whose instances output can be organised.
const ORGANIZERS: [&str; 3] = ["Patient", "Group", "Organization"];

/// A format that is not supported is refused also by the lenient: the files would be of no use.
pub(super) fn take_format(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    match argument.text_with_plus() {
        Some(format) if is_ndjson(&format) => {}
        Some(format) => reader.refuse(argument.place(ndjson_only(argument.name, &format))),
        None => reader.refuse(argument.issue(IssueCode::Value, "a text value is needed")),
    }
}

pub(super) fn take_since(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    let Some(since) = instant(reader, argument) else {
        return;
    };
    if since > reader.kick_off.now {
        return reader.refuse(argument.issue(IssueCode::Value, "the instant lies in the future"));
    }
    reader.request.since = Some(since);
}

/// One in the future is fine: it leaves nothing out.
pub(super) fn take_until(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    reader.request.until = instant(reader, argument);
}

pub(super) fn take_organize_by(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    let Some(name) = argument.text() else {
        return reader.refuse(argument.issue(IssueCode::Value, "a text value is needed"));
    };
    match ResourceType::parse(name).filter(|_| ORGANIZERS.contains(&name)) {
        Some(resource_type) => reader.request.organize_output_by = Some(resource_type),
        None => {
            let problem = format!(
                "output cannot be organised by {}, only by Patient, Group or Organization",
                clip(name)
            );
            reader.leave_out(argument.issue(IssueCode::NotSupported, problem));
        }
    }
}

pub(super) fn take_partial(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    reader.request.allow_partial_manifests = boolean(reader, argument);
}

pub(super) fn take_dry_run(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    reader.request.dry_run = boolean(reader, argument);
}

pub(super) fn take_file_min(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    reader.request.file_bytes_min = positive_int(reader, argument);
}

pub(super) fn take_file_max(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    reader.request.file_bytes_max = positive_int(reader, argument);
}

fn instant(reader: &mut Reader<'_>, argument: &Argument<'_>) -> Option<Instant> {
    let Some(text) = argument.text_with_plus() else {
        reader.refuse(argument.issue(IssueCode::Value, "a text value is needed"));
        return None;
    };
    let read = Instant::parse(&text);
    if read.is_err() {
        reader.refuse(argument.issue(
            IssueCode::Value,
            "not an instant: date, time with seconds and zone are needed, such as 2026-01-31T00:00:00Z",
        ));
    }
    read.ok()
}

fn boolean(reader: &mut Reader<'_>, argument: &Argument<'_>) -> bool {
    let flag = argument.boolean();
    if flag.is_none() {
        reader.refuse(argument.issue(IssueCode::Value, "true or false is needed"));
    }
    flag.unwrap_or_default()
}

fn positive_int(reader: &mut Reader<'_>, argument: &Argument<'_>) -> Option<u64> {
    let number = argument
        .integer()
        .filter(|number| (1..=POSITIVE_INT_MAX).contains(number));
    if number.is_none() {
        let problem = format!("a whole number of bytes from 1 to {POSITIVE_INT_MAX} is needed");
        reader.refuse(argument.issue(IssueCode::Value, problem));
    }
    number
}
