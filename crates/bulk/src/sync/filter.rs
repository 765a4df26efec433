//! What of a source is taken at all: [`LocalFilter`], which holds whatever the source made of `_type` and `_typeFilter` (CL-14).

use std::collections::BTreeSet;

use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VersionFacts};

use crate::{Error, ErrorKind, Result};

/// Types, and for some of them queries of which one must match.
#[derive(Debug, Clone, Default)]
pub struct LocalFilter {
    types: BTreeSet<&'static str>,
    criteria: Vec<Criteria>,
}

impl LocalFilter {
    /// Takes these types only, or all where there are none; of a type with queries what matches one of them.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a type that R4 does not have, and for a query that cannot be read; the message names the parameter.
    pub fn new(types: &[String], type_filters: &[String], base_url: &str) -> Result<Self> {
        let mut filter = Self::default();
        for name in types {
            let known = ResourceType::parse(name);
            let known = known.ok_or_else(|| invalid(format!("there is no type `{name}` in FHIR R4")))?;
            filter.types.insert(known.name());
        }
        for query in type_filters {
            let criteria = Criteria::parse(query, base_url).map_err(|issues| {
                let details: Vec<_> = issues.into_iter().map(|issue| issue.details).collect();
                invalid(format!("a type filter: {}", details.join("; ")))
            })?;
            filter.criteria.push(criteria);
        }
        Ok(filter)
    }

    /// Whether a resource is taken; its text has passed the line checker.
    pub(super) fn passes(
        &self,
        resource_type: ResourceType,
        text: &[u8],
        last_updated: Option<Instant>,
    ) -> bool {
        if !self.types.is_empty() && !self.types.contains(resource_type.name()) {
            return false;
        }
        let version = VersionFacts {
            last_updated: last_updated.unwrap_or(Instant::MIN),
        };
        let mut of_type = self
            .criteria
            .iter()
            .filter(|criteria| criteria.resource_type() == resource_type)
            .peekable();
        of_type.peek().is_none() || of_type.any(|criteria| criteria.matches(text, version))
    }

    /// Its text, by which a change of the filter is noticed.
    pub(super) fn fingerprint(&self) -> String {
        let types: Vec<&str> = self.types.iter().copied().collect();
        let queries: Vec<&str> = self.criteria.iter().map(Criteria::text).collect();
        format!("{}|{}", types.join(","), queries.join("|"))
    }
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::Invalid, problem)
}
