//! What can be asked of a type, for whoever wants to say so.

use crate::{
    resource_type::ResourceType,
    tables::{
        parameters::{BY_TYPE, COMMON},
        search::{Kind, SearchRow},
    },
};

/// A search parameter of a type.
#[derive(Debug, Clone, Copy)]
pub struct Parameter(&'static SearchRow);

/// The search parameters that [`super::Criteria`] understands for a type, those of all types first, each by name.
pub fn parameters(resource_type: ResourceType) -> impl Iterator<Item = Parameter> {
    rows(resource_type).map(Parameter)
}

pub(super) fn rows(resource_type: ResourceType) -> impl Iterator<Item = &'static SearchRow> {
    COMMON
        .iter()
        .chain(BY_TYPE[usize::from(resource_type.code()) - 1])
}

impl Parameter {
    /// The name in a query.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The kind, as FHIR's code system search-param-type names it, e.g. `token`.
    pub fn kind(&self) -> &'static str {
        match self.0.kind {
            Kind::Number => "number",
            Kind::Date => "date",
            Kind::String => "string",
            Kind::Token => "token",
            Kind::Reference => "reference",
            Kind::Composite => "composite",
            Kind::Quantity => "quantity",
            Kind::Uri => "uri",
        }
    }

    /// The canonical URL of HL7's definition.
    pub fn definition(&self) -> String {
        format!("http://hl7.org/fhir/SearchParameter/{}", self.0.definition)
    }

    /// What the definition says of the type, in a line.
    pub fn documentation(&self) -> &'static str {
        self.0.documentation
    }
}
