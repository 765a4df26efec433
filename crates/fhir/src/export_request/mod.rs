//! The kick-off of an export, from a query (GET) or a Parameters body (POST), as one [`ExportRequest`] (spec §1).
//!
//! A [`KickOff`] says what is known before the parameters are read: the level, the version of the standard that is spoken, whether to
//! be lenient, the time. It reads a query, a body or plain pairs. Whatever cannot be honoured is an error, and all problems of
//! a request come back together (K-48). Under `handling=lenient` (K-22) what is not supported is left out instead, each with an
//! outcome in [`ExportRequest::ignored`]; what cannot be read stays an error. Headers, authorization and whether the Group or
//! Patient exists are the server's part.
//!
//! [`export_parameters`] lists what there is, for the CapabilityStatement.
//!
//! ```
//! use fhirhose_fhir::export_request::{ExportLevel, KickOff};
//! use fhirhose_fhir::instant::Instant;
//! let kick_off = KickOff::new(ExportLevel::AllPatients, Instant::MAX);
//! let request = kick_off.read_query("_type=Patient,Observation").unwrap();
//! assert_eq!(request.types.unwrap().len(), 2);
//! ```

mod argument;
mod filters;
mod lists;
mod parameters;
mod reader;
mod scalars;

use serde::{Deserialize, Serialize};

use self::argument::{Argument, Value};
use self::reader::Reader;
use crate::elements::ElementFilter;
use crate::id::Id;
use crate::instant::Instant;
use crate::outcome::{Issue, IssueCode, OperationOutcome};
use crate::parameters::{clip, parse_parameters};
use crate::prefer::Preferences;
use crate::query;
use crate::resource_type::ResourceType;
use crate::search::Criteria;

pub use self::parameters::{ExportParameter, export_parameters};

/// The spellings of NDJSON that a server must take (spec §1.3), for exports and imports alike.
const NDJSON_SPELLINGS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Whose data an export takes (K-01 to K-04).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportLevel {
    /// `[base]/$export`: everything.
    System,
    /// `[base]/Patient/$export`: the compartments of all patients.
    AllPatients,
    /// `[base]/Group/[id]/$export`: the compartments of the members.
    Group(Id),
    /// `[base]/Patient/[id]/$export`: one compartment (K-04: in no version of the IG, but asked for everywhere).
    Patient(Id),
}

/// An export as asked for; the same for GET and POST and for every version of the IG.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportRequest {
    /// Whose data.
    pub level: ExportLevel,
    /// `_type`: the types to export, in the order asked for, each once, at least one; `None` means all of the level.
    pub types: Option<Vec<ResourceType>>,
    /// `_since`: only what changed after this instant (exclusive).
    pub since: Option<Instant>,
    /// `_until`: only what changed before this instant (exclusive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Instant>,
    /// `_elements`: the root elements to keep; `None` keeps resources whole.
    pub elements: Option<ElementFilter>,
    /// `patient`: only the compartments of these, each once, at least one; `None` means all of the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients: Option<Vec<Id>>,
    /// `_typeFilter`: of a type that is named, only resources that match one of its criteria (T-01 to T-07).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub type_filters: Vec<Criteria>,
    /// `includeAssociatedData`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub associated_data: AssociatedData,
    /// `organizeOutputBy`: the type whose instances head the blocks of the output (spec §2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organize_output_by: Option<ResourceType>,
    /// `allowPartialManifests` (spec §2.4).
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow_partial_manifests: bool,
    /// `_minimumFileSize`, in bytes: files are not shorter where it can be helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes_min: Option<u64>,
    /// `_maximumFileSize`, in bytes: files are not longer, but for a single resource that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes_max: Option<u64>,
    /// The version of the standard in which the client speaks, and wants the manifest.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wire: Wire,
    /// What was ignored under `handling=lenient`: one outcome per parameter, for the manifest's `error` (K-22).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<OperationOutcome>,
    /// The client wants the status of the export told apart from that of the answer (`separate-export-status`, K-23).
    #[serde(default, skip_serializing_if = "is_default")]
    pub separate_status: bool,
    /// `_dryRun`, which is ours: only an estimate is asked for, and no job is to be recorded.
    #[serde(skip)]
    pub dry_run: bool,
    /// The exact kick-off URL, which the manifest echoes.
    pub request_url: String,
}

/// The version of the standard that is spoken on the wire; nothing above this crate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// STU1 to STU3: `$export`.
    #[default]
    Stu3,
    /// The STU4 ballot: `$export-v4`.
    Stu4,
}

