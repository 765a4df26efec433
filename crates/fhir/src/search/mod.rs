//! FHIR search: which resources a query means, decided on their bytes.
//!
//! [`Criteria`] is one query of one type (`Observation?code=1234-5&date=ge2020`) ready to be asked about resources, by an export's
//! `_typeFilter` (T-01 to T-07), a REST search, a cohort's `member-filter` (C-02) and conditional writes alike. It evaluates while
//! streaming: no tree of the resource is built. [`parameters`] lists what can be asked of a type, [`ReferenceParameter`] reads the
//! references that `_include` and `_revinclude` follow. Sorting, counting and chaining are not here.
//!
//! ```
//! use fhirhose_fhir::{instant::Instant, search::{Criteria, VersionFacts}};
//! let criteria = Criteria::parse("Patient?gender=female&birthdate=lt1970", "http://localhost/fhir").expect("a good query");
//! let body = br#"{"resourceType":"Patient","id":"a","gender":"female","birthDate":"1969-07-20"}"#;
//! assert!(criteria.matches(body, VersionFacts { last_updated: Instant::MIN }));
//! ```

mod clause;
mod decimal;
mod folding;
mod hint;
mod parameters;
mod path;
mod predicate;
mod prefix;
mod program;
mod query;
mod reference;
mod references;
mod screen;
mod token;
mod value;
mod values;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{
    parameters::{Parameter, parameters},
    query::{CRITERIA_BYTES_MAX, PARAMETERS_MAX, VALUES_MAX},
    references::ReferenceParameter,
};
use self::{prefix::DateValue, program::Program, screen::Screen, value::Value};
use crate::{
    id::Id,
    instant::{Instant, Span},
    outcome::Issue,
    resource_type::ResourceType,
};

/// One query of one type, compiled; in JSON its text, `Type?param=value&…`, from which it is compiled again.
///
/// Copies share what was compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Criteria(Arc<Compiled>);

/// What a query came to.
#[derive(Debug)]
struct Compiled {
    resource_type: ResourceType,
    text: String,
    program: Program,
    /// The clauses about `_lastUpdated`, as bits; they find something if any of the dates matches.
    last_updated: Vec<(u64, Vec<DateValue>)>,
    bounds: LastUpdatedBounds,
    ids: Option<Vec<Id>>,
    patients: Option<Vec<Id>>,
    screen: Option<Screen>,
}

/// What a resource's stored text does not say of its version.
#[derive(Debug, Clone, Copy)]
pub struct VersionFacts {
    /// `meta.lastUpdated`.
    pub last_updated: Instant,
}

/// The instants outside of which no resource can match; both ends are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUpdatedBounds {
    /// The first instant.
    pub first: Instant,
    /// The last instant.
    pub last: Instant,
}

impl LastUpdatedBounds {
    /// All of time.
    pub const ALL: Self = Self {
        first: Instant::MIN,
        last: Instant::MAX,
    };
}

/// The pairs of a search that are not criteria: names and values, in order.
pub type OtherPairs = Vec<(String, String)>;

impl Criteria {
    /// Reads `Type?param=value&…`, percent-encoded or not; a `+` is a space, or the sign of a time zone where a date is expected.
    ///
    /// `base_url` is the server's own FHIR base: absolute references below it mean the same as relative ones, and become them.
    ///
    /// # Errors
    /// An issue for each parameter that is unknown, not allowed or cannot be read, naming it; all of a query's together. Texts do not
    /// quote values, which may be about a patient.
    ///
    /// Spec: T-01 to T-06, C-04.
    pub fn parse(text: &str, base_url: &str) -> Result<Self, Vec<Issue>> {
        query::parse(text, base_url)
    }

    /// Takes the pairs of a REST search, already percent-decoded, and gives back those whose names are no search parameters that can be
    /// used on the type: result parameters (`_count`), unknown names, chains. [`Criteria::refusal`] says what is wrong with a name.
    ///
    /// # Errors
    /// As [`Criteria::parse`], for the parameters that are known.
    pub fn from_pairs(
        resource_type: ResourceType,
        pairs: impl IntoIterator<Item = (String, String)>,
        base_url: &str,
    ) -> Result<(Self, OtherPairs), Vec<Issue>> {
        query::from_pairs(resource_type, pairs, base_url)
    }

    /// Says why a parameter cannot be used in criteria of a type; `None` if it can. A modifier behind the name is not looked at.
    pub fn refusal(resource_type: ResourceType, name: &str) -> Option<Issue> {
        clause::find(resource_type, name)
            .err()
            .map(|fault| fault.issue(name))
    }

    /// The type that is asked about.
    pub fn resource_type(&self) -> ResourceType {
        self.0.resource_type
    }

    /// The query's text: absolute references below the base have become relative, nothing else has changed its meaning.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether every resource of the type matches, because nothing is asked.
    pub fn is_unrestricted(&self) -> bool {
        self.0.program.clauses() == 0
    }

    /// Whether a resource of the type matches; `body` is its text with or without `meta.versionId` and `meta.lastUpdated`.
    ///
    /// The text has passed [`crate::line`]; any other bytes give an answer without meaning, and never a panic.
    pub fn matches(&self, body: &[u8], version: VersionFacts) -> bool {
        let compiled = &*self.0;
        if compiled
            .screen
            .as_ref()
            .is_some_and(|screen| screen.excludes(body))
        {
            return false;
        }
        let updated = Span::of(version.last_updated);
        let mut known = 0;
        for (bit, dates) in &compiled.last_updated {
            if dates.iter().any(|date| date.matches(updated)) {
                known |= bit;
            }
        }
        compiled.program.holds(Value::whole(body), known)
    }

    /// The only ids that can match, if the query says so: sorted, each once.
    pub fn ids(&self) -> Option<&[Id]> {
        self.0.ids.as_deref()
    }

    /// The patients in whose compartments all that can match lies, if the query says so: sorted, each once.
    ///
    /// A resource may lie there by any of the compartment's elements, not only the one that owns it in a store.
    pub fn patients(&self) -> Option<&[Id]> {
        self.0.patients.as_deref()
    }

    /// The instants of change outside of which nothing can match.
    pub fn last_updated(&self) -> LastUpdatedBounds {
        self.0.bounds
    }
}

impl PartialEq for Criteria {
    fn eq(&self, other: &Self) -> bool {
        self.0.resource_type == other.0.resource_type && self.0.text == other.0.text
    }
}

impl Eq for Criteria {}

impl TryFrom<String> for Criteria {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text, "").map_err(|issues| format!("the criteria have {} faults", issues.len()))
    }
}

impl From<Criteria> for String {
    fn from(criteria: Criteria) -> Self {
        criteria.0.text.clone()
    }
}
