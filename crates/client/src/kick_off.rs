//! What an export is asked for: [`ExportParameters`], as the URL of a GET or the body of a POST.

use fhirhose_fhir::export_request::{ExportLevel, Wire};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::http::name;
use crate::quirks::Quirks;
use crate::{Error, ErrorKind, Result};

/// How a kick-off is sent (K-05).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KickOffMethod {
    /// By GET where that can carry the parameters, else by POST.
    #[default]
    Fitting,
    /// By POST whatever the parameters are.
    Post,
}

/// An export as a Data Consumer asks for it. Values go to the server as they are: it may know types and parameters that are not known
/// here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportParameters {
    /// Whose data.
    pub level: ExportLevel,
    /// The version of the standard that is spoken: `$export`, or `$export-v4` with POST only.
    #[serde(default)]
    pub wire: Wire,
    /// How the kick-off is sent.
    #[serde(default)]
    pub method: KickOffMethod,
    /// `_outputFormat`.
    pub output_format: Option<String>,
    /// `_since`, verbatim: a `transactionTime` keeps its digits (CL-12).
    pub since: Option<String>,
    /// `_until`, verbatim.
    pub until: Option<String>,
    /// `_type`.
    #[serde(default)]
    pub types: Vec<String>,
    /// `_elements`.
    #[serde(default)]
    pub elements: Vec<String>,
    /// `patient`: ids or `Patient/id`; wants POST. Never logged.
    #[serde(default)]
    pub patients: Vec<String>,
    /// `includeAssociatedData`.
    #[serde(default)]
    pub associated_data: Vec<String>,
    /// `_typeFilter`, one query each, not percent-encoded.
    #[serde(default)]
    pub type_filters: Vec<String>,
    /// `organizeOutputBy`.
    pub organize_output_by: Option<String>,
    /// `allowPartialManifests`.
    #[serde(default)]
    pub allow_partial_manifests: bool,
    /// Further parameters by name, as text.
    #[serde(default)]
    pub custom: Vec<(String, String)>,
    /// `Prefer: handling=lenient` (K-22).
    #[serde(default)]
    pub lenient: bool,
    /// `Prefer: separate-export-status` (K-23).
    #[serde(default)]
    pub separate_status: bool,
}

impl ExportParameters {
    /// Asks for everything of a level.
    pub fn new(level: ExportLevel) -> Self {
        Self {
            level,
            wire: Wire::default(),
            method: KickOffMethod::default(),
            output_format: None,
            since: None,
            until: None,
            types: Vec::new(),
            elements: Vec::new(),
            patients: Vec::new(),
            associated_data: Vec::new(),
            type_filters: Vec::new(),
            organize_output_by: None,
            allow_partial_manifests: false,
            custom: Vec::new(),
            lenient: false,
            separate_status: false,
        }
    }

    /// Whether only a POST can carry it: `patient`, and STU4.
    pub fn wants_post(&self) -> bool {
        self.method == KickOffMethod::Post || self.wire == Wire::Stu4 || !self.patients.is_empty()
    }

    /// The kick-off URL without parameters.
    ///
    /// # Errors
    /// [`ErrorKind::Url`] when `base` cannot have a path.
    pub fn endpoint(&self, base: &Url) -> Result<Url> {
        let operation = match self.wire {
            Wire::Stu3 => "$export",
            Wire::Stu4 => "$export-v4",
        };
        let mut url = base.clone();
        {
            let path = url.path_segments_mut();
            let mut path = path.map_err(|()| Error::new(ErrorKind::Url, "the base URL has no path"))?;
            path.pop_if_empty();
            match &self.level {
                ExportLevel::System => path.push(operation),
                ExportLevel::AllPatients => path.push("Patient").push(operation),
                ExportLevel::Group(id) => path.push("Group").push(id.as_str()).push(operation),
                ExportLevel::Patient(id) => path.push("Patient").push(id.as_str()).push(operation),
            };
        }
        Ok(url)
    }

