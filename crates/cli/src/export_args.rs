//! What an export is asked for on the command line: [`ExportArgs`], with bulk-data-client's names beside ours.

use crate::failure::usage;
use anyhow::Result;
use clap::Args;
use fhirhose_client::{ExportParameters, KickOffMethod};
use fhirhose_fhir::export_request::{ExportLevel, Wire};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;

/// Parameters that have a flag of their own, which knows what they mean.
const OWN_FLAGS: [&str; 10] = [
    "_outputFormat",
    "_since",
    "_until",
    "_type",
    "_elements",
    "_typeFilter",
    "patient",
    "includeAssociatedData",
    "organizeOutputBy",
    "allowPartialManifests",
];

/// What is to be exported. Without a level, what belongs to all patients.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to export")]
pub(crate) struct ExportArgs {
    /// Everything that the server has, also what belongs to no patient
    #[arg(long, conflicts_with_all = ["group", "patient"])]
    global: bool,

    /// Only what belongs to the members of this Group
    #[arg(short, long, value_name = "ID")]
    group: Option<String>,

    /// Only these patients; implies --post
    #[arg(short, long, value_name = "ID,…", value_delimiter = ',')]
    patient: Vec<String>,

    /// Only these types
    #[arg(
        short = 't',
        long = "type",
        alias = "_type",
        value_name = "TYPE,…",
        value_delimiter = ','
    )]
    types: Vec<String>,

    /// Of a type only what a search finds; several for one type are alternatives
    #[arg(short = 'q', long, alias = "_typeFilter", value_name = "TYPE?SEARCH")]
    type_filter: Vec<String>,

    /// Only what changed after this instant: the transactionTime of an earlier pull, as it stands in its manifest.json; or after the
    /// beginning of a year, month or day in UTC (2020, 2020-03, 2020-03-01)
    #[arg(short, long, alias = "_since", value_name = "INSTANT")]
    since: Option<String>,

    /// Only what changed before this instant; or before the beginning of a year, month or day in UTC
    #[arg(long, alias = "_until", value_name = "INSTANT")]
    until: Option<String>,

    /// Only these elements, as `Type.element` or `element`
    #[arg(
        short,
        long,
        alias = "_elements",
        value_name = "ELEMENT,…",
        value_delimiter = ','
    )]
    elements: Vec<String>,

    /// Adds LatestProvenanceResources, RelevantProvenanceResources, or what else the server knows
    #[arg(
        short,
        long,
        alias = "includeAssociatedData",
        value_name = "CODE,…",
        value_delimiter = ','
    )]
    include_associated_data: Vec<String>,

    /// Format of the files, where the server is to be told; only NDJSON can be taken
    #[arg(short = 'F', long, alias = "_outputFormat", value_name = "FORMAT")]
    output_format: Option<String>,

    /// Asks for what belongs to one instance of this type together, in blocks
    #[arg(long, alias = "organizeOutputBy", value_name = "TYPE")]
    organize_output_by: Option<String>,

    /// Takes files that are ready while the export still runs
    #[arg(long, alias = "allowPartialManifests")]
    allow_partial_manifests: bool,

    /// Lets the server leave out what it cannot honour, and say so, where it would refuse
    #[arg(long)]
    lenient: bool,

    /// Kicks off by POST
    #[arg(long)]
    post: bool,

    /// Speaks the STU4 ballot: $export-v4
    #[arg(long)]
    stu4: bool,

    /// Further parameters; after the URL
    #[arg(short, long, value_name = "NAME=VALUE", num_args = 1.., value_parser = custom)]
    custom: Vec<(String, String)>,
}

