//! Helper resources (K-08, G-09): what the exported resources refer to and no compartment has, so that a receiver can make sense of them.
//!
//! They are made after all other resources, type by type in an order in which references run forward: those of a helper resource
//! are followed to the types after its own. Each comes once, whatever `_since` and `_typeFilter` say (spec §1.5, step 8), and only
//! those that are in no patient's compartment: others come or do not come by the rules of compartments.

use std::sync::Arc;

use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_store::key;

use super::files::FileCutter;
use super::keyed::{KeyedRows, merge};
use super::parts::Crew;
use super::side::SideKind;
use super::spec::ExportSpec;
use super::state::{Next, Part};
use crate::Result;

/// The types, in the order in which they are made.
const TYPES: [ResourceType; 6] = [
    ResourceType::PRACTITIONER_ROLE,
    ResourceType::DEVICE,
    ResourceType::MEDICATION,
    ResourceType::PRACTITIONER,
    ResourceType::LOCATION,
    ResourceType::ORGANIZATION,
];

/// Whether resources of a type can come as helpers.
pub(super) fn is_helper(resource_type: ResourceType) -> bool {
    TYPES.contains(&resource_type)
}

/// When resources of a type are made, counted from 0.
pub(super) fn turn_of(resource_type: ResourceType) -> usize {
    TYPES
        .iter()
        .position(|each| *each == resource_type)
        .unwrap_or_default()
}

/// The types that come as helpers with an export: none at system level, where everything comes, and of those none that `_type`
/// leaves out or the client may not read.
pub(super) fn helper_types(spec: &ExportSpec) -> Vec<ResourceType> {
    let request = &spec.request;
    if request.level == ExportLevel::System || request.organize_output_by.is_some() {
        return Vec::new();
    }
    TYPES.into_iter().filter(|each| spec.may_hold(*each)).collect()
}

/// Writes the helper resources of a type.
pub(super) fn write_helpers(
    crew: &Arc<Crew>,
    number: usize,
    resource_type: ResourceType,
    part: &Part,
    cutter: FileCutter<'_>,
) -> Result<()> {
    let from = match &part.next {
        Next::Key(key) => key.clone(),
        Next::Start | Next::Line { .. } | Next::Done => Vec::new(),
    };
    let mut rows = KeyedRows::new(crew, resource_type, cutter, from);
    let mut found = merge(crew, number, crew.sides(SideKind::References)?)?;
    let mut prefix = vec![resource_type.code()];
    key::push_owner(None, &mut prefix);
    while let Some(entry) = found.next()? {
        let Some((&code, id)) = entry.0.split_first() else {
            continue;
        };
        if code > resource_type.code() {
            break;
        }
        if code == resource_type.code() && rows.push([prefix.as_slice(), id].concat())?.is_break() {
            return Ok(());
        }
    }
    rows.finish()
}
