//! Which types an export may hold: those that are asked for, as far as the client may read them (K-09, A-43, A-48).

use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};
use fhirhose_fhir::outcome::{IssueCode, OperationOutcome};
use fhirhose_fhir::resource_type::ResourceType;
use serde::Deserialize;

use super::spec::ExportSpec;
use crate::{Error, ErrorKind, Result};

/// Types whose resources often have their content in a Binary (F-11).
const WITH_ATTACHMENTS: [&str; 3] = ["DocumentReference", "DiagnosticReport", "Media"];

/// What decides about types, of all that an export is.
#[derive(Debug, Clone, Copy)]
struct Holding<'a> {
    asked: Option<&'a [ResourceType]>,
    associated: AssociatedData,
    granted: Option<&'a [ResourceType]>,
}

impl Holding<'_> {
    fn asks(&self, resource_type: ResourceType) -> bool {
        match self.asked {
            // The trail of who did what is no part of anybody's data: it is named or does not come.
            None => resource_type != ResourceType::AUDIT_EVENT,
            Some(types) => types.contains(&resource_type),
        }
    }

    fn grants(&self, resource_type: ResourceType) -> bool {
        self.granted.is_none_or(|types| types.contains(&resource_type))
    }

    fn may_hold(&self, resource_type: ResourceType) -> bool {
        let comes_with_others =
            self.associated != AssociatedData::Default && resource_type == ResourceType::PROVENANCE;
        self.grants(resource_type) && (self.asks(resource_type) || comes_with_others)
    }
}

impl ExportSpec {
    /// Whether the client may read a type.
    pub fn grants(&self, resource_type: ResourceType) -> bool {
        self.holding().grants(resource_type)
    }

    /// Whether anything of a type may come, as output, helper, Provenance or deletion.
    pub fn may_hold(&self, resource_type: ResourceType) -> bool {
        self.holding().may_hold(resource_type)
    }

    /// Tells what is held back from the client, an outcome each; empty where nothing is.
    pub fn withheld(&self) -> Vec<OperationOutcome> {
        let mut outcomes = Vec::new();
        let Some(granted) = &self.granted_types else {
            return outcomes;
        };
        match &self.request.types {
            None => {
                let names: Vec<&str> = granted.iter().map(|each| each.name()).collect();
                let text = format!(
                    "nothing of other types was exported than those that the client may read: {}",
                    names.join(", ")
                );
                outcomes.push(OperationOutcome::information(text));
            }
            Some(types) => {
                for each in types.iter().filter(|each| !self.grants(**each)) {
                    let text = format!("_type: the client may not read {each}; this export has none of it");
                    outcomes.push(OperationOutcome::warning(IssueCode::Forbidden, text));
                }
            }
        }
        let with_attachments = |each: &ResourceType| WITH_ATTACHMENTS.contains(&each.name());
        let refers = ResourceType::all()
            .filter(with_attachments)
            .any(|each| self.may_hold(each));
        if refers && !self.grants(ResourceType::BINARY) {
            let text = "attachments that are kept as Binary are read under their URL with a scope for Binary, which the client does not have";
            outcomes.push(OperationOutcome::information(text));
        }
        outcomes
    }

    fn holding(&self) -> Holding<'_> {
        Holding {
            asked: self.request.types.as_deref(),
            associated: self.request.associated_data,
            granted: self.granted_types.as_deref(),
        }
    }
}

/// What an export reaches, of all that its job says: whoever asks for its status or its files must be allowed to read all of that
/// (S-02, F-04, A-54).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportReach {
    /// Whose data.
    pub level: ExportLevel,
    /// The types that it may hold.
    pub types: Vec<ResourceType>,
}

impl ExportReach {
    /// Reads it from the specification of an export's job.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is no specification.
    pub fn parse(spec: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Spec {
            request: Request,
            #[serde(default)]
            granted_types: Option<Vec<ResourceType>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Request {
            level: ExportLevel,
            types: Option<Vec<ResourceType>>,
            #[serde(default)]
            associated_data: AssociatedData,
        }
        let spec: Spec = serde_json::from_slice(spec).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "reading what an export was asked for").with_source(source)
        })?;
        let holding = Holding {
            asked: spec.request.types.as_deref(),
            associated: spec.request.associated_data,
            granted: spec.granted_types.as_deref(),
        };
        let types = ResourceType::all().filter(|each| holding.may_hold(*each));
        Ok(Self {
            types: types.collect(),
            level: spec.request.level,
        })
    }
}
