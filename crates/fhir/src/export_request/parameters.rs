//! Every parameter of a kick-off, once: what reads it, and what the CapabilityStatement and OperationDefinitions say of it.

use super::argument::Argument;
use super::reader::Reader;
use super::{Wire, filters, lists, scalars};

/// A parameter that a kick-off can have.
#[derive(Debug)]
pub struct ExportParameter {
    /// Its name.
    pub name: &'static str,
    /// What it means here, in a sentence or two for people.
    pub documentation: &'static str,
    /// Whether it may be given several times.
    pub repeats: bool,
    kind: Kind,
    pub(super) read: fn(&mut Reader<'_>, &Argument<'_>),
}

/// The type of a parameter's value.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Instant,
    Reference,
    /// A code before STU4, a Coding from then on.
    Code,
    Boolean,
    PositiveInt,
}

impl ExportParameter {
    /// The FHIR type of its value in a version of the standard.
    pub fn fhir_type(&self, wire: Wire) -> &'static str {
        match (self.kind, wire) {
            (Kind::Text, _) => "string",
            (Kind::Instant, _) => "instant",
            (Kind::Reference, _) => "Reference",
            (Kind::Code, Wire::Stu3) => "code",
            (Kind::Code, Wire::Stu4) => "Coding",
            (Kind::Boolean, _) => "boolean",
            (Kind::PositiveInt, _) => "positiveInt",
        }
    }

    /// Whether it takes no part in exports of the whole system.
    pub fn is_below_system_only(&self) -> bool {
        matches!(self.kind, Kind::Reference)
    }
}

/// Lists every parameter that a kick-off can have.
pub fn export_parameters() -> &'static [ExportParameter] {
    PARAMETERS
}

/// Finds a parameter by its exact name.
pub(super) fn find(name: &str) -> Option<&'static ExportParameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}

const ONCE: bool = false;
const REPEATS: bool = true;

const fn parameter(
    (name, kind, repeats): (&'static str, Kind, bool),
    read: fn(&mut Reader<'_>, &Argument<'_>),
    documentation: &'static str,
) -> ExportParameter {
    ExportParameter {
        name,
        documentation,
        repeats,
        kind,
        read,
    }
}

static PARAMETERS: &[ExportParameter] = &[
    parameter(
        ("_outputFormat", Kind::Text, ONCE),
        scalars::take_format,
        "The format of the files: application/fhir+ndjson, application/ndjson or ndjson, which are the same.",
    ),
    parameter(
        ("_since", Kind::Instant, ONCE),
        scalars::take_since,
        "Only resources whose own lastUpdated is after this instant, and what was deleted since. A future instant is refused.",
    ),
    parameter(
        ("_until", Kind::Instant, ONCE),
        scalars::take_until,
        "Only resources whose current version's lastUpdated is before this instant.",
    ),
    parameter(
        ("_type", Kind::Text, REPEATS),
        lists::take_types,
        "Only resources of these types. A type that FHIR R4 does not have is refused.",
    ),
    parameter(
        ("_elements", Kind::Text, REPEATS),
        lists::take_elements,
        "Only these root elements, as Type.element or element; mandatory elements, id and meta stay, and meta.tag says SUBSETTED.",
    ),
    parameter(
        ("patient", Kind::Reference, REPEATS),
        lists::take_patient,
        "Only the compartments of these patients (POST only). At Group level they must be members.",
    ),
    parameter(
        ("includeAssociatedData", Kind::Code, REPEATS),
        lists::take_associated_data,
        "LatestProvenanceResources: the newest Provenance of each exported resource and no other; RelevantProvenanceResources: all of \
         them. Of both the second counts. No other value is supported.",
    ),
    parameter(
        ("_typeFilter", Kind::Text, REPEATS),
        filters::take_filter,
        "A search query such as Observation?status=final. Of a type with filters only resources that match one of them come. The \
         parameters are those that rest.resource.searchParam lists.",
    ),
    parameter(
        ("organizeOutputBy", Kind::Text, ONCE),
        scalars::take_organize_by,
        "Patient, Group or Organization: files hold a block for each instance, led by a Parameters resource, instead of one type.",
    ),
    parameter(
        ("allowPartialManifests", Kind::Boolean, ONCE),
        scalars::take_partial,
        "Whether manifests may come in pages, the first ones while the export goes on.",
    ),
    parameter(
        ("_minimumFileSize", Kind::PositiveInt, ONCE),
        scalars::take_file_min,
        "Files are not shorter than so many bytes where it can be helped.",
    ),
    parameter(
        ("_maximumFileSize", Kind::PositiveInt, ONCE),
        scalars::take_file_max,
        "Files are not longer than so many bytes, but for a single resource that is. The server's own limit stays.",
    ),
    parameter(
        ("_dryRun", Kind::Boolean, ONCE),
        scalars::take_dry_run,
        "An extension of this server: nothing is exported; the answer is 200 with a Parameters resource that tells how much would be, \
         by type, and how long it would take.",
    ),
];