/// What is added to the resources that were asked for (`includeAssociatedData`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssociatedData {
    /// Not given: all Provenance of the level, unless `_type` leaves Provenance out.
    #[default]
    Default,
    /// `LatestProvenanceResources`: for each exported resource the newest Provenance, and no other.
    LatestProvenance,
    /// `RelevantProvenanceResources`: all Provenance of the exported resources, and no other.
    RelevantProvenance,
}

/// What is known of a kick-off before its parameters are read.
#[derive(Debug, Clone)]
pub struct KickOff<'a> {
    /// Whose data, which the path says.
    pub level: ExportLevel,
    /// The version of the standard in which the client speaks.
    pub wire: Wire,
    /// Whether what is not supported is left out or refused (K-22), and how the status is told (K-23).
    pub preferences: Preferences,
    /// The FHIR base of the server without a slash at the end; references below it are the server's own. Empty: there is none.
    pub base_url: &'a str,
    /// The kick-off URL as the client sent it, for the manifest to echo.
    pub request_url: &'a str,
    /// The server's time, against which a future `_since` is refused.
    pub now: Instant,
}

impl KickOff<'static> {
    /// A strict kick-off in STU3 without URLs: one that no client sent.
    pub fn new(level: ExportLevel, now: Instant) -> Self {
        Self {
            level,
            wire: Wire::Stu3,
            preferences: Preferences::default(),
            base_url: "",
            request_url: "",
            now,
        }
    }
}

impl KickOff<'_> {
    /// Reads a GET kick-off; `query` is the raw query string without `?`.
    ///
    /// Repeats equal one comma list where a parameter may repeat (K-07); the others are allowed once. A `+` that was not encoded
    /// arrives as a space and is accepted where a value has one (K-06). STU4 has no GET (K-05).
    ///
    /// # Errors
    /// An outcome (400) with an issue for each problem that names the parameter.
    pub fn read_query(&self, query: &str) -> Result<ExportRequest, OperationOutcome> {
        let mut reader = Reader::new(self);
        if self.wire == Wire::Stu4 {
            let text = "STU4 has no kick-off by GET; POST a Parameters resource";
            reader.refuse(Issue::error(IssueCode::NotSupported, text));
        }
        for pair in query::pairs(query) {
            match pair {
                Some(pair) => reader.take(&Argument::new(&pair.name, Value::Query(&pair.value))),
                None => reader.refuse(Issue::error(
                    IssueCode::Structure,
                    "the query has a parameter that is not percent-encoded UTF-8",
                )),
            }
        }
        reader.finish()
    }

    /// Reads a POST kick-off with a Parameters body, whose size the caller bounds.
    ///
    /// As [`read_query`](Self::read_query), with `patient` besides (K-05), and values of any fitting `value[x]`. Under STU4 commas separate nothing
    /// (K-07). Parameters in the query of `request_url` are refused, for they would be lost silently.
    ///
    /// # Errors
    /// An outcome (400) with an issue for each problem that names the parameter.
    pub fn read_body(&self, body: &[u8]) -> Result<ExportRequest, OperationOutcome> {
        let parameters = parse_parameters(body)?;
        let mut reader = Reader::new(self);
        let query = self.request_url.split_once('?').map_or("", |(_, query)| query);
        if !query.is_empty() {
            let text = "a POST kick-off takes its parameters from the body, not from the URL";
            reader.refuse(Issue::error(IssueCode::Invalid, text));
        }
        for parameter in &parameters {
            reader.take(&Argument::new(&parameter.name, Value::Body(parameter)));
        }
        reader.finish()
    }

    /// Reads names and values that came through no URL, such as the flags of a command line; `patient` is allowed.
    ///
    /// # Errors
    /// An outcome with an issue for each problem that names the parameter.
    pub fn read_pairs<'p>(
        &self,
        pairs: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<ExportRequest, OperationOutcome> {
        let mut reader = Reader::new(self);
        for (name, value) in pairs {
            reader.take(&Argument::new(name, Value::Plain(value)));
        }
        reader.finish()
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Tells whether a format is one of the three spellings of NDJSON, in any case.
pub(crate) fn is_ndjson(format: &str) -> bool {
    NDJSON_SPELLINGS
        .iter()
        .any(|spelling| spelling.eq_ignore_ascii_case(format))
}

/// Says which formats there are, after the name of the parameter.
pub(crate) fn ndjson_only(parameter: &str, given: &str) -> Issue {
    let text = format!(
        "{parameter}: the format {} is not supported; use application/fhir+ndjson, application/ndjson or ndjson",
        clip(given)
    );
    Issue::error(IssueCode::NotSupported, text)
}