    /// The parameters as pairs of the query of a GET, in a fixed order; lists and filters as the server takes them (K-07).
    pub fn query(&self, quirks: &Quirks) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        let mut add = |name: &str, value: &str| pairs.push((name.to_owned(), value.to_owned()));
        for (name, value) in self.single() {
            add(name, value);
        }
        for (name, values) in self.lists() {
            for value in quirks.list(values) {
                add(name, &value);
            }
        }
        for filter in quirks.filters(&self.type_filters) {
            add("_typeFilter", &filter);
        }
        if self.allow_partial_manifests {
            add("allowPartialManifests", "true");
        }
        for (name, value) in &self.custom {
            add(name, value);
        }
        pairs
    }

    /// The query as it stands in a URL. Spaces are `%20`, which every server reads, and not `+`.
    pub(crate) fn query_text(&self, quirks: &Quirks) -> String {
        let mut text = String::new();
        for (name, value) in self.query(quirks) {
            if !text.is_empty() {
                text.push('&');
            }
            percent_encode(&name, &mut text);
            text.push('=');
            percent_encode(&value, &mut text);
        }
        text
    }

    /// How the kick-off URL is called in messages: without a patient's id.
    pub(crate) fn place(&self, endpoint: &Url) -> String {
        let place = name(endpoint);
        match &self.level {
            ExportLevel::Patient(id) => {
                place.replace(&format!("/Patient/{}/", id.as_str()), "/Patient/[id]/")
            }
            _ => place,
        }
    }

    /// Takes patients' ids out of what a server said.
    pub(crate) fn redacted(&self, error: Error) -> Error {
        let custom = self.custom.iter().filter(|(name, _)| name == "patient");
        let custom = custom.flat_map(|(_, value)| value.split(','));
        let patients = self.patients.iter().map(String::as_str).chain(custom);
        let own = match &self.level {
            ExportLevel::Patient(id) => Some(id.as_str()),
            _ => None,
        };
        let ids: Vec<&str> = patients
            .chain(own)
            .map(|patient| patient.strip_prefix("Patient/").unwrap_or(patient))
            .filter(|id| !id.is_empty())
            .collect();
        error.without_words(&ids)
    }

    /// The parameters as the body of a POST: a Parameters resource.
    pub fn body(&self) -> Value {
        let mut parameters = Vec::new();
        for (name, value) in self.single() {
            let kind = if name == "_since" || name == "_until" {
                "valueInstant"
            } else {
                "valueString"
            };
            parameters.push(json!({ "name": name, kind: value }));
        }
        for (name, values) in self.lists() {
            for value in values {
                parameters.push(match (name, self.wire) {
                    ("includeAssociatedData", Wire::Stu4) => {
                        json!({ "name": name, "valueCoding": { "code": value } })
                    }
                    ("includeAssociatedData", Wire::Stu3) => json!({ "name": name, "valueCode": value }),
                    _ => json!({ "name": name, "valueString": value }),
                });
            }
        }
        for filter in &self.type_filters {
            parameters.push(json!({ "name": "_typeFilter", "valueString": filter }));
        }
        for patient in &self.patients {
            let id = patient.strip_prefix("Patient/").unwrap_or(patient);
            let reference = format!("Patient/{id}");
            parameters.push(json!({ "name": "patient", "valueReference": { "reference": reference } }));
        }
        if self.allow_partial_manifests {
            parameters.push(json!({ "name": "allowPartialManifests", "valueBoolean": true }));
        }
        for (name, value) in &self.custom {
            parameters.push(json!({ "name": name, "valueString": value }));
        }
        json!({ "resourceType": "Parameters", "parameter": parameters })
    }

    /// The names of the parameters that are given.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.single().map(|(name, _)| name.to_owned()).collect();
        let lists = self.lists();
        let more = [("_typeFilter", &*self.type_filters), ("patient", &*self.patients)];
        for (name, values) in lists.into_iter().chain(more) {
            if !values.is_empty() {
                names.push(name.to_owned());
            }
        }
        if self.allow_partial_manifests {
            names.push("allowPartialManifests".to_owned());
        }
        names.extend(self.custom.iter().map(|(name, _)| name.clone()));
        names
    }

    fn single(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("_outputFormat", &self.output_format),
            ("_since", &self.since),
            ("_until", &self.until),
            ("organizeOutputBy", &self.organize_output_by),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    fn lists(&self) -> [(&'static str, &[String]); 3] {
        [
            ("_type", &self.types),
            ("_elements", &self.elements),
            ("includeAssociatedData", &self.associated_data),
        ]
    }
}

/// Encodes everything but what RFC 3986 calls unreserved.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
