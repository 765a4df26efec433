//! Search: queries are read or refused by name, and resources match as R4 says.

mod fhirpath;
mod generated;
mod oracle;
mod refused;
mod values;

use fhirhose_fhir::{
    instant::Instant,
    search::{Criteria, VersionFacts},
};

/// The server's own base in these tests.
const BASE: &str = "http://localhost:8080/fhir";

fn criteria(text: &str) -> Criteria {
    Criteria::parse(text, BASE).unwrap_or_else(|issues| panic!("{text}: {issues:?}"))
}

fn version() -> VersionFacts {
    VersionFacts {
        last_updated: Instant::parse("2026-03-04T05:06:07.891011Z").expect("an instant"),
    }
}

/// Whether a resource, given by its members behind the type, matches a query.
fn matches(query: &str, members: &str) -> bool {
    let criteria = criteria(query);
    let body = format!(r#"{{"resourceType":"{}",{members}}}"#, criteria.resource_type());
    criteria.matches(body.as_bytes(), version())
}

/// Queries that match and queries that do not, of one resource.
#[track_caller]
fn check(members: &str, matching: &[&str], others: &[&str]) {
    for query in matching {
        assert!(matches(query, members), "{query} should match {members}");
    }
    for query in others {
        assert!(!matches(query, members), "{query} should not match {members}");
    }
}
