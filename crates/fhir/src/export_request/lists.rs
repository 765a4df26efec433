//! Reads the parameters that are lists: `_type`, `_elements`, `patient` and `includeAssociatedData`.

use super::argument::Argument;
use super::reader::Reader;
use super::{AssociatedData, ExportLevel};
use crate::elements::ElementFilter;
use crate::id::Id;
use crate::outcome::IssueCode;
use crate::parameters::clip;
use crate::resource_type::ResourceType;

/// Most elements that `_elements` can name, good and bad ones: each is looked up in every type.
const ELEMENTS_MAX: usize = 1000;

/// Longest name of an element, in bytes; R4's own stay below 80.
const ELEMENT_BYTES_MAX: usize = 128;

/// Most patients that `patient` can name: they are recorded with the job.
const PATIENTS_MAX: usize = 10_000;

/// Where the codes of `includeAssociatedData` come from, now and after the move that STU3 announces.
const ASSOCIATED_DATA_SYSTEMS: [&str; 2] = [
    "http://hl7.org/fhir/uv/bulkdata/CodeSystem/include-associated-data",
    "http://terminology.hl7.org/CodeSystem/include-associated-data",
];

pub(super) fn take_types(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    let Some(text) = argument.text() else {
        return reader.refuse(argument.issue(IssueCode::Value, "a text value is needed"));
    };
    reader.types_given = true;
    for name in argument.items(text, reader.kick_off.wire) {
        match ResourceType::parse(name) {
            Some(resource_type) => {
                let types = reader.request.types.get_or_insert_default();
                if !types.contains(&resource_type) {
                    types.push(resource_type);
                }
            }
            None if name.is_empty() => {
                reader.refuse(argument.issue(IssueCode::Value, "a type in the list is empty"));
            }
            None => {
                let problem = format!("{} is not a resource type of FHIR R4", clip(name));
                reader.leave_out(argument.issue(IssueCode::NotSupported, problem));
            }
        }
    }
}

pub(super) fn take_elements(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    let Some(text) = argument.text() else {
        return reader.refuse(argument.issue(IssueCode::Value, "a text value is needed"));
    };
    for element in argument.items(text, reader.kick_off.wire) {
        reader.elements.1 += 1;
        if reader.elements.1 > ELEMENTS_MAX {
            let problem = format!("more than {ELEMENTS_MAX} elements");
            return reader.refuse(argument.issue(IssueCode::TooLong, problem));
        }
        take_element(reader, argument, element);
    }
}

fn take_element(reader: &mut Reader<'_>, argument: &Argument<'_>, element: &str) {
    if element.len() > ELEMENT_BYTES_MAX {
        let problem = format!("{}: longer than any element", clip(element));
        return reader.refuse(argument.issue(IssueCode::TooLong, problem));
    }
    // Each element is tried alone, so that all the bad ones are told and not only the first.
    match ElementFilter::parse([element]) {
        Ok(_) => reader.elements.0.push(element.to_owned()),
        Err(error) => reader.leave_out(argument.issue(IssueCode::Value, error)),
    }
}

/// What is wrong with a `patient` is refused also by the lenient: going on without it would hand out other people's data.
pub(super) fn take_patient(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    if reader.kick_off.level == ExportLevel::System {
        let problem = "not possible in an export of the whole system; use Patient/$export";
        return reader.refuse(argument.issue(IssueCode::Invalid, problem));
    }
    if argument.is_query() {
        let problem = "possible only in the body of a POST kick-off";
        return reader.refuse(argument.issue(IssueCode::NotSupported, problem));
    }
    let Some(patient) = argument
        .reference()
        .and_then(|text| patient_of(text, reader.kick_off.base_url))
    else {
        let problem = "a reference such as Patient/123 is needed, relative or below the base of this server";
        return reader.refuse(argument.issue(IssueCode::Value, problem));
    };
    if let ExportLevel::Patient(only) = &reader.kick_off.level {
        if *only != patient {
            reader.refuse(argument.issue(IssueCode::Invalid, "another patient than the one of the path"));
        }
        return;
    }
    let patients = reader.request.patients.get_or_insert_default();
    if patients.len() < PATIENTS_MAX {
        return patients.push(patient);
    }
    let problem = format!("more than {PATIENTS_MAX} patients");
    reader.refuse(argument.issue(IssueCode::TooLong, problem));
}

fn patient_of(reference: &str, base_url: &str) -> Option<Id> {
    let relative = match reference.strip_prefix(base_url) {
        Some(rest) if !base_url.is_empty() => rest.strip_prefix('/')?,
        _ => reference,
    };
    Id::parse(relative.strip_prefix("Patient/")?)
}

pub(super) fn take_associated_data(reader: &mut Reader<'_>, argument: &Argument<'_>) {
    if let Some(coding) = argument.coding() {
        let system = coding.system.as_deref();
        if let Some(system) = system.filter(|system| !ASSOCIATED_DATA_SYSTEMS.contains(system)) {
            let problem = format!("the code system {} is not supported", clip(system));
            return reader.leave_out(argument.issue(IssueCode::NotSupported, problem));
        }
        return take_associated_code(reader, argument, &coding.code);
    }
    let Some(text) = argument.text() else {
        return reader.refuse(argument.issue(IssueCode::Value, "a code is needed"));
    };
    for code in argument.items(text, reader.kick_off.wire) {
        take_associated_code(reader, argument, code);
    }
}

/// Of values that conflict the one counts that returns the most.
fn take_associated_code(reader: &mut Reader<'_>, argument: &Argument<'_>, code: &str) {
    let wanted = &mut reader.request.associated_data;
    match code {
        "RelevantProvenanceResources" => *wanted = AssociatedData::RelevantProvenance,
        "LatestProvenanceResources" => {
            if *wanted == AssociatedData::Default {
                *wanted = AssociatedData::LatestProvenance;
            }
        }
        _ => {
            let problem = format!(
                "{} is not supported, only LatestProvenanceResources and RelevantProvenanceResources",
                clip(code)
            );
            reader.leave_out(argument.issue(IssueCode::NotSupported, problem));
        }
    }
}
