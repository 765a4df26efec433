//! What must be known of a resource to place it: [`ResourceHead`].

use serde::Deserialize;

/// Type, id and version of a resource, of any version of FHIR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceHead {
    /// `resourceType`.
    pub resource_type: String,
    /// `id`, if there is one.
    pub id: Option<String>,
    /// `meta.versionId`, if there is one.
    pub version_id: Option<String>,
    /// `meta.lastUpdated`, verbatim.
    pub last_updated: Option<String>,
    /// Whether `meta.tag` says that it is not whole (CL-15).
    pub is_subsetted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    id: Option<String>,
    #[serde(default)]
    meta: Meta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    version_id: Option<String>,
    last_updated: Option<String>,
    tag: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    code: Option<String>,
}

impl ResourceHead {
    /// Reads a line; it must be one whole JSON object.
    ///
    /// # Errors
    /// In words, what is wrong; nothing of the line is quoted.
    pub fn read(line: &[u8]) -> Result<Self, &'static str> {
        let read: Resource = serde_json::from_slice(line).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => "is not a resource",
            _ => "is not valid JSON",
        })?;
        let is_subsetted = |tag: &Tag| tag.code.as_deref() == Some("SUBSETTED");
        Ok(Self {
            is_subsetted: read.meta.tag.iter().any(is_subsetted),
            version_id: read.meta.version_id,
            last_updated: read.meta.last_updated,
            resource_type: read.resource_type,
            id: read.id,
        })
    }
}

/// The id of the resource in a line, if that is one and has one.
pub(super) fn id(line: &[u8]) -> Option<String> {
    ResourceHead::read(line).ok()?.id
}