impl ExportArgs {
    /// The flags as a kick-off's parameters.
    pub(crate) fn parameters(&self) -> Result<ExportParameters> {
        if self.since.as_deref() == Some("auto") {
            return Err(usage(
                "--since takes an instant; `fhirhose sync` remembers it from one time to the next",
            ));
        }
        let is_ndjson = |format: &String| {
            let known = ["application/fhir+ndjson", "application/ndjson", "ndjson"];
            known.contains(&format.as_str())
        };
        if !self.output_format.as_ref().is_none_or(is_ndjson) {
            return Err(usage("--output-format: files are taken as NDJSON only"));
        }
        Ok(ExportParameters {
            wire: match self.stu4 {
                true => Wire::Stu4,
                false => Wire::Stu3,
            },
            method: match self.post {
                true => KickOffMethod::Post,
                false => KickOffMethod::Fitting,
            },
            output_format: self.output_format.clone(),
            since: self.since.as_deref().map(whole_instant),
            until: self.until.as_deref().map(whole_instant),
            types: self.types.clone(),
            elements: self.elements.clone(),
            patients: self.patient.clone(),
            associated_data: self.include_associated_data.clone(),
            type_filters: self.type_filter.clone(),
            organize_output_by: self.organize_output_by.clone(),
            allow_partial_manifests: self.allow_partial_manifests,
            custom: self.custom.clone(),
            lenient: self.lenient,
            ..ExportParameters::new(self.level()?)
        })
    }

    fn level(&self) -> Result<ExportLevel> {
        match &self.group {
            Some(group) => group_id(group).map(ExportLevel::Group),
            None if self.global => Ok(ExportLevel::System),
            None => Ok(ExportLevel::AllPatients),
        }
    }
}

/// Reads the id of a Group, as `42` or `Group/42`.
pub(crate) fn group_id(text: &str) -> Result<Id> {
    let id = text.strip_prefix("Group/").unwrap_or(text);
    Id::parse(id).ok_or_else(|| usage("--group takes the id of a Group"))
}

/// A year, month or day as the instant of its beginning in UTC. All else stays as it is, digit for digit: a server's `transactionTime`
/// may be anything.
fn whole_instant(text: &str) -> String {
    let rest = match text.len() {
        4 => "-01-01T00:00:00Z",
        7 => "-01T00:00:00Z",
        10 => "T00:00:00Z",
        _ => "",
    };
    let whole = format!("{text}{rest}");
    match Instant::parse(&whole) {
        Ok(_) => whole,
        Err(_) => text.to_owned(),
    }
}

/// Whether a text is a year, a month, a day, or looks like an instant with its zone.
pub(crate) fn is_instant(text: &str) -> bool {
    let whole = whole_instant(text);
    let has_zone = |time: &str| time.ends_with('Z') || time.contains(['+', '-']);
    let is_year = |date: &str| date.bytes().take_while(u8::is_ascii_digit).count() == 4;
    whole
        .split_once('T')
        .is_some_and(|(date, time)| is_year(date) && has_zone(time))
}

/// Reads `name=value`.
fn custom(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let is_name = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    match parts {
        Some((name, _)) if OWN_FLAGS.contains(&name) => Err("it has a flag of its own".to_owned()),
        Some((name, value)) if !name.is_empty() && is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a parameter is name=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_date_is_its_beginning_and_all_else_stays_as_it_is_cl_12() {
        for (text, whole) in [
            ("2020", "2020-01-01T00:00:00Z"),
            ("2020-03", "2020-03-01T00:00:00Z"),
            ("2020-03-15", "2020-03-15T00:00:00Z"),
            ("2020-13", "2020-13"),
            ("2020-03-15T10:00:00.1230+01:00", "2020-03-15T10:00:00.1230+01:00"),
            ("yesterday", "yesterday"),
            ("last", "last"),
            ("é234", "é234"),
        ] {
            assert_eq!(whole_instant(text), whole);
        }
        for (text, is) in [
            ("2020", true),
            ("2020-03-15T10:00:00Z", true),
            ("2020-03-15T10:00-05:00", true),
            ("2020-03-15T10:00", false),
            ("Today", false),
            ("2020-13", false),
            ("", false),
        ] {
            assert_eq!(is_instant(text), is, "{text}");
        }
    }

    #[test]
    fn a_group_is_named_by_its_id_or_its_reference() {
        for text in ["42", "Group/42"] {
            assert_eq!(group_id(text).unwrap().as_str(), "42");
        }
        for text in ["", "Group/", "Patient/42", "Group/4/2"] {
            assert!(group_id(text).is_err(), "{text}");
        }
    }
}
