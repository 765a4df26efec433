//! `_include` and `_revinclude`: resources that the matches refer to, and that refer to the matches, one step far.

use std::collections::BTreeSet;

use fhirhose_fhir::outcome::{Issue, IssueCode};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VALUES_MAX};
use fhirhose_fhir::search_request::{Inclusion, Order, SearchRequest};
use fhirhose_store::Found;

use super::find::{Finder, Wanted};
use crate::problem::Problem;
use crate::rest::visit::Hit;

type Names = BTreeSet<(ResourceType, String)>;

/// Gathers what is to be included, each once and no match again, at the state that the search is of.
///
/// More than the limits allow is left out and told in `notes`.
pub(super) async fn included(
    finder: &mut Finder<'_>,
    request: &SearchRequest,
    matches: &[Hit],
    notes: &mut Vec<Issue>,
) -> Result<Vec<Hit>, Problem> {
    let known = matches.iter().map(|hit| (hit.resource_type, hit.id.clone()));
    let mut gathering = Gathering {
        known: known.collect(),
        included: Vec::new(),
        bytes: matches.iter().map(|hit| hit.text.len()).sum(),
        is_cut: false,
    };
    for inclusion in &request.includes {
        gathering.follow(finder, inclusion, matches).await?;
    }
    for inclusion in &request.reverse_includes {
        gathering.follow_back(finder, inclusion, matches).await?;
    }
    if gathering.is_cut {
        let rest = &finder.app.settings.rest;
        let text = format!(
            "not all resources that were to be included are: a page includes {} of them, and ends at {} bytes; take a smaller _count",
            rest.included_max, rest.page_bytes_max
        );
        notes.push(Issue::warning(IssueCode::TooCostly, text));
    }
    Ok(gathering.included)
}

struct Gathering {
    known: Names,
    included: Vec<Hit>,
    bytes: usize,
    is_cut: bool,
}

impl Gathering {
    /// Adds what the matches refer to; what is not there is left out, as a dangling reference is allowed.
    async fn follow(
        &mut self,
        finder: &Finder<'_>,
        inclusion: &Inclusion,
        matches: &[Hit],
    ) -> Result<(), Problem> {
        let mut names = Names::new();
        for hit in matches {
            inclusion.parameter.for_each(&hit.text, |reference| {
                if inclusion
                    .target
                    .is_none_or(|target| target == reference.resource_type)
                {
                    names.insert((reference.resource_type, reference.id.to_owned()));
                }
            });
        }
        for (resource_type, id) in names.difference(&self.known.clone()) {
            if self.is_full(finder) {
                return Ok(());
            }
            let store = &finder.app.store;
            let found = store
                .read_at(*resource_type, id, finder.snapshot.sequence)
                .await?;
            if let Some(Found::Resource(resource)) = found {
                self.add(Hit {
                    resource_type: *resource_type,
                    id: id.clone(),
                    version: resource.version,
                    text: resource.text,
                });
            }
        }
        Ok(())
    }

    /// Adds what refers to the matches.
    async fn follow_back(
        &mut self,
        finder: &mut Finder<'_>,
        inclusion: &Inclusion,
        matches: &[Hit],
    ) -> Result<(), Problem> {
        let matched = finder.criteria.resource_type();
        if !inclusion.parameter.may_mean(matched) || inclusion.target.is_some_and(|target| target != matched)
        {
            return Ok(());
        }
        for some in matches.chunks(VALUES_MAX) {
            if self.is_full(finder) {
                return Ok(());
            }
            let names: Vec<String> = some.iter().map(|hit| format!("{matched}/{}", hit.id)).collect();
            let query = format!("{}?{}={}", inclusion.source, inclusion.name, names.join(","));
            let criteria = Criteria::parse(&query, &finder.app.base_url)
                .map_err(|issues| Problem::from(fhirhose_fhir::outcome::OperationOutcome { issues }))?;
            let rest = &finder.app.settings.rest;
            let wanted = Wanted {
                order: Order::Store,
                after: None,
                hits_max: rest.included_max - self.included.len(),
                bytes_max: rest.page_bytes_max.saturating_sub(self.bytes),
            };
            let mut back = Finder {
                criteria: &criteria,
                ..finder.anew()
            };
            back.budget = finder.budget;
            let found = back.page(&wanted).await?;
            finder.budget = back.budget;
            self.is_cut |= found.more_after.is_some();
            found.hits.into_iter().for_each(|hit| self.add(hit));
        }
        Ok(())
    }

    fn add(&mut self, hit: Hit) {
        if self.known.insert((hit.resource_type, hit.id.clone())) {
            self.bytes += hit.text.len();
            self.included.push(hit);
        }
    }

    fn is_full(&mut self, finder: &Finder<'_>) -> bool {
        let rest = &finder.app.settings.rest;
        let is_full = self.included.len() >= rest.included_max || self.bytes >= rest.page_bytes_max;
        self.is_cut |= is_full;
        is_full
    }
}
