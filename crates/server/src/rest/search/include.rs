//! `_include` and `_revinclude`: resources that the matches refer to, and that refer to the matches, one step far.

use std::collections::BTreeSet;

use fhirhose_auth::Actions;
use fhirhose_fhir::outcome::{Issue, IssueCode, Severity};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::{Criteria, VALUES_MAX};
use fhirhose_fhir::search_request::{Inclusion, Order, SearchRequest};
use fhirhose_store::Found;

use super::find::{Finder, Wanted};
use crate::access::Rights;
use crate::problem::Problem;
use crate::rest::visit::Hit;

type Names = BTreeSet<(ResourceType, String)>;

/// Checks the types that inclusions name.
///
/// # Errors
/// 403 for one that may not be read, or for `_revinclude` not be searched.
pub(super) fn check(rights: &Rights, request: &SearchRequest) -> Result<(), Problem> {
    for target in request.includes.iter().filter_map(|inclusion| inclusion.target) {
        rights.check(Actions::READ, target)?;
    }
    for inclusion in &request.reverse_includes {
        rights.check(Actions::READING, inclusion.source)?;
    }
    Ok(())
}

/// Gathers what is to be included, each once and no match again, at the state that the search is of.
///
/// More than the limits allow is left out and told in `notes`; so is what may not be read.
pub(super) async fn included(
    finder: &mut Finder<'_>,
    (rights, request): (&Rights, &SearchRequest),
    matches: &[Hit],
    notes: &mut Vec<Issue>,
) -> Result<Vec<Hit>, Problem> {
    let known = matches.iter().map(|hit| (hit.resource_type, hit.id.clone()));
    let mut gathering = Gathering {
        known: known.collect(),
        included: Vec::new(),
        bytes: matches.iter().map(|hit| hit.text.len()).sum(),
        is_cut: false,
        unreadable: BTreeSet::new(),
    };
    for inclusion in &request.includes {
        gathering.follow(finder, (rights, inclusion), matches).await?;
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
    if !gathering.unreadable.is_empty() {
        let names: Vec<&str> = gathering.unreadable.iter().map(|each| each.name()).collect();
        let text = format!(
            "not included, for the token does not allow to read them: {}",
            names.join(", ")
        );
        notes.push(Issue::new(Severity::Information, IssueCode::Suppressed, text));
    }
    Ok(gathering.included)
}

struct Gathering {
    known: Names,
    included: Vec<Hit>,
    bytes: usize,
    is_cut: bool,
    /// Types to which there are references that are not followed.
    unreadable: BTreeSet<ResourceType>,
}

impl Gathering {
    /// Adds what the matches refer to; what is not there is left out, as a dangling reference is allowed.
    async fn follow(
        &mut self,
        finder: &Finder<'_>,
        (rights, inclusion): (&Rights, &Inclusion),
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
        let types: BTreeSet<ResourceType> = names.iter().map(|(resource_type, _)| *resource_type).collect();
        let unreadable = types.into_iter().filter(|each| !rights.may(Actions::READ, *each));
        self.unreadable.extend(unreadable);
        names.retain(|(resource_type, _)| !self.unreadable.contains(resource_type));
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
            back.budget = finder.budget.clone();
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
