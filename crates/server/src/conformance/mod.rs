//! What the server says of itself (spec §4.5): the CapabilityStatement, OperationDefinitions and the profile of cohorts.
//!
//! All of it is made of the tables that the code itself works from: the routes, the parameters of a kick-off, the search parameters.
//! The definitions are read like stored resources, but a stored resource of the same type and id comes first.

mod operations;
mod profile;
mod statement;

use fhirhose_fhir::resource_type::ResourceType;
use serde_json::Value;

pub(crate) use self::profile::COHORT_PROFILE;
pub(crate) use self::statement::statement;

/// Where the operations and profiles of Bulk Data are defined.
const BULK_DATA: &str = "http://hl7.org/fhir/uv/bulkdata";

/// Finds a definition that comes with the server.
pub(crate) fn definition(resource_type: ResourceType, id: &str, base_url: &str) -> Option<Value> {
    match resource_type.name() {
        "OperationDefinition" => operations::definition(id, base_url),
        "StructureDefinition" if id == profile::COHORT_PROFILE_ID => Some(profile::cohort()),
        _ => None,
    }
}
